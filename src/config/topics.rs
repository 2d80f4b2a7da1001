//! Rules of topics, and the paths that are bound to one.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use super::kinds;
use super::paths::Paths;
use super::reader::Section;
use super::sections::StoreKind;
use crate::model::{Durability, Filter, Overflow, Overflows, TopicName};

/// What a rule's history holds at most in bytes where the rule does not say.
const HISTORY_BYTES: usize = 16 * 1024 * 1024;

/// Counts that only have to be sensible.
const MANY: usize = 1_000_000_000;

/// `[[topic]]`: what is kept and told of the topics a filter matches.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a key of the configuration"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRule {
    /// The topics it is for.
    pub filter: Filter,
    /// What is kept of each of them; `None` is nothing: live only.
    pub history: Option<HistoryRule>,
    /// What a message that is kept outlives once it is acknowledged.
    pub durability: Durability,
    /// Whether it may be asked who is there.
    pub presence: bool,
    /// Whether subscribers are told who comes and goes.
    pub join_leave: bool,
    /// Whether one message may be retained for those who subscribe later.
    pub retain: bool,
    /// Who may subscribe, and ask for what is kept.
    pub subscribe: Who,
    /// Who may publish.
    pub publish: Who,
    /// Whether messages tell which user published them.
    pub expose_user: bool,
    /// The largest payload, in bytes; `None` is `limits.message_bytes`.
    pub max_message: Option<usize>,
    /// What becomes of messages that a subscriber does not take in time.
    pub overflow: Overflows,
}

/// Who may do something with the topics of a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Who {
    /// Whoever was granted the topic.
    #[default]
    Granted,
    /// Whoever came with credentials.
    Authenticated,
    /// Anyone at all.
    Anyone,
    /// API keys.
    Api,
}

impl Who {
    /// All of them, by the names that the configuration has for them.
    pub(super) const NAMES: &[(&str, Self)] = &[
        ("granted", Self::Granted),
        ("authenticated", Self::Authenticated),
        ("anyone", Self::Anyone),
        ("api", Self::Api),
    ];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Authenticated => "authenticated",
            Self::Anyone => "anyone",
            Self::Api => "api",
        }
    }
}

impl TopicRule {
    /// A rule that keeps and tells nothing.
    pub fn live(filter: Filter) -> Self {
        Self {
            filter,
            history: None,
            durability: Durability::Memory,
            presence: false,
            join_leave: false,
            retain: false,
            subscribe: Who::Granted,
            publish: Who::Granted,
            expose_user: false,
            max_message: None,
            overflow: Overflows::default(),
        }
    }

