//! Histories that live as long as the process: a ring of shared messages per topic, and one more that
//! is retained.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

mod forgotten;

use super::ceiling::{Ceiling, Usage};
use super::slot::Slot;
use super::{
    Answer, Appended, Beside, Bounds, Completion, History, HistoryError, HistoryStore, Limit, News,
    Retain, Retained, Terms,
};
use crate::model::{Durability, Epoch, Filter, Message, Position, Timestamp, TopicName};
pub(super) use forgotten::Forgotten;

/// Keeps histories and retained messages in memory, under one ceiling for all topics.
///
/// Cloning is cheap; clones are the same store. An append that takes the sum of all that is kept over
/// fifteen sixteenths of the ceiling drops the oldest messages of its own topic until the sum fits or
/// only the message just appended is left of the topic. So a busy topic pays for itself and cannot
/// push out a quiet one. What is left is for topics that have one message, and for retained ones: a
/// message that does not fit below the ceiling itself is not kept, as though it had grown too old at
/// once, and one that is to be retained is refused. While it is [short](HistoryStore::is_short) of
/// room, histories are asked to give way, so that there is some again.
///
/// The sum never stays above the ceiling; while a message is appended it may be, by that message.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

impl MemoryStore {
    /// A store that starts to remember at `now`. `ceiling` is in bytes, over all topics
    /// (`usize::MAX` for none). `random` makes the epochs: if it repeated a number between two
    /// lives of a topic, cursors of the first would recover wrongly in the second.
    pub fn new(
        ceiling: usize,
        random: impl Fn() -> u64 + Send + Sync + 'static,
        now: Timestamp,
    ) -> Self {
        Self::below(Arc::new(Ceiling::new(ceiling)), Arc::new(random), now)
    }

    /// The same, below a ceiling that others are below as well.
    pub(super) fn below(ceiling: Arc<Ceiling>, random: Random, now: Timestamp) -> Self {
        Self {
            shared: Arc::new(Shared {
                ceiling,
                random,
                forgotten: Forgotten::new(now),
            }),
        }
    }

    /// Every message of the topic that went with it, as far as that is known, is older.
    pub(super) fn gone_before(&self, topic: &TopicName) -> Timestamp {
        self.shared.forgotten.gone_before(topic)
    }
}

impl HistoryStore for MemoryStore {
    fn open(
        &self,
        topic: &TopicName,
        Terms { bounds, .. }: Terms,
        _news: &Arc<News>,
    ) -> Result<Box<dyn History>, HistoryError> {
        if bounds.messages == 0 {
            return Err(HistoryError::NoMessages);
        }
        Ok(Box::new(MemoryHistory {
            shared: Arc::clone(&self.shared),
            topic: topic.clone(),
            bounds,
            epoch: self.shared.new_epoch(),
            ring: VecDeque::new(),
            bytes: 0,
            newest: 0,
            last_time: Timestamp(0),
            lost_before: self.shared.forgotten.whole_from(topic),
            retained: Slot::new(&self.shared.ceiling),
        }))
    }

    fn open_retained(
        &self,
        _topic: &TopicName,
        _durability: Durability,
        _news: &Arc<News>,
    ) -> Result<Box<dyn Retained>, HistoryError> {
        Ok(Box::new(Slot::new(&self.shared.ceiling)))
    }

    fn usage(&self) -> Usage {
        self.shared.ceiling.usage()
    }

    fn is_short(&self) -> bool {
        self.shared.ceiling.is_short()
    }

