//! The `publish` frame.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use tungstenite::Utf8Bytes;

use super::super::args::{KindArgs, PubArgs};
use super::super::exit::Failure;

#[derive(Serialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: u64,
    topic: &'a str,
    data: &'a Data<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    retain: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

/// A message's data, by its kind.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Data<'a> {
    Json(&'a RawValue),
    Text(&'a str),
    Base64(String),
}

impl<'a> Data<'a> {
    /// The bytes as the kind that they are said to be.
    pub(super) fn read(kind: &KindArgs, bytes: &'a [u8]) -> Result<Self, Failure> {
        if kind.binary {
            return Ok(Self::Base64(STANDARD.encode(bytes)));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Failure::failed("it is not UTF-8; --binary publishes any bytes"))?;
        if !kind.json {
            return Ok(Self::Text(text));
        }
        serde_json::from_str(text).map(Self::Json).map_err(|error| {
            Failure::failed(format!(
                "it is not JSON ({error}); --text publishes it as text"
            ))
        })
    }

    /// The frame that publishes it.
    pub(super) fn publish(
        &self,
        id: u64,
        topic: &str,
        args: &PubArgs,
    ) -> Result<Utf8Bytes, Failure> {
        let frame = Frame {
            kind: "publish",
            id,
            topic,
            data: self,
            encoding: match self {
                Self::Json(_) => None,
                Self::Text(_) => Some("text"),
                Self::Base64(_) => Some("base64"),
            },
            retain: args.retain,
            key: args.key.as_deref(),
        };
        let text = serde_json::to_string(&frame).map_err(Failure::failed)?;
        Ok(text.into())
    }
}
