//! One topic: what is known of it, and who is there.

use actix_web::HttpResponse;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Problem;
use super::listing::Listed;
use super::query::decode;
use super::serve::{Call, json};
use crate::auth::Scope;
use crate::config::TopicRule;
use crate::model::{Member, TopicName};
use crate::protocol::{ErrorCode, Refusal};

/// A topic with the rule that applies to it.
#[derive(Serialize)]
struct Described<'a> {
    #[serde(flatten)]
    topic: Listed,
    rule: Option<Rule<'a>>,
}

#[derive(Serialize)]
struct Rule<'a> {
    filter: &'a str,
    history: Option<HistoryRule>,
    presence: bool,
    join_leave: bool,
    retain: bool,
}

#[derive(Serialize)]
struct HistoryRule {
    messages: usize,
    age_ms: Option<u128>,
    bytes: usize,
}

#[derive(Serialize)]
struct Present<'a> {
    sessions: Vec<Entry<'a>>,
    count: usize,
}

#[derive(Serialize)]
struct Entry<'a> {
    session: String,
    user: Option<&'a str>,
    info: Option<&'a RawValue>,
    since: u64,
}

pub(super) fn get(call: &Call<'_>, topic: &str) -> Result<HttpResponse, Problem> {
    let topic = readable(call, topic)?;
    let view = call.state.broker.topic(&topic).ok_or_else(|| {
        Problem::not_found(
            "the topic has neither sessions nor history nor a retained message at present",
        )
    })?;
    let config = call.state.config.now();
    json(&Described {
        topic: view.into(),
        rule: config.rule_for(&topic).map(Rule::from),
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

impl<'a> From<&'a TopicRule> for Rule<'a> {
    fn from(rule: &'a TopicRule) -> Self {
        Self {
            filter: rule.filter.as_str(),
            history: rule.history.as_ref().map(|history| HistoryRule {
                messages: history.messages,
                age_ms: history.age.map(|age| age.as_millis()),
                bytes: history.bytes,
            }),
            presence: rule.presence,
            join_leave: rule.join_leave,
            retain: rule.retain,
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
