//! Who may: anonymous use, the origins of browsers, the keys of backend services.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use ::config::Value;
use sha2::{Digest, Sha256};

use super::kinds;
use super::reader::{Check, Section};
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

impl Auth {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let default = Self::default();
        let timeouts = Duration::from_millis(1)..=Duration::from_hours(1);
        Self {
            timeout: section
                .read("timeout", kinds::duration(timeouts))
                .unwrap_or(default.timeout),
            anonymous: section
                .optional("anonymous", r##"anonymous = { subscribe = ["#"] }"##)
                .map(Anonymous::read),
            allowed_origins: section
                .list(
                    "allowed_origins",
                    r#"["same-origin"]"#,
                    AllowedOrigin::check,
                )
                .unwrap_or(default.allowed_origins),
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

    fn read(mut section: Section<'_>) -> Self {
        let mut filters = |key| section.list(key, r##"["#"]"##, kinds::filter);
        Self {
            subscribe: filters("subscribe").unwrap_or_default(),
            publish: filters("publish").unwrap_or_default(),
        }
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

impl AllowedOrigin {
    /// As it is written in the configuration.
    pub fn as_str(&self) -> &str {
        match self {
            Self::SameOrigin => "same-origin",
            Self::Any => "*",
            Self::Exact(origin) => origin,
        }
    }

    fn check(value: &Value) -> Check<Self> {
        let parsed = match kinds::string(value) {
            Some("same-origin") => Some(Self::SameOrigin),
            Some("*") => Some(Self::Any),
            Some(text) => exact(text).map(Self::Exact),
            None => None,
        };
        parsed.ok_or_else(|| {
            r#""same-origin", "*" or an origin such as "https://example.com" would do, without a path"#
                .to_owned()
        })
    }
}

/// An origin in the form browsers send: lower case, without a default port.
fn exact(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let (scheme, host) = text.split_once("://")?;
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:[]".contains(c);
    if scheme.is_empty() || !scheme.chars().all(named) {
        return None;
    }
    if host.is_empty() || !host.chars().all(plain) {
        return None;
    }
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let host = host.strip_suffix(default_port).unwrap_or(host);
    Some(format!("{scheme}://{host}"))
}

/// `[api]`: the HTTP API, and the keys of backend services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// For how long a publish that comes again with its idempotency key is not done again.
    pub idempotency_window: Duration,
    /// How many idempotency keys are remembered; with more, publishes that have one are refused.
    pub idempotency_keys: usize,
    /// `[[api.key]]`, in the order they are written; names are unique.
    pub keys: Vec<ApiKey>,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            idempotency_window: Duration::from_mins(5),
            idempotency_keys: 500_000,
            keys: Vec::new(),
        }
    }
}

impl Api {
    pub(super) fn read(mut section: Section<'_>, environment: &BTreeMap<String, String>) -> Self {
        let default = Self::default();
        let windows = Duration::from_secs(1)..=Duration::from_hours(24);
        let mut names = BTreeSet::new();
        let keys = section.tables("key", |mut table| {
            let key = ApiKey::read(&mut table, environment)?;
            if !names.insert(key.name.clone()) {
                let found = format!("a second key named {:?}", key.name);
                table.refuse("name", found, "give each key a name of its own");
            }
            Some(key)
        });
        Self {
            idempotency_window: section
                .read("idempotency_window", kinds::duration(windows))
                .unwrap_or(default.idempotency_window),
            idempotency_keys: section
                .read("idempotency_keys", kinds::number(0..=1_000_000_000))
                .unwrap_or(default.idempotency_keys),
            keys: keys.unwrap_or_default(),
        }
    }
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

impl ApiKey {
    fn read(section: &mut Section<'_>, environment: &BTreeMap<String, String>) -> Option<Self> {
        const SCOPES: &[(&str, Scope)] = &[
            ("publish", Scope::Publish),
            ("read", Scope::Read),
            ("admin", Scope::Admin),
        ];
        let example = r#"scopes = ["publish"]"#;
        let name = section.required("name", r#"name = "backend""#, kinds::text);
        let secret = KeySecret::read(section, environment);
        let scopes = section.list("scopes", example, kinds::choice(SCOPES));
        let topics = section.list("topics", r#"topics = ["chat/#"]"#, kinds::filter);
        if scopes.as_ref().is_none_or(Vec::is_empty) && section.is_clean(&["api"]) {
            let remedy = format!("say what the key may do: {example}");
            section.refuse("scopes", "nothing", remedy);
        }
        Some(Self {
            name: name?,
            secret: secret?,
            scopes: scopes?,
            topics,
        })
    }
}

/// A key's hash. Neither it nor the key is ever printed.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecret {
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
    /// Where it was read.
    pub source: KeySource,
}

impl KeySecret {
    /// The secret of a key that is given in clear.
    pub fn of(key: &str, source: KeySource) -> Self {
        Self {
            sha256: Sha256::digest(key.as_bytes()).into(),
            source,
        }
    }

    fn read(section: &mut Section<'_>, environment: &BTreeMap<String, String>) -> Option<Self> {
        let remedy = r#"give sha256 = "…" (of the key) or env = "…" (a variable that holds it)"#;
        let given = (section.has("sha256"), section.has("env"));
        let sha256 = section.read("sha256", hash);
        let variable = section.read("env", kinds::text);
        match given {
            (true, true) => section.refuse("sha256", "both sha256 and env", remedy),
            (false, false) => section.refuse("sha256", "neither sha256 nor env", remedy),
            _ => {}
        }
        if let Some(sha256) = sha256 {
            let source = KeySource::Sha256;
            return Some(Self { sha256, source });
        }
        let variable = variable?;
        match environment.get(&variable).map(String::as_str) {
            None | Some("") => {
                let found = format!("the environment has nothing in {variable}");
                section.refuse("env", found, format!("set {variable} to the key"));
                None
            }
            Some(key) => Some(Self::of(key, KeySource::Env(variable))),
        }
    }
}

/// A SHA-256 in hexadecimal.
fn hash(value: &Value) -> Check<[u8; 32]> {
    let parsed = kinds::string(value).and_then(|text| {
        let mut hash = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, start) in hash.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(text.get(start..start + 2)?, 16).ok()?;
        }
        Some(hash)
    });
    parsed.ok_or_else(|| {
        "the key's SHA-256 is needed, 64 hexadecimal digits: printf %s \"$KEY\" | sha256sum"
            .to_owned()
    })
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
