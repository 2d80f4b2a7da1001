//! The configuration: what can be set, what it is when nothing is set, and where it is read from.
//!
//! Nothing here reads the process's environment or its arguments: [`load`] is given both.

mod access;
mod admin;
mod fault;
mod kinds;
mod layer;
mod live;
mod load;
mod memory;
mod paths;
mod rates;
mod reader;
mod sections;
mod show;
mod suggest;
#[cfg(test)]
mod tests;
mod topics;
pub mod units;
mod websocket;

pub use access::{AllowedOrigin, Anonymous, Api, ApiKey, Auth, KeySecret, KeySource, Scope};
pub use admin::Admin;
pub use fault::{ConfigError, Fault};
pub use live::{Change, LiveConfig};
pub use load::{DEFAULTS, Input, Loaded, Overrides, files, load};
pub use memory::MemoryLimit;
pub use rates::{ApiRate, Rate, Rates};
pub use sections::{Heartbeat, Limits, Log, LogFormat, Metrics, Server, Session, Store, StoreKind};
pub use show::show;
pub use topics::{Endpoint, HistoryRule, TopicRule, Who};
pub use websocket::{Compression, WebSocket};

use crate::model::TopicName;

/// Everything that can be configured, with each value checked.
///
/// `Config::default()` is what a broker without any file runs with: it listens on 127.0.0.1:8080
/// and lets anyone there publish and subscribe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `watch`: whether a changed file is read again by itself.
    pub watch: bool,
    /// `[server]`: the listener and the process.
    pub server: Server,
    /// `[admin]`: an address of its own for the HTTP API.
    pub admin: Admin,
    /// `[websocket]`: where a WebSocket is taken, and how big its frames may be.
    pub websocket: WebSocket,
    /// `[heartbeat]`: how soon a silent session is asked, and given up.
    pub heartbeat: Heartbeat,
    /// `[session]`: what one session may hold.
    pub session: Session,
    /// `[limits]`: what one request, message or broker may amount to.
    pub limits: Limits,
    /// `[auth]`: who may; `None` where there is no such section.
    pub auth: Option<Auth>,
    /// `[api]` and `[[api.key]]`: the keys of backend services.
    pub api: Api,
    /// `[[topic]]`: the rules of topics; the first whose filter matches applies.
    pub topics: Vec<TopicRule>,
    /// `[[endpoint]]`: paths that are bound to a topic and speak raw.
    pub endpoints: Vec<Endpoint>,
    /// `[store]`: where history lies.
    pub store: Store,
    /// `[metrics]`: where they are read, and what may be a label.
    pub metrics: Metrics,
    /// `[log]`: how much is logged, and in which form.
    pub log: Log,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            watch: false,
            server: Server::default(),
            admin: Admin::default(),
            websocket: WebSocket::default(),
            heartbeat: Heartbeat::default(),
            session: Session::default(),
            limits: Limits::default(),
            auth: None,
            api: Api::default(),
            topics: topics::built_in(),
            endpoints: Vec::new(),
            store: Store::default(),
            metrics: Metrics::default(),
            log: Log::default(),
        }
    }
}

impl Config {
    /// The rule of that topic: the first whose filter matches. Without one a topic is live only.
    pub fn rule_for(&self, topic: &TopicName) -> Option<&TopicRule> {
        topics::rule_of(&self.topics, topic)
    }
}
