//! A message: what was published, and what the topic's home said of it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Payload, Position, SessionId, TopicName};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// What the system's clock says. Rules take the time as an argument; only the shells around
    /// them call this.
    pub fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// By which door a message came in: the label `protocol` of the counters of published messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A WebSocket session speaking `fanfare.v1.json`.
    Json,
    /// A WebSocket session speaking `fanfare.v1.msgpack`.
    Msgpack,
    /// A raw WebSocket session.
    Raw,
    /// The HTTP API.
    Http,
    /// The broker itself (an endpoint's texts) or a program that embeds it.
    Internal,
}

/// One message as it stands in a topic.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where it was published.
    pub topic: TopicName,
    /// What was published.
    pub payload: Payload,
    /// When the topic's home took it; never goes back within a topic.
    pub time: Timestamp,
    /// Its place in the topic's history, where the topic keeps one.
    pub position: Option<Position>,
    /// Who published it, where the topic's rule lets that be told.
    pub user: Option<Arc<str>>,
    /// The conflation key that its publisher gave.
    pub key: Option<Arc<str>>,
    /// The session that published it: what `echo: false` is measured against.
    pub publisher: Option<SessionId>,
}

impl Message {
    /// What the message costs a history that is bounded in bytes: its data, its texts and a fixed
    /// estimate of the structures around them.
    pub fn weight(&self) -> usize {
        const STRUCTURES: usize = 160;
        STRUCTURES + self.payload.weight() + self.key.as_ref().map_or(0, |key| key.len())
    }
}
