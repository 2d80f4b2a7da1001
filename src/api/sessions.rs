//! Sessions and users: looking at them, and ending them.

mod messages;
mod path;
mod subscriptions;

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::web::Payload;
use schemars::JsonSchema;
use serde::Serialize;

use super::Problem;
use super::query::Query;
use super::serve::{Call, json};
use crate::auth::Scope;
use crate::broker::{SessionQuery, SessionView, Whom, spoken};
use crate::metrics::Label as _;
use crate::model::{Filter, SessionId, Timestamp};
use crate::protocol::{Close, CloseCode, Refusal};

pub use path::SessionRoute;
pub(super) use subscriptions::{Outcome, Outcomes};

/// Sessions of a page, where the request does not say.
const USUAL: u64 = 100;
/// Sessions of a page at most.
pub(super) const MOST: u64 = 1000;

/// One session.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Session")]
pub(super) struct Shown {
    /// Its name.
    session: String,
    /// Whose it is, where its credentials name a user.
    user: Option<String>,
    /// Where its connection comes from.
    address: Option<String>,
    /// websocket or sse.
    transport: &'static str,
    /// What is spoken, as welcome has it.
    protocol: &'static str,
    /// When it opened, in milliseconds since 1970.
    since: u64,
    /// How long ago that is.
    age_seconds: u64,
    /// How long its last answer to a ping took; null before the first.
    rtt_ms: Option<f64>,
    /// Names and filters, the earliest first.
    subscriptions: Vec<String>,
    /// What waits to be written to it.
    queued_bytes: usize,
    /// Messages that it published.
    published: u64,
    /// Messages to it that the kernel took whole.
    delivered: u64,
}

/// A page of sessions.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SessionList")]
pub(super) struct List {
    /// In the order of their names.
    sessions: Vec<Shown>,
    /// What 'after' of the next page is; null on the last.
    next: Option<String>,
}

/// How many sessions a call was carried out for.
#[derive(Serialize, JsonSchema)]
pub(super) struct Reached {
    /// So many.
    sessions: usize,
}

pub(super) async fn answer(
    call: &Call<'_>,
    route: SessionRoute<'_>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let caller = call.admit(Scope::Admin)?;
    let deletes = call.request.method() == Method::DELETE;
    match route {
        SessionRoute::List => list(call).await,
        SessionRoute::Session(name) if deletes => disconnect(call, path::session(name)?).await,
        SessionRoute::Session(name) => show(call, path::id(name)?).await,
        SessionRoute::User(name) => disconnect(call, path::user(name)?).await,
        SessionRoute::SessionMessages(name) => {
            messages::post(call, caller, Some(path::session(name)?), payload).await
        }
        SessionRoute::UserMessages(name) => {
            messages::post(call, caller, Some(path::user(name)?), payload).await
        }
        SessionRoute::Broadcast => messages::post(call, caller, None, payload).await,
        SessionRoute::SessionSubscriptions(name) => {
            subscriptions::change(call, &caller, path::session(name)?, payload).await
        }
        SessionRoute::UserSubscriptions(name) => {
            subscriptions::change(call, &caller, path::user(name)?, payload).await
        }
    }
}

async fn list(call: &Call<'_>) -> Result<HttpResponse, Problem> {
    let query = call.query()?;
    let limit = query.number_from("limit", 1, MOST)?;
    let limit = limit.unwrap_or(USUAL) as usize;
    let sought = SessionQuery {
        user: query.get("user")?.map(Into::into),
        topic: filter(&query)?,
        after: query.get("after")?.map(cursor).transpose()?,
        limit,
    };
    let page = call.state.broker.sessions(&sought).await;
    let now = Timestamp::now();
    json(&List {
        sessions: page
            .sessions
            .iter()
            .map(|view| Shown::new(view, now))
            .collect(),
        next: page.next.map(|name| name.to_string()),
    })
}

async fn show(call: &Call<'_>, session: SessionId) -> Result<HttpResponse, Problem> {
    let view = call.state.broker.session(session).await;
    let view = view.ok_or_else(|| Whom::Session(session).not_found())?;
    json(&Shown::new(&view, Timestamp::now()))
}

async fn disconnect(call: &Call<'_>, whom: Whom) -> Result<HttpResponse, Problem> {
    let query = call.query()?;
    let code = match query.number("code", u64::from(u16::MAX))? {
        Some(code) => CloseCode(u16::try_from(code).unwrap_or(u16::MAX)),
        None => CloseCode::DISCONNECTED,
    };
    let reason = query.get("reason")?.map_or_else(
        || usual_reason(code),
        |reason| Cow::Owned(reason.to_owned()),
    );
    let close = Close::new(code, reason);
    let sessions = call.state.broker.disconnect(&whom, &close).await?;
    json(&Reached { sessions })
}

fn usual_reason(code: CloseCode) -> Cow<'static, str> {
    Cow::Borrowed(if code.reconnect() {
        "asked to connect again by an operator or the application"
    } else {
        "disconnected by an operator or the application"
    })
}

/// The `topic` of a query.
fn filter(query: &Query<'_>) -> Result<Option<Filter>, Problem> {
    let filter = query.get("topic")?.map(Filter::new).transpose();
    filter.map_err(|error| Refusal::invalid_topic("topic", &error).into())
}

fn cursor(text: &str) -> Result<SessionId, Problem> {
    SessionId::parse(text)
        .ok_or_else(|| Problem::bad_request("'after' must be the 'next' of the page before"))
}

impl Shown {
    fn new(view: &SessionView, now: Timestamp) -> Self {
        let card = &view.card;
        let texts = view
            .subscriptions
            .iter()
            .map(|filter| filter.as_str().to_owned());
        Self {
            session: card.session.to_string(),
            user: view.user.as_deref().map(str::to_owned),
            address: card.address.map(|address| address.to_string()),
            transport: spoken(card.format).transport().as_str(),
            protocol: card.format.subprotocol(),
            since: card.since.0,
            age_seconds: now.0.saturating_sub(card.since.0) / 1000,
            rtt_ms: view.round_trip.map(|took| took.as_micros() as f64 / 1000.0),
            subscriptions: texts.collect(),
            queued_bytes: view.queued_bytes,
            published: view.counts.published,
            delivered: view.counts.delivered,
        }
    }
}
