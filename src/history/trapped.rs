//! A history that has a fault, for tests of what becomes of the rest.

use std::sync::Arc;

use super::{History, HistoryError, HistoryStore, MemoryStore, News, Retained, Terms, Usage};
use crate::model::{Durability, Filter, Timestamp, TopicName};

/// A store that panics where a topic is opened whose name ends with `trap`.
pub struct Trapped(pub MemoryStore);

impl HistoryStore for Trapped {
    fn open(
        &self,
        topic: &TopicName,
        terms: Terms,
        news: &Arc<News>,
    ) -> Result<Box<dyn History>, HistoryError> {
        assert!(!topic.as_str().ends_with("trap"), "on purpose");
        self.0.open(topic, terms, news)
    }

    fn open_retained(
        &self,
        topic: &TopicName,
        durability: Durability,
        news: &Arc<News>,
    ) -> Result<Box<dyn Retained>, HistoryError> {
        self.0.open_retained(topic, durability, news)
    }

    fn usage(&self) -> Usage {
        self.0.usage()
    }

    fn remembers(&self, filter: &Filter, from: Timestamp, least: Durability) -> bool {
        self.0.remembers(filter, from, least)
    }
}
