//! What a filter is told of the past of its topics. They are looked through in the order of their
//! names, so many at a time: a filter of very many topics, or of none among many, holds nobody up.

use std::ops::Bound;
use std::sync::Arc;

use super::Home;
use super::recover::by_time;
use super::retained::stem;
use super::topic::Topic;
use crate::broker::message::{Span, WildAsk, WildSince, WildStand};
use crate::history::{Answer, History, Lookup};
use crate::model::{Filter, Position, Timestamp, TopicName};

/// What a filter is to be told, and how far its topics have been looked through.
pub struct Scan {
    ask: Box<WildAsk>,
    /// The last name that was looked at.
    after: Option<TopicName>,
    /// Messages that may still be replayed.
    left: u64,
    stand: WildStand,
}

/// How far a scan has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// It has looked at all names.
    AtAll,
    /// There is more to look at.
    AtSome,
    /// It goes on once the store has found out.
    Waits(Lookup),
}

impl Home {
    /// Adds the interest of a filter. [`Home::scan`] finds out what of its topics is to be replayed.
    pub fn subscribe_filter(&mut self, shard: usize, ask: Box<WildAsk>) -> Scan {
        self.add_filter(shard, &ask.filter);
        Scan {
            ask,
            after: None,
            left: self.common.max_replay(),
            stand: WildStand {
                recovered: true,
                may_retain: self.may_retain(),
                ..WildStand::default()
            },
        }
    }

    /// Looks at no more names than `budget`, and takes them off it.
    ///
    /// Where the replay of a topic ends is fixed when its name is looked at: what is published
    /// before that is in it, and the session notes what comes later.
    pub fn scan(&mut self, scan: &mut Scan, budget: &mut usize, now: Timestamp) -> Looked {
        if scan.ask.last.is_none() && scan.ask.since.is_none() {
            return Looked::AtAll;
        }
        let common = Arc::clone(&self.common);
        let rules = common.rules.now();
        let filter = scan.ask.filter.clone();
        let stem = stem(&filter);
        let after = scan.after.take();
        let from = match &after {
            Some(after) => Bound::Excluded(after.as_str()),
            None => Bound::Included(stem),
        };
        let names = self.histories.range::<str, _>((from, Bound::Unbounded));
        let mut reached = after.as_ref();
        for name in names.take_while(|name| name.as_str().starts_with(stem)) {
            if *budget == 0 {
                scan.after = reached.cloned();
                return Looked::AtSome;
            }
            *budget -= 1;
            if filter.matches(name)
                && rules.may_read(&scan.ask.access, name)
                && let Some(entry) = self.topics.get_mut(name)
                && let Err(lookup) = scan.look(name, entry, now)
            {
                scan.after = reached.cloned();
                return Looked::Waits(lookup);
            }
            reached = Some(name);
        }
        self.note_lost(scan);
        Looked::AtAll
    }

    /// Notes whether a topic has a history.
    pub(super) fn note_history(&mut self, topic: &TopicName) {
        let entry = self.topics.get(topic);
        if entry.is_none_or(|entry| entry.kept.history().is_none()) {
            self.histories.remove(topic);
        } else if !self.histories.contains(topic) {
            self.histories.insert(topic.clone());
        }
    }

    /// Notes what cannot be recovered of topics that are no more, or that never had a history.
    fn note_lost(&self, scan: &mut Scan) {
        let Scan { ask, stand, .. } = scan;
        let Some(since) = &ask.since else {
            return;
        };
        let rules = self.common.rules.now();
        for (topic, known) in since.positions.iter() {
            let has_history = |topic: &Topic| topic.kept.history().is_some();
            let lost = ask.filter.matches(topic)
                && ask.homes.is_home(topic)
                && rules.may_read(&ask.access, topic)
                && known.offset > 0
                && !self.topics.get(topic).is_some_and(has_history);
            if lost {
                stand.add_gap(topic);
            }
        }
        // What was published to a topic that keeps none is lost, and nobody knows its name.
        let keeps_all = rules.keeps_all(&ask.access, &ask.filter);
        let least = rules.least_durability(&ask.access, &ask.filter);
        let remembers = |from| self.common.store.remembers(&ask.filter, from, least);
        stand.recovered &= keeps_all && since.from.is_some_and(remembers);
    }
}

impl Scan {
    /// What is looked for.
    pub fn filter(&self) -> &Filter {
        &self.ask.filter
    }

    /// The answer, once all has been looked at.
    pub fn into_stand(self) -> WildStand {
        self.stand
    }

    /// Notes what is to be replayed of one topic; nothing, where something is to be found out first.
    fn look(&mut self, topic: &TopicName, entry: &mut Topic, now: Timestamp) -> Result<(), Lookup> {
        let Some(history) = entry.kept.history_mut() else {
            return Ok(());
        };
        history.trim(now);
        let (epoch, until) = (history.epoch(), history.settled());
        let oldest = history.oldest().saturating_sub(1);
        let mut recovered = None;
        if let Some(since) = &self.ask.since {
            recovered = since
                .recover(topic, &mut **history, now)?
                .filter(|after| until.saturating_sub(*after) <= self.left);
            if recovered.is_none() {
                self.stand.add_gap(topic);
            } else if entry.rule.retain {
                self.stand.has_retained.push(topic.clone());
            }
        }
        let last = self.ask.last.map(|last| last.min(self.left));
        let of_last = last.map(|last| until.saturating_sub(last).max(oldest));
        let after = recovered.or(of_last).unwrap_or(until);
        self.left = self.left.saturating_sub(until.saturating_sub(after));
        // Where nothing is to be replayed that is said too: some of what was published before this
        // may still be on its way to the session's worker.
        let span = Span {
            epoch,
            after,
            until,
        };
        self.stand.spans.push((topic.clone(), span));
        Ok(())
    }
}

impl WildSince {
    /// Where to read on, for one topic: after the client's own position, or by time where it does
    /// not know the topic. `None` where something may be missing.
    fn recover(
        &self,
        topic: &TopicName,
        history: &mut dyn History,
        now: Timestamp,
    ) -> Result<Option<u64>, Lookup> {
        let find = |(name, _): &(TopicName, _)| name.cmp(topic);
        let Ok(index) = self.positions.binary_search_by(find) else {
            let Some(from) = self.from else {
                return Ok(None);
            };
            return match by_time(history, from, now) {
                Answer::Now(after) => Ok(after),
                Answer::Later(lookup) => Err(lookup),
            };
        };
        let known = self.positions.get(index).map(|(_, known)| *known);
        let cursor = known.and_then(|known| {
            Some(Position {
                epoch: known.epoch?,
                offset: known.offset,
            })
        });
        Ok(cursor
            .filter(|cursor| history.recovers(*cursor, now))
            .map(|cursor| cursor.offset))
    }
}
