//! Configurations, as short as tests want them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fanfare::config::{Config, HistoryRule, TopicRule};
use fanfare::model::Filter;

/// Two workers on a free port; `kept/#` has a history of 100, `room/#` presence and a history of
/// 30, everything else is live. What it drains, it drains at once.
pub fn config() -> Config {
    let mut config = Config::default();
    config.server.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.server.workers = 2;
    config.server.drain = Duration::from_millis(200);
    config.topics = vec![kept("kept/#", 100), rooms("room/#")];
    config
}

/// A rule that keeps so many messages.
pub fn kept(filter: &str, messages: usize) -> TopicRule {
    TopicRule {
        history: Some(HistoryRule::last(messages)),
        ..live(filter)
    }
}

/// A rule with presence, and a short history.
pub fn rooms(filter: &str) -> TopicRule {
    TopicRule {
        presence: true,
        join_leave: true,
        ..kept(filter, 30)
    }
}

/// A rule that keeps and tells nothing.
pub fn live(filter: &str) -> TopicRule {
    TopicRule::live(Filter::new(filter).unwrap())
}

/// Changes to a configuration, in a chain.
pub trait Edit {
    /// The same with that change.
    fn with(self, change: impl FnOnce(&mut Config)) -> Self;
    /// The same with so many workers.
    fn workers(self, workers: usize) -> Self;
}

impl Edit for Config {
    fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self);
        self
    }

    fn workers(self, workers: usize) -> Self {
        self.with(|config| config.server.workers = workers)
    }
}
