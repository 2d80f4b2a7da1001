//! A store as lines of JSON: one that says what it is, one for each topic, and after it its messages.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::model::{Epoch, Kind, Message, Payload, Position, SessionId, Timestamp, TopicName};

/// What the first line says.
pub(super) const FORMAT: &str = "fanfare.store";

/// The version of the lines.
pub(super) const VERSION: u32 = 1;

/// One line.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Line {
    /// The first line.
    Format { name: String, version: u32 },
    /// A topic. Its messages follow.
    Topic {
        name: String,
        durability: String,
        /// The offset of its newest message ever.
        newest: u64,
        /// The time of that.
        time: u64,
    },
    /// A message of the topic named last.
    Message(Body),
    /// The message that the topic named last retains.
    Retained(Body),
    /// What is not to be published again.
    Once {
        topic: String,
        /// In base64, as `body`.
        name: String,
        body: String,
        time: u64,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        position: Option<Place>,
    },
}

/// An epoch and an offset.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    epoch: String,
    offset: u64,
}

/// A message.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    position: Option<Place>,
    time: u64,
    /// `json`, `text` or `binary`; `data` is the value itself, a string, or base64.
    kind: String,
    data: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    publisher: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    bytes_at: Vec<u32>,
}

impl From<Position> for Place {
    fn from(position: Position) -> Self {
        Self {
            epoch: position.epoch.to_string(),
            offset: position.offset,
        }
    }
}

impl TryFrom<&Place> for Position {
    type Error = String;

    fn try_from(place: &Place) -> Result<Self, String> {
        let epoch = Epoch::parse(&place.epoch).ok_or("the epoch is none")?;
        Ok(Self {
            epoch,
            offset: place.offset,
        })
    }
}

impl Body {
    pub(super) fn new(message: &Message) -> Result<Self, serde_json::Error> {
        let payload = &message.payload;
        let text = payload.as_str().unwrap_or_default();
        let (kind, data) = match payload.kind {
            Kind::Json => ("json", RawValue::from_string(text.to_owned())?),
            Kind::Text => ("text", to_raw_value(text)?),
            Kind::Binary => {
                let base64 = BASE64_STANDARD.encode(&payload.data);
                ("binary", to_raw_value(&base64)?)
            }
        };
        Ok(Self {
            position: message.position.map(Place::from),
            time: message.time.0,
            kind: kind.to_owned(),
            data,
            user: message.user.as_deref().map(str::to_owned),
            key: message.key.as_deref().map(str::to_owned),
            publisher: message.publisher.map(|session| session.to_string()),
            bytes_at: payload.bytes_at().to_vec(),
        })
    }

    /// The message, of that topic.
    pub(super) fn message(self, topic: &TopicName) -> Result<Message, String> {
        let data = self.data.get();
        let text = || serde_json::from_str::<String>(data).map_err(|error| error.to_string());
        let (kind, data) = match self.kind.as_str() {
            "json" => (Kind::Json, Bytes::from(data.to_owned())),
            "text" => (Kind::Text, Bytes::from(text()?)),
            "binary" => {
                let bytes = BASE64_STANDARD.decode(text()?);
                let bytes = bytes.map_err(|error| error.to_string())?;
                (Kind::Binary, Bytes::from(bytes))
            }
            other => return Err(format!("a message is no {other:?}")),
        };
        let payload = Payload::kept(kind, data, self.bytes_at);
        let publisher = self
            .publisher
            .map(|name| SessionId::parse(&name).ok_or("the publisher is none"));
        Ok(Message {
            topic: topic.clone(),
            payload: payload.map_err(|error| error.to_string())?,
            time: Timestamp(self.time),
            position: self.position.as_ref().map(Position::try_from).transpose()?,
            user: self.user.map(Arc::from),
            key: self.key.map(Arc::from),
            publisher: publisher.transpose()?,
        })
    }
}

/// A name of 32 bytes in base64.
pub(super) fn name(bytes: [u8; 32]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// The 32 bytes of such a name.
pub(super) fn bytes(name: &str) -> Result<[u8; 32], String> {
    let bytes = BASE64_STANDARD.decode(name);
    let bytes = bytes.map_err(|error| error.to_string())?;
    bytes
        .try_into()
        .map_err(|_| "a name has 32 bytes".to_owned())
}
