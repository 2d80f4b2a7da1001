//! `min_interval_ms`: of each key at most one message in that time, the newest.
//!
//! Messages of a topic keep their order: one that is due waits for those before it, which are due no
//! later than an interval after they came.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::newest::{Newest, Slot};
use crate::model::TopicName;

/// Keys that are known before it is looked for those that may be forgotten.
const FEW: usize = 16;

/// About what it takes to know a key, beside its text.
const KEY: usize = 128;

/// What a session is not given yet.
#[derive(Debug, Default)]
pub struct Pace {
    keys: HashMap<Slot, Key>,
    /// By topic: those that wait.
    lines: HashMap<TopicName, Line>,
    /// Whose first is due when: the topics that have a line.
    firsts: BTreeMap<(Instant, u64), TopicName>,
    /// How many have been held so far.
    count: u64,
    /// When the last of the keys is due.
    latest: Option<Instant>,
    /// Bytes of the keys' texts.
    texts: usize,
    /// How many keys may be known before it is looked for those that may be forgotten.
    enough: usize,
}

#[derive(Debug)]
struct Key {
    /// When the next message of it may go.
    due: Instant,
    /// Which message of it waits.
    held: Option<u64>,
}

/// The messages of a topic that wait, in the order in which they came.
#[derive(Debug, Default)]
struct Line {
    held: BTreeMap<u64, Held>,
    /// When the first of them is due, and which that is.
    first: Option<(Instant, u64)>,
}

#[derive(Debug)]
struct Held {
    newest: Newest,
    bytes: Bytes,
    interval: Duration,
}

impl Pace {
    /// Takes a message, to be let go by [`Pace::release`], which may be at once. It takes the place
    /// of the one of its key that waits: returns how many bytes that had.
    pub fn hold(
        &mut self,
        mut newest: Newest,
        bytes: Bytes,
        interval: Duration,
        now: Instant,
    ) -> Option<usize> {
        if self.keys.len() > self.enough.max(FEW) {
            self.forget(now);
            self.enough = self.keys.len() + self.keys.len() / 4;
        }
        self.count += 1;
        let texts = &mut self.texts;
        let key = self.keys.entry(newest.slot.clone()).or_insert_with(|| {
            *texts += text_len(&newest.slot);
            Key {
                due: now,
                held: None,
            }
        });
        let topic = newest.slot.topic.clone();
        let line = self.lines.entry(topic.clone()).or_default();
        let older = key.held.replace(self.count);
        let older = older.and_then(|older| line.held.remove(&older));
        if let Some(older) = &older {
            newest.skipped += older.newest.skipped + 1;
        }
        let held = Held {
            newest,
            bytes,
            interval,
        };
        line.held.insert(self.count, held);
        self.settle(&topic);
        older.map(|older| older.bytes.len())
    }

    /// Takes out what is due.
    pub fn release(&mut self, now: Instant) -> Vec<(Newest, Bytes)> {
        let mut due = Vec::new();
        while let Some((_, topic)) = self
            .firsts
            .first_key_value()
            .filter(|((at, _), _)| *at <= now)
        {
            let topic = topic.clone();
            due.extend(self.let_first_go(&topic, now));
            self.settle(&topic);
        }
        due
    }

    /// Takes out all that is held of those topics.
    pub fn release_of(
        &mut self,
        is_of: impl Fn(&TopicName) -> bool,
        now: Instant,
    ) -> Vec<(Newest, Bytes)> {
        let topics = self.lines.keys().filter(|topic| is_of(topic));
        let topics: Vec<_> = topics.cloned().collect();
        let mut released = Vec::new();
        for topic in topics {
            while let Some(first) = self.let_first_go(&topic, now) {
                released.push(first);
            }
            self.settle(&topic);
        }
        released
    }

    /// Forgets the keys of which a message may go at once.
    pub fn forget(&mut self, now: Instant) {
        self.keys
            .retain(|_, key| key.held.is_some() || key.due > now);
        self.texts = self.keys.keys().map(text_len).sum();
        if self.keys.is_empty() {
            self.latest = None;
        }
    }

    /// When something is due, or may be forgotten; `None` where nothing is known.
    pub fn next_look(&self) -> Option<Instant> {
        let first = self.firsts.first_key_value();
        first.map(|((due, _), _)| *due).or(self.latest)
    }

    /// Whether nothing is held, and no key has to wait.
    pub fn is_idle(&self) -> bool {
        self.keys.is_empty()
    }

    /// About what it takes to know which keys have to wait, in bytes.
    pub fn weight(&self) -> usize {
        self.keys.len() * KEY + self.texts
    }

    /// How many messages are held.
    pub fn messages(&self) -> usize {
        self.lines.values().map(|line| line.held.len()).sum()
    }

    fn let_first_go(&mut self, topic: &TopicName, now: Instant) -> Option<(Newest, Bytes)> {
        let (_, held) = self.lines.get_mut(topic)?.held.pop_first()?;
        let due = now + held.interval;
        if let Some(key) = self.keys.get_mut(&held.newest.slot) {
            key.held = None;
            key.due = due;
        }
        self.latest = self.latest.max(Some(due));
        Some((held.newest, held.bytes))
    }

    /// Notes which is the first of a topic's now.
    fn settle(&mut self, topic: &TopicName) {
        let Some(line) = self.lines.get_mut(topic) else {
            return;
        };
        let first = line.held.first_key_value().and_then(|(count, held)| {
            let key = self.keys.get(&held.newest.slot)?;
            Some((key.due, *count))
        });
        let before = std::mem::replace(&mut line.first, first);
        if before == first {
            return;
        }
        if let Some(before) = before {
            self.firsts.remove(&before);
        }
        match first {
            Some(first) => drop(self.firsts.insert(first, topic.clone())),
            None => drop(self.lines.remove(topic)),
        }
    }
}

fn text_len(slot: &Slot) -> usize {
    slot.key.as_ref().map_or(0, |key| key.len())
}

#[cfg(test)]
mod tests;
