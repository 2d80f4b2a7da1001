//! Messages to one session, to a user's, and to all: outside any topic.

use actix_web::HttpResponse;
use actix_web::web::Payload;

use super::super::publish::Publisher;
use super::super::{body, message};
use super::{Call, Problem, Reached, json};
use crate::auth::{Caller, Scope};
use crate::broker::Whom;
use crate::model::{self, Origin};
use crate::protocol::ErrorCode;

/// What goes with topics, and what a message outside of them cannot have.
const OF_TOPICS: [&str; 2] = ["retain", "key"];

/// Sends the body to those, or to every session.
pub(super) async fn post(
    call: &Call<'_>,
    caller: Caller,
    to: Option<Whom>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let publisher = Publisher::new(call, caller, Scope::Admin);
    let read = read(call, payload).await;
    let payload = read.map_err(|problem| publisher.refused(problem))?;
    publisher
        .renew()
        .map_err(|refusal| publisher.counted(refusal))?;
    let room = publisher.room().await;
    room.map_err(|refusal| publisher.counted(refusal))?;
    publisher.admitted()?;
    let broker = &call.state.broker;
    let sent = match &to {
        Some(to) => broker.send_direct(to, payload, Origin::Http).await,
        None => broker.broadcast(payload, Origin::Http).await,
    };
    let sessions = sent.map_err(|refusal| match refusal.code {
        // Nobody was there: nothing was refused.
        ErrorCode::NotFound => refusal,
        _ => publisher.counted(refusal),
    })?;
    json(&Reached { sessions })
}

/// The message that the request is to send.
async fn read(call: &Call<'_>, payload: Payload) -> Result<model::Payload, Problem> {
    let query = call.query()?;
    for field in OF_TOPICS {
        if query.get(field)?.is_some() {
            return Err(Problem::bad_request(format!(
                "'{field}' goes with topics; leave it out of a message to sessions"
            )));
        }
    }
    if call.request.headers().contains_key("Idempotency-Key") {
        return Err(Problem::bad_request(
            "'Idempotency-Key' goes with topics; leave it out of a message to sessions",
        ));
    }
    let most = call.state.config.now().limits.message_bytes;
    let data = body::read(call.request, payload, most).await?;
    message::read(call.request, data)
}
