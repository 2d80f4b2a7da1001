//! What goes where a queue is full: as each subscription asked, and told.

use std::time::Instant;

use bytes::Bytes;

use super::missing::Missing;
use super::newest::{Newest, Slot};
use super::segment::{Fact, Frames, Handling, Kind, Segment};
use super::{Aside, Outbox};
use crate::model::{Overflow, TopicName};

/// What became of messages that were to be queued, and of those that waited before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Messages that were dropped; the session is told which.
    pub dropped: usize,
    /// Messages that a newer one of their key has replaced.
    pub conflated: usize,
    /// There is no room, and nothing that may be dropped: the session is too slow.
    pub is_overfull: bool,
}

impl Outbox {
    /// Queues messages as they are to be handled, where that part of the bound holds. Where they make
    /// the session too slow they are not queued, or among what is dropped with it.
    pub fn take(&mut self, segment: Segment, share: usize, now: Instant) -> Taken {
        let handling = segment.handling();
        match (handling.overflow, handling.min_interval) {
            (Overflow::Disconnect, _) => self.take_kept(segment, share),
            (Overflow::DropOldest, _) => self.take_droppable(segment, handling, share),
            (Overflow::Conflate, None) => self.take_conflated(segment, share),
            (Overflow::Conflate, Some(_)) => self.pace(segment, handling, share, now),
        }
    }

    /// Drops what may be until that part of the bound holds.
    pub fn shrink(&mut self, share: usize) -> Taken {
        let dropped = self.drop_oldest(self.share(share), None);
        Taken {
            dropped,
            conflated: 0,
            is_overfull: !self.has_room(0, share),
        }
    }

    fn take_kept(&mut self, segment: Segment, share: usize) -> Taken {
        let mut taken = Taken::default();
        if !self.has_room(segment.len(), share) {
            let most = self.share(share).saturating_sub(segment.len());
            taken.dropped = self.drop_oldest(most, None);
        }
        if self.has_room(segment.len(), share) {
            self.push(segment);
        } else {
            taken.dropped += segment.messages_held();
            taken.is_overfull = true;
        }
        taken
    }

    fn take_droppable(&mut self, segment: Segment, handling: Handling, share: usize) -> Taken {
        let fits = self.has_room(segment.len(), share);
        self.push(segment);
        if fits {
            return Taken::default();
        }
        // It is the last to go of its subscription, and does where nothing else can.
        let bound = self.share(share);
        let dropped = self.drop_oldest(bound, Some(handling.subscription));
        Taken {
            dropped,
            conflated: 0,
            is_overfull: self.bytes > bound && self.gap_bytes() > bound / 2,
        }
    }

    fn take_conflated(&mut self, segment: Segment, share: usize) -> Taken {
        if self.waiting_since.is_none() && self.has_room(segment.len(), share) {
            self.push(segment);
            self.has_loose = true;
            return Taken::default();
        }
        let conflated = self.gather() + self.conflate(segment);
        self.bounded(conflated, share)
    }

    /// Holds the queue to its bound once newest messages were put into it, which are not dropped.
    fn bounded(&mut self, conflated: usize, share: usize) -> Taken {
        let mut taken = Taken {
            conflated,
            ..Taken::default()
        };
        let bound = self.share(share);
        let known = self.aside.as_ref().map_or(0, |aside| aside.pace.weight());
        let is_over = |outbox: &Self| {
            outbox.bytes + known > bound && (outbox.messages() > 1 || known > bound)
        };
        if is_over(self) {
            taken.dropped = self.drop_oldest(bound.saturating_sub(known), None);
            taken.is_overfull = is_over(self);
        }
        taken
    }

    fn pace(&mut self, segment: Segment, handling: Handling, share: usize, now: Instant) -> Taken {
        let (Some(topic), Some(interval)) = (segment.topic().cloned(), handling.min_interval)
        else {
            return self.take_kept(segment, share);
        };
        let mut conflated = 0;
        for (fact, bytes) in segment.singles() {
            let kind = fact.as_ref().map_or(Kind::Notice, |fact| fact.kind);
            if kind == Kind::Message {
                let key = fact.and_then(|fact: Fact| fact.key);
                let slot = Slot {
                    topic: topic.clone(),
                    key,
                };
                self.bytes += bytes.len();
                let aside = self.aside.get_or_insert_default();
                let replaced = aside.pace.hold(Newest::new(slot), bytes, interval, now);
                if let Some(replaced) = replaced {
                    self.bytes -= replaced;
                    conflated += 1;
                }
            } else {
                if kind == Kind::Notice {
                    // What comes before it has to.
                    conflated += self.release_of(|held| *held == topic, now);
                }
                self.push(Segment::one(bytes, Frames::Notice(topic.clone())));
            }
        }
        if let Some(aside) = &mut self.aside {
            let due = aside.pace.release(now);
            conflated += self.put_released(due);
        }
        self.bounded(conflated, share)
    }

