//! What a home says of the past: where replays begin and end, and what they read.

use std::time::Duration;

use super::Home;
use super::retained::is_after;
use crate::broker::message::{HistoryPage, Piece, ReadAsk};
use crate::history::{History, Limit};
use crate::model::{Filter, Position, Timestamp, TopicName};
use crate::protocol::{Cursor, ErrorCode, Refusal};

/// Recovering by time reads this much further back: clocks of homes may differ by a little, and a
/// message may have been on its way when the client's time was taken.
const GRACE: Duration = Duration::from_secs(5);

impl Home {
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

    pub(super) fn add_filter(&mut self, shard: usize, filter: &Filter) {
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
