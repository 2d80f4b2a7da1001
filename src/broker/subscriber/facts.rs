//! What is told of a session to those who look at it.

use std::cell::Cell;
use std::time::Duration;

use super::{Subscriber, flag};
use crate::model::{Filter, Member, Timestamp};

/// What a session is known by, beside its outbox and its subscriptions.
#[derive(Default)]
#[repr(C)]
pub(super) struct Facts {
    delivered: Cell<u64>,
    published: Cell<u64>,
    /// In microseconds; 0 where it has not answered a ping.
    round_trip: Cell<u32>,
}

/// What went to and fro.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCounts {
    /// Messages that it published, and that their topics took.
    pub published: u64,
    /// Messages to it that the kernel took whole.
    pub delivered: u64,
}

impl Subscriber {
    /// Whether it has been welcomed and does not end.
    pub fn is_open(&self) -> bool {
        !self.has(flag::CORKED | flag::CLOSING | flag::GONE)
    }

    /// What others are told of it.
    pub fn member(&self) -> Member {
        Member {
            session: self.id,
            user: self.rights.user(),
            info: None,
            since: Timestamp::default(),
        }
    }

    /// What went to and fro.
    pub fn counts(&self) -> SessionCounts {
        SessionCounts {
            published: self.facts.published.get(),
            delivered: self.facts.delivered.get(),
        }
    }

    /// How long its last answer to a ping took.
    pub fn round_trip(&self) -> Option<Duration> {
        let micros = self.facts.round_trip.get();
        (micros > 0).then(|| Duration::from_micros(micros.into()))
    }

    /// Notes how long an answer to a ping took.
    pub fn note_round_trip(&self, took: Duration) {
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        self.facts.round_trip.set(micros.max(1));
    }

    /// The names and filters that it has subscribed to, the earliest first.
    pub(in crate::broker) fn filters(&self) -> Vec<Filter> {
        let book = self.book.borrow();
        let filters = book.entries().iter().map(|entry| entry.filter.clone());
        filters.collect()
    }

    /// How many these are.
    pub(in crate::broker) fn subscription_count(&self) -> usize {
        self.book.borrow().len()
    }

    /// Whether one of them is so.
    pub(in crate::broker) fn has_subscription(&self, so: impl Fn(&Filter) -> bool) -> bool {
        let book = self.book.borrow();
        book.entries().iter().any(|entry| so(&entry.filter))
    }

    /// Counts a message that it published.
    pub(in crate::broker) fn note_published(&self) {
        self.facts.published.set(self.facts.published.get() + 1);
    }

    /// Counts messages that the kernel took whole.
    pub(in crate::broker) fn note_delivered(&self, messages: u64) {
        self.facts
            .delivered
            .set(self.facts.delivered.get() + messages);
    }
}
