//! Rules of topics, and the paths that are bound to one.

use std::time::Duration;

use crate::model::{Filter, TopicName};

/// What a rule's history holds at most in bytes where the rule does not say.
pub(super) const HISTORY_BYTES: usize = 16 * 1024 * 1024;

/// `[[topic]]`: what is kept and told of the topics a filter matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRule {
    /// The topics it is for.
    pub filter: Filter,
    /// What is kept of each of them; `None` is nothing: live only.
    pub history: Option<HistoryRule>,
    /// Whether it may be asked who is there.
    pub presence: bool,
    /// Whether subscribers are told who comes and goes.
    pub join_leave: bool,
}

impl TopicRule {
    /// A rule that keeps and tells nothing.
    pub fn live(filter: Filter) -> Self {
        Self {
            filter,
            history: None,
            presence: false,
            join_leave: false,
        }
    }
}

/// What is kept of a topic: whichever bound is reached first counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRule {
    /// Messages at most.
    pub messages: usize,
    /// How old a message may get; `None` is any age.
    pub age: Option<Duration>,
    /// Bytes at most.
    pub bytes: usize,
}

impl HistoryRule {
    /// The last `messages`, of any age, in at most 16 MiB.
    pub fn last(messages: usize) -> Self {
        Self {
            messages,
            age: None,
            bytes: HISTORY_BYTES,
        }
    }
}

/// `[[endpoint]]`: a path that is bound to a topic and speaks raw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The path that is upgraded.
    pub path: String,
    /// What its sessions subscribe and publish to.
    pub topic: TopicName,
    /// Messages replayed on opening; 0 is none.
    pub last: usize,
    /// Published as a text message when a session opens.
    pub on_join: Option<String>,
    /// Published as a text message when a session ends, however it ends.
    pub on_leave: Option<String>,
    /// The longest text a session may send, in characters; a longer one closes with 1009.
    pub max_chars: Option<usize>,
}

/// The rules while no `[[topic]]` is set: the demo's, with 30 messages of a day.
pub(super) fn built_in() -> Vec<TopicRule> {
    Filter::new("demo/#")
        .map(|filter| TopicRule {
            filter,
            history: Some(HistoryRule {
                messages: 30,
                age: Some(Duration::from_secs(24 * 60 * 60)),
                bytes: HISTORY_BYTES,
            }),
            presence: true,
            join_leave: true,
        })
        .into_iter()
        .collect()
}
