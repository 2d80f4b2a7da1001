//! What one session or request may do.

use crate::config::Who;
use crate::model::{Filter, TopicName};

use super::{KeyEntry, Scope};

/// What someone may subscribe to, and what they may publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Subscribing, and what goes with it: history, presence, retained messages.
    pub subscribe: Grant,
    /// Publishing.
    pub publish: Grant,
    /// Managing, with the scope `admin`: what it may subscribe other sessions to.
    pub manage: Grant,
    /// How it became known, by which the rules of topics may let it do more or less than granted.
    pub standing: Standing,
}

/// How someone became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not at all.
    Anonymous,
    /// By credentials of a user.
    User,
    /// By an API key, or as the machine that the HTTP API is open to. A key is for its topics and no
    /// others, so the rule of a topic never lets it do more than granted.
    Api,
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

    /// Whether that topic is open to someone of that standing, where its rule says who may.
    fn admits(&self, standing: Standing, who: Who, topic: &TopicName) -> bool {
        match (who, standing) {
            (Who::Anyone, Standing::Anonymous | Standing::User)
            | (Who::Authenticated, Standing::User) => true,
            (Who::Authenticated | Who::Api, Standing::Anonymous) | (Who::Api, Standing::User) => {
                false
            }
            (Who::Granted, _) | (_, Standing::Api) => self.allows_topic(topic),
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
            manage: Grant::All,
            standing: Standing::Anonymous,
        }
    }

    /// Nothing at all.
    pub fn nothing() -> Self {
        Self {
            subscribe: Grant::None,
            publish: Grant::None,
            manage: Grant::None,
            standing: Standing::Anonymous,
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
            manage: grant(Scope::Admin),
            standing: Standing::Api,
        }
    }

    /// What those without credentials may do.
    pub fn anonymous(subscribe: Vec<Filter>, publish: Vec<Filter>) -> Self {
        Self {
            subscribe: Grant::of(subscribe),
            publish: Grant::of(publish),
            manage: Grant::None,
            standing: Standing::Anonymous,
        }
    }

    /// Whether a topic that is for those may be read: subscribed to, and asked what it keeps.
    pub fn may_read(&self, who: Who, topic: &TopicName) -> bool {
        self.subscribe.admits(self.standing, who, topic)
    }

    /// What it may read of what a filter matches that it was subscribed to by those who manage: as if
    /// the filter were granted.
    #[must_use]
    pub fn lent(&self, filter: &Filter) -> Self {
        Self {
            subscribe: Grant::Filters(vec![filter.clone()]),
            publish: Grant::None,
            manage: Grant::None,
            standing: self.standing,
        }
    }

    /// Whether a topic that is for those may be read where it is granted.
    pub fn may_read_granted(&self, who: Who) -> bool {
        match (who, self.standing) {
            (Who::Granted | Who::Anyone, _)
            | (_, Standing::Api)
            | (Who::Authenticated, Standing::User) => true,
            (Who::Authenticated | Who::Api, Standing::Anonymous) | (Who::Api, Standing::User) => {
                false
            }
        }
    }

    /// Whether a topic that is for those may be published to. The broker's own never may, whatever
    /// is granted.
    pub fn may_publish(&self, who: Who, topic: &TopicName) -> bool {
        !topic.is_reserved() && self.publish.admits(self.standing, who, topic)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filters(texts: &[&str]) -> Vec<Filter> {
        texts
            .iter()
            .map(|text| Filter::new(text).unwrap())
            .collect()
    }

    fn filter(text: &str) -> Filter {
        Filter::new(text).unwrap()
    }

    fn topic(text: &str) -> TopicName {
        TopicName::new(text).unwrap()
    }

    fn key(scopes: &[Scope], topics: Option<&[&str]>) -> KeyEntry {
        KeyEntry {
            name: "k".to_owned(),
            sha256: [0; 32],
            scopes: scopes.to_vec(),
            topics: topics.map(filters),
        }
    }

    #[test]
    fn a_filter_is_accepted_where_one_grant_contains_all_of_it() {
        for (granted, asked, accepted) in [
            (&["a/#"][..], "a/b", true),
            (&["a/#"], "a/+/c", true),
            (&["a/#"], "a/#", true),
            (&["a/#"], "a", true),
            (&["a/#"], "#", false),
            (&["a/#"], "ab", false),
            (&["a/#"], "+/b", false),
            (&["a/+"], "a/#", false),
            (&["a/b", "a/c"], "a/+", false),
            (&["x", "a/#"], "a/b", true),
            (&["#"], "$sys/#", false),
            (&["#"], "$sys/x", false),
            (&["$sys/#"], "$sys/x", true),
        ] {
            let access = Access::anonymous(filters(granted), Vec::new());
            assert_eq!(
                access.subscribe.allows_filter(&filter(asked)),
                accepted,
                "{granted:?} {asked}"
            );
        }
    }

    #[test]
    fn everything_is_everything_but_the_brokers_own() {
        let access = Access::everything();
        for asked in ["#", "+", "a/b", "+/#", "/", "a/$b"] {
            assert!(access.subscribe.allows_filter(&filter(asked)), "{asked}");
        }
        for asked in ["$sys/#", "$sys/x", "$direct", "$", "$+x"] {
            if let Ok(asked) = Filter::new(asked) {
                assert!(!access.subscribe.allows_filter(&asked), "{asked}");
            }
        }
        assert!(
            access.may_read(Who::Granted, &topic("a/b"))
                && access.may_publish(Who::Granted, &topic("a/b"))
        );
        assert!(!access.may_read(Who::Granted, &topic("$sys/x")));
    }

    #[test]
    fn nothing_is_nothing() {
        let access = Access::nothing();
        assert!(!access.subscribe.allows_filter(&filter("a")));
        assert!(!access.may_read(Who::Granted, &topic("a")));
        assert!(!access.may_publish(Who::Granted, &topic("a")));
        assert_eq!(Access::anonymous(Vec::new(), Vec::new()), access);
    }

    #[test]
    fn the_brokers_own_topics_are_published_by_nobody() {
        let granted = Access::anonymous(Vec::new(), filters(&["$sys/#", "$direct", "#"]));
        for access in [granted, Access::everything()] {
            for name in ["$sys/x", "$direct", "$broadcast", "$"] {
                assert!(!access.may_publish(Who::Granted, &topic(name)), "{name}");
            }
            assert!(access.may_publish(Who::Granted, &topic("a/$sys")));
        }
    }

    #[test]
    fn a_key_is_good_for_its_scopes_and_topics() {
        let (publish, read) = (Scope::Publish, Scope::Read);
        for (scopes, topics, may_read, may_publish) in [
            (&[publish][..], None, false, true),
            (&[read], None, true, false),
            (&[read, publish], None, true, true),
            (&[Scope::Admin], None, false, false),
            (&[], None, false, false),
            (&[read, publish], Some(&["a/#"][..]), true, true),
            (&[read, publish], Some(&["b/#"]), false, false),
            // A limit to no topics is no topics, not no limit.
            (&[read, publish], Some(&[]), false, false),
        ] {
            let access = Access::for_key(&key(scopes, topics));
            let told = format!("{scopes:?} {topics:?}");
            assert_eq!(
                access.subscribe.allows_filter(&filter("a/b")),
                may_read,
                "{told}"
            );
            assert_eq!(
                access.may_read(Who::Granted, &topic("a/b")),
                may_read,
                "{told}"
            );
            assert_eq!(
                access.may_publish(Who::Granted, &topic("a/b")),
                may_publish,
                "{told}"
            );
        }
    }

    /// Few levels, so that filters and topics often meet.
    fn levels(of: &'static [&'static str]) -> impl Strategy<Value = String> {
        proptest::collection::vec(proptest::sample::select(of), 1..4)
            .prop_map(|levels| levels.join("/"))
    }

    proptest! {
        #[test]
        fn an_accepted_filter_matches_no_topic_outside_of_the_grant(
            granted in proptest::collection::vec(levels(&["a", "b", "+", "#", "$sys"]), 0..3),
            asked in levels(&["a", "b", "+", "#", "$sys"]),
            name in levels(&["a", "b", "$sys", ""]),
        ) {
            let granted = granted.iter().filter_map(|text| Filter::new(text).ok()).collect();
            let access = Access::anonymous(granted, Vec::new());
            if let (Ok(asked), Ok(name)) = (Filter::new(&asked), TopicName::new(&name)) {
                for access in [access, Access::everything()] {
                    if access.subscribe.allows_filter(&asked) && asked.matches(&name) {
                        prop_assert!(access.may_read(Who::Granted, &name), "{access:?} {asked} {name}");
                    }
                }
            }
        }
    }
}
