//! What a broker is built with.

use std::sync::Arc;
use std::time::Duration;

use super::rules::Rules;
use crate::history::HistoryStore;
use crate::protocol::Effort;

/// What a broker is built with.
pub struct Settings {
    /// How many workers there will be.
    pub workers: usize,
    /// What topics keep and tell, and who may use them, to begin with.
    pub rules: Rules,
    /// Where histories are.
    pub store: Arc<dyn HistoryStore>,
    /// How many topics there may be.
    pub max_topics: usize,
    /// The most messages that one subscribe replays.
    pub max_replay: u64,
    /// The most subscriptions of one session.
    pub max_subscriptions: usize,
    /// The bound of a session's outbox, in bytes.
    pub queue: usize,
    /// How long messages may wait to be written together with those that follow.
    pub flush_interval: Duration,
    /// How messages are compressed for sessions that agreed on it.
    pub compression: Effort,
    /// How long answers are kept for publishers that come again.
    pub idempotency_window: Duration,
    /// How many such answers there may be.
    pub max_answers: usize,
}
