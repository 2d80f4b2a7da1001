//! The door of a running broker, which may be replaced while it runs.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::Door;

/// The door that requests come to now.
#[derive(Debug)]
pub struct LiveDoor {
    now: ArcSwap<Door>,
    changes: watch::Sender<u64>,
}

impl LiveDoor {
    /// A door that stands until it is replaced.
    pub fn new(door: Door) -> Arc<Self> {
        Arc::new(Self {
            now: ArcSwap::from_pointee(door),
            changes: watch::Sender::new(0),
        })
    }

    /// The door that stands now.
    pub fn now(&self) -> Arc<Door> {
        self.now.load_full()
    }

    /// Puts another in its place. Those who came in by the old one are to be looked at again.
    pub fn replace(&self, door: Door) {
        self.now.store(Arc::new(door));
        self.changes.send_modify(|count| *count += 1);
    }

    /// Tells of every other door from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
