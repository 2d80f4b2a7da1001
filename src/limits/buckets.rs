//! A bucket for each of many.

use std::hash::Hash;
use std::time::{Duration, Instant};

use dashmap::DashMap;

use super::bucket::Bucket;
use crate::config::Rate;

/// So many are told apart at most. Where more come in the time that a bucket takes to fill, which a flood
/// from made-up addresses may bring about, the others are not held back, and memory stays bounded.
const MOST: usize = 100_000;

/// One bucket for each key, from its first use until it is full again.
pub(super) struct Buckets<K: Eq + Hash> {
    buckets: DashMap<K, Bucket>,
}

impl<K: Eq + Hash> Default for Buckets<K> {
    fn default() -> Self {
        Self {
            buckets: DashMap::new(),
        }
    }
}

impl<K: Eq + Hash> Buckets<K> {
    /// Takes one for that key.
    ///
    /// # Errors
    /// How long to wait until there is one.
    pub(super) fn take(&self, key: K, rate: Rate, now: Instant) -> Result<(), Duration> {
        if let Some(bucket) = self.buckets.get_mut(&key) {
            return bucket.take(1, now);
        }
        if self.buckets.len() >= MOST {
            return Ok(());
        }
        self.buckets
            .entry(key)
            .or_insert_with(|| Bucket::new(rate, now))
            .take(1, now)
    }

    /// Whether there is one for that key.
    ///
    /// # Errors
    /// How long to wait until there is.
    pub(super) fn look(&self, key: &K, now: Instant) -> Result<(), Duration> {
        // Alone with it, as every asking sets the bucket's clock.
        let bucket = self.buckets.get_mut(key);
        bucket.map_or(Ok(()), |bucket| bucket.look(now))
    }

    /// Forgets those that are full, and so no other than new ones.
    pub(super) fn sweep(&self, now: Instant) {
        if !self.buckets.is_empty() {
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
            // What a flood made is given back.
            if self.buckets.is_empty() {
                self.buckets.shrink_to_fit();
            }
        }
    }

    /// Forgets all of them: their rate has changed.
    pub(super) fn clear(&self) {
        self.buckets.clear();
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.buckets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_not_share_and_are_forgotten_once_full() {
        let buckets = Buckets::default();
        let rate = Rate::with_burst(10, 2).unwrap();
        let start = Instant::now();
        for key in ["a", "b"] {
            assert_eq!(buckets.look(&key, start), Ok(()));
            buckets.take(key, rate, start).unwrap();
            buckets.take(key, rate, start).unwrap();
            assert!(buckets.take(key, rate, start).is_err());
            assert!(buckets.look(&key, start).is_err());
        }
        let tenth = Duration::from_millis(100);
        buckets.take("b", rate, start + tenth).unwrap();
        buckets.sweep(start + tenth);
        assert_eq!(buckets.len(), 2);
        buckets.sweep(start + tenth * 2);
        assert_eq!(buckets.len(), 1, "that of a is full again");
        buckets.sweep(start + tenth * 3);
        assert_eq!(buckets.len(), 0);
    }

    #[test]
    fn a_flood_of_keys_takes_bounded_memory_and_holds_nobody_back() {
        let buckets = Buckets::default();
        let rate = Rate::per_second(1).unwrap();
        let now = Instant::now();
        for key in 0..MOST + 10 {
            assert_eq!(buckets.take(key, rate, now), Ok(()));
        }
        assert_eq!(buckets.len(), MOST);
        assert!(buckets.take(0, rate, now).is_err(), "who is known is held");
        buckets.sweep(now + Duration::from_secs(1));
        assert_eq!(buckets.len(), 0);
    }
}
