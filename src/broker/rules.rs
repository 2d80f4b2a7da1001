//! What a topic keeps and tells, and who may use it: the first rule whose filter matches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::auth::{Access, Standing};
use crate::config::{self, Who};
use crate::history::Bounds;
use crate::model::{Durability, Filter, Overflow, Overflows, TopicName};
use crate::protocol::{ErrorCode, Refusal};

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The topics it is for.
    pub filter: Filter,
    /// What holds for each of them.
    pub topic: TopicRule,
}

/// All rules, in the order in which they are tried.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Rule>);

/// What holds for one topic.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a key of the configuration"
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicRule {
    /// How much history it keeps; none: it is live only.
    pub history: Option<Bounds>,
    /// What a message that it keeps outlives once it is acknowledged.
    pub durability: Durability,
    /// Whether one may ask who is there.
    pub presence: bool,
    /// Whether comings and goings are told.
    pub join_leave: bool,
    /// Whether it retains a message for those who subscribe later.
    pub retain: bool,
    /// Who may subscribe, and ask what it keeps.
    pub subscribe: Who,
    /// Who may publish.
    pub publish: Who,
    /// Whether messages tell which user published them.
    pub expose_user: bool,
    /// The largest payload, in bytes, where it is bounded further than all are.
    pub max_message: Option<usize>,
    /// What its subscriptions may ask for, should their sessions be too slow.
    pub overflow: Overflows,
}

/// The rules that hold now, which may be replaced while the broker runs.
#[derive(Debug)]
pub struct LiveRules {
    rules: ArcSwap<Rules>,
    generation: AtomicU64,
}

impl Rules {
    /// Rules that are tried in this order.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// The rules that the configuration writes.
    pub fn from_config(rules: &[config::TopicRule]) -> Self {
        Self(rules.iter().map(Rule::from).collect())
    }

    /// Whether every topic that the filter matches keeps history, but for those that are withheld from
    /// that access.
    pub fn keeps_all(&self, access: &Access, filter: &Filter) -> bool {
        self.of_all(filter, |rule| {
            rule.history.is_some() || !access.may_read_granted(rule.subscribe)
        })
    }

    /// What the messages of every topic that the filter matches outlive at least, but for those that are
    /// withheld from that access.
    pub fn least_durability(&self, access: &Access, filter: &Filter) -> Durability {
        let all = |least: Durability| {
            self.of_all(filter, |rule| {
                rule.durability >= least || !access.may_read_granted(rule.subscribe)
            })
        };
        let known = [Durability::Synced, Durability::Written];
        let least = known.into_iter().find(|least| all(*least));
        least.unwrap_or_default()
    }

    /// Whether every topic that the filter matches lets a subscription ask for that.
    pub fn all_allow(&self, filter: &Filter, overflow: Overflow) -> bool {
        self.of_all(filter, |rule| rule.overflow.allows(overflow))
    }

    /// Whether that holds of every topic that the filter matches.
    fn of_all(&self, filter: &Filter, holds: impl Fn(&TopicRule) -> bool) -> bool {
        // The first that matches counts: those before one that has all of the filter may have a part.
        for rule in self.0.iter().filter(|rule| rule.filter.meets(filter)) {
            if !holds(&rule.topic) {
                return false;
            }
            if rule.filter.contains(filter) {
                return true;
            }
        }
        holds(&TopicRule::default())
    }

    /// What holds for that topic: live only and for those it is granted to, where no rule matches.
    pub fn of(&self, topic: &TopicName) -> TopicRule {
        self.rule(topic)
            .map_or_else(TopicRule::default, |rule| rule.topic)
    }

