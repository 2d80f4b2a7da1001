//! The keys of the HTTP API, which are credentials of the other protocols too.

use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use crate::model::Filter;

use super::Secret;

/// The keys that the configuration names. The keys themselves are nowhere, only their SHA-256.
#[derive(Clone, Debug, Default)]
pub struct ApiKeys {
    entries: Vec<KeyEntry>,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    /// What the configuration calls it; this may be logged.
    pub name: String,
    /// The SHA-256 of the key.
    pub sha256: [u8; 32],
    /// What it is good for.
    pub scopes: Vec<Scope>,
    /// The only topics it is good for, where there is a limit.
    pub topics: Option<Vec<Filter>>,
}

/// What a key may be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Publishing.
    Publish,
    /// Subscribing, and asking what there is.
    Read,
    /// Ending sessions and clearing topics.
    Admin,
}

impl Scope {
    /// The scope of that name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "publish" => Some(Self::Publish),
            "read" => Some(Self::Read),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

impl KeyEntry {
    /// Whether the key has that scope.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

impl ApiKeys {
    /// These keys. Where two are the same, the first counts.
    pub fn new(entries: Vec<KeyEntry>) -> Self {
        Self { entries }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The key that was presented, if it is one. It is compared with each of them whole, so that the
    /// time says nothing of which it is or how near it comes.
    pub fn find(&self, presented: &Secret) -> Option<&KeyEntry> {
        let presented = sha256(presented);
        let mut found = u64::MAX;
        for (place, entry) in self.entries.iter().enumerate().rev() {
            found.conditional_assign(&(place as u64), entry.sha256.ct_eq(&presented));
        }
        usize::try_from(found)
            .ok()
            .and_then(|place| self.entries.get(place))
    }
}

impl ApiKeys {
    /// The key of that SHA-256, which nobody presents: it was found by it before.
    pub fn of_hash(&self, sha256: &[u8; 32]) -> Option<&KeyEntry> {
        self.entries.iter().find(|entry| entry.sha256 == *sha256)
    }
}

/// The SHA-256 of a key, as a [`KeyEntry`] holds it.
pub fn sha256(key: &Secret) -> [u8; 32] {
    Sha256::digest(key.reveal().as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn key(name: &str, text: &str) -> KeyEntry {
        KeyEntry {
            name: name.to_owned(),
            sha256: sha256(&Secret::new(text)),
            scopes: vec![Scope::Publish],
            topics: None,
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    fn found(keys: &ApiKeys, presented: &str) -> Option<String> {
        let entry = keys.find(&Secret::new(presented))?;
        Some(entry.name.clone())
    }

    #[test]
    fn a_key_is_found_by_its_text_wherever_it_stands() {
        let keys = ApiKeys::new(vec![
            key("first", "aaa"),
            key("mid", "bbb"),
            key("last", "ccc"),
        ]);
        for (presented, name) in [("aaa", "first"), ("bbb", "mid"), ("ccc", "last")] {
            assert_eq!(found(&keys, presented).as_deref(), Some(name));
        }
        assert_eq!(keys.len(), 3);
    }

    #[test]
    fn whatever_is_no_key_finds_none() {
        let keys = ApiKeys::new(vec![key("first", "aaa"), key("last", "bbb")]);
        let as_hash = hex(&sha256(&Secret::new("aaa")));
        for presented in ["", "a", "aaaa", "AAA", "aaa ", " aaa", "aaabbb", &as_hash] {
            assert_eq!(found(&keys, presented), None, "{presented:?}");
        }
        assert_eq!(found(&ApiKeys::default(), ""), None);
        assert!(ApiKeys::default().is_empty());
    }

    #[test]
    fn of_two_entries_with_one_key_the_first_counts() {
        let keys = ApiKeys::new(vec![key("first", "aaa"), key("again", "aaa")]);
        assert_eq!(found(&keys, "aaa").as_deref(), Some("first"));
    }

    #[test]
    fn the_hash_is_the_one_that_sha256sum_prints() {
        let printed = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
        assert_eq!(hex(&sha256(&Secret::new("foo"))), printed);
    }

    #[test]
    fn a_scope_reads_back_as_it_was_written() {
        for scope in [Scope::Publish, Scope::Read, Scope::Admin] {
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        }
        for none in ["", "Publish", "write", "*"] {
            assert_eq!(Scope::parse(none), None, "{none}");
        }
    }
}