    fn remembers(&self, filter: &Filter, from: Timestamp, _least: Durability) -> bool {
        self.shared.forgotten.remembers(filter, from)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

/// What makes the epochs.
pub(super) type Random = Arc<dyn Fn() -> u64 + Send + Sync>;

struct Shared {
    ceiling: Arc<Ceiling>,
    random: Random,
    forgotten: Forgotten,
}

impl Shared {
    fn new_epoch(&self) -> Epoch {
        Epoch::from_random((self.random)())
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("ceiling", &self.ceiling)
            .finish_non_exhaustive()
    }
}

/// One topic's ring. The message at index `i` has offset `oldest() + i`, and times do not go back
/// along it: both are what lets a reader find its place without a search through all of it.
#[derive(Debug)]
struct MemoryHistory {
    shared: Arc<Shared>,
    topic: TopicName,
    bounds: Bounds,
    epoch: Epoch,
    ring: VecDeque<Arc<Message>>,
    bytes: usize,
    newest: u64,
    /// The newest message's time, of any epoch.
    last_time: Timestamp,
    /// Every message that was dropped, or that went with a life of the topic before this, is older.
    lost_before: Timestamp,
    retained: Slot,
}

impl MemoryHistory {
    fn is_expired(&self, message: &Message, now: Timestamp) -> bool {
        self.bounds
            .age
            .is_some_and(|age| Duration::from_millis(now.0.saturating_sub(message.time.0)) > age)
    }

    /// How many messages at the ring's old end are too old.
    fn expired(&self, now: Timestamp) -> usize {
        // Mostly none: the whole ring is asked only if its oldest is too old.
        if !self
            .ring
            .front()
            .is_some_and(|oldest| self.is_expired(oldest, now))
        {
            return 0;
        }
        self.ring.partition_point(|held| self.is_expired(held, now))
    }

    /// The offset of the oldest message that is not too old.
    fn oldest_at(&self, now: Timestamp) -> u64 {
        self.oldest() + self.expired(now) as u64
    }

    /// The offset of the last message before that time, or the one before the oldest held.
    fn before(&self, from: Timestamp) -> u64 {
        self.oldest() - 1 + self.ring.partition_point(|held| held.time < from) as u64
    }

    fn drop_oldest(&mut self) {
        if let Some(gone) = self.ring.pop_front() {
            let weight = gone.weight();
            let after = Timestamp(gone.time.0.saturating_add(1));
            self.lost_before = self.lost_before.max(after);
            self.bytes = self.bytes.saturating_sub(weight);
            self.shared.ceiling.release(1, weight);
        }
    }

    fn drop_expired(&mut self, now: Timestamp) {
        for _ in 0..self.expired(now) {
            self.drop_oldest();
        }
    }

    /// Drops from the old end until the bounds hold; the newest message only where there is no room
    /// for it in the store.
    fn drop_excess(&mut self) {
        while self.ring.len() > 1
            && (self.ring.len() > self.bounds.messages
                || self.bytes > self.bounds.bytes
                || self.shared.ceiling.is_short())
        {
            self.drop_oldest();
        }
        if self.shared.ceiling.is_exceeded() {
            self.drop_oldest();
        }
    }

    /// Gives room back that a burst took and that is no longer needed.
    fn shrink(&mut self) {
        const SMALL: usize = 32;
        let len = self.ring.len();
        if self.ring.capacity() > SMALL && len < self.ring.capacity() / 4 {
            self.ring.shrink_to(len * 2);
        }
    }
}

impl History for MemoryHistory {
    fn append(
        &mut self,
        mut message: Message,
        Beside { retain, .. }: Beside,
        now: Timestamp,
    ) -> Result<Appended, HistoryError> {
        let room = match retain {
            Retain::Set => Some(self.retained.make_room(message.weight())?),
            Retain::Leave | Retain::Clear => None,
        };
        let time = now.max(self.last_time);
        self.drop_expired(time);
        self.newest += 1;
        self.last_time = time;
        message.time = time;
        message.position = Some(Position {
            epoch: self.epoch,
            offset: self.newest,
        });
        let weight = message.weight();
        let message = Arc::new(message);
        self.ring.push_back(Arc::clone(&message));
        self.bytes += weight;
        self.shared.ceiling.take(weight);
        match room {
            Some(room) => self.retained.put(Arc::clone(&message), room),
            None if retain == Retain::Clear => self.retained.clear(),
            None => {}
        }
        self.drop_excess();
        Ok(Appended {
            message,
            completion: Completion::Now,
        })
    }

    fn retained(&self) -> Option<Arc<Message>> {
        self.retained.message()
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn newest(&self) -> u64 {
        self.newest
    }

    fn settled(&self) -> u64 {
        self.newest
    }

    fn oldest(&self) -> u64 {
        self.newest + 1 - self.ring.len() as u64
    }

    fn oldest_time(&self, now: Timestamp) -> Option<Timestamp> {
        self.ring.get(self.expired(now)).map(|oldest| oldest.time)
    }

    fn read(&mut self, after: u64, limit: Limit, now: Timestamp) -> Answer<Vec<Arc<Message>>> {
        let first = after.saturating_add(1).max(self.oldest_at(now));
        let skipped = usize::try_from(first - self.oldest()).unwrap_or(usize::MAX);
        let mut bytes = 0_usize;
        let read = self
            .ring
            .range(skipped.min(self.ring.len())..)
            .take(limit.messages)
            .enumerate()
            .take_while(|(taken, message)| {
                bytes = bytes.saturating_add(message.weight());
                *taken == 0 || bytes <= limit.bytes
            })
            .map(|(_, message)| Arc::clone(message))
            .collect();
        Answer::Now(read)
    }

    fn rebound(&mut self, terms: Terms, now: Timestamp) {
        self.bounds = terms.bounds;
        self.drop_expired(now);
        self.drop_excess();
    }

    fn trim(&mut self, now: Timestamp) {
        self.drop_expired(now);
        self.shrink();
    }

    fn give_way(&mut self) {
        let keep = self.ring.len().div_ceil(2);
        while self.ring.len() > keep && self.shared.ceiling.is_short() {
            self.drop_oldest();
        }
        self.shrink();
    }

    fn clear(&mut self) -> Result<Completion, HistoryError> {
        while !self.ring.is_empty() {
            self.drop_oldest();
        }
        self.ring = VecDeque::new();
        self.retained.clear();
        self.epoch = self.shared.new_epoch();
        self.newest = 0;
        Ok(Completion::Now)
    }

    fn first_since(&mut self, from: Timestamp) -> Answer<u64> {
        Answer::Now(self.before(from))
    }

    fn holds_since(&self, from: Timestamp, now: Timestamp) -> bool {
        from >= self.lost_before && self.before(from) + 1 >= self.oldest_at(now)
    }

    fn recovers(&self, cursor: Position, now: Timestamp) -> bool {
        cursor.epoch == self.epoch
            && cursor.offset <= self.newest
            && cursor.offset + 1 >= self.oldest_at(now)
    }

    fn len(&self) -> usize {
        self.ring.len()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for MemoryHistory {
    fn drop(&mut self) {
        self.shared.ceiling.release(self.ring.len(), self.bytes);
        if self.last_time > Timestamp(0) {
            self.shared.forgotten.note(&self.topic, self.last_time);
        }
    }
}

#[cfg(test)]
mod tests;