    /// Queues what was held back and is due; returns how many messages that replaced.
    pub fn release(&mut self, now: Instant) -> usize {
        let Some(aside) = &mut self.aside else {
            return 0;
        };
        let due = aside.pace.release(now);
        aside.pace.forget(now);
        let replaced = self.put_released(due);
        self.tidy_aside();
        replaced
    }

    /// Queues what is held back of those topics, due or not; returns how many messages that
    /// replaced.
    pub fn release_of(&mut self, is_of: impl Fn(&TopicName) -> bool, now: Instant) -> usize {
        let Some(aside) = &mut self.aside else {
            return 0;
        };
        let held = aside.pace.release_of(is_of, now);
        self.put_released(held)
    }

    /// When [`Outbox::release`] has something to do, if anything is held back.
    pub fn next_release(&self) -> Option<Instant> {
        self.aside.as_ref()?.pace.next_look()
    }

    fn put_released(&mut self, released: Vec<(Newest, Bytes)>) -> usize {
        let mut conflated = 0;
        for (newest, bytes) in released {
            self.bytes -= bytes.len();
            conflated += self.put_newest(newest, bytes);
        }
        conflated
    }

    /// What is kept aside goes with the last that needs it.
    pub(super) fn tidy_aside(&mut self) {
        let is_done = |aside: &mut Box<Aside>| aside.index.is_empty() && aside.pace.is_idle();
        self.aside.take_if(is_done);
    }

    fn gap_bytes(&self) -> usize {
        let gaps = self.segments.iter();
        gaps.filter(|segment| matches!(segment.frames, Frames::Gap(_)))
            .map(Segment::len)
            .sum()
    }

    /// Drops messages that may be, until at most so many bytes wait: the oldest first, those of that
    /// subscription before all others. Returns how many.
    fn drop_oldest(&mut self, most: usize, first: Option<u32>) -> usize {
        let mut dropped = 0;
        if first.is_some() {
            dropped += self.drop_of(most, |handling| Some(handling.subscription) == first);
        }
        dropped + self.drop_of(most, |_| true)
    }

    fn drop_of(&mut self, most: usize, goes: impl Fn(Handling) -> bool) -> usize {
        if self.bytes <= most {
            return 0;
        }
        let mut dropped = 0;
        let mut at = usize::from(self.split_partial());
        while self.bytes > most
            && let Some(segment) = self.segments.get_mut(at)
        {
            let handling = segment.handling();
            if handling.overflow != Overflow::DropOldest || !goes(handling) {
                at += 1;
                continue;
            }
            if segment
                .first_fact()
                .is_some_and(|fact| fact.kind != Kind::Message)
            {
                let mut notice = segment.split_to(segment.first_frame_len());
                notice.keep();
                if segment.bytes.is_empty() {
                    *segment = notice;
                } else {
                    self.segments.insert(at, notice);
                }
                at += 1;
                continue;
            }
            let len = segment.first_frame_len();
            let missing = segment.topic().cloned().map(|topic| {
                let position = segment.first_fact().and_then(|fact| fact.position);
                Missing::new(topic, position)
            });
            segment.advance(len);
            self.bytes -= len;
            dropped += 1;
            if segment.bytes.is_empty() {
                self.segments.remove(at);
            }
            if let Some(missing) = missing
                && self.tell_missing(at, missing)
            {
                at += 1;
            }
        }
        dropped
    }

    /// Tells what is missing before what stands there: by the gap that stands there already, or
    /// else by a new one; true where it is a new one.
    fn tell_missing(&mut self, at: usize, missing: Missing) -> bool {
        let topic = Some(&missing.topic);
        // Only over what is of other topics: what is missing stays where it was.
        let before = (0..at).rev().map_while(|before| {
            let of = self.segments.get(before)?.topic()?;
            Some((before, Some(of) == topic))
        });
        let mut before = before;
        let known = before.find(|(_, is_of)| *is_of).map(|(before, _)| before);
        let begun = known == Some(0) && self.front_started;
        if let Some(segment) = known.and_then(|known| self.segments.get_mut(known))
            && let Frames::Gap(gap) = &mut segment.frames
            && !begun
            && gap.join(&missing)
        {
            let told = gap.told(self.format);
            self.bytes += told.len();
            self.bytes -= segment.bytes.len();
            segment.bytes = told;
            return false;
        }
        let told = missing.told(self.format);
        if told.is_empty() {
            return false;
        }
        self.bytes += told.len();
        let mut gap = Segment::one(told, Frames::Gap(Box::new(missing)));
        gap.place = self.place_at(at);
        self.segments.insert(at, gap);
        true
    }
}