    fn read(section: &mut Section<'_>, store: StoreKind) -> Option<Self> {
        let filter = section.required("filter", r#"filter = "chat/#""#, kinds::filter);
        let history = section.optional("history", r#"history = { messages = 30, age = "24h" }"#);
        let history = history.map(HistoryRule::read);
        let durability = read_durability(section, store);
        let presence = section.read("presence", kinds::boolean);
        let join_leave = section.read("join_leave", kinds::boolean);
        let retain = section.read("retain", kinds::boolean);
        let subscribe = section.read("subscribe", kinds::choice(Who::NAMES));
        let publish = section.read("publish", kinds::choice(Who::NAMES));
        let expose_user = section.read("expose_user", kinds::boolean);
        let sizes = 1..=isize::MAX.unsigned_abs();
        let max_message = section.read("max_message", kinds::size(sizes));
        let overflow = read_overflow(section);
        Some(Self {
            filter: filter?,
            history: match history {
                None => None,
                Some(read) => Some(read?),
            },
            durability,
            presence: presence.unwrap_or_default(),
            join_leave: join_leave.unwrap_or_default(),
            retain: retain.unwrap_or_default(),
            subscribe: subscribe.unwrap_or_default(),
            publish: publish.unwrap_or_default(),
            expose_user: expose_user.unwrap_or_default(),
            max_message,
            overflow: overflow.unwrap_or_default(),
        })
    }
}

/// What messages outlive: where it is not said, the process, if the store does.
fn read_durability(section: &mut Section<'_>, store: StoreKind) -> Durability {
    let usual = usual(store);
    let durability = section.read("durability", kinds::choice(Durability::NAMES));
    let durability = durability.unwrap_or(usual);
    if durability > usual && store == StoreKind::Memory {
        section.refuse(
            "durability",
            format!(
                "{:?}, and the store keeps everything in memory",
                durability.as_str()
            ),
            r#"set store.kind = "disk", or leave it out"#,
        );
    }
    durability
}

/// What messages outlive where no rule says it.
fn usual(store: StoreKind) -> Durability {
    match store {
        StoreKind::Memory => Durability::Memory,
        StoreKind::Disk => Durability::Written,
    }
}

/// What subscriptions may ask for, the first being what they get who ask for nothing.
fn read_overflow(section: &mut Section<'_>) -> Option<Overflows> {
    let example = r#"overflow = ["disconnect", "drop_oldest"]"#;
    let word = kinds::choice(Overflow::NAMES);
    let is_clean = Cell::new(true);
    let list = section.list("overflow", example, |value| {
        word(value).inspect_err(|_| is_clean.set(false))
    })?;
    let overflows = Overflows::new(&list);
    if overflows.is_none() && is_clean.get() {
        let found = match list.len() {
            0 => "an empty list",
            _ => "a word that stands twice",
        };
        section.refuse(
            "overflow",
            found,
            format!("name one or more, each once: {example}"),
        );
    }
    overflows
}

/// `[[topic]]`: the rules in their order; the built-in ones where none are set.
pub(super) fn read_rules(root: &mut Section<'_>, store: StoreKind) -> Vec<TopicRule> {
    let mut filters = BTreeMap::new();
    let rules = root.tables("topic", |mut section| {
        let rule = TopicRule::read(&mut section, store)?;
        let earlier = filters.get(&rule.filter).cloned();
        if let Some(earlier) = earlier {
            let found = format!("the same filter as that of {earlier}, which always applies first");
            section.refuse("filter", found, "make one rule of both");
        } else {
            filters.insert(rule.filter.clone(), section.path().to_owned());
        }
        Some(rule)
    });
    rules.unwrap_or_else(|| {
        let durability = usual(store);
        let built_in = built_in().into_iter();
        built_in
            .map(|rule| TopicRule { durability, ..rule })
            .collect()
    })
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

    fn read(mut section: Section<'_>) -> Option<Self> {
        let ages = Duration::from_millis(1)..=Duration::from_hours(3650 * 24);
        let messages = section.required("messages", "messages = 30", kinds::number(1..=MANY));
        let age = section.read("age", kinds::duration(ages));
        let bytes = section.read("bytes", kinds::size(1..=isize::MAX.unsigned_abs()));
        Some(Self {
            messages: messages?,
            age,
            bytes: bytes.unwrap_or(HISTORY_BYTES),
        })
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

impl Endpoint {
    fn read(section: &mut Section<'_>, paths: &mut Paths) -> Option<Self> {
        let path = if section.has("path") {
            paths.take(section)
        } else {
            section.required("path", r#"path = "/chat""#, kinds::path)
        };
        let topic = section.required("topic", r#"topic = "chat""#, kinds::topic);
        let last = section.read("last", kinds::number(0..=MANY));
        let on_join = section.read("on_join", kinds::text);
        let on_leave = section.read("on_leave", kinds::text);
        let max_chars = section.read("max_chars", kinds::number(1..=MANY));
        Some(Self {
            path: path?,
            topic: topic?,
            last: last.unwrap_or_default(),
            on_join,
            on_leave,
            max_chars,
        })
    }
}

/// The rule that applies to a topic: the first whose filter matches.
pub(super) fn rule_of<'a>(rules: &'a [TopicRule], topic: &TopicName) -> Option<&'a TopicRule> {
    rules.iter().find(|rule| rule.filter.matches(topic))
}

/// `[[endpoint]]`, each checked against the rule of its topic.
pub(super) fn read_endpoints(
    root: &mut Section<'_>,
    rules: &[TopicRule],
    paths: &mut Paths,
) -> Vec<Endpoint> {
    let sure = root.is_clean(&["topic"]);
    let endpoints = root.tables("endpoint", |mut section| {
        let endpoint = Endpoint::read(&mut section, paths)?;
        let rule = rule_of(rules, &endpoint.topic);
        let has_history = rule.is_some_and(|rule| rule.history.is_some());
        if sure && endpoint.last > 0 && !has_history {
            let topic = endpoint.topic.as_str();
            let found = format!("{} of {topic:?}, which keeps no history", endpoint.last);
            let remedy = match rule {
                Some(rule) => format!("give the [[topic]] with filter {:?} a history", rule.filter),
                None => format!("add a [[topic]] with filter {topic:?} and a history"),
            };
            section.refuse("last", found, remedy + ", or leave last out");
        }
        Some(endpoint)
    });
    endpoints.unwrap_or_default()
}

/// The rules while no `[[topic]]` is set: the demo's, with 30 messages of a day.
pub(super) fn built_in() -> Vec<TopicRule> {
    Filter::new("demo/#")
        .map(|filter| TopicRule {
            history: Some(HistoryRule {
                messages: 30,
                age: Some(Duration::from_hours(24)),
                bytes: HISTORY_BYTES,
            }),
            presence: true,
            join_leave: true,
            ..TopicRule::live(filter)
        })
        .into_iter()
        .collect()
}
