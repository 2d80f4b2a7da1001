//! The complete bytes for a socket, in each format that the broker speaks.

use std::cell::Cell;

use bytes::{Buf, Bytes, BytesMut};

use super::event_id::EventId;
use super::json_out::{Json, Text};
use super::msgpack_out::Msgpack;
use super::out::{Object, Out, put_payload};
use super::server_frame::{ServerFrame, put_position};
use crate::model::{Kind, Message};
use crate::websocket::{MAX_HEADER, Opcode, header_len, put_frame, put_header_before};

/// About how many bytes a frame has beside the names and the data in it.
const ENVELOPE: usize = 200;

/// How a session is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WireFormat {
    /// `fanfare.v1.json`: a JSON object in each WebSocket text frame.
    Json,
    /// `fanfare.v1.msgpack`: the same object as a MessagePack map in each binary frame.
    Msgpack,
    /// `fanfare.v1.raw`: a WebSocket frame is a payload.
    Raw,
    /// Server-sent events, with a JSON object in each.
    Sse,
}

impl WireFormat {
    /// How many formats there are.
    pub const COUNT: usize = Self::ALL.len();
    /// Every format, in the order of [`WireFormat::index`].
    pub const ALL: [Self; 4] = [Self::Json, Self::Msgpack, Self::Raw, Self::Sse];

    /// A number below [`WireFormat::COUNT`], for arrays with one entry for each format.
    pub const fn index(self) -> usize {
        match self {
            Self::Json => 0,
            Self::Msgpack => 1,
            Self::Raw => 2,
            Self::Sse => 3,
        }
    }

    /// The full name: what `Sec-WebSocket-Protocol` says, and `welcome` in `protocol`. Server-sent
    /// events are no subprotocol; their name is that of what stands in their data.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json | Self::Sse => "fanfare.v1.json",
            Self::Msgpack => "fanfare.v1.msgpack",
            Self::Raw => "fanfare.v1.raw",
        }
    }
}

/// Why a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It was published.
    Live,
    /// It is of the past, and replayed.
    Replayed,
    /// It is the topic's retained message, for one who subscribes.
    Retained,
}

/// A message as the socket gets it: one whole frame or event, in one allocation.
///
/// It tells why it is `sent`; the raw format cannot.
pub fn message_bytes(format: WireFormat, message: &Message, sent: Sent) -> Bytes {
    match format {
        WireFormat::Json => text_frame(about(message), |out| put_message(out, message, sent)),
        WireFormat::Msgpack => binary_frame(about(message), |out| put_message(out, message, sent)),
        WireFormat::Raw => {
            let opcode = match message.payload.kind {
                Kind::Json | Kind::Text => Opcode::Text,
                Kind::Binary => Opcode::Binary,
            };
            let data = &message.payload.data;
            let mut out = Vec::with_capacity(header_len(data.len()) + data.len());
            put_frame(&mut out, opcode, data);
            Bytes::from(out)
        }
        WireFormat::Sse => event(about(message), |out| {
            // What is of no topic is no place to go on from, nor is what was there before the stream
            // began: its last id stays.
            if !message.topic.is_of_no_topic() && sent != Sent::Retained {
                put_event_id(out, message);
            }
            put_event(out, "message", |out| put_message(out, message, sent));
        }),
    }
}

/// Any other frame of the server's, as the socket gets it; `None` where the format does not have it:
/// raw sessions get payloads and nothing else, event streams what comes without being asked for.
pub fn control_bytes(format: WireFormat, frame: &ServerFrame<'_>) -> Option<Bytes> {
    match (format, frame) {
        (WireFormat::Json, _) => Some(text_frame(ENVELOPE, |out| frame.put(out))),
        (WireFormat::Msgpack, _) => Some(binary_frame(ENVELOPE, |out| frame.put(out))),
        (
            WireFormat::Sse,
            ServerFrame::Gap { .. }
            | ServerFrame::Join { .. }
            | ServerFrame::Leave { .. }
            | ServerFrame::Unsubscribed { .. }
            | ServerFrame::Closing { .. },
        ) => Some(event(ENVELOPE, |out| {
            put_farewell(out, frame);
            put_event(out, frame.name(), |out| frame.put(out));
        })),
        (WireFormat::Raw | WireFormat::Sse, _) => None,
    }
}

/// Writes an event with that id in the place of its own. One that has none gets none.
pub fn put_event_as(id: EventId, event: &[u8], out: &mut BytesMut) {
    let own = event.starts_with(b"id: ");
    let end = event.iter().position(|byte| *byte == b'\n');
    match end.and_then(|end| event.get(end..)).filter(|_| own) {
        Some(rest) => {
            out.extend_from_slice(format!("id: {id}").as_bytes());
            out.extend_from_slice(rest);
        }
        None => out.extend_from_slice(event),
    }
}

