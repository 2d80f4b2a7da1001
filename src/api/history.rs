//! `/v1/topics/{topic}/messages`: a topic's history, read with GET and removed with DELETE.

use actix_web::HttpResponse;
use schemars::JsonSchema;
use serde::Serialize;

use super::serve::{Call, json, json_text};
use super::{Problem, topic};
use crate::auth::Scope;
use crate::history::Limit;
use crate::model::Epoch;
use crate::protocol::{Cursor, ErrorCode, Refusal, Sent, message_json};

/// Messages of one answer, where the request does not say.
const USUAL: u64 = 1000;
/// Messages of one answer at most.
pub(super) const MOST: u64 = 10_000;
/// Bytes of one answer, above which no further message is added.
const BYTES: usize = 8 * 1024 * 1024;

/// What was removed.
#[derive(Serialize, JsonSchema)]
pub(super) struct Removed<'a> {
    /// The topic.
    topic: &'a str,
    /// So many messages of its history.
    messages: u64,
    /// Whether there was a retained one.
    retained: bool,
}

pub(super) async fn get(call: &Call<'_>, topic: &str) -> Result<HttpResponse, Problem> {
    let topic = topic::readable(call, topic)?;
    let query = call.query()?;
    let last = query.number("last", u64::MAX)?;
    let limit = query.number("limit", MOST)?;
    let offset = query.number("since_offset", u64::MAX)?;
    let since = match (query.get("since_epoch")?, offset) {
        (None, None) => None,
        (Some(epoch), Some(offset)) => Some(Cursor {
            epoch: Epoch::parse(epoch),
            offset,
        }),
        _ => {
            return Err(Problem::bad_request(
                "'since_epoch' and 'since_offset' go together; give both or neither",
            ));
        }
    };
    let messages = limit.unwrap_or_else(|| last.unwrap_or(USUAL).min(MOST));
    let limit = Limit {
        messages: usize::try_from(messages).unwrap_or(usize::MAX),
        bytes: BYTES,
    };
    let broker = &call.state.broker;
    let page = broker.history(topic, since, last, limit).await?;
    let messages: Vec<_> = page
        .messages
        .iter()
        .map(|message| message_json(message, Sent::Live))
        .collect();
    Ok(json_text(format!(
        r#"{{"epoch":"{}","offset":{},"messages":[{}]}}"#,
        page.position.epoch,
        page.position.offset,
        messages.join(",")
    )))
}

/// Removes the history and the retained message: operator's work, since it cannot be undone.
pub(super) async fn delete(call: &Call<'_>, topic: &str) -> Result<HttpResponse, Problem> {
    let caller = call.admit(Scope::Admin)?;
    let topic = topic::name(topic)?;
    if !caller.access.manage.allows_topic(&topic) {
        let message = "the key may not remove what this topic keeps; use one whose 'topics' has it";
        return Err(Refusal::new(ErrorCode::Forbidden, message).into());
    }
    let cleared = call.state.broker.clear(topic.clone()).await?;
    json(&Removed {
        topic: topic.as_str(),
        messages: cleared.messages,
        retained: cleared.retained,
    })
}
