//! Where topics are at home, and how the registries of a node reach each other.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock};

use actix::Addr;

use crate::model::TopicName;

use super::registry::TopicRegistry;

/// The registries of a node, one per worker.
///
/// A slot is taken by the worker that starts and given back when its thread ends, so that a worker
/// that is started again finds the place of the one that died.
pub struct Shards {
    hasher: RandomState,
    slots: Vec<Slot>,
}

#[derive(Default)]
struct Slot {
    address: RwLock<Option<Addr<TopicRegistry>>>,
    queued: AtomicI64,
}

impl Shards {
    /// Room for so many workers.
    pub fn new(workers: usize) -> Self {
        let mut slots = Vec::new();
        slots.resize_with(workers.max(1), Slot::default);
        Self {
            hasher: RandomState::new(),
            slots,
        }
    }

    /// How many workers there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Never: a node has at least one worker.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The one seed by which names are hashed in this node.
    pub fn hasher(&self) -> RandomState {
        self.hasher.clone()
    }

    /// Where a topic is at home.
    pub fn home(&self, topic: &TopicName) -> usize {
        if self.slots.len() == 1 {
            return 0;
        }
        // The map of topics uses the same hash's high bits; the remainder takes the low ones.
        (self.hasher.hash_one(topic) % self.slots.len() as u64) as usize
    }

    /// Takes the first free slot, or none.
    pub fn claim(&self, start: impl FnOnce(usize) -> Addr<TopicRegistry>) -> Option<usize> {
        for (shard, slot) in self.slots.iter().enumerate() {
            let mut address = slot.address.write().unwrap_or_else(PoisonError::into_inner);
            if address.as_ref().is_none_or(|a| !a.connected()) {
                *address = Some(start(shard));
                return Some(shard);
            }
        }
        None
    }

    /// Gives a slot back.
    pub fn release(&self, shard: usize) {
        if let Some(slot) = self.slots.get(shard) {
            *slot.address.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// The registry of a worker, while it runs.
    pub fn address(&self, shard: usize) -> Option<Addr<TopicRegistry>> {
        let slot = self.slots.get(shard)?;
        slot.address
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many workers run.
    pub fn running(&self) -> usize {
        (0..self.slots.len())
            .filter(|shard| self.address(*shard).is_some())
            .count()
    }

    /// Counts messages on their way to a worker.
    pub fn count_queued(&self, shard: usize, by: i64) {
        if let Some(slot) = self.slots.get(shard) {
            slot.queued.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// Messages on their way to a worker.
    pub fn queued(&self, shard: usize) -> i64 {
        self.slots
            .get(shard)
            .map_or(0, |slot| slot.queued.load(Ordering::Relaxed))
    }
}
