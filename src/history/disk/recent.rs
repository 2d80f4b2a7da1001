//! What a history on the disk keeps in memory: its newest messages, as far as there is room, and where
//! its oldest ones stand.

use std::collections::VecDeque;
use std::sync::Arc;

use super::reader::MARKS;
use super::state::{Mark, State};
use crate::history::Limit;
use crate::history::ceiling::Ceiling;
use crate::model::{Message, Timestamp};

/// The two ends of a history.
#[derive(Debug)]
pub(super) struct Recent {
    ceiling: Arc<Ceiling>,
    /// Where the messages after the oldest stand, one after another; not all of them.
    marks: VecDeque<Mark>,
    /// The newest messages, up to the newest; not all of them.
    ring: VecDeque<(Mark, Arc<Message>)>,
}

impl Recent {
    pub(super) fn new(ceiling: &Arc<Ceiling>) -> Self {
        Self {
            ceiling: Arc::clone(ceiling),
            marks: VecDeque::new(),
            ring: VecDeque::new(),
        }
    }

    /// Takes the newest message. `state` is as before it, and after those that it made go.
    pub(super) fn push(&mut self, mark: Mark, message: Arc<Message>) {
        self.ceiling.take_cached(message.weight());
        self.ring.push_back((mark, message));
    }

    /// Gives messages away that the disk has, while there is no room for them.
    pub(super) fn give_way(&mut self, state: &State, keep: usize) {
        while self.ring.len() > keep.max(1) && self.ceiling.is_crowded() {
            self.pop(state);
        }
        if self.ceiling.overflows() {
            while !self.ring.is_empty() {
                self.pop(state);
            }
        }
        self.shrink();
    }

    /// How many messages there are.
    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    fn pop(&mut self, state: &State) {
        let Some((mark, message)) = self.ring.pop_front() else {
            return;
        };
        self.ceiling.release_cached(message.weight());
        let next = state.start.offset + 1 + self.marks.len() as u64;
        if mark.offset == next && self.marks.len() < MARKS {
            self.marks.push_back(mark);
        }
    }

    /// Forgets what is before the oldest message.
    pub(super) fn begin_at(&mut self, start: u64) {
        while self
            .marks
            .pop_front_if(|mark| mark.offset <= start)
            .is_some()
        {}
        while let Some((_, gone)) = self.ring.pop_front_if(|(mark, _)| mark.offset < start) {
            self.ceiling.release_cached(gone.weight());
        }
    }

    /// Forgets what is after the newest message.
    pub(super) fn end_at(&mut self, newest: u64) {
        self.marks.clear();
        while let Some((_, gone)) = self.ring.pop_back_if(|(mark, _)| mark.offset > newest) {
            self.ceiling.release_cached(gone.weight());
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.end_at(0);
    }

    /// Takes where the oldest messages stand, as the disk has them.
    pub(super) fn learn(&mut self, marks: impl IntoIterator<Item = Mark>) {
        let first = self.first();
        self.marks.clear();
        let marks = marks.into_iter();
        self.marks
            .extend(marks.take_while(|mark| Some(mark.offset) < first || first.is_none()));
    }

    /// The offset of the oldest message in memory.
    pub(super) fn first(&self) -> Option<u64> {
        self.ring.front().map(|(mark, _)| mark.offset)
    }

    /// Where that message stands, as far as it is known.
    pub(super) fn mark(&self, state: &State, offset: u64) -> Option<Mark> {
        if offset == state.start.offset {
            return Some(state.start);
        }
        if offset > state.newest {
            return Some(state.end());
        }
        let in_ring = self.first().and_then(|first| offset.checked_sub(first));
        if let Some(index) = in_ring {
            let held = self.ring.get(usize::try_from(index).ok()?);
            return held.map(|(mark, _)| *mark);
        }
        let index = offset.checked_sub(state.start.offset + 1)?;
        self.marks.get(usize::try_from(index).ok()?).copied()
    }

    /// The first held message of which `is_there` is true, where it is so of all after it; as much as is
    /// known: one at or before it, and whether it is that one.
    pub(super) fn search(&self, state: &State, is_there: impl Fn(Mark) -> bool) -> (u64, bool) {
        if state.len() == 0 || is_there(state.start) {
            return (state.start.offset, true);
        }
        let after_marks = state.start.offset + 1 + self.marks.len() as u64;
        let known = self.marks.partition_point(|mark| !is_there(*mark));
        if known < self.marks.len() {
            return (state.start.offset + 1 + known as u64, true);
        }
        let first = self.first().unwrap_or(state.newest + 1);
        let in_ring = self.ring.partition_point(|(mark, _)| !is_there(*mark));
        let is_joined = after_marks >= first;
        // Where the oldest in memory is not there yet, the place lies in memory whatever is before it.
        if is_joined || in_ring > 0 {
            return ((first + in_ring as u64).max(state.start.offset), true);
        }
        if self.ring.is_empty() && !is_there(state.end()) {
            return (state.newest + 1, true);
        }
        (after_marks, false)
    }

    /// The messages from `first` to `last`, as many as the limit lets through; they are in memory.
    pub(super) fn read(&self, first: u64, last: u64, limit: Limit) -> Vec<Arc<Message>> {
        let skipped = first.saturating_sub(self.first().unwrap_or(first));
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let mut bytes = 0_usize;
        self.ring
            .range(skipped.min(self.ring.len())..)
            .take(limit.messages)
            .take_while(|(mark, _)| mark.offset <= last)
            .enumerate()
            .take_while(|(taken, (_, message))| {
                bytes = bytes.saturating_add(message.weight());
                *taken == 0 || bytes <= limit.bytes
            })
            .map(|(_, (_, message))| Arc::clone(message))
            .collect()
    }

    /// Gives room back that a burst took and that is no longer needed.
    pub(super) fn shrink(&mut self) {
        const SMALL: usize = 32;
        let len = self.ring.len();
        if self.ring.capacity() > SMALL && len < self.ring.capacity() / 4 {
            self.ring.shrink_to(len * 2);
        }
        if self.marks.is_empty() {
            self.marks = VecDeque::new();
        }
    }
}

impl Drop for Recent {
    fn drop(&mut self) {
        for (_, message) in &self.ring {
            self.ceiling.release_cached(message.weight());
        }
    }
}

/// The times that are not too old at `now`: from this one on.
pub(super) fn cutoff(age: Option<std::time::Duration>, now: Timestamp) -> Timestamp {
    let age = age.map_or(u64::MAX, |age| {
        u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
    });
    Timestamp(now.0.saturating_sub(age))
}
