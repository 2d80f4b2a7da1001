//! Subscriptions of sessions, begun and ended from the server's side.

use actix_web::HttpResponse;
use actix_web::http::{Method, StatusCode};
use actix_web::web::Payload;
use futures_util::future::ready;
use futures_util::{StreamExt as _, stream};
use schemars::JsonSchema;
use serde::Serialize;

use super::super::body;
use super::super::message::content_type;
use super::{Call, Problem, filter, json};
use crate::auth::Caller;
use crate::broker::{Broker, Whom};
use crate::model::{Filter, SessionId};
use crate::protocol::{self, ErrorCode, Refusal, Subscribe, SubscribeOk, parse_subscribe};

/// The longest body: the positions of a filter's topics may be many.
const LONGEST: usize = 256 * 1024;

/// Sessions of a user that are asked at a time.
const WINDOW: usize = 64;

/// What is to be done.
enum Change {
    Subscribe(Subscribe),
    Unsubscribe(Option<Filter>),
}

/// What came of it, for one session.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "SessionOutcome")]
pub enum Outcome {
    /// It is subscribed.
    Subscribed(Subscribed),
    /// Subscriptions have ended.
    Unsubscribed(Unsubscribed),
    /// It was not done.
    Refused(Refused),
}

/// A subscription that stands: the fields of its `ok`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SessionSubscribed")]
pub struct Subscribed {
    /// The session.
    session: String,
    /// The name or filter.
    topic: String,
    /// Since when, in milliseconds since 1970.
    time: u64,
    /// This life of the topic's history, for a name that keeps one.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    /// The newest message's place in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    /// Whether everything since 'since' comes, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered: Option<bool>,
    /// How many messages are replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<u64>,
    /// Topics of a filter that could not be recovered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gaps: Vec<String>,
}

/// Subscriptions that have ended.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SessionUnsubscribed")]
pub struct Unsubscribed {
    /// The session.
    session: String,
    /// Names and filters, the earliest subscription first.
    topics: Vec<String>,
}

/// What was not done for a session.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SessionRefused")]
pub struct Refused {
    /// The session.
    session: String,
    /// Why.
    #[schemars(with = "crate::api::openapi::Problem")]
    problem: protocol::Problem,
}

/// What came of it, for each session of a user.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SessionOutcomes")]
pub struct Outcomes {
    /// In the order of the sessions' names.
    results: Vec<Outcome>,
}

pub(super) async fn change(
    call: &Call<'_>,
    caller: &Caller,
    whom: Whom,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let change = if call.request.method() == Method::DELETE {
        Change::Unsubscribe(filter(&call.query()?)?)
    } else {
        Change::Subscribe(read(call, caller, payload).await?)
    };
    let broker = &call.state.broker;
    let user = match whom {
        Whom::Session(session) => {
            return json(&change.carry_out(broker, session).await?);
        }
        Whom::User(user) => user,
    };
    // One that refuses does not lose the rest.
    let each = broker.sessions_of(&user).into_iter().map(|session| {
        let carried_out = change.carry_out(broker, session);
        async move {
            match carried_out.await {
                // It is still on its way in, or has ended.
                Err(refusal) if refusal.code == ErrorCode::NotFound => None,
                outcome => {
                    Some(outcome.unwrap_or_else(|refusal| Outcome::refused(session, refusal)))
                }
            }
        }
    });
    let outcomes = stream::iter(each).buffered(WINDOW);
    let results: Vec<_> = outcomes.filter_map(ready).collect().await;
    if results.is_empty() {
        return Err(Whom::User(user).not_found().into());
    }
    json(&Outcomes { results })
}

/// The subscription that the body asks for.
async fn read(call: &Call<'_>, caller: &Caller, payload: Payload) -> Result<Subscribe, Problem> {
    if !matches!(
        content_type(call.request)?.as_deref(),
        None | Some("application/json")
    ) {
        return Err(Problem::with_status(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the Content-Type must be application/json",
        ));
    }
    let data = body::read(call.request, payload, LONGEST).await?;
    let text = std::str::from_utf8(&data)
        .map_err(|_| Problem::bad_request("the body must be JSON, which is UTF-8"))?;
    let subscribe = parse_subscribe(text)?;
    if !caller.access.manage.allows_filter(&subscribe.filter) {
        let message = if subscribe.filter.as_str().starts_with('$') {
            "topics whose names begin with '$' are the broker's own; use a key whose 'topics' has it"
        } else {
            "the key may not subscribe sessions to this; use one whose 'topics' has all of it"
        };
        return Err(Refusal::new(ErrorCode::Forbidden, message).into());
    }
    Ok(subscribe)
}

impl Change {
    async fn carry_out(&self, broker: &Broker, session: SessionId) -> Result<Outcome, Refusal> {
        Ok(match self {
            Self::Subscribe(ask) => {
                let ok = broker.subscribe_session(session, ask.clone()).await?;
                Outcome::subscribed(session, &ok)
            }
            Self::Unsubscribe(filter) => {
                let ended = broker.unsubscribe_session(session, filter.clone()).await?;
                let topics = ended.iter().map(|filter| filter.as_str().to_owned());
                Outcome::Unsubscribed(Unsubscribed {
                    session: session.to_string(),
                    topics: topics.collect(),
                })
            }
        })
    }
}

impl Outcome {
    fn subscribed(session: SessionId, ok: &SubscribeOk) -> Self {
        let gaps = ok.gaps.iter().map(|topic| topic.as_str().to_owned());
        Self::Subscribed(Subscribed {
            session: session.to_string(),
            topic: ok.topic.as_str().to_owned(),
            time: ok.time.0,
            epoch: ok.position.map(|at| at.epoch.to_string()),
            offset: ok.position.map(|at| at.offset),
            recovered: ok.recovered,
            replayed: ok.replayed,
            gaps: gaps.collect(),
        })
    }

    fn refused(session: SessionId, refusal: Refusal) -> Self {
        Self::Refused(Refused {
            session: session.to_string(),
            problem: Problem::from(refusal).body(),
        })
    }
}
