//! Who may: anonymous use, the origins of browsers, the keys of backend services.

use std::fmt;
use std::time::Duration;

use crate::model::Filter;

/// `[auth]`: who may use the broker without an API key, and from which pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// How long a session that must authenticate may take to do so.
    pub timeout: Duration,
    /// What is granted to a session without any credentials; `None` is nothing.
    pub anonymous: Option<Anonymous>,
    /// The origins whose pages may connect.
    pub allowed_origins: Vec<AllowedOrigin>,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            anonymous: None,
            allowed_origins: vec![AllowedOrigin::SameOrigin],
        }
    }
}

/// What is granted to a session without any credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anonymous {
    /// It may subscribe to what one of these contains.
    pub subscribe: Vec<Filter>,
    /// It may publish to what one of these matches.
    pub publish: Vec<Filter>,
}

impl Anonymous {
    /// Whether nothing at all is granted.
    pub fn is_empty(&self) -> bool {
        self.subscribe.is_empty() && self.publish.is_empty()
    }
}

/// An origin whose pages may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// `"same-origin"`: the page came from the host and port that are connected to.
    SameOrigin,
    /// `"*"`: any page.
    Any,
    /// That origin, in the form browsers send: lower case, without a default port or a path.
    Exact(String),
}

/// `[api]`: the keys of backend services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Api {
    /// `[[api.key]]`, in the order they are written; names are unique.
    pub keys: Vec<ApiKey>,
}

/// `[[api.key]]`: one key, known by its SHA-256 only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// What logs and the audit call it.
    pub name: String,
    /// The key's hash, and where it came from.
    pub secret: KeySecret,
    /// What it may do; never empty.
    pub scopes: Vec<Scope>,
    /// The topics it may do that with; `None` is all of them.
    pub topics: Option<Vec<Filter>>,
}

/// A key's hash. Neither it nor the key is ever printed.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecret {
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
    /// Where it was read.
    pub source: KeySource,
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySecret")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// Where a key's hash was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The configuration holds the hash: `sha256 = "…"`.
    Sha256,
    /// The environment variable of that name holds the key: `env = "…"`.
    Env(String),
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Publish.
    Publish,
    /// Subscribe, and read history, presence, sessions, statistics and metrics.
    Read,
    /// Disconnect, clear, and whatever else changes what is not one's own.
    Admin,
}

impl Scope {
    /// As it is written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}
