//! What all topics of a store hold in memory together, and how much it may be.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What all topics of a store hold in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Messages held in histories.
    pub messages: usize,
    /// What they weigh, in bytes ([`Message::weight`](crate::model::Message::weight)).
    pub bytes: usize,
    /// Retained messages. One that a history holds as well counts in both.
    pub retained: usize,
    /// What these weigh.
    pub retained_bytes: usize,
}

/// A sum that all topics share, and its bound.
#[derive(Debug)]
pub(super) struct Ceiling {
    most: usize,
    // Counts of their own: nothing is ordered by them, hence Relaxed.
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// Of messages that are on a disk as well.
    cached: AtomicUsize,
    retained: AtomicUsize,
    retained_bytes: AtomicUsize,
}

impl Ceiling {
    /// In bytes; `usize::MAX` for none.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            messages: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            cached: AtomicUsize::new(0),
            retained: AtomicUsize::new(0),
            retained_bytes: AtomicUsize::new(0),
        }
    }

    /// A history holds one message more.
    pub(super) fn take(&self, weight: usize) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(weight, Ordering::Relaxed);
    }

    /// A history holds so many messages less.
    pub(super) fn release(&self, messages: usize, bytes: usize) {
        self.messages.fetch_sub(messages, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// A message is held in memory that is on a disk as well.
    pub(super) fn take_cached(&self, weight: usize) {
        self.cached.fetch_add(weight, Ordering::Relaxed);
    }

    /// It is not any more.
    pub(super) fn release_cached(&self, weight: usize) {
        self.cached.fetch_sub(weight, Ordering::Relaxed);
    }

    /// Takes room for a retained message of that weight where there is any once one of the weight
    /// `leaves` has made place, and what is on a disk as well has given way. It is taken in any case.
    pub(super) fn take_retained(&self, weight: usize, leaves: usize) -> bool {
        let before = self.retained_bytes.fetch_add(weight, Ordering::Relaxed);
        let retained = before.saturating_add(weight).saturating_sub(leaves);
        retained.saturating_add(self.bytes.load(Ordering::Relaxed)) <= self.most
    }

    /// Gives room for retained messages back.
    pub(super) fn release_retained(&self, weight: usize) {
        self.retained_bytes.fetch_sub(weight, Ordering::Relaxed);
    }

    /// One more message is retained.
    pub(super) fn count_retained(&self) {
        self.retained.fetch_add(1, Ordering::Relaxed);
    }

    /// One less is.
    pub(super) fn uncount_retained(&self) {
        self.retained.fetch_sub(1, Ordering::Relaxed);
    }

    /// What is in memory and nowhere else, in bytes.
    pub(super) fn pinned(&self) -> usize {
        let retained = self.retained_bytes.load(Ordering::Relaxed);
        self.bytes.load(Ordering::Relaxed).saturating_add(retained)
    }

    fn held(&self) -> usize {
        let cached = self.cached.load(Ordering::Relaxed);
        self.pinned().saturating_add(cached)
    }

    /// Whether what is left is for those that have next to nothing. What is on a disk as well gives way
    /// before that, and is not counted.
    pub(super) fn is_short(&self) -> bool {
        self.pinned() > self.most - self.most / 16
    }

    /// Whether more is held than may be, of what is nowhere else.
    pub(super) fn is_exceeded(&self) -> bool {
        self.pinned() > self.most
    }

    /// Whether what is on a disk as well is to give way.
    pub(super) fn is_crowded(&self) -> bool {
        self.held() > self.most - self.most / 8
    }

    /// Whether hardly any room is left, whatever takes it.
    pub(super) fn is_full(&self) -> bool {
        self.held() > self.most - self.most / 16
    }

    /// Whether more is held than may be, of whatever.
    pub(super) fn overflows(&self) -> bool {
        self.held() > self.most
    }

    /// What is held at this moment; what is on a disk as well is not counted among the histories.
    pub(super) fn usage(&self) -> Usage {
        Usage {
            messages: self.messages.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            retained: self.retained.load(Ordering::Relaxed),
            retained_bytes: self.retained_bytes.load(Ordering::Relaxed),
        }
    }
}