    /// The rule that applies to that topic, if any does.
    pub fn rule(&self, topic: &TopicName) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.filter.matches(topic))
    }

    /// Whether any topic may retain a message.
    pub fn any_retains(&self) -> bool {
        self.0.iter().any(|rule| rule.topic.retain)
    }

    /// Whether that access lets one subscribe to the filter. Topics below it may still be withheld:
    /// see [`Rules::may_read`].
    pub fn may_subscribe(&self, access: &Access, filter: &Filter) -> bool {
        if let Some(topic) = filter.as_name() {
            return self.may_read(access, &topic);
        }
        // A rule that is for more than those it is granted to opens all of its topics at once.
        let opened = |rule: &Rule| {
            rule.filter.contains(filter)
                && match rule.topic.subscribe {
                    Who::Anyone => access.standing != Standing::Api,
                    Who::Authenticated => access.standing == Standing::User,
                    Who::Granted | Who::Api => false,
                }
        };
        access.subscribe.allows_filter(filter) || self.0.iter().any(opened)
    }

    /// Whether that access lets one read the topic: live, in a replay, and what is kept of it.
    pub fn may_read(&self, access: &Access, topic: &TopicName) -> bool {
        access.may_read(self.of(topic).subscribe, topic)
    }

    /// Whether that access lets one publish to the topic.
    pub fn may_publish(&self, access: &Access, topic: &TopicName) -> bool {
        access.may_publish(self.of(topic).publish, topic)
    }
}

impl From<&config::TopicRule> for Rule {
    fn from(rule: &config::TopicRule) -> Self {
        // Whole, so that nothing that is written is without effect.
        let &config::TopicRule {
            ref filter,
            ref history,
            durability,
            presence,
            join_leave,
            retain,
            subscribe,
            publish,
            expose_user,
            max_message,
            overflow,
        } = rule;
        let bounds = |&config::HistoryRule {
                          messages,
                          age,
                          bytes,
                      }: &config::HistoryRule| Bounds {
            messages,
            age,
            bytes,
        };
        Self {
            filter: filter.clone(),
            topic: TopicRule {
                history: history.as_ref().map(bounds),
                durability,
                presence,
                join_leave,
                retain,
                subscribe,
                publish,
                expose_user,
                max_message,
                overflow,
            },
        }
    }
}

impl TopicRule {
    /// Refuses a payload that is larger than the rule lets it be.
    ///
    /// # Errors
    /// `too_large`.
    pub fn check_size(&self, bytes: usize) -> Result<(), Refusal> {
        match self.max_message {
            Some(max) if bytes > max => Err(Refusal::new(
                ErrorCode::TooLarge,
                format!(
                    "the data has {bytes} bytes and the topic's rule allows {max}; send less, or in parts"
                ),
            )),
            _ => Ok(()),
        }
    }
}

