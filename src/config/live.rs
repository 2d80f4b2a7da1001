//! The configuration of a running broker, a part of which may change while it runs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{Config, show};

/// The keys, or the beginnings of keys, that take effect without a restart.
const LIVE: &[&str] = &[
    "topic.",
    "auth.",
    "api.key",
    "limits.",
    "log.level",
    "server.trusted_proxies",
];

/// The configuration that holds now. Cheap to clone: all clones change together.
#[derive(Clone)]
pub struct LiveConfig(Arc<Shared>);

struct Shared {
    now: ArcSwap<Config>,
    changes: watch::Sender<u64>,
    is_refused: AtomicBool,
}

/// What came of a configuration that was read anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Keys whose new values hold from now on.
    pub applied: Vec<String>,
    /// Keys whose new values wait for a restart.
    pub needs_restart: Vec<String>,
}

impl LiveConfig {
    /// The configuration that holds now.
    pub fn now(&self) -> Arc<Config> {
        self.0.now.load_full()
    }

    /// Takes over what may change while the broker runs, and leaves the rest as it is.
    pub fn replace(&self, read: Config) -> Change {
        self.0.is_refused.store(false, Ordering::Relaxed);
        let running = self.now();
        let change = Change::between(&running, &read);
        if change.applied.is_empty() {
            return change;
        }
        let mut next = Config::clone(&running);
        next.topics = read.topics;
        next.auth = read.auth;
        next.api.keys = read.api.keys;
        next.limits = read.limits;
        next.server.trusted_proxies = read.server.trusted_proxies;
        next.log.level = read.log.level;
        self.0.now.store(Arc::new(next));
        self.0.changes.send_modify(|count| *count += 1);
        change
    }

    /// Notes that what was read last has faults, so that what was there before goes on.
    pub fn refused(&self) {
        self.0.is_refused.store(true, Ordering::Relaxed);
    }

    /// Whether what was read last was taken over.
    pub fn is_up_to_date(&self) -> bool {
        !self.0.is_refused.load(Ordering::Relaxed)
    }

    /// Tells of every change from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }
}

impl From<Config> for LiveConfig {
    fn from(config: Config) -> Self {
        Self(Arc::new(Shared {
            now: ArcSwap::from_pointee(config),
            changes: watch::Sender::new(0),
            is_refused: AtomicBool::new(false),
        }))
    }
}

impl fmt::Debug for LiveConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LiveConfig").field(&self.now()).finish()
    }
}

impl Change {
    /// What differs, by the keys of the file.
    fn between(running: &Config, read: &Config) -> Self {
        let (before, after) = (values(running), values(read));
        let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
        keys.sort();
        keys.dedup();
        keys.retain(|key| before.get(*key) != after.get(*key));
        let is_live = |key: &&String| LIVE.iter().any(|live| key.starts_with(live));
        let (live, fixed): (Vec<_>, Vec<_>) = keys.into_iter().partition(is_live);
        let mut applied: Vec<String> = live.into_iter().cloned().collect();
        // What is shown of keys hides their secrets.
        let is_named = applied.iter().any(|key| key.starts_with("api.key"));
        if running.api.keys != read.api.keys && !is_named {
            applied.push("api.key".to_owned());
        }
        Self {
            applied,
            needs_restart: fixed.into_iter().cloned().collect(),
        }
    }
}

/// Every key with its value, or with all of its values where its section is a list.
fn values(config: &Config) -> BTreeMap<String, String> {
    let mut values = BTreeMap::<String, String>::new();
    let mut section = String::new();
    for line in show(config).lines() {
        if let Some(name) = line.strip_prefix('[') {
            name.trim_matches(['[', ']']).clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once(" = ") {
            let key = match section.as_str() {
                "" => key.to_owned(),
                section => format!("{section}.{key}"),
            };
            let known: &mut String = values.entry(key).or_default();
            known.push_str(value);
            known.push('\n');
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ApiKey, KeySecret, KeySource, TopicRule};
    use crate::model::Filter;

    fn rule(filter: &str) -> TopicRule {
        TopicRule::live(Filter::new(filter).unwrap())
    }

    #[test]
    fn what_may_change_does_and_what_may_not_is_named() {
        let live = LiveConfig::from(Config::default());
        let changes = live.changes();
        let mut read = Config {
            topics: vec![rule("a/#"), rule("b/#")],
            ..Config::default()
        };
        read.limits.batch = 7;
        read.log.level = "debug".to_owned();
        read.session.queue = 1 << 21;
        read.server.listen = "127.0.0.1:9".parse().unwrap();
        let change = live.replace(read);
        assert_eq!(change.needs_restart, ["server.listen", "session.queue"]);
        for key in ["topic.filter", "limits.batch", "log.level"] {
            assert!(change.applied.iter().any(|a| a == key), "{change:?}");
        }
        let now = live.now();
        assert_eq!((now.limits.batch, now.topics.len()), (7, 2));
        assert_eq!(now.server, Config::default().server);
        assert_eq!(now.session, Config::default().session);
        assert!(changes.has_changed().unwrap());
    }

    #[test]
    fn the_same_once_more_is_no_change() {
        let live = LiveConfig::from(Config::default());
        let changes = live.changes();
        assert_eq!(live.replace(Config::default()), Change::default());
        assert!(!changes.has_changed().unwrap());
    }

    #[test]
    fn a_key_with_another_secret_is_a_change_that_shows_neither() {
        let key = |secret| ApiKey {
            name: "backend".to_owned(),
            secret: KeySecret::of(secret, KeySource::Sha256),
            scopes: Vec::new(),
            topics: None,
        };
        let mut config = Config::default();
        config.api.keys = vec![key("one")];
        let live = LiveConfig::from(config.clone());
        config.api.keys = vec![key("two")];
        assert_eq!(live.replace(config.clone()).applied, ["api.key"]);
        assert_eq!(live.now().api.keys, config.api.keys);
    }

    #[test]
    fn rules_in_another_order_are_a_change() {
        let mut config = Config {
            topics: vec![rule("a/#"), rule("#")],
            ..Config::default()
        };
        let live = LiveConfig::from(config.clone());
        config.topics.reverse();
        assert_eq!(live.replace(config).applied, ["topic.filter"]);
    }
}
