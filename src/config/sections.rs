//! The sections that are plain numbers and names, each with its defaults.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::model::Filter;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// `[server]`: the listener and the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The address and port that are listened on; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Worker threads; 0 stands for one per core.
    pub workers: usize,
    /// Connections at a time; 0 stands for the descriptors the process may have, less 512.
    pub max_connections: usize,
    /// Connections that may wait to be accepted.
    pub backlog: u32,
    /// How long a stop waits for sessions to leave; they are told to go spread over it.
    pub drain: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            workers: 0,
            max_connections: 0,
            backlog: 4096,
            drain: Duration::from_secs(10),
        }
    }
}

/// `[websocket]`: where WebSockets are taken and how big their frames may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocket {
    /// The path that is upgraded.
    pub path: String,
    /// The longest frame taken, in bytes; the smaller of this and `max_message` counts.
    pub max_frame: usize,
    /// The longest message taken, as sent, in bytes; a longer one closes with 1009.
    pub max_message: usize,
}

impl Default for WebSocket {
    fn default() -> Self {
        Self {
            path: "/ws".to_owned(),
            max_frame: 64 * KIB,
            max_message: 64 * KIB,
        }
    }
}

/// `[heartbeat]`: how soon a silent session is asked, and given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Silence after which a session is pinged; zero turns the heartbeat off.
    pub interval: Duration,
    /// How long after the ping a sign of life is waited for; then the session ends with 4009.
    pub timeout: Duration,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(25),
            timeout: Duration::from_secs(10),
        }
    }
}

/// `[session]`: what one session may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The outbound queue, in bytes.
    pub queue: usize,
    /// Subscriptions at a time.
    pub subscriptions: usize,
    /// How long the queue may stay unemptied before the session ends with 4008.
    pub write_timeout: Duration,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            queue: MIB,
            subscriptions: 128,
            write_timeout: Duration::from_secs(10),
        }
    }
}

/// `[limits]`: what one request, message or broker may amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest payload, in bytes, by whichever way it comes.
    pub message_bytes: usize,
    /// Messages that one subscribe may replay, over all topics of a filter.
    pub replay_messages: usize,
    /// Protocol errors in a row after which a session is closed with 1008.
    pub protocol_errors: usize,
    /// Items of one batch of the HTTP API.
    pub batch: usize,
    /// Topics that may exist at a time.
    pub topics: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 64 * KIB,
            replay_messages: 100_000,
            protocol_errors: 10,
            batch: 1000,
            topics: 1_000_000,
        }
    }
}

/// `[store]`: where history lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Which store it is.
    pub kind: StoreKind,
    /// What all history together may take, in bytes.
    pub memory: usize,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            kind: StoreKind::Memory,
            memory: 256 * MIB,
        }
    }
}

/// The stores there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreKind {
    /// In the process's memory: gone when it ends.
    #[default]
    Memory,
}

/// `[metrics]`: where they are read, and what may be a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// The path of the Prometheus text.
    pub path: String,
    /// Only topics that one of these matches become a label of their own.
    pub per_topic: Vec<Filter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            path: "/metrics".to_owned(),
            per_topic: Vec::new(),
        }
    }
}

/// `[log]`: how much is logged, and in which form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A level, or levels by module: `info`, `info,fanfare=debug`.
    pub level: String,
    /// The form of a line.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Pretty,
        }
    }
}

/// The forms of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For eyes.
    #[default]
    Pretty,
    /// One JSON object a line, for machines.
    Json,
}
