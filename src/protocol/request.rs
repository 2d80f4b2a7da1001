//! What a client asks for, whatever the encoding it asks in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Refusal;
use crate::model::{Epoch, Filter, Overflow, Payload, Timestamp, TopicName};

/// The largest `id`: 2^53 - 1, the last integer that every JSON reader keeps exact.
pub const MAX_ID: u64 = (1 << 53) - 1;

/// One frame from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Asks for an answer with this number; at most [`MAX_ID`].
    pub id: Option<u64>,
    /// What is to be done.
    pub action: Action,
}

/// What is to be done. Its `Debug` does not show a token.
#[derive(Clone, PartialEq, Eq)]
pub enum Action {
    /// Subscribe to a name or filter.
    Subscribe(Subscribe),
    /// End one subscription, or (`None`) all of them.
    Unsubscribe(Option<Filter>),
    /// Publish a message.
    Publish(Publish),
    /// Read a topic's history.
    History(HistoryQuery),
    /// Ask who is present in a topic.
    Presence(TopicName),
    /// Show credentials: a token.
    Auth(String),
    /// Ask for a sign of life.
    Ping,
}

impl Action {
    /// The frame's `type`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Subscribe(_) => "subscribe",
            Self::Unsubscribe(_) => "unsubscribe",
            Self::Publish(_) => "publish",
            Self::History(_) => "history",
            Self::Presence(_) => "presence",
            Self::Auth(_) => "auth",
            Self::Ping => "ping",
        }
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subscribe(subscribe) => f.debug_tuple("Subscribe").field(subscribe).finish(),
            Self::Unsubscribe(filter) => f.debug_tuple("Unsubscribe").field(filter).finish(),
            Self::Publish(publish) => f.debug_tuple("Publish").field(publish).finish(),
            Self::History(query) => f.debug_tuple("History").field(query).finish(),
            Self::Presence(topic) => f.debug_tuple("Presence").field(topic).finish(),
            Self::Auth(_) => f.write_str("Auth(..)"),
            Self::Ping => f.write_str("Ping"),
        }
    }
}

/// A subscription that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// A plain name, or a filter with wildcards.
    pub filter: Filter,
    /// Replay at most so many messages; 0 replays none.
    pub last: Option<u64>,
    /// Recover what came after this.
    pub since: Option<Since>,
    /// Whether the session gets the live messages that it publishes itself.
    pub echo: bool,
    /// What becomes of messages that the session does not take in time; `None` is what the topic's
    /// rule says.
    pub overflow: Option<Overflow>,
    /// At most one message of a key in that time, always the newest; only with `conflate`.
    pub min_interval: Option<Duration>,
}

impl Subscribe {
    /// A subscription without options.
    pub fn to(filter: Filter) -> Self {
        Self {
            filter,
            last: None,
            since: None,
            echo: true,
            overflow: None,
            min_interval: None,
        }
    }
}

/// Where a recovery starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// For a plain name: the last message that the client has.
    Position(Cursor),
    /// For a filter.
    Positions {
        /// Topics that the filter matches, each once and in order of their names, with the last
        /// message that the client has of them.
        positions: Vec<(TopicName, Cursor)>,
        /// Where every other matching topic starts: the `time` of the filter's last `ok`.
        from: Option<Timestamp>,
    },
}

/// A position as a client gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The epoch; `None` where the text is one that no broker made, so that it cannot recover.
    pub epoch: Option<Epoch>,
    /// The offset of the last message that the client has; 0 is before the first.
    pub offset: u64,
}

/// A message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Where to.
    pub topic: TopicName,
    /// What.
    pub payload: Payload,
    /// The conflation key.
    pub key: Option<Arc<str>>,
    /// Whether the topic is to retain it, or to retain nothing any more if it is null or empty.
    pub retain: bool,
}

/// A question for a topic's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// The topic.
    pub topic: TopicName,
    /// Only what came after this.
    pub since: Option<Cursor>,
    /// Only the newest so many.
    pub last: Option<u64>,
    /// At most so many in the answer.
    pub limit: Option<u64>,
}

/// A frame that asks for nothing that the protocol knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFrame {
    /// The frame's `id`, where that much could be read: the error carries it.
    pub id: Option<u64>,
    /// What is wrong with the frame.
    pub refusal: Refusal,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown_by_debug() {
        let request = Request {
            id: Some(1),
            action: Action::Auth("s3cret".into()),
        };
        assert!(!format!("{request:?} {request:#?}").contains("s3cret"));
    }
}