impl LiveRules {
    /// Rules that hold until they are replaced.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules: ArcSwap::from_pointee(rules),
            generation: AtomicU64::new(1),
        }
    }

    /// The rules that hold now.
    pub fn now(&self) -> arc_swap::Guard<Arc<Rules>> {
        self.rules.load()
    }

    /// Changes whenever the rules do: what was worked out by them is worked out anew then.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Puts others in their place.
    pub(super) fn replace(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
        self.generation.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(of: &[(&str, Who)]) -> Rules {
        let rule = |(filter, who): &(&str, Who)| Rule {
            filter: Filter::new(filter).unwrap(),
            topic: TopicRule {
                subscribe: *who,
                publish: *who,
                ..TopicRule::default()
            },
        };
        Rules::new(of.iter().map(rule).collect())
    }

    fn access(standing: Standing, granted: &[&str]) -> Access {
        let granted: Vec<_> = granted.iter().map(|g| Filter::new(g).unwrap()).collect();
        Access {
            standing,
            ..Access::anonymous(granted.clone(), granted)
        }
    }

    const ALL: [Standing; 3] = [Standing::Anonymous, Standing::User, Standing::Api];

    #[test]
    fn a_rule_says_who_may() {
        let topic = TopicName::new("t").unwrap();
        for (who, without_grant, with_grant) in [
            (Who::Granted, [false, false, false], [true, true, true]),
            (
                Who::Authenticated,
                [false, true, false],
                [false, true, true],
            ),
            (Who::Anyone, [true, true, false], [true, true, true]),
            (Who::Api, [false, false, false], [false, false, true]),
        ] {
            let rules = rules(&[("t", who)]);
            for (granted, expected) in [(&[][..], without_grant), (&["t"], with_grant)] {
                for (standing, expected) in ALL.into_iter().zip(expected) {
                    let access = access(standing, granted);
                    let told = format!("{who:?} {standing:?} {granted:?}");
                    assert_eq!(rules.may_read(&access, &topic), expected, "{told}");
                    assert_eq!(rules.may_publish(&access, &topic), expected, "{told}");
                    let filter = Filter::from(topic.clone());
                    assert_eq!(rules.may_subscribe(&access, &filter), expected, "{told}");
                }
            }
        }
    }

    #[test]
    fn no_rule_lets_one_publish_to_the_brokers_own_topics() {
        let topic = TopicName::new("$sys/x").unwrap();
        let rules = rules(&[("$sys/#", Who::Anyone)]);
        for standing in ALL {
            assert!(!rules.may_publish(&access(standing, &["$sys/#"]), &topic));
        }
    }

    #[test]
    fn a_filter_is_open_to_those_that_one_rule_opens_all_of_it_to() {
        let rules = rules(&[
            ("news/secret", Who::Granted),
            ("news/#", Who::Anyone),
            ("club/#", Who::Authenticated),
            ("staff/#", Who::Api),
        ]);
        let filter = |text| Filter::new(text).unwrap();
        let anonymous = access(Standing::Anonymous, &[]);
        let user = access(Standing::User, &[]);
        for (asked, of_anonymous, of_user) in [
            ("news/#", true, true),
            ("news/+/a", true, true),
            ("news/secret", false, false),
            ("club/+", false, true),
            ("staff/+", false, false),
            ("#", false, false),
            ("+/#", false, false),
        ] {
            let asked = filter(asked);
            assert_eq!(
                rules.may_subscribe(&anonymous, &asked),
                of_anonymous,
                "{asked}"
            );
            assert_eq!(rules.may_subscribe(&user, &asked), of_user, "{asked}");
        }
        // It is accepted, and what an earlier rule keeps from it is withheld.
        assert!(!rules.may_read(&anonymous, &TopicName::new("news/secret").unwrap()));
        assert!(rules.may_subscribe(&access(Standing::Anonymous, &["#"]), &filter("#")));
    }

    #[test]
    fn a_filter_keeps_all_where_no_topic_of_it_is_live_only() {
        let rule = |filter: &str, messages: Option<usize>| Rule {
            filter: Filter::new(filter).unwrap(),
            topic: TopicRule {
                history: messages.map(|messages| Bounds {
                    messages,
                    age: None,
                    bytes: 1024,
                }),
                ..TopicRule::default()
            },
        };
        let rules = Rules::new(vec![
            rule("a/live/#", None),
            rule("a/#", Some(10)),
            rule("b/x", Some(10)),
            rule("b/+", Some(10)),
        ]);
        let anyone = access(Standing::Anonymous, &["#"]);
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
            let keeps = rules.keeps_all(&anyone, &Filter::new(filter).unwrap());
            assert_eq!(keeps, keeps_all, "{filter}");
        }
        let mut withheld = rule("a/live/#", None);
        withheld.topic.subscribe = Who::Api;
        let rules = Rules::new(vec![withheld, rule("a/#", Some(10))]);
        for (standing, keeps_all) in [(Standing::Anonymous, true), (Standing::Api, false)] {
            let access = access(standing, &["#"]);
            assert_eq!(
                rules.keeps_all(&access, &Filter::new("a/#").unwrap()),
                keeps_all
            );
        }
    }
}
