//! `POST /v1/topics/{topic}/messages`: the body is one message.

use actix_web::web::{Bytes, Payload};
use actix_web::{HttpRequest, HttpResponse, http::header};

use super::publish::{IdempotencyKey, Item, Publisher};
use super::serve::{Call, json};
use super::{Problem, body, topic};
use crate::auth::Scope;
use crate::model;
use crate::protocol::Publish;

pub(super) async fn post(
    call: &Call<'_>,
    topic: &str,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let caller = call.admit(Scope::Publish)?;
    let publisher = Publisher::new(call, caller, Scope::Publish);
    let item = item(call, &publisher, topic, payload).await;
    let item = item.map_err(|problem| publisher.refused(problem))?;
    json(&publisher.publish(item).await?)
}

/// What the request asks to publish.
async fn item(
    call: &Call<'_>,
    publisher: &Publisher,
    topic: &str,
    payload: Payload,
) -> Result<Item, Problem> {
    let idempotency = IdempotencyKey::of_header(call.request)?;
    let topic = topic::name(topic)?;
    let query = call.query()?;
    let retain = query.boolean("retain")?;
    let key = query.get("key")?.map(Into::into);
    // Who may not publish need not send it first.
    publisher.check_topic(&topic)?;
    let most = call.state.config.now().limits.message_bytes;
    let data = body::read(call.request, payload, most).await?;
    let publish = Publish {
        topic,
        payload: read(call.request, data)?,
        key,
        retain,
    };
    Ok(Item {
        publish,
        key: idempotency,
    })
}

/// The message, of the kind that the content type says.
pub(super) fn read(request: &HttpRequest, data: Bytes) -> Result<model::Payload, Problem> {
    let kind = content_type(request)?.unwrap_or_default();
    let read = if kind == "application/json" {
        model::Payload::json(&data)
    } else if kind.starts_with("text/") {
        model::Payload::text_bytes(data)
    } else {
        Ok(model::Payload::binary(data))
    };
    read.map_err(|error| {
        Problem::bad_request(format!("{error}, though the Content-Type is {kind}"))
    })
}

/// The media type of the body, in lower case and without its parameters.
///
/// # Errors
/// If the header is not of that form.
pub(super) fn content_type(request: &HttpRequest) -> Result<Option<String>, Problem> {
    let Some(value) = request.headers().get(header::CONTENT_TYPE) else {
        return Ok(None);
    };
    let name = |text: &str| {
        let essence = text.split(';').next().unwrap_or_default().trim();
        essence.to_ascii_lowercase()
    };
    value
        .to_str()
        .map(|text| Some(name(text)))
        .map_err(|_| Problem::bad_request("the Content-Type must be a media type"))
}
