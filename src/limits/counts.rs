//! How many there are of each, now.

use std::hash::Hash;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

/// A count for each key that has any.
pub(super) struct Counts<K: Eq + Hash> {
    counts: DashMap<K, usize>,
}

impl<K: Eq + Hash> Default for Counts<K> {
    fn default() -> Self {
        Self {
            counts: DashMap::new(),
        }
    }
}

impl<K: Eq + Hash> Counts<K> {
    /// One more of that key, unless there are `most` already; whether there was room.
    pub(super) fn enter(&self, key: K, most: usize) -> bool {
        let mut count = self.counts.entry(key).or_insert(0);
        if *count >= most {
            return false;
        }
        *count += 1;
        true
    }

    /// One fewer.
    pub(super) fn leave(&self, key: K) {
        if let Entry::Occupied(mut entry) = self.counts.entry(key) {
            let left = entry.get().saturating_sub(1);
            if left == 0 {
                entry.remove();
            } else {
                *entry.get_mut() = left;
            }
        }
    }

    /// How many keys have any.
    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        self.counts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_again_for_who_comes_after_one_that_left() {
        let counts = Counts::default();
        assert!(counts.enter("a", 2) && counts.enter("a", 2));
        assert!(!counts.enter("a", 2));
        assert!(counts.enter("b", 2), "another has room of its own");
        counts.leave("a");
        assert!(counts.enter("a", 2));
        assert!(!counts.enter("a", 2));
        for key in ["a", "a", "b", "b", "c"] {
            counts.leave(key);
        }
        assert_eq!(counts.keys(), 0);
    }

    #[test]
    fn a_limit_that_was_lowered_lets_nobody_in_until_enough_have_left() {
        let counts = Counts::default();
        for _ in 0..5 {
            assert!(counts.enter("a", 5));
        }
        for _ in 0..3 {
            assert!(!counts.enter("a", 3));
            counts.leave("a");
        }
        assert!(counts.enter("a", 3));
    }
}
