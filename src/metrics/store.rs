//! What a store on disk counts of itself.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge};

use super::registrar::Registrar;
use super::{Metrics, MetricsError};

/// The series of the store. Clones are handles of the same.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    sync: Histogram,
    errors: IntCounter,
    damaged: IntCounter,
    memory: IntGauge,
    queue: IntGauge,
    size: IntGauge,
    faulty: IntGauge,
}

/// From a disk that only takes notes to one that hardly answers.
const SYNC: [f64; 14] = [
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0,
];

impl StoreMetrics {
    pub(super) fn register(r: &Registrar<'_>) -> Result<Self, MetricsError> {
        Ok(Self {
            sync: r.histogram(
                "store_sync_seconds",
                "How long it took until the disk had a group of messages for good.",
                &SYNC,
            )?,
            errors: r.counter(
                "store_errors_total",
                "Groups of messages that could not be kept, and parts of the store found damaged.",
            )?,
            damaged: r.counter(
                "store_damaged_total",
                "Records on disk found damaged, and those set aside with them.",
            )?,
            memory: r.gauge(
                "store_memory_bytes",
                "Bytes of messages that are in memory and nowhere else.",
            )?,
            queue: r.gauge(
                "store_queue_bytes",
                "Bytes of messages that wait for the disk.",
            )?,
            size: r.gauge("store_size_bytes", "Bytes that the store takes on disk.")?,
            faulty: r.gauge(
                "store_faulty",
                "1 while the store can keep nothing, else 0.",
            )?,
        })
    }

    /// A group of messages was synced.
    pub fn synced(&self, took: Duration) {
        self.sync.observe(took.as_secs_f64());
    }

    /// A group of messages could not be kept.
    pub fn failed(&self) {
        self.errors.inc();
    }

    /// So many records were found damaged, or set aside with what was.
    pub fn damaged(&self, records: u64) {
        self.errors.inc();
        self.damaged.inc_by(records);
    }

    /// What is in memory and nowhere else, what waits for the disk, and what is on it, in bytes.
    pub fn set_bytes(&self, memory: usize, queue: usize, size: u64) {
        self.memory.set(i64::try_from(memory).unwrap_or(i64::MAX));
        self.queue.set(i64::try_from(queue).unwrap_or(i64::MAX));
        self.size.set(i64::try_from(size).unwrap_or(i64::MAX));
    }

    /// Whether the store can keep nothing.
    pub fn set_faulty(&self, faulty: bool) {
        self.faulty.set(i64::from(faulty));
    }
}

impl Metrics {
    /// What the store counts with.
    pub fn store(&self) -> StoreMetrics {
        self.series().store.clone()
    }
}
