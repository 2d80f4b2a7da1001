//! What one session or request may do.

use crate::model::{Filter, TopicName};

use super::{KeyEntry, Scope};

/// What someone may subscribe to, and what they may publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Subscribing, and what goes with it: history, presence, retained messages.
    pub subscribe: Grant,
    /// Publishing.
    pub publish: Grant,
}

/// A set of topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Every topic but those of the broker, whose names begin with `$`.
    All,
    /// What these filters match, `$` topics included where a filter spells out the `$`.
    Filters(Vec<Filter>),
    /// None.
    None,
}

impl Grant {
    /// Whether one part of the grant contains all that the filter matches.
    pub fn allows_filter(&self, asked: &Filter) -> bool {
        match self {
            Self::All => !asked.as_str().starts_with('$'),
            Self::Filters(granted) => granted.iter().any(|grant| grant.contains(asked)),
            Self::None => false,
        }
    }

    /// Whether the grant contains the topic.
    pub fn allows_topic(&self, topic: &TopicName) -> bool {
        match self {
            Self::All => !topic.is_reserved(),
            Self::Filters(granted) => granted.iter().any(|grant| grant.matches(topic)),
            Self::None => false,
        }
    }

    /// The grant of a list of filters; of none where the list is empty.
    fn of(filters: Vec<Filter>) -> Self {
        if filters.is_empty() {
            Self::None
        } else {
            Self::Filters(filters)
        }
    }
}

impl Access {
    /// Every topic but the broker's, to subscribe and to publish.
    pub fn everything() -> Self {
        Self {
            subscribe: Grant::All,
            publish: Grant::All,
        }
    }

    /// Nothing at all.
    pub fn nothing() -> Self {
        Self {
            subscribe: Grant::None,
            publish: Grant::None,
        }
    }

    /// What a key is good for.
    pub fn for_key(key: &KeyEntry) -> Self {
        let grant = |scope| match &key.topics {
            _ if !key.has(scope) => Grant::None,
            None => Grant::All,
            Some(topics) => Grant::of(topics.clone()),
        };
        Self {
            subscribe: grant(Scope::Read),
            publish: grant(Scope::Publish),
        }
    }

    /// What those without credentials may do.
    pub fn anonymous(subscribe: Vec<Filter>, publish: Vec<Filter>) -> Self {
        Self {
            subscribe: Grant::of(subscribe),
            publish: Grant::of(publish),
        }
    }

    /// Whether the filter may be subscribed to.
    pub fn may_subscribe(&self, filter: &Filter) -> bool {
        self.subscribe.allows_filter(filter)
    }

    /// Whether a topic's history and presence may be asked for.
    pub fn may_read(&self, topic: &TopicName) -> bool {
        self.subscribe.allows_topic(topic)
    }

    /// Whether the topic may be published to. The broker's own never may, whatever is granted.
    pub fn may_publish(&self, topic: &TopicName) -> bool {
        !topic.is_reserved() && self.publish.allows_topic(topic)
    }
}
