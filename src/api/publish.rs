//! Publishing: `POST /v1/publish`, and what publishes for every call.

mod answers;
mod envelope;
mod lines;
mod once;
mod outcome;
mod pipeline;
mod publisher;
mod stream;

use std::rc::Rc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Payload;

use self::envelope::{Ask, Asked};
use super::message::content_type;
use super::serve::{Call, json};
use super::{Problem, body};
use crate::auth::Scope;

pub(super) use envelope::Item;
pub(super) use once::IdempotencyKey;
pub(super) use outcome::{Outcome, Published};
pub(super) use publisher::Publisher;
pub(super) use stream::NDJSON;

/// The longest body of a batch, however many messages it may have.
const LONGEST_BATCH: usize = 32 * 1024 * 1024;

pub(super) async fn post(call: &Call<'_>, payload: Payload) -> Result<HttpResponse, Problem> {
    let caller = call.admit(Scope::Publish)?;
    let publisher = Publisher::new(call, caller, Scope::Publish);
    let limits = call.state.config.now().limits.clone();
    // One message always has room, whatever its base64 and its fields take.
    let one = limits.message_bytes.saturating_mul(2).saturating_add(4096);
    let key = match form(call) {
        Ok(Form::Lines) => return stream::answer(call, publisher, payload, one),
        Ok(Form::Json(key)) => key,
        Err(problem) => return Err(publisher.refused(problem)),
    };
    let whole = limits.batch.saturating_mul(limits.message_bytes);
    let most = whole.min(LONGEST_BATCH).max(one);
    let asked = read(call, payload, most, limits.batch, key).await;
    match asked.map_err(|problem| publisher.refused(problem))? {
        Ask::One(Asked::One(item)) => {
            let item = item.map_err(|refusal| publisher.counted(refusal))?;
            json(&publisher.publish(item).await?)
        }
        Ask::One(several) => {
            let publisher = Rc::new(publisher);
            json(&pipeline::publish_all(&publisher, vec![several]).await.pop())
        }
        Ask::Array(asked) => json(&pipeline::publish_all(&Rc::new(publisher), asked).await),
    }
}

/// What the body is.
enum Form {
    /// An object or an array, with the idempotency key of the header.
    Json(Option<IdempotencyKey>),
    /// A message a line.
    Lines,
}

fn form(call: &Call<'_>) -> Result<Form, Problem> {
    let key = IdempotencyKey::of_header(call.request)?;
    match content_type(call.request)?.as_deref() {
        None | Some("application/json") => Ok(Form::Json(key)),
        Some("application/x-ndjson") if key.is_none() => {
            body::refuse_encoding(call.request)?;
            Ok(Form::Lines)
        }
        Some("application/x-ndjson") => Err(one_key_for_many()),
        Some(_) => Err(Problem::with_status(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the Content-Type must be application/json or application/x-ndjson; \
             to publish a body as it is, POST it to /v1/topics/{topic}/messages",
        )),
    }
}

async fn read(
    call: &Call<'_>,
    payload: Payload,
    most: usize,
    batch: usize,
    key: Option<IdempotencyKey>,
) -> Result<Ask, Problem> {
    let data = body::read(call.request, payload, most).await?;
    let text = std::str::from_utf8(&data)
        .map_err(|_| Problem::bad_request("the body must be JSON, which is UTF-8"))?;
    match envelope::read(text, batch)? {
        Ask::One(asked) => Ok(Ask::One(asked.by_key(key.as_ref())?)),
        Ask::Array(_) if key.is_some() => Err(one_key_for_many()),
        several @ Ask::Array(_) => Ok(several),
    }
}

fn one_key_for_many() -> Problem {
    Problem::bad_request(
        "the header 'Idempotency-Key' is for one message; give each its 'idempotency_key'",
    )
}
