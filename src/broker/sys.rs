//! The broker's own topics, below `$sys/`: what happens to it, told to those whom a grant names them.

use std::sync::atomic::Ordering;
use std::time::Instant;

use serde_json::Value;

use super::Broker;
use super::message::Publication;
use super::registry::Registry;
use super::reply::ReplyTo;
use super::subscribing::kind;
use super::worker::{Errand, Worker, here};
use crate::model::{Filter, Payload, TopicName};

/// One of the broker's own topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SysTopic {
    /// Figures, every few seconds.
    Stats,
    /// Sessions that open and end.
    Sessions,
    /// How the node is.
    Node,
    /// A configuration that was read again.
    Config,
}

impl SysTopic {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stats => "$sys/stats",
            Self::Sessions => "$sys/sessions",
            Self::Node => "$sys/node",
            Self::Config => "$sys/config",
        }
    }
}

impl Broker {
    /// Publishes to one of the broker's own topics what `say` says: nothing is said while nobody
    /// listens to any of them.
    pub fn tell(&self, topic: SysTopic, say: impl FnOnce() -> Value) {
        if self.node.common.sys_listeners.load(Ordering::Relaxed) == 0 {
            return;
        }
        let Ok(name) = TopicName::new(topic.as_str()) else {
            return;
        };
        let payload = Payload::json_checked(&say().to_string());
        let publication = Publication::new(name, payload);
        let publish = |worker: &Worker| {
            worker.publish(publication, Instant::now(), ReplyTo::Nobody);
        };
        if let Some(worker) = here(self) {
            return publish(&worker);
        }
        let shards = &self.node.shards;
        let registry = (0..shards.count()).find_map(|shard| shards.address(shard));
        if let Some(registry) = registry {
            registry.do_send(Errand(Box::new(publish)));
        }
    }
}

impl Registry {
    /// Counts a subscription that begins to stand, or that stood.
    pub(super) fn count_subscription(&self, filter: &Filter, by: i64) {
        self.turn.subscriptions_changed(kind(filter), by);
        if filter.as_str().starts_with("$sys/") {
            let listeners = &self.common.sys_listeners;
            if by > 0 {
                listeners.fetch_add(1, Ordering::Relaxed);
            } else {
                listeners.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}
