//! What a store counts of itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Sums since the start.
#[derive(Debug, Default)]
pub(super) struct Figures {
    errors: AtomicU64,
    damaged: AtomicU64,
    groups: AtomicU64,
    changes: AtomicU64,
}

impl Figures {
    /// So many changes were committed as one.
    pub(super) fn committed(&self, synced: bool, took: Duration, changes: usize) {
        let _later = (synced, took);
        self.groups.fetch_add(1, Ordering::Relaxed);
        self.changes.fetch_add(changes as u64, Ordering::Relaxed);
    }

    /// A commit has failed.
    pub(super) fn failed(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// So many messages were found damaged, or set aside for that.
    pub(super) fn damaged(&self, messages: u64) {
        self.damaged.fetch_add(messages, Ordering::Relaxed);
    }
}
