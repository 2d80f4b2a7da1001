//! The topics of which the store keeps something: a little of each in memory, whatever their histories
//! amount to.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::state::State;
use crate::history::slot::Slot;
use crate::history::{Left, Retained as _};
use crate::model::{Durability, Timestamp, TopicName};

/// One topic, shared by its history and the thread that writes.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) topic: TopicName,
    kept: Mutex<Kept>,
}

/// What is known of a topic.
#[derive(Debug)]
pub(super) struct Kept {
    /// As it is on the disk.
    pub(super) committed: State,
    pub(super) durability: Durability,
    /// What it retains, once that is settled.
    pub(super) slot: Slot,
    /// Whether a history or retained message of it is open.
    pub(super) is_open: bool,
    /// How many changes of it wait for the disk.
    pub(super) in_flight: usize,
    /// Messages of the committed life of which it is not written yet where they stand: their offsets, one
    /// after another, and their numbers in the table.
    pub(super) tail: VecDeque<(u64, i64)>,
    /// Whether it is in line to have that written, and what is known of the topic.
    pub(super) is_in_line: bool,
    /// The oldest message of that life that is written to be there, dropped or not, if that is known.
    pub(super) first_there: Option<(i64, u64)>,
    /// Up to which offset of that life damage has been told of.
    pub(super) damaged: Option<(i64, u64)>,
    /// Whether the disk has a row of it.
    pub(super) has_row: bool,
}

impl Kept {
    /// A topic that is not open.
    pub(super) fn new(committed: State, durability: Durability, slot: Slot) -> Self {
        Self {
            committed,
            durability,
            slot,
            is_open: false,
            in_flight: 0,
            tail: VecDeque::new(),
            is_in_line: false,
            first_there: None,
            damaged: None,
            has_row: false,
        }
    }
}

impl Entry {
    pub(super) fn new(topic: TopicName, kept: Kept) -> Self {
        Self {
            topic,
            kept: Mutex::new(kept),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Catalog {
    topics: Mutex<HashMap<TopicName, Arc<Entry>>>,
    next: AtomicI64,
    /// Topics that hold nothing and are not open, by the time of their last message: what is known of
    /// them is their epoch and how far it has come.
    dormant: Mutex<BTreeSet<(Timestamp, TopicName)>>,
}

/// As many topics are known that hold nothing; of more, those go first that had nothing for the longest time.
const DORMANT: usize = if cfg!(test) { 16 } else { 100_000 };

impl Catalog {
    /// `next` is the first number that no topic has had.
    pub(super) fn new(next: i64) -> Self {
        Self {
            topics: Mutex::default(),
            next: AtomicI64::new(next),
            dormant: Mutex::default(),
        }
    }

    /// A number for a topic's row and messages that was never given before.
    pub(super) fn number(&self) -> i64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn insert(&self, entry: Entry) -> Arc<Entry> {
        let entry = Arc::new(entry);
        self.lock().insert(entry.topic.clone(), Arc::clone(&entry));
        entry
    }

    pub(super) fn get(&self, topic: &TopicName) -> Option<Arc<Entry>> {
        self.lock().get(topic).cloned()
    }

    /// Forgets a topic, if the entry is still the one that stands for it.
    pub(super) fn remove(&self, entry: &Arc<Entry>) {
        let mut topics = self.lock();
        let stands = topics.get(&entry.topic);
        if stands.is_some_and(|stands| Arc::ptr_eq(stands, entry)) {
            topics.remove(&entry.topic);
        }
    }

    /// The topic is open no more. Which topic is to be forgotten for it, if there are too many that hold
    /// nothing.
    pub(super) fn closed(&self, entry: &Entry) -> Option<Arc<Entry>> {
        let time = {
            let kept = entry.lock();
            let is_empty = kept.committed.len() == 0 && kept.slot.message().is_none();
            if !is_empty || !kept.has_row || kept.in_flight > 0 {
                return None;
            }
            kept.committed.time
        };
        let mut dormant = self.lock_dormant();
        dormant.insert((time, entry.topic.clone()));
        let (_, topic) = (dormant.len() > DORMANT).then(|| dormant.pop_first())??;
        drop(dormant);
        self.get(&topic)
    }

    /// The topic is opened.
    pub(super) fn opened(&self, entry: &Entry) {
        let time = entry.lock().committed.time;
        self.lock_dormant().remove(&(time, entry.topic.clone()));
    }

    /// All topics, in no order.
    pub(super) fn all(&self) -> Vec<Arc<Entry>> {
        self.lock().values().cloned().collect()
    }

    /// The topics of which the disk holds a message.
    pub(super) fn left(&self) -> Vec<Left> {
        let left = self.all().into_iter().map(|entry| {
            let kept = entry.lock();
            Left {
                topic: entry.topic.clone(),
                has_history: kept.committed.len() > 0,
                has_retained: kept.slot.message().is_some(),
            }
        });
        left.filter(|left| left.has_history || left.has_retained)
            .collect()
    }

    fn lock_dormant(&self) -> MutexGuard<'_, BTreeSet<(Timestamp, TopicName)>> {
        self.dormant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TopicName, Arc<Entry>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
