//! Where histories lie, as the configuration says.

use std::sync::Arc;

use crate::config::{Config, StoreKind};
use crate::gateway::random;
use crate::history::{DiskSettings, DiskStore, HistoryStore, MemoryStore, StoreError};
use crate::metrics::Metrics;
use crate::model::Timestamp;

/// What may wait for the disk, in bytes: some seconds of a disk that stands still, at full speed.
const QUEUE: usize = 64 * 1024 * 1024;

/// The store of that configuration.
///
/// # Errors
/// Where the directory of a store on disk cannot be used. Nothing is kept in memory instead.
pub fn open(config: &Config, metrics: &Metrics) -> Result<Arc<dyn HistoryStore>, StoreError> {
    let now = Timestamp::now();
    let memory = config.store.memory;
    Ok(match config.store.kind {
        StoreKind::Memory => Arc::new(MemoryStore::new(memory, random, now)),
        StoreKind::Disk => {
            let settings = DiskSettings {
                directory: config.store.path.clone(),
                memory,
                queue: QUEUE,
                window: config.api.idempotency_window,
                most_once: config.api.idempotency_keys,
                metrics: Some(metrics.store()),
            };
            Arc::new(DiskStore::begin(&settings, random, now)?)
        }
    })
}
