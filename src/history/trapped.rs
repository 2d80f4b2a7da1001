//! A history that has a fault, for tests of what becomes of the rest.

use super::{Bounds, History, HistoryError, HistoryStore, MemoryStore, Retained};
use crate::model::{Filter, Timestamp, TopicName};

/// A store that panics where a topic is opened whose name ends with `trap`.
pub struct Trapped(pub MemoryStore);

impl HistoryStore for Trapped {
    fn open(&self, topic: &TopicName, bounds: Bounds) -> Result<Box<dyn History>, HistoryError> {
        assert!(!topic.as_str().ends_with("trap"), "on purpose");
        self.0.open(topic, bounds)
    }

    fn open_retained(&self, topic: &TopicName) -> Result<Box<dyn Retained>, HistoryError> {
        self.0.open_retained(topic)
    }

    fn remembers(&self, filter: &Filter, from: Timestamp) -> bool {
        self.0.remembers(filter, from)
    }
}