/// A message as a JSON object, as the HTTP API's answers hold it.
pub fn message_json(message: &Message, sent: Sent) -> String {
    let mut out = Json(Vec::with_capacity(about(message)));
    put_message(&mut out, message, sent);
    // Everything written is UTF-8, so nothing is lost or copied.
    String::from_utf8(out.0)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Writes the `message` object of section 4.
pub(super) fn put_message(out: &mut dyn Out, message: &Message, sent: Sent) {
    let mut object = Object::of_type(out, "message");
    object.string("topic", message.topic.as_str());
    let encoding = put_payload(object.name("data"), &message.payload);
    object.string_if("encoding", encoding);
    object.number("time", message.time.0);
    put_position(&mut object, message.position);
    object.string_if("user", message.user.as_deref());
    object.string_if("key", message.key.as_deref());
    match sent {
        Sent::Live => {}
        Sent::Replayed => object.boolean("replay", true),
        Sent::Retained => object.boolean("retain", true),
    }
    object.end();
}

/// The `id` line of an event: the message's own `epoch:offset:time`, with `-` and 0 where the topic
/// keeps no history.
fn put_event_id(out: &mut dyn Text, message: &Message) {
    let epoch = message.position.as_ref().map(|at| at.epoch);
    out.raw(b"id: ");
    out.raw(
        epoch
            .as_ref()
            .map_or("-", |epoch| epoch.as_str())
            .as_bytes(),
    );
    out.raw(b":");
    out.number(message.position.map_or(0, |at| at.offset));
    out.raw(b":");
    out.number(message.time.0);
    out.raw(b"\n");
}

/// What a stock `EventSource` understands of a `closing`: when to come back, or the id by which it is
/// known again where it should not.
fn put_farewell(out: &mut dyn Text, frame: &ServerFrame<'_>) {
    match *frame {
        ServerFrame::Closing {
            reconnect: false,
            code,
            ..
        } => out.raw(format!("id: {}\n", EventId::Closed(code.0)).as_bytes()),
        ServerFrame::Closing { after_ms, .. } if after_ms > 0 => {
            out.raw(format!("retry: {after_ms}\n").as_bytes());
        }
        _ => {}
    }
}

/// An event whose data is one line of JSON.
fn put_event(out: &mut dyn Text, event: &str, put_json: impl FnOnce(&mut dyn Out)) {
    out.raw(b"event: ");
    out.raw(event.as_bytes());
    out.raw(b"\ndata: ");
    put_json(out);
    out.raw(b"\n\n");
}

/// About how many bytes a message takes, were nothing in it to be escaped.
fn about(message: &Message) -> usize {
    let data = message.payload.data.len();
    ENVELOPE
        + message.topic.as_str().len()
        + match message.payload.kind {
            Kind::Json | Kind::Text => data,
            Kind::Binary => data.div_ceil(3) * 4,
        }
}

fn text_frame(about: usize, put: impl FnOnce(&mut dyn Text)) -> Bytes {
    written(about, Some(Opcode::Text), |out| in_json(out, put))
}

fn binary_frame(about: usize, put: impl FnOnce(&mut dyn Out)) -> Bytes {
    written(about, Some(Opcode::Binary), |out| {
        let mut out = Msgpack(out);
        put(&mut out);
        out.0
    })
}

fn event(about: usize, put: impl FnOnce(&mut dyn Text)) -> Bytes {
    written(about, None, |out| in_json(out, put))
}

fn in_json(out: Vec<u8>, put: impl FnOnce(&mut dyn Text)) -> Vec<u8> {
    let mut out = Json(out);
    put(&mut out);
    out.0
}

/// What `put` appends, in a frame of that opcode where there is to be one. `about` is about how long it
/// becomes: its length is known only when it is written, and before it there is room for any header.
///
/// What is short is written into memory that is used again and again, and copied into memory of just its
/// size; what is long is written where it stays.
fn written(about: usize, frame: Option<Opcode>, put: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Bytes {
    const SHORT: usize = 4 * 1024;
    thread_local!(static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) });
    // A thread that ends has none any more, and may still have something to say.
    let room = || ROOM.try_with(Cell::take).unwrap_or_default();
    let mut out = if about <= SHORT { room() } else { Vec::new() };
    out.reserve(MAX_HEADER + about);
    out.extend_from_slice(&[0; MAX_HEADER]);
    let mut out = put(out);
    let start = frame.map_or(MAX_HEADER, |opcode| put_header_before(&mut out, opcode));
    if out.capacity() <= 2 * SHORT {
        let written = Bytes::copy_from_slice(out.get(start..).unwrap_or_default());
        out.clear();
        let _ = ROOM.try_with(|room| room.set(out));
        return written;
    }
    if out.capacity() - out.len() > out.len() / 8 {
        out.shrink_to_fit();
    }
    let mut written = Bytes::from(out);
    written.advance(start);
    written
}

#[cfg(test)]
mod tests;
