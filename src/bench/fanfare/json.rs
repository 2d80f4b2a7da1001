//! The frames of `fanfare.v1.json` that carry no message, and the positions of those that do.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::json;

use crate::bench::dialect::{Gap, Notice, Standing};
use crate::model::{Epoch, Position};

const OFFSET: &[u8] = br#""offset":"#;

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(flatten, borrow)]
    fields: Fields<'a>,
}

/// What the frames that matter here may have.
#[derive(Default, Deserialize)]
pub(super) struct Fields<'a> {
    #[serde(borrow, default)]
    pub(super) epoch: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) offset: Option<u64>,
    #[serde(default)]
    pub(super) recovered: Option<bool>,
    #[serde(default)]
    pub(super) count: Option<u64>,
    #[serde(default)]
    pub(super) from: Option<u64>,
    #[serde(default)]
    pub(super) to: Option<u64>,
}

/// The frame that subscribes to a topic.
pub(super) fn subscribe(topic: &str, since: Option<&Position>) -> String {
    let mut frame = json!({"type": "subscribe", "id": 1, "topic": topic});
    if let (Some(since), Some(frame)) = (since, frame.as_object_mut()) {
        let since = json!({"epoch": since.epoch.as_str(), "offset": since.offset});
        frame.insert("since".to_owned(), since);
    }
    frame.to_string()
}

/// The offset in what follows a message's data.
pub(super) fn offset(rest: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(rest, OFFSET)? + OFFSET.len();
    let digits = rest.get(at..)?.iter().take_while(|b| b.is_ascii_digit());
    let mut number: Option<u64> = None;
    for digit in digits {
        let digit = u64::from(digit - b'0');
        number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
    }
    number
}

/// What a frame without data says.
pub(super) fn understand(payload: &[u8]) -> Notice<'_> {
    match serde_json::from_slice::<Frame<'_>>(payload) {
        Ok(frame) => fields_of(&frame.kind, &frame.fields, payload),
        Err(_) => Notice::Unexpected(payload),
    }
}

/// The same of a frame of that type with those fields, which stands there.
pub(super) fn fields_of<'a>(kind: &str, fields: &Fields<'_>, payload: &'a [u8]) -> Notice<'a> {
    match kind {
        "welcome" | "join" | "leave" => Notice::Nothing,
        "ok" => Notice::Stands(Standing {
            newest: fields.epoch.as_deref().and_then(|epoch| {
                Some(Position {
                    epoch: Epoch::parse(epoch)?,
                    offset: fields.offset?,
                })
            }),
            recovered: fields.recovered,
        }),
        "gap" => Notice::Gap(Gap {
            count: fields.count.unwrap_or(0),
            offsets: fields.from.zip(fields.to),
        }),
        "closing" => Notice::Closing(payload),
        _ => Notice::Unexpected(payload),
    }
}
