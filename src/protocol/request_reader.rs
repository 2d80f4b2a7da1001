//! Reads a client's frames (section 3), strictly, in whichever encoding they came.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT;
use bytes::Bytes;

use super::Refusal;
use super::fields::{Fields, Value, bad, boolean, integer, string};
use super::json_value::JsonValue;
use super::msgpack_value::MsgpackValue;
use super::request::{
    Action, BadFrame, Cursor, HistoryQuery, MAX_ID, Publish, Request, Since, Subscribe,
};
use crate::model::{Epoch, Filter, Overflow, Payload, Timestamp, TopicName};

/// The fields of all frames, those of every publish first.
const FRAME: [&str; 14] = [
    "type",
    "topic",
    "data",
    "id",
    "encoding",
    "key",
    "retain",
    "last",
    "since",
    "limit",
    "echo",
    "overflow",
    "min_interval_ms",
    "token",
];
/// A day, in milliseconds: the longest `min_interval_ms`.
const LONGEST_INTERVAL: u64 = 86_400_000;

const SINCE: [&str; 4] = ["epoch", "offset", "positions", "from"];

type Frame<V> = Fields<V, { FRAME.len() }>;

/// Reads one frame of `fanfare.v1.json`.
///
/// # Errors
/// `bad_request` or `invalid_topic`, with the frame's `id` where that could be read. The message
/// names the field, what was found and what would do.
pub fn parse_json(text: &str) -> Result<Request, BadFrame> {
    read_frame(JsonValue(text))
}

/// Reads one frame of `fanfare.v1.msgpack`.
///
/// # Errors
/// As [`parse_json`].
pub fn parse_msgpack(bytes: &[u8]) -> Result<Request, BadFrame> {
    read_frame(MsgpackValue(bytes))
}

/// Reads one message to publish, `{topic, data, encoding?, retain?, key?}`: the fields of a
/// `publish` frame, as the HTTP API takes them.
///
/// # Errors
/// `bad_request` or `invalid_topic`, as [`parse_json`].
pub fn parse_publish(text: &str) -> Result<Publish, Refusal> {
    let object = Fields::read("a message to publish", JsonValue(text), &FRAME)?;
    object.check()?;
    read_publish(&object)
}

/// Reads a subscription, `{topic, last?, since?, echo?, overflow?, min_interval_ms?}`: the fields of a `subscribe` frame, as the
/// HTTP API takes them.
///
/// # Errors
/// `bad_request` or `invalid_topic`, as [`parse_json`].
pub fn parse_subscribe(text: &str) -> Result<Subscribe, Refusal> {
    let object = Fields::read("a subscription", JsonValue(text), &FRAME)?;
    object.check()?;
    read_subscribe(&object)
}

fn read_frame<'a>(frame: impl Value<'a>) -> Result<Request, BadFrame> {
    let frame =
        Fields::read("a frame", frame, &FRAME).map_err(|refusal| BadFrame { id: None, refusal })?;
    let id = read_id(&frame).map_err(|refusal| BadFrame { id: None, refusal })?;
    match frame.check().and_then(|()| read_action(&frame)) {
        Ok(action) => Ok(Request { id, action }),
        Err(refusal) => Err(BadFrame { id, refusal }),
    }
}

fn read_id<'a>(frame: &Frame<impl Value<'a>>) -> Result<Option<u64>, Refusal> {
    if frame.duplicate() == Some("id") {
        frame.check()?;
    }
    frame
        .get("id")
        .map(|id| integer("id", id, MAX_ID))
        .transpose()
}

fn read_action<'a>(frame: &Frame<impl Value<'a>>) -> Result<Action, Refusal> {
    const KNOWN: &str = "one of subscribe, unsubscribe, publish, history, presence, auth and ping";
    let name = string("type", frame.need("type", "type", KNOWN)?)?;
    match &*name {
        "publish" => read_publish(frame).map(Action::Publish),
        "subscribe" => read_subscribe(frame).map(Action::Subscribe),
        "unsubscribe" => frame
            .get("topic")
            .map(read_filter)
            .transpose()
            .map(Action::Unsubscribe),
        "history" => read_history(frame).map(Action::History),
        "presence" => read_name(frame).map(Action::Presence),
        "auth" => string("token", frame.need("token", "token", "a string")?)
            .map(|token| Action::Auth(token.into_owned())),
        "ping" => Ok(Action::Ping),
        other if other.len() <= 32 => Err(bad(format!("'type' must be {KNOWN}, found {other:?}"))),
        _ => Err(bad(format!("'type' must be {KNOWN}, found another text"))),
    }
}

