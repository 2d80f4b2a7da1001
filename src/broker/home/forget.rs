//! A worker that is gone has no subscribers any more.

use std::sync::Arc;
use std::time::Instant;

use super::{Delivery, Home, Interest};
use crate::model::{Filter, Timestamp, TopicName};
use crate::protocol::{Event, Published};

impl Home {
    /// Takes back all that a worker's sessions had here; the deliveries tell others that they left.
    pub fn forget_worker(&mut self, shard: usize, now: Timestamp) -> Vec<Delivery> {
        let filters = self.filters.iter();
        let filters: Vec<(Filter, Interest)> = filters
            .map(|(filter, interest)| (filter.clone(), interest.clone()))
            .collect();
        for (filter, mut interest) in filters {
            if interest.take_all(shard) {
                self.filters.remove(&filter);
                if !interest.is_empty() {
                    self.filters.insert(&filter, interest);
                }
            }
        }
        let mut told = Vec::new();
        let mut changed: Vec<TopicName> = Vec::new();
        for (topic, entry) in &mut self.topics {
            if !entry.interest.take_all(shard) {
                continue;
            }
            changed.push(topic.clone());
            entry.card.set_subscribers(entry.interest.total());
            let gone = entry.members.extract_if(|_, (at, _)| *at == shard);
            let gone: Vec<_> = gone.map(|(_, (_, member))| member).collect();
            if !entry.rule.join_leave {
                continue;
            }
            let to = entry.audience(&self.filters, topic);
            told.extend(gone.into_iter().map(|member| Delivery {
                published: Arc::new(Published::new(Event::Leave {
                    topic: topic.clone(),
                    member,
                })),
                accepted: Instant::now(),
                to: to.clone(),
            }));
        }
        for topic in changed {
            self.forget_if_idle(&topic, now);
        }
        told
    }
}
