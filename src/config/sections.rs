//! The sections that are plain numbers and names, each with its defaults.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::kinds;
use super::memory::MemoryLimit;
use super::paths::Paths;
use super::rates::Rates;
use super::reader::Section as Table;
use super::websocket::WebSocket;
use crate::model::Filter;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;

/// Counts that only have to be sensible.
const MANY: usize = 1_000_000_000;
const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_hours(1);

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
    /// Proxies whose word on where a request comes from is taken: of `X-Forwarded-For`.
    pub trusted_proxies: Vec<IpNet>,
    /// A directory whose files are served to browsers, in place of the demo; none by default.
    pub public: Option<PathBuf>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            workers: 0,
            max_connections: 0,
            backlog: 4096,
            drain: Duration::from_secs(10),
            trusted_proxies: Vec::new(),
            public: None,
        }
    }
}

impl Server {
    pub(super) fn read(mut table: Table<'_>, working_dir: &Path) -> Self {
        let default = Self::default();
        Self {
            listen: table
                .read("listen", kinds::address)
                .unwrap_or(default.listen),
            workers: table
                .read("workers", kinds::number(0..=1024))
                .unwrap_or(default.workers),
            max_connections: table
                .read("max_connections", kinds::number(0..=MANY))
                .unwrap_or(default.max_connections),
            backlog: table
                .read("backlog", kinds::number(1..=i32::MAX.unsigned_abs()))
                .unwrap_or(default.backlog),
            drain: table
                .read("drain", kinds::duration(Duration::ZERO..=HOUR))
                .unwrap_or(default.drain),
            trusted_proxies: table
                .list(
                    "trusted_proxies",
                    r#"trusted_proxies = ["10.0.0.0/8"]"#,
                    kinds::network,
                )
                .unwrap_or(default.trusted_proxies),
            public: table.read("public", kinds::directory(working_dir)),
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

impl Heartbeat {
    pub(super) fn read(mut table: Table<'_>) -> Self {
        let default = Self::default();
        let interval = table.read("interval", kinds::duration(Duration::ZERO..=24 * HOUR));
        let timeout = table.read("timeout", kinds::duration(Duration::ZERO..=24 * HOUR));
        let read = Self {
            interval: interval.unwrap_or(default.interval),
            timeout: timeout.unwrap_or(default.timeout),
        };
        if read.timeout.is_zero() && !read.interval.is_zero() {
            table.refuse(
                "timeout",
                "no time to answer a ping in",
                r#"give it some, such as "10s", or turn the heartbeat off with interval = "0""#,
            );
        }
        read
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

impl Session {
    pub(super) fn read(mut table: Table<'_>) -> Self {
        let default = Self::default();
        Self {
            queue: table
                .read("queue", kinds::size(KIB..=GIB))
                .unwrap_or(default.queue),
            subscriptions: table
                .read("subscriptions", kinds::number(1..=MANY))
                .unwrap_or(default.subscriptions),
            write_timeout: table
                .read("write_timeout", kinds::duration(MILLISECOND..=HOUR))
                .unwrap_or(default.write_timeout),
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
    /// What the process may take of memory.
    pub memory: MemoryLimit,
    /// Rates, and counts by address and user.
    pub rates: Rates,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 64 * KIB,
            replay_messages: 100_000,
            protocol_errors: 10,
            batch: 1000,
            topics: 1_000_000,
            memory: MemoryLimit::Off,
            rates: Rates::default(),
        }
    }
}

impl Limits {
    /// Reads the section; the frames it is to suit are those of `websocket`.
    pub(super) fn read(mut table: Table<'_>, websocket: &WebSocket) -> Self {
        let default = Self::default();
        Self {
            message_bytes: table
                .read("message_bytes", kinds::size(1..=GIB))
                .unwrap_or(default.message_bytes),
            replay_messages: table
                .read("replay_messages", kinds::number(0..=MANY))
                .unwrap_or(default.replay_messages),
            protocol_errors: table
                .read("protocol_errors", kinds::number(1..=MANY))
                .unwrap_or(default.protocol_errors),
            batch: table
                .read("batch", kinds::number(1..=MANY))
                .unwrap_or(default.batch),
            topics: table
                .read("topics", kinds::number(1..=MANY))
                .unwrap_or(default.topics),
            memory: table
                .read("memory", MemoryLimit::check)
                .unwrap_or(default.memory),
            rates: Rates::read(&mut table, websocket.max_frame.min(websocket.max_message)),
        }
    }
}

/// `[store]`: where history lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Which store it is.
    pub kind: StoreKind,
    /// The directory of a store on disk. A relative one lies in the working directory.
    pub path: PathBuf,
    /// What all history together may take, in bytes.
    pub memory: usize,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            kind: StoreKind::Memory,
            path: PathBuf::from("data"),
            memory: 256 * MIB,
        }
    }
}

impl Store {
    pub(super) fn read(mut table: Table<'_>) -> Self {
        let default = Self::default();
        Self {
            kind: table
                .read("kind", kinds::choice(StoreKind::NAMES))
                .unwrap_or(default.kind),
            path: table
                .read("path", kinds::text)
                .map_or(default.path, PathBuf::from),
            memory: table
                .read("memory", kinds::size(KIB..=isize::MAX.unsigned_abs()))
                .unwrap_or(default.memory),
        }
    }
}

/// The stores there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreKind {
    /// In the process's memory: gone when it ends.
    #[default]
    Memory,
    /// In a directory, for topics whose rule asks for it: what was acknowledged outlives the process.
    Disk,
}

impl StoreKind {
    const NAMES: &[(&str, Self)] = &[("memory", Self::Memory), ("disk", Self::Disk)];
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

impl Metrics {
    pub(super) fn read(mut table: Table<'_>, paths: &mut Paths) -> Self {
        let default = Self::default();
        Self {
            path: paths.take(&mut table).unwrap_or(default.path),
            per_topic: table
                .list("per_topic", r#"per_topic = ["chat/#"]"#, kinds::filter)
                .unwrap_or(default.per_topic),
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

impl Log {
    pub(super) fn read(mut table: Table<'_>) -> Self {
        let default = Self::default();
        let formats = &[("pretty", LogFormat::Pretty), ("json", LogFormat::Json)];
        Self {
            level: table.read("level", kinds::level).unwrap_or(default.level),
            format: table
                .read("format", kinds::choice(formats))
                .unwrap_or(default.format),
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
