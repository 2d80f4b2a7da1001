//! One turn of a worker's event loop: whose outboxes have something to write at its end.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use crate::metrics::{Metrics, Recovery, SubscriptionKind, WorkerMetrics};
use crate::protocol::ErrorCode;

use super::subscriber::Subscriber;

/// What the sessions and the registry of one worker hand to the flush at the end of a turn.
///
/// It stands apart from the registry's state, so that an answer can be queued while that state is
/// borrowed.
pub struct Turn {
    dirty: RefCell<Vec<Rc<Subscriber>>>,
    waker: RefCell<Option<Waker>>,
    /// Whether outboxes hold only a part of their bound, because memory is very short; of all workers.
    squeezed: Arc<AtomicBool>,
    /// The worker's counters.
    pub metrics: WorkerMetrics,
    all: Metrics,
}

impl Turn {
    /// A turn with nothing to do.
    pub fn new(metrics: Metrics, shard: usize, squeezed: Arc<AtomicBool>) -> Self {
        Self {
            dirty: RefCell::default(),
            waker: RefCell::default(),
            squeezed,
            metrics: metrics.worker(shard),
            all: metrics,
        }
    }

    /// The metrics that all workers share.
    pub fn all_metrics(&self) -> &Metrics {
        &self.all
    }

    /// Counts subscriptions, at once: the gauge has changed before a frame tells of it.
    pub fn subscriptions_changed(&self, kind: SubscriptionKind, by: i64) {
        self.all.subscriptions_changed(kind, by);
    }

    /// Counts a publish that was refused.
    pub fn publish_failed(&self, code: ErrorCode) {
        self.all
            .publish_failed(crate::metrics::ErrorCode::named(code.as_str()));
    }

    /// Counts a recovery that was asked for.
    pub fn recovery(&self, recovered: bool) {
        self.all.recovery(if recovered {
            Recovery::Recovered
        } else {
            Recovery::Gap
        });
    }

    /// Notes that a subscriber's outbox has something to write.
    pub fn mark(&self, subscriber: &Rc<Subscriber>) {
        self.dirty.borrow_mut().push(Rc::clone(subscriber));
        self.wake();
    }

    /// Which part of its bound an outbox may hold now.
    pub fn share(&self) -> usize {
        if self.squeezed.load(Ordering::Relaxed) {
            4
        } else {
            1
        }
    }

    /// Asks for a flush at the end of this turn.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Says who is to be woken by the next [`Turn::wake`].
    pub fn sleep(&self, waker: &Waker) {
        *self.waker.borrow_mut() = Some(waker.clone());
    }

    /// The first `most` of those that are marked.
    pub fn take_dirty(&self, most: usize) -> Vec<Rc<Subscriber>> {
        let mut dirty = self.dirty.borrow_mut();
        if dirty.len() <= most {
            return std::mem::take(&mut *dirty);
        }
        dirty.drain(..most).collect()
    }

    /// Whether any is marked.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.borrow().is_empty()
    }

    /// Gives the room of a list back for the next turn.
    pub fn recycle(&self, mut list: Vec<Rc<Subscriber>>) {
        list.clear();
        let mut dirty = self.dirty.borrow_mut();
        if dirty.is_empty() && list.capacity() <= 4096 {
            *dirty = list;
        }
    }
}
