//! What many threads read of topics: for the HTTP API and the gauges.
//!
//! Homes own what they write here; nothing is written per message but a topic's own card, whose
//! counters only its home touches.

use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use dashmap::DashMap;

use super::rate::Rate;
use crate::model::{Epoch, Filter, TopicName};
use crate::protocol::{ErrorCode, Refusal};

/// All topics of the node, by name.
#[derive(Default)]
pub struct TopicDirectory {
    cards: DashMap<TopicName, Arc<TopicCard>>,
}

/// What is known of one topic outside its home.
#[derive(Debug)]
pub struct TopicCard {
    /// The topic.
    pub topic: TopicName,
    /// The life of its history, where it keeps one.
    pub epoch: Option<Epoch>,
    subscribers: AtomicU64,
    messages: AtomicU64,
    offset: AtomicU64,
    published: Rate,
    retained: AtomicBool,
}

/// A topic at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicView {
    /// The topic.
    pub topic: TopicName,
    /// Sessions that subscribed to its very name.
    pub subscribers: u64,
    /// Messages held in its history.
    pub messages: u64,
    /// The life of its history and the newest offset, where it keeps one.
    pub position: Option<(Epoch, u64)>,
    /// Messages published per second, over the last ten.
    pub published_per_second: f64,
    /// Whether it has a retained message.
    pub retained: bool,
}

/// Says that there is no such topic.
pub fn no_such_topic() -> Refusal {
    Refusal::new(
        ErrorCode::NotFound,
        "the topic has neither sessions nor history nor a retained message at present",
    )
}

impl TopicCard {
    /// A card of a topic that nobody has subscribed to.
    pub fn new(topic: TopicName, epoch: Option<Epoch>) -> Arc<Self> {
        Arc::new(Self {
            topic,
            epoch,
            subscribers: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            offset: AtomicU64::new(0),
            published: Rate::new(Instant::now()),
            retained: AtomicBool::new(false),
        })
    }

    /// Says how many sessions subscribed by name.
    pub fn set_subscribers(&self, count: u64) {
        self.subscribers.store(count, Ordering::Relaxed);
    }

    /// Says what the history holds.
    pub fn set_history(&self, messages: usize, offset: u64) {
        self.messages.store(messages as u64, Ordering::Relaxed);
        self.offset.store(offset, Ordering::Relaxed);
    }

    /// Says that a message was published.
    pub fn count_published(&self, at: Instant) {
        self.published.count(at);
    }

    /// Says whether there is a retained message.
    pub fn set_retained(&self, has_one: bool) {
        self.retained.store(has_one, Ordering::Relaxed);
    }

    /// The topic now.
    pub fn view(&self) -> TopicView {
        TopicView {
            topic: self.topic.clone(),
            subscribers: self.subscribers.load(Ordering::Relaxed),
            messages: self.messages.load(Ordering::Relaxed),
            position: self
                .epoch
                .map(|epoch| (epoch, self.offset.load(Ordering::Relaxed))),
            published_per_second: self.published.per_second(Instant::now()),
            retained: self.retained.load(Ordering::Relaxed),
        }
    }
}

impl TopicDirectory {
    /// How many topics there are.
    pub fn count(&self) -> usize {
        self.cards.len()
    }

    /// Enters a topic.
    pub fn insert(&self, card: Arc<TopicCard>) {
        self.cards.insert(card.topic.clone(), card);
    }

    /// Strikes a topic out.
    pub fn remove(&self, topic: &TopicName) {
        self.cards.remove(topic);
    }

    /// One topic.
    pub fn get(&self, topic: &TopicName) -> Option<TopicView> {
        self.cards.get(topic).map(|card| card.view())
    }

    /// The first `limit` topics by name that come after `after` and that the filter matches.
    pub fn page(
        &self,
        filter: Option<&Filter>,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<TopicView> {
        // The `limit` least names, found in one pass and sorted outside every lock.
        let mut least: BinaryHeap<TopicName> = BinaryHeap::with_capacity(limit.min(1024) + 1);
        for entry in &self.cards {
            let name = entry.key();
            let wanted = after.is_none_or(|after| name.as_str() > after)
                && filter.is_none_or(|filter| filter.matches(name));
            if wanted && (least.len() < limit || least.peek().is_some_and(|max| name < max)) {
                least.push(name.clone());
                if least.len() > limit {
                    least.pop();
                }
            }
        }
        least
            .into_sorted_vec()
            .iter()
            .filter_map(|name| self.get(name))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_go_through_all_topics_once_in_order() {
        let directory = TopicDirectory::default();
        for i in 0..25 {
            let name = TopicName::new(&format!("t/{i:02}")).unwrap();
            directory.insert(TopicCard::new(name, None));
        }
        directory.insert(TopicCard::new(TopicName::new("other").unwrap(), None));
        let filter = Filter::new("t/#").unwrap();
        let mut seen = Vec::new();
        loop {
            let after = seen.last().cloned();
            let page = directory.page(Some(&filter), after.as_deref(), 10);
            if page.is_empty() {
                break;
            }
            seen.extend(page.into_iter().map(|view| view.topic.to_string()));
        }
        let expected: Vec<String> = (0..25).map(|i| format!("t/{i:02}")).collect();
        assert_eq!(seen, expected);
    }
}
