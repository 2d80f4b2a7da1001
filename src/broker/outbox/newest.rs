//! Conflation: of the messages that wait, only the newest of each key.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;

use super::segment::{Fact, Frames, Kind, Segment};
use super::{MAX_PIECES, Outbox};
use crate::model::{Overflow, TopicName};
use crate::protocol::with_skipped;

/// Bytes that are made ready for one write.
const AHEAD: usize = 64 * 1024;

/// What takes the place of what: a topic, and a key of it where the message has one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The topic.
    pub topic: TopicName,
    /// The key.
    pub key: Option<Arc<str>>,
}

/// The message of its key that waits.
#[derive(Clone, Debug)]
pub struct Newest {
    /// What it is the newest of.
    pub slot: Slot,
    /// For how many that did not leave it stands.
    pub skipped: u64,
    /// Its bytes before they told `skipped`.
    pristine: Option<Bytes>,
}

/// Where in the queue the newest messages stand.
pub type Index = HashMap<Slot, u64>;

impl Newest {
    /// A message that stands for itself alone.
    pub fn new(slot: Slot) -> Self {
        Self {
            slot,
            skipped: 0,
            pristine: None,
        }
    }
}

impl Outbox {
    /// Queues messages of which only the newest of each key is to wait; returns how many that
    /// were to be written are not any more.
    pub(super) fn conflate(&mut self, segment: Segment) -> usize {
        let Some(topic) = segment.topic().cloned() else {
            self.push(segment);
            return 0;
        };
        let mut conflated = 0;
        for (fact, bytes) in segment.singles() {
            match fact {
                Some(Fact {
                    kind: Kind::Message,
                    key,
                    ..
                }) => {
                    let topic = topic.clone();
                    conflated += self.put_newest(Newest::new(Slot { topic, key }), bytes);
                }
                _ => self.push(Segment::one(bytes, Frames::Notice(topic.clone()))),
            }
        }
        conflated
    }

    /// Queues a message in the place of an older one of its key, if one waits; returns how many did.
    ///
    /// It stands at the end: messages of a topic keep their order.
    pub(super) fn put_newest(&mut self, mut newest: Newest, bytes: Bytes) -> usize {
        let older = self.find_newest(&newest.slot);
        let older = older.and_then(|at| self.segments.remove(at));
        if let Some(older) = &older {
            self.bytes -= older.len();
            if let Frames::Newest(older) = &older.frames {
                newest.skipped += older.skipped + 1;
            }
        }
        let slot = newest.slot.clone();
        self.push(Segment::one(bytes, Frames::Newest(Box::new(newest))));
        if let Some(place) = self.segments.back().map(|last| last.place) {
            self.aside.get_or_insert_default().index.insert(slot, place);
        }
        usize::from(older.is_some())
    }

    /// Where the message of that key waits of which nothing has been written.
    fn find_newest(&self, slot: &Slot) -> Option<usize> {
        let place = *self.aside.as_ref()?.index.get(slot)?;
        let first = self.segments.partition_point(|s| s.place < place);
        let there = self.segments.iter().enumerate().skip(first);
        let mut there = there.take_while(|(_, segment)| segment.place == place);
        let is_it = |(at, segment): &(usize, &Segment)| {
            let begun = *at == 0 && self.front_started;
            !begun && matches!(&segment.frames, Frames::Newest(n) if n.slot == *slot)
        };
        there.find(is_it).map(|(at, _)| at)
    }

    /// What was queued while it seemed to leave at once, and has to wait: only the newest of each
    /// key goes on waiting. Returns how many do not.
    pub(super) fn gather(&mut self) -> usize {
        if !mem::take(&mut self.has_loose) {
            return 0;
        }
        let is_partial = self.split_partial();
        let mut waiting = mem::take(&mut self.segments).into_iter();
        self.segments
            .extend(waiting.by_ref().take(usize::from(is_partial)));
        if let Some(aside) = &mut self.aside {
            aside.index.clear();
        }
        let mut conflated = 0;
        for mut segment in waiting {
            self.bytes -= segment.len();
            if segment.handling().overflow == Overflow::Conflate {
                conflated += self.conflate(segment);
            } else if let Frames::Newest(newest) = segment.frames {
                let Newest {
                    slot,
                    skipped,
                    pristine,
                } = *newest;
                let bytes = pristine.unwrap_or(segment.bytes);
                let newest = Newest {
                    skipped,
                    ..Newest::new(slot)
                };
                conflated += self.put_newest(newest, bytes);
            } else {
                segment.place = 0;
                self.push(segment);
            }
        }
        conflated
    }

    /// Lets those that are about to be written tell for how many they stand; returns how many segments
    /// may be written then. What was compressed is larger once it tells, so it is done only as far as
    /// the kernel may take it.
    pub(super) fn tell_skipped(&mut self) -> usize {
        if self
            .aside
            .as_ref()
            .is_none_or(|aside| aside.index.is_empty())
        {
            return MAX_PIECES;
        }
        let mut ahead = 0;
        for (at, segment) in self.segments.iter_mut().take(MAX_PIECES).enumerate() {
            if let Frames::Newest(newest) = &mut segment.frames
                && newest.skipped > 0
                && newest.pristine.is_none()
            {
                if ahead > AHEAD {
                    return at;
                }
                let told = with_skipped(self.format, &segment.bytes, newest.skipped);
                self.bytes += told.len();
                self.bytes -= segment.bytes.len();
                newest.pristine = Some(mem::replace(&mut segment.bytes, told));
            }
            ahead += segment.len();
        }
        MAX_PIECES
    }

    /// A message has left whole.
    pub(super) fn forget_newest(&mut self, gone: &Segment) {
        if let (Frames::Newest(newest), Some(aside)) = (&gone.frames, &mut self.aside)
            && aside.index.get(&newest.slot) == Some(&gone.place)
        {
            aside.index.remove(&newest.slot);
        }
    }
}
