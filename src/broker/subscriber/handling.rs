//! How messages are handled that a session does not take in time.

use std::rc::Rc;
use std::time::Instant;

use super::Subscriber;
use crate::broker::outbox::{Handling, Taken};
use crate::metrics::DropReason;
use crate::model::{Overflows, TopicName};
use crate::protocol::WireFormat;

impl Subscriber {
    /// How that topic's messages are handled, whose rule allows so much.
    pub(in crate::broker) fn handling(&self, topic: &TopicName, allowed: Overflows) -> Handling {
        // A raw session could not be told what it misses.
        if allowed == Overflows::default() || self.format() == WireFormat::Raw {
            return Handling::default();
        }
        self.book.borrow().handling(topic, allowed)
    }

    /// Sends on what was held back and is due; returns when there is more to do, if anything is.
    pub fn release(self: &Rc<Self>, now: Instant) -> Option<Instant> {
        let mut outbox = self.outbox.borrow_mut();
        outbox.next_release()?;
        let conflated = outbox.release(now);
        let next = outbox.next_release();
        drop(outbox);
        self.count_conflated(conflated);
        self.mark();
        next
    }

    /// When [`Subscriber::release`] has something to do.
    pub fn next_release(&self) -> Option<Instant> {
        self.outbox.borrow().next_release()
    }

    /// Sends on what is held back of those topics, due or not: something else follows.
    pub(in crate::broker) fn release_of(
        self: &Rc<Self>,
        is_of: impl Fn(&TopicName) -> bool,
        now: Instant,
    ) {
        let mut outbox = self.outbox.borrow_mut();
        if outbox.next_release().is_none() {
            return;
        }
        let conflated = outbox.release_of(is_of, now);
        drop(outbox);
        self.count_conflated(conflated);
        self.mark();
    }

    /// Counts what was not queued after all, or is not any more.
    pub(super) fn count_taken(&self, taken: Taken) {
        if taken.dropped > 0 {
            let dropped = taken.dropped as u64;
            self.turn.metrics.dropped(DropReason::Slow, dropped);
        }
        self.count_conflated(taken.conflated);
    }

    /// Counts messages that newer ones of their key have replaced.
    pub(super) fn count_conflated(&self, messages: usize) {
        if messages > 0 {
            let metrics = &self.turn.metrics;
            metrics.dropped(DropReason::Conflated, messages as u64);
        }
    }
}
