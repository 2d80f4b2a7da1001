//! What a home says of the past: where replays begin and end, and what they read.

use std::collections::HashMap;
use std::time::Duration;

use super::Home;
use super::retained::is_after;
use crate::broker::message::{HistoryPage, Piece, ReadAsk, Span, WildAsk, WildSince, WildStand};
use crate::history::{History, Limit};
use crate::model::{Filter, Position, Timestamp, TopicName};
use crate::protocol::{Cursor, ErrorCode, Refusal};

/// Recovering by time reads this much further back: clocks of homes may differ by a little, and a
/// message may have been on its way when the client's time was taken.
const GRACE: Duration = Duration::from_secs(5);

impl Home {
    /// Adds the interest of a filter, and says which of its topics are to be replayed from where.
    pub fn subscribe_filter(&mut self, shard: usize, ask: &WildAsk, now: Timestamp) -> WildStand {
        self.add_filter(shard, &ask.filter);
        let mut stand = WildStand {
            recovered: true,
            may_retain: self.may_retain(),
            ..WildStand::default()
        };
        if ask.last.is_none() && ask.since.is_none() {
            return stand;
        }
        if let Some(since) = &ask.since {
            // A topic that the client knows and that is no more cannot be recovered.
            for (topic, known) in since.positions.iter() {
                let lost = ask.filter.matches(topic)
                    && ask.homes.is_home(topic)
                    && self.common.rules.now().may_read(&ask.access, topic)
                    && known.offset > 0
                    && self
                        .topics
                        .get(topic)
                        .is_none_or(|t| t.kept.history().is_none());
                if lost {
                    stand.add_gap(topic);
                }
            }
            // What was published to a topic that keeps none is lost, and nobody knows its name.
            let keeps_all = self.common.rules.now().keeps_all(&ask.access, &ask.filter);
            let remembers = |from| self.common.store.remembers(from);
            stand.recovered &= keeps_all && since.from.is_some_and(remembers);
        }
        let since = ask.since.as_ref().map(Known::new);
        let mut left = self.common.max_replay();
        for (topic, entry) in &mut self.topics {
            if !ask.filter.matches(topic) || !ask.access.may_read(entry.rule.subscribe, topic) {
                continue;
            }
            let Some(history) = entry.kept.history_mut() else {
                continue;
            };
            history.trim(now);
            let (epoch, until) = (history.epoch(), history.settled());
            let oldest = history.oldest().saturating_sub(1);
            let mut after = None;
            if let Some(since) = &since {
                after = since
                    .recover(topic, &**history, now)
                    .filter(|after| until - (*after).min(until) <= left);
                if after.is_none() {
                    stand.add_gap(topic);
                } else if entry.rule.retain {
                    stand.has_retained.push(topic.clone());
                }
            }
            let is_recovered = after.is_some();
            let after = after
                .or_else(|| {
                    ask.last
                        .map(|last| until.saturating_sub(last.min(left)).max(oldest))
                })
                .unwrap_or(until);
            left = left.saturating_sub(until.saturating_sub(after));
            // What a client has already is said too: some of it may still be on its way to it.
            if is_recovered || after < until {
                let span = Span {
                    epoch,
                    after,
                    until,
                };
                stand.spans.push((topic.clone(), span));
            }
        }
        stand
    }

    /// Takes the interest of a filter back.
    pub fn unsubscribe_filter(&mut self, shard: usize, filter: &Filter) {
        let Some(interest) = self.filters.get(filter) else {
            return;
        };
        let mut interest = interest.clone();
        interest.take(shard);
        // Removing and inserting raises the generation, by which topics know that it changed.
        self.filters.remove(filter);
        if !interest.is_empty() {
            self.filters.insert(filter, interest);
        }
    }

