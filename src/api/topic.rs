//! One topic: what is known of it, and who is there.

use actix_web::HttpResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Problem;
use super::listing::Listed;
use super::node::rounded;
use super::query::decode;
use super::serve::{Call, json};
use crate::auth::Scope;
use crate::broker::{Rule, TopicRule, no_such_topic};
use crate::model::{Member, Overflow, TopicName};
use crate::protocol::{ErrorCode, Refusal};

/// A topic with the rule that applies to it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Topic")]
pub(super) struct Described<'a> {
    #[serde(flatten)]
    topic: Listed,
    /// What happens in it.
    rates: Rates,
    /// The rule that applies: the first whose filter matches.
    rule: Option<Applied<'a>>,
}

/// Averages over about the last ten seconds.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TopicRates")]
struct Rates {
    /// Messages that were published.
    published_per_second: f64,
}

/// The rule that applies to a topic.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TopicRule")]
#[expect(clippy::struct_excessive_bools, reason = "as the rule has them")]
struct Applied<'a> {
    /// The topics it is for.
    filter: &'a str,
    /// How much they keep; null: they are live only.
    history: Option<Kept>,
    /// What a message that they keep outlives once it is acknowledged: memory, written or synced.
    durability: &'static str,
    /// Whether they tell who is there.
    presence: bool,
    /// Whether they tell who comes and goes.
    join_leave: bool,
    /// Whether they retain a message for who subscribes later.
    retain: bool,
    /// Who may subscribe: granted, authenticated, anyone or api.
    subscribe: &'static str,
    /// Who may publish.
    publish: &'static str,
    /// Whether messages tell which user published them.
    expose_user: bool,
    /// The largest payload, in bytes, where it is bounded further than all are.
    max_message: Option<usize>,
    /// What subscriptions may ask for, should their sessions be too slow; the first is what they get who
    /// ask for nothing.
    overflow: Vec<&'static str>,
}

/// How much history a topic keeps.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "HistoryBounds")]
struct Kept {
    /// At most so many messages.
    messages: usize,
    /// None older than this, in milliseconds; null: of any age.
    age_ms: Option<u64>,
    /// At most so many bytes.
    bytes: usize,
}

/// Who is in a topic.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Presence")]
pub(super) struct Present<'a> {
    /// The sessions that subscribed to its very name, the earliest first.
    sessions: Vec<Entry<'a>>,
    /// How many they are.
    count: usize,
}

/// One session in a topic.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PresentSession")]
struct Entry<'a> {
    /// Its name.
    session: String,
    /// Its user, where it has one.
    user: Option<&'a str>,
    /// What it says of itself.
    #[schemars(with = "Option<serde_json::Value>")]
    info: Option<&'a RawValue>,
    /// Since when it is there, in milliseconds since 1970.
    since: u64,
}

pub(super) fn get(call: &Call<'_>, topic: &str) -> Result<HttpResponse, Problem> {
    let topic = readable(call, topic)?;
    let view = call.state.broker.topic(&topic);
    let view = view.ok_or_else(no_such_topic)?;
    let rules = call.state.broker.rules().now();
    let rates = Rates {
        published_per_second: rounded(view.published_per_second),
    };
    json(&Described {
        topic: view.into(),
        rates,
        rule: rules.rule(&topic).map(Applied::from),
    })
}

pub(super) async fn presence(call: &Call<'_>, topic: &str) -> Result<HttpResponse, Problem> {
    let topic = readable(call, topic)?;
    let members = call.state.broker.presence(topic).await?;
    json(&Present {
        sessions: members.iter().map(Entry::from).collect(),
        count: members.len(),
    })
}

/// The name of the topic in a path, for someone who may read it.
///
/// # Errors
/// 401, 403, or 400 where it is no name.
pub(super) fn readable(call: &Call<'_>, topic: &str) -> Result<TopicName, Problem> {
    let caller = call.admit(Scope::Read)?;
    let topic = name(topic)?;
    if !call
        .state
        .broker
        .rules()
        .now()
        .may_read(&caller.access, &topic)
    {
        let message = "the key may not read this topic; use one whose 'topics' has it";
        return Err(Refusal::new(ErrorCode::Forbidden, message).into());
    }
    Ok(topic)
}

/// The name of the topic in a path.
///
/// # Errors
/// If it is none.
pub(super) fn name(topic: &str) -> Result<TopicName, Problem> {
    let decoded = decode(topic).ok_or_else(|| {
        Problem::from(Refusal::new(
            ErrorCode::InvalidTopic,
            "the topic in the path must be UTF-8 that is percent-encoded",
        ))
    })?;
    TopicName::new(&decoded).map_err(|error| Refusal::invalid_topic("topic", &error).into())
}

impl<'a> From<&'a Rule> for Applied<'a> {
    fn from(rule: &'a Rule) -> Self {
        // Whole, so that nothing of a rule is left untold.
        let TopicRule {
            history,
            durability,
            presence,
            join_leave,
            retain,
            subscribe,
            publish,
            expose_user,
            max_message,
            overflow,
        } = rule.topic;
        Self {
            filter: rule.filter.as_str(),
            history: history.map(|history| Kept {
                messages: history.messages,
                age_ms: history.age.map(|age| age.as_millis() as u64),
                bytes: history.bytes,
            }),
            durability: durability.as_str(),
            presence,
            join_leave,
            retain,
            subscribe: subscribe.as_str(),
            publish: publish.as_str(),
            expose_user,
            max_message,
            overflow: overflow.iter().map(Overflow::as_str).collect(),
        }
    }
}

impl<'a> From<&'a Member> for Entry<'a> {
    fn from(member: &'a Member) -> Self {
        let info = member.info.as_deref();
        Self {
            session: member.session.to_string(),
            user: member.user.as_deref(),
            info: info.and_then(|info| serde_json::from_str(info).ok()),
            since: member.since.0,
        }
    }
}
