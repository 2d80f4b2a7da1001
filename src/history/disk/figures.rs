//! What a store counts of itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::metrics::StoreMetrics;

/// Sums since the start.
#[derive(Debug, Default)]
pub(super) struct Figures {
    shown: Option<StoreMetrics>,
    damaged: AtomicU64,
}

impl Figures {
    /// Shown by these metrics, if any.
    pub(super) fn new(shown: Option<StoreMetrics>) -> Self {
        Self {
            shown,
            damaged: AtomicU64::new(0),
        }
    }

    /// A group was committed.
    pub(super) fn committed(&self, synced: bool, took: Duration) {
        if let Some(shown) = &self.shown
            && synced
        {
            shown.synced(took);
        }
    }

    /// A commit has failed.
    pub(super) fn failed(&self) {
        if let Some(shown) = &self.shown {
            shown.failed();
        }
    }

    /// So many records were found damaged, or set aside for that.
    pub(super) fn damaged(&self, records: u64) {
        self.damaged.fetch_add(records, Ordering::Relaxed);
        if let Some(shown) = &self.shown {
            shown.damaged(records);
        }
    }

    /// How many were.
    pub(super) fn all_damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }
}