fn read_publish<'a>(frame: &Frame<impl Value<'a>>) -> Result<Publish, Refusal> {
    let topic = read_name(frame)?;
    let data = frame.need("data", "data", "the message, any JSON value")?;
    let payload = read_payload(frame.get("encoding"), data)?;
    let retain = frame
        .get("retain")
        .map(|retain| boolean("retain", retain))
        .transpose()?;
    let key = frame
        .get("key")
        .map(|key| string("key", key))
        .transpose()?
        .map(Arc::from);
    Ok(Publish {
        topic,
        payload,
        key,
        retain: retain.unwrap_or_default(),
    })
}

fn read_payload<'a, V: Value<'a>>(encoding: Option<V>, data: V) -> Result<Payload, Refusal> {
    let Some(encoding) = encoding else {
        return data.payload(&"data");
    };
    let known = "\"base64\" or \"text\", or be left out";
    match &*string("encoding", encoding)? {
        "text" => {
            let text = string("data", data)
                .map_err(|refusal| because(&refusal, "since 'encoding' is \"text\""))?;
            Ok(Payload::text(text))
        }
        "base64" => {
            let text = string("data", data)
                .map_err(|refusal| because(&refusal, "since 'encoding' is \"base64\""))?;
            STANDARD_PAD_INDIFFERENT
                .decode(text.as_bytes())
                .map(|bytes| Payload::binary(Bytes::from(bytes)))
                .map_err(|error| {
                    bad(format!(
                        "'data' must be base64 of the standard alphabet, since 'encoding' is \
                         \"base64\": {error}"
                    ))
                })
        }
        _ => Err(bad(format!(
            "'encoding' must be {known}, found another text"
        ))),
    }
}

fn read_subscribe<'a>(frame: &Frame<impl Value<'a>>) -> Result<Subscribe, Refusal> {
    let filter = read_filter(frame.need("topic", "topic", "a topic name or filter")?)?;
    let last = read_count(frame, "last")?;
    let since = frame
        .get("since")
        .map(|since| {
            if filter.has_wildcard() {
                read_positions(&filter, since)
            } else {
                read_cursor("since", since).map(Since::Position)
            }
        })
        .transpose()?;
    let echo = frame
        .get("echo")
        .map(|echo| boolean("echo", echo))
        .transpose()?;
    let (overflow, min_interval) = read_overflow(frame)?;
    Ok(Subscribe {
        filter,
        last,
        since,
        echo: echo.unwrap_or(true),
        overflow,
        min_interval,
    })
}

/// `overflow`, and the `min_interval_ms` that goes with one of them.
fn read_overflow<'a>(
    frame: &Frame<impl Value<'a>>,
) -> Result<(Option<Overflow>, Option<Duration>), Refusal> {
    const KNOWN: &str = "\"disconnect\", \"drop_oldest\" or \"conflate\"";
    let overflow = match frame.get("overflow") {
        None => None,
        Some(overflow) => {
            let name = string("overflow", overflow)?;
            let known = Overflow::NAMES.iter().find(|(known, _)| *known == name);
            let Some((_, overflow)) = known else {
                return Err(bad(format!(
                    "'overflow' must be {KNOWN}, found another text"
                )));
            };
            Some(*overflow)
        }
    };
    let Some(interval) = frame.get("min_interval_ms") else {
        return Ok((overflow, None));
    };
    let interval = integer("min_interval_ms", interval, LONGEST_INTERVAL)?;
    if overflow != Some(Overflow::Conflate) {
        return Err(bad(
            "'min_interval_ms' goes with 'overflow' \"conflate\"; give both, or neither",
        ));
    }
    let interval = (interval > 0).then(|| Duration::from_millis(interval));
    Ok((overflow, interval))
}

