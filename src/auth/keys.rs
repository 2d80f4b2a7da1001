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

/// The SHA-256 of a key, as a [`KeyEntry`] holds it.
pub fn sha256(key: &Secret) -> [u8; 32] {
    Sha256::digest(key.reveal().as_bytes()).into()
}
