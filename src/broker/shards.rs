//! Where topics are at home, and how the registries of a node reach each other.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
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
    lives: AtomicU64,
}

#[derive(Default)]
struct Slot {
    address: RwLock<Option<(u64, Addr<TopicRegistry>)>>,
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
            lives: AtomicU64::new(0),
        }
    }

    /// How many workers there are.
    pub fn count(&self) -> usize {
        self.slots.len()
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
        // The home's map of topics goes by the lowest and the highest bits of the same hash: had its
        // topics those in common, they would crowd there. So the place comes from between.
        let between = (self.hasher.hash_one(topic) >> 16) & 0xffff_ffff;
        ((between * self.slots.len() as u64) >> 32) as usize
    }

    /// Takes the first free slot, or none.
    pub fn claim(&self, start: impl FnOnce(usize, u64) -> Addr<TopicRegistry>) -> Option<usize> {
        for (shard, slot) in self.slots.iter().enumerate() {
            let mut address = slot.address.write().unwrap_or_else(PoisonError::into_inner);
            if address.as_ref().is_none_or(|(_, a)| !a.connected()) {
                let life = self.lives.fetch_add(1, Ordering::Relaxed);
                *address = Some((life, start(shard, life)));
                return Some(shard);
            }
        }
        None
    }

    /// Gives a slot back, unless another worker has taken it.
    pub fn release(&self, shard: usize, life: u64) {
        if let Some(slot) = self.slots.get(shard) {
            let mut address = slot.address.write().unwrap_or_else(PoisonError::into_inner);
            address.take_if(|(holder, _)| *holder == life);
        }
    }

    /// The registry of a worker, while it runs.
    pub fn address(&self, shard: usize) -> Option<Addr<TopicRegistry>> {
        self.holder(shard).map(|(_, address)| address)
    }

    /// The registry of a worker, while it runs, and what tells it from others in its place.
    pub fn holder(&self, shard: usize) -> Option<(u64, Addr<TopicRegistry>)> {
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
