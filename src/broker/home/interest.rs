//! Which workers have subscribers.

use smallvec::SmallVec;

use crate::broker::filters::FilterTrie;
use crate::model::TopicName;

/// How many subscriptions each worker has.
#[derive(Clone, Debug, Default)]
pub struct Interest(SmallVec<[u32; 4]>);

impl Interest {
    /// The workers that have any.
    pub fn shards(&self) -> impl Iterator<Item = usize> + '_ {
        self.0
            .iter()
            .enumerate()
            .filter(|(_, n)| **n > 0)
            .map(|(shard, _)| shard)
    }

    /// Subscriptions on all workers.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|n| u64::from(*n)).sum()
    }

    /// Whether no worker has any.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|n| *n == 0)
    }

    /// One more of that worker.
    pub fn add(&mut self, shard: usize) {
        if self.0.len() <= shard {
            self.0.resize(shard + 1, 0);
        }
        if let Some(count) = self.0.get_mut(shard) {
            *count += 1;
        }
    }

    /// One less of that worker.
    pub fn take(&mut self, shard: usize) {
        if let Some(count) = self.0.get_mut(shard) {
            *count = count.saturating_sub(1);
        }
    }

    /// Takes all of that worker; whether there were any.
    pub fn take_all(&mut self, shard: usize) -> bool {
        let count = self.0.get_mut(shard).map_or(0, std::mem::take);
        count > 0
    }

    /// Adds what others have.
    pub fn merge(&mut self, other: &Interest) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }
}

/// What the filters that match a topic have.
pub fn matching_interest(filters: &FilterTrie<Interest>, topic: &TopicName) -> Interest {
    let mut all = Interest::default();
    if !filters.is_empty() {
        for (_, interest) in filters.matching(topic) {
            all.merge(interest);
        }
    }
    all
}
