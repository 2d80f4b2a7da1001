//! What a topic keeps and tells: the first rule whose filter matches.

use crate::history::Bounds;
use crate::model::{Filter, TopicName};

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The topics it is for.
    pub filter: Filter,
    /// How much history they keep; none: they are live only.
    pub history: Option<Bounds>,
    /// Whether one may ask who is there.
    pub presence: bool,
    /// Whether comings and goings are told.
    pub join_leave: bool,
}

/// All rules, in the order in which they are tried.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Rule>);

/// What holds for one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicRule {
    /// How much history it keeps.
    pub history: Option<Bounds>,
    /// Whether one may ask who is there.
    pub presence: bool,
    /// Whether comings and goings are told.
    pub join_leave: bool,
}

impl Rules {
    /// Rules that are tried in this order.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// The rules that the configuration writes.
    pub fn from_config(rules: &[crate::config::TopicRule]) -> Self {
        let rules = rules.iter().map(|rule| Rule {
            filter: rule.filter.clone(),
            history: rule.history.as_ref().map(|history| Bounds {
                messages: history.messages,
                age: history.age,
                bytes: history.bytes,
            }),
            presence: rule.presence,
            join_leave: rule.join_leave,
        });
        Self(rules.collect())
    }

    /// Whether every topic that the filter matches keeps history.
    pub fn keeps_all(&self, filter: &Filter) -> bool {
        // The first that matches counts: those before one that has all of the filter may have a part.
        for rule in self.0.iter().filter(|rule| rule.filter.meets(filter)) {
            if rule.history.is_none() {
                return false;
            }
            if rule.filter.contains(filter) {
                return true;
            }
        }
        false
    }

    /// What holds for that topic: live only, where no rule matches.
    pub fn of(&self, topic: &TopicName) -> TopicRule {
        self.0
            .iter()
            .find(|rule| rule.filter.matches(topic))
            .map_or_else(TopicRule::default, |rule| TopicRule {
                history: rule.history,
                presence: rule.presence,
                join_leave: rule.join_leave,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_keeps_all_where_no_topic_of_it_is_live_only() {
        let rule = |filter: &str, messages: Option<usize>| Rule {
            filter: Filter::new(filter).unwrap(),
            history: messages.map(|messages| Bounds {
                messages,
                age: None,
                bytes: 1024,
            }),
            presence: false,
            join_leave: false,
        };
        let rules = Rules::new(vec![
            rule("a/live/#", None),
            rule("a/#", Some(10)),
            rule("b/x", Some(10)),
            rule("b/+", Some(10)),
        ]);
        for (filter, keeps_all) in [
            ("a/x/#", true),
            ("a/x", true),
            ("a/#", false),
            ("a/+/x", false),
            ("a/live/x", false),
            ("b/+", true),
            ("b/#", false),
            ("c", false),
            ("#", false),
        ] {
            let keeps = rules.keeps_all(&Filter::new(filter).unwrap());
            assert_eq!(keeps, keeps_all, "{filter}");
        }
    }
}