fn read_history<'a>(frame: &Frame<impl Value<'a>>) -> Result<HistoryQuery, Refusal> {
    let topic = read_name(frame)?;
    let since = frame.get("since");
    Ok(HistoryQuery {
        topic,
        since: since.map(|raw| read_cursor("since", raw)).transpose()?,
        last: read_count(frame, "last")?,
        limit: read_count(frame, "limit")?,
    })
}

fn read_name<'a>(frame: &Frame<impl Value<'a>>) -> Result<TopicName, Refusal> {
    let text = string("topic", frame.need("topic", "topic", "a topic name")?)?;
    TopicName::new(&text).map_err(|error| Refusal::invalid_topic("topic", &error))
}

fn read_filter<'a>(topic: impl Value<'a>) -> Result<Filter, Refusal> {
    let text = string("topic", topic)?;
    Filter::new(&text).map_err(|error| Refusal::invalid_topic("topic", &error))
}

fn read_count<'a>(
    frame: &Frame<impl Value<'a>>,
    name: &'static str,
) -> Result<Option<u64>, Refusal> {
    frame
        .get(name)
        .map(|count| integer(name, count, u64::MAX))
        .transpose()
}

/// `{epoch, offset}`.
fn read_cursor<'a>(field: impl fmt::Display, raw: impl Value<'a>) -> Result<Cursor, Refusal> {
    let cursor = Fields::read(format_args!("'{field}'"), raw, &SINCE)?;
    cursor
        .check()
        .map_err(|refusal| because(&refusal, &format!("in '{field}'")))?;
    for other in ["positions", "from"] {
        if cursor.get(other).is_some() {
            return Err(bad(format!(
                "'{field}' must be {{epoch, offset}} for a plain topic name, found '{other}', which \
                 goes with filters"
            )));
        }
    }
    let epoch = cursor.need(format_args!("{field}.epoch"), "epoch", "a string")?;
    let offset = cursor.need(format_args!("{field}.offset"), "offset", "an integer")?;
    Ok(Cursor {
        epoch: Epoch::parse(&string(format_args!("{field}.epoch"), epoch)?),
        offset: integer(format_args!("{field}.offset"), offset, u64::MAX)?,
    })
}

/// `{positions, from}`.
fn read_positions<'a>(filter: &Filter, raw: impl Value<'a>) -> Result<Since, Refusal> {
    let since = Fields::read("'since'", raw, &SINCE)?;
    since
        .check()
        .map_err(|refusal| because(&refusal, "in 'since'"))?;
    for other in ["epoch", "offset"] {
        if since.get(other).is_some() {
            return Err(bad(format!(
                "'since' must be {{positions, from}} for a filter, found '{other}', which goes with \
                 plain topic names"
            )));
        }
    }
    let mut positions = Vec::new();
    let given = since.get("positions");
    if let Some(map) = given {
        let mut members = Vec::new();
        map.each_member("'since.positions'", |name, cursor| {
            members.push((name, cursor));
        })?;
        positions.reserve_exact(members.len());
        for (name, cursor) in members {
            let topic = TopicName::new(&name)
                .map_err(|error| Refusal::invalid_topic("since.positions", &error))?;
            if !filter.matches(&topic) {
                return Err(bad(format!(
                    "'since.positions' must name only topics that the filter matches, found {topic:?}"
                )));
            }
            let cursor = read_cursor(format_args!("since.positions[{topic:?}]"), cursor)?;
            positions.push((topic, cursor));
        }
        positions.sort_by(|(one, _), (other, _)| one.cmp(other));
        let twice = positions
            .array_windows()
            .find(|[(one, _), (other, _)]| one == other);
        if let Some([(topic, _), _]) = twice {
            return Err(bad(format!(
                "'since.positions' must name each topic once, found {topic:?} twice"
            )));
        }
    }
    let from = since
        .get("from")
        .map(|from| integer("since.from", from, u64::MAX).map(Timestamp))
        .transpose()?;
    if given.is_none() && from.is_none() {
        return Err(bad(
            "'since' must be {positions, from} for a filter, found neither of them",
        ));
    }
    Ok(Since::Positions { positions, from })
}

fn because(refusal: &Refusal, reason: &str) -> Refusal {
    Refusal::new(refusal.code, format!("{}, {reason}", refusal.message))
}

#[cfg(test)]
mod tests;