    /// One piece of a replay.
    pub fn read(&mut self, ask: &ReadAsk, now: Timestamp) -> Piece {
        let entry = self.topics.get(&ask.topic);
        let Some(history) = entry.and_then(|entry| entry.kept.history()) else {
            return Piece {
                epoch: None,
                messages: Vec::new(),
                newest: ask.after,
                is_head: true,
                skipped: None,
            };
        };
        let messages = history.read(ask.after, ask.limit, now);
        let newest = history.settled();
        let reached = messages
            .last()
            .and_then(|m| m.position)
            .map_or(ask.after, |p| p.offset);
        let is_head = messages.is_empty() || reached >= newest;
        let epoch = Some(history.epoch());
        let first = messages.first().and_then(|m| m.position);
        // What the history dropped from under the cursor may be retained: then it is not lost.
        let skipped = history.retained().filter(|retained| {
            is_after(retained, epoch, ask.after)
                && first.is_none_or(|first| !is_after(retained, epoch, first.offset - 1))
        });
        Piece {
            epoch,
            messages,
            newest,
            is_head,
            skipped,
        }
    }

    /// What `history` asks for.
    ///
    /// # Errors
    /// `history_disabled` where the topic keeps none.
    pub fn history(
        &mut self,
        topic: &TopicName,
        since: Option<Cursor>,
        last: Option<u64>,
        limit: Limit,
        now: Timestamp,
    ) -> Result<HistoryPage, Refusal> {
        if self.common.rules.now().of(topic).history.is_none() {
            return Err(history_disabled(topic));
        }
        let is_new = !self.topics.contains_key(topic);
        if is_new {
            // So that the answer names a life of the topic, if only a short one.
            self.create(topic)?;
        }
        let entry = self.topics.get_mut(topic);
        let Some(history) = entry.and_then(|entry| entry.kept.history_mut()) else {
            return Err(history_disabled(topic));
        };
        history.trim(now);
        let position = Position {
            epoch: history.epoch(),
            offset: history.settled(),
        };
        let oldest = history.oldest().saturating_sub(1);
        let after = match since {
            Some(Cursor { epoch, offset }) if epoch == Some(position.epoch) => offset.max(oldest),
            _ => oldest,
        };
        let after = last.map_or(after, |last| {
            after.max(position.offset.saturating_sub(last))
        });
        let messages = history.read(after, limit, now);
        if is_new {
            self.forget_if_idle(topic, now);
        }
        Ok(HistoryPage { position, messages })
    }

    fn add_filter(&mut self, shard: usize, filter: &Filter) {
        let mut interest = self.filters.remove(filter).unwrap_or_default();
        interest.add(shard);
        self.filters.insert(filter, interest);
    }
}

/// Where to read on for a client that has everything up to a time, and does not know its position.
pub(super) fn by_time(history: &dyn History, from: Timestamp, now: Timestamp) -> Option<u64> {
    let earlier = Timestamp(from.0.saturating_sub(GRACE.as_millis() as u64));
    history
        .holds_since(from, now)
        .then(|| history.first_since(earlier))
}

fn history_disabled(topic: &TopicName) -> Refusal {
    Refusal::new(
        ErrorCode::HistoryDisabled,
        format!("the topic '{topic}' keeps no history: no rule with 'history' matches it"),
    )
}

/// What a client says it has of a filter's topics.
struct Known<'a> {
    positions: HashMap<&'a str, Cursor>,
    from: Option<Timestamp>,
}

impl<'a> Known<'a> {
    fn new(since: &'a WildSince) -> Self {
        let positions = since.positions.iter();
        Self {
            positions: positions.map(|(t, c)| (t.as_str(), *c)).collect(),
            from: since.from,
        }
    }

    /// Where to read on, for one topic: after the client's own position, or by time where it does
    /// not know the topic. `None` where something may be missing.
    fn recover(&self, topic: &TopicName, history: &dyn History, now: Timestamp) -> Option<u64> {
        let Some(known) = self.positions.get(topic.as_str()) else {
            return by_time(history, self.from?, now);
        };
        let cursor = Position {
            epoch: known.epoch?,
            offset: known.offset,
        };
        history.recovers(cursor, now).then_some(cursor.offset)
    }
}
