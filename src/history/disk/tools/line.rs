//! The lines of an export: one JSON object each.

use std::borrow::Cow;
use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_PAD_INDIFFERENT};
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::ToolError;
use crate::history::disk::standing::Standing;
use crate::model::{Kind, Message, Payload};

/// The version of these lines.
pub(super) const FORMAT: u32 = 1;

/// What stands in the first line's `fanfare`.
pub(super) const EXPORT: &str = "export";

/// The same of what is set aside: it is no store, and is not imported.
pub(super) const ASIDE: &str = "aside";

/// The first line.
#[derive(Serialize, Deserialize)]
pub(super) struct First<'a> {
    pub(super) fanfare: Cow<'a, str>,
    pub(super) format: u32,
    pub(super) time: u64,
    pub(super) known_from: u64,
    pub(super) epochs: Standing,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) filter: Option<Cow<'a, str>>,
}

/// What begins a topic.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "as the line has them")]
pub(super) struct Topic<'a> {
    pub(super) topic: Cow<'a, str>,
    pub(super) epoch: Cow<'a, str>,
    pub(super) newest: u64,
    pub(super) oldest: u64,
    pub(super) time: u64,
    pub(super) lost_before: u64,
    pub(super) durability: Cow<'a, str>,
}

/// A message of the history of the topic that was begun last, or the one that it retains.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Published<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) retained: Option<bool>,
    pub(super) topic: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) epoch: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) offset: Option<u64>,
    pub(super) time: u64,
    #[serde(borrow)]
    pub(super) data: &'a RawValue,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) encoding: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub(super) bytes_at: Cow<'a, [u32]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<Cow<'a, str>>,
}

/// What is not to be published again.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "as the line has them")]
pub(super) struct Once<'a> {
    pub(super) once: Cow<'a, str>,
    pub(super) body: Cow<'a, str>,
    pub(super) topic: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) epoch: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) offset: Option<u64>,
    pub(super) time: u64,
}

/// The last line: without it the export was cut off.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(super) struct Last {
    pub(super) end: bool,
    pub(super) topics: u64,
    pub(super) messages: u64,
    pub(super) retained: u64,
    pub(super) once: u64,
}

/// What kind of line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Topic,
    Published,
    Once,
    Last,
}

/// Which of the fields are there that tell one kind from another.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Marks {
    newest: Present,
    data: Present,
    once: Present,
    end: Present,
}

/// Whether a field is there, null or not.
#[derive(Default, PartialEq)]
struct Present(bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}

impl Sort {
    /// What kind of line that is.
    pub(super) fn of(line: &[u8]) -> Result<Self, String> {
        let Marks {
            newest,
            data,
            once,
            end,
        } = read(line)?;
        let sorts = [
            (end, Self::Last),
            (data, Self::Published),
            (newest, Self::Topic),
            (once, Self::Once),
        ];
        let sort = sorts.into_iter().find(|(mark, _)| mark.0);
        let none = "it is none of a topic (newest), a message (data), an idempotency key (once) and the end";
        sort.map(|(_, sort)| sort).ok_or_else(|| none.to_owned())
    }
}

/// Reads a line; says what is wrong with it.
pub(super) fn read<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|error| {
        let what = error.to_string();
        // It is always the first of its text.
        what.replace(" at line 1 column ", ", at column ")
    })
}

/// Writes a line.
pub(super) fn write(out: &mut dyn Write, line: &impl Serialize) -> Result<(), ToolError> {
    serde_json::to_writer(&mut *out, line).map_err(|error| ToolError::Output(error.into()))?;
    out.write_all(b"\n").map_err(ToolError::Output)
}

/// Writes a message.
pub(super) fn write_message(
    out: &mut dyn Write,
    message: &Message,
    is_retained: bool,
) -> Result<(), ToolError> {
    let payload = &message.payload;
    let text = payload.as_str().unwrap_or_default();
    let made;
    let (data, encoding): (&RawValue, _) = match payload.kind {
        Kind::Json => (
            serde_json::from_str(text).map_err(|error| ToolError::Output(error.into()))?,
            None,
        ),
        Kind::Text => {
            made = to_raw_value(text);
            (raw(&made)?, Some(Cow::Borrowed("text")))
        }
        Kind::Binary => {
            made = to_raw_value(&STANDARD.encode(&payload.data));
            (raw(&made)?, Some(Cow::Borrowed("base64")))
        }
    };
    let position = message.position;
    let epoch = position.filter(|_| is_retained);
    let line = Published {
        retained: is_retained.then_some(true),
        topic: Cow::Borrowed(message.topic.as_str()),
        epoch: epoch.map(|position| Cow::Owned(position.epoch.to_string())),
        offset: position.map(|position| position.offset),
        time: message.time.0,
        data,
        encoding,
        bytes_at: Cow::Borrowed(payload.bytes_at()),
        user: message.user.as_deref().map(Cow::Borrowed),
        key: message.key.as_deref().map(Cow::Borrowed),
    };
    write(out, &line)
}

fn raw(made: &serde_json::Result<Box<RawValue>>) -> Result<&RawValue, ToolError> {
    match made {
        Ok(made) => Ok(made),
        Err(_) => Err(ToolError::Output(std::io::ErrorKind::InvalidData.into())),
    }
}

impl Published<'_> {
    /// What was published.
    pub(super) fn payload(&self) -> Result<Payload, String> {
        let text = || {
            let text: Result<String, _> = serde_json::from_str(self.data.get());
            text.map_err(|_| "data is no text, and encoding says so".to_owned())
        };
        let places = self.bytes_at.to_vec();
        match self.encoding.as_deref() {
            None if places.is_empty() => Ok(Payload::json_checked(self.data.get())),
            None => {
                let data = Bytes::copy_from_slice(self.data.get().as_bytes());
                Payload::kept(Kind::Json, data, places)
                    .map_err(|_| "bytes_at names places at which no string begins".to_owned())
            }
            Some(_) if !places.is_empty() => Err("bytes_at is of JSON only".to_owned()),
            Some("text") => Ok(Payload::text(text()?)),
            Some("base64") => STANDARD_PAD_INDIFFERENT
                .decode(text()?)
                .map(|bytes| Payload::binary(Bytes::from(bytes)))
                .map_err(|error| format!("data is no base64: {error}")),
            Some(other) => Err(format!(
                "encoding is \"text\", \"base64\" or not there, and this is {other:?}"
            )),
        }
    }
}

fn is_empty(places: &[u32]) -> bool {
    places.is_empty()
}

/// 32 bytes as text.
pub(super) fn write_digest(digest: [u8; 32]) -> String {
    STANDARD.encode(digest)
}

/// 32 bytes of text.
pub(super) fn read_digest(text: &str) -> Result<[u8; 32], String> {
    let bytes = STANDARD_PAD_INDIFFERENT.decode(text).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| "once and body are base64 of 32 bytes each".to_owned())
}
