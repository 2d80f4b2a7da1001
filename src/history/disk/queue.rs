//! What waits for the disk: bounded in bytes, written in the order in which it came.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::catalog::Entry;
use super::state::{Mark, State};
use crate::history::{HistoryError, News, Once, Retain, Ticket};
use crate::model::{Durability, Message};

/// One change of one topic.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) entry: Arc<Entry>,
    /// Whose it is, and of which generation.
    pub(super) home: u64,
    pub(super) generation: u64,
    /// What the home is told once it is done.
    pub(super) ticket: Option<Ticket>,
    pub(super) durability: Durability,
    /// The topic as it is after the change.
    pub(super) state: State,
    pub(super) what: What,
    /// What it takes in the queue.
    pub(super) weight: usize,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum What {
    /// Write a message, and what goes with it.
    Message {
        message: Arc<Message>,
        mark: Mark,
        retain: Retain,
        once: Option<Once>,
    },
    /// Drop everything of the life before this.
    Clear { old: i64 },
    /// Retain that message, beside no history.
    Retained {
        message: Option<Arc<Message>>,
        once: Option<Once>,
    },
    /// Nothing but to write where the topic begins now.
    Trim,
    /// Drop the topic.
    Forget,
}

/// What waits.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    ready: Condvar,
    bytes: AtomicUsize,
    most: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    items: Vec<Item>,
    is_closed: bool,
    sleeps: bool,
}

/// No home has that number.
pub(super) const STORE: u64 = 0;

/// What an item takes beside its message.
pub(super) const ITEM: usize = 256;

impl Item {
    /// A change of the store's own.
    pub(super) fn of_the_store(
        entry: &Arc<Entry>,
        durability: Durability,
        state: State,
        what: What,
    ) -> Self {
        entry.lock().in_flight += 1;
        Self {
            entry: Arc::clone(entry),
            home: STORE,
            generation: 0,
            ticket: None,
            durability,
            state,
            what,
            weight: ITEM,
        }
    }

    /// A change that comes from a home, of its present generation.
    pub(super) fn new(
        entry: &Arc<Entry>,
        news: &News,
        durability: Durability,
        state: State,
        what: What,
    ) -> Self {
        let weight = match &what {
            What::Message { message, .. }
            | What::Retained {
                message: Some(message),
                ..
            } => ITEM + message.weight(),
            _ => ITEM,
        };
        entry.lock().in_flight += 1;
        Self {
            entry: Arc::clone(entry),
            home: news.home(),
            generation: news.generation(),
            ticket: None,
            durability,
            state,
            what,
            weight,
        }
    }
}

impl Item {
    /// Whether it writes a message of a history.
    pub(super) fn is_message(&self) -> bool {
        matches!(self.what, What::Message { .. })
    }

    /// Whether the disk does not know its topic yet, or as one of another durability.
    pub(super) fn needs_row(&self) -> bool {
        let kept = self.entry.lock();
        !kept.has_row || kept.durability != self.durability
    }
}

impl Queue {
    /// One that holds `most` bytes, or one item.
    pub(super) fn new(most: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            ready: Condvar::new(),
            bytes: AtomicUsize::new(0),
            most,
        }
    }

    /// Takes room for what is to be pushed.
    ///
    /// # Errors
    /// [`HistoryError::Unavailable`] where there is none.
    pub(super) fn reserve(&self, weight: usize) -> Result<(), HistoryError> {
        let before = self.bytes.fetch_add(weight, Ordering::Relaxed);
        if before == 0 || before.saturating_add(weight) <= self.most {
            return Ok(());
        }
        self.release(weight);
        let reason = "the disk does not keep up with what is published".to_owned();
        Err(HistoryError::Unavailable(reason))
    }

    /// What was reserved or pushed is done with.
    pub(super) fn release(&self, weight: usize) {
        self.bytes.fetch_sub(weight, Ordering::Relaxed);
    }

    /// What all that waits or is under way takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Adds what room was reserved for, and has it begun with at once.
    pub(super) fn push(&self, item: Item) {
        self.lock().items.push(item);
        self.begin();
    }

    /// Adds what room was reserved for, which comes from that home.
    pub(super) fn push_from(&self, news: &News, item: Item) {
        self.lock().items.push(item);
        if !news.gives() {
            self.begin();
        }
    }

    /// Has all that waits begun with.
    pub(super) fn begin(&self) {
        let mut waiting = self.lock();
        let sleeps = !waiting.items.is_empty() && std::mem::take(&mut waiting.sleeps);
        drop(waiting);
        if sleeps {
            self.ready.notify_one();
        }
    }

    /// Takes all that waits, after waiting for it up to `patience`; and whether there will be no more.
    pub(super) fn take(&self, patience: Duration) -> (Vec<Item>, bool) {
        let mut waiting = self.lock();
        if waiting.items.is_empty() && !waiting.is_closed {
            waiting.sleeps = true;
            let woken = self.ready.wait_timeout(waiting, patience);
            (waiting, _) = woken.unwrap_or_else(PoisonError::into_inner);
            waiting.sleeps = false;
        }
        (std::mem::take(&mut waiting.items), waiting.is_closed)
    }

    /// Whoever waits for items finds that there will be no more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.ready.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
