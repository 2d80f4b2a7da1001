//! Fanfare's own protocol, as a load speaks it: `docs/protocol.md` and `docs/http-api.md` have the rest.

mod json;
mod msgpack;

use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::connect;
use super::dialect::{Dialect, Message, Notice, Opening, Role, Sink};
use super::events;
use super::frames;
use super::message;
use crate::auth::Secret;

/// What stays as it is in a path or a query.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// What subscribers speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// A WebSocket with JSON.
    Json,
    /// A WebSocket with `MessagePack`.
    Msgpack,
    /// An event stream.
    Events,
}

/// How one publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publishing {
    /// By frames of a WebSocket.
    Frames,
    /// By a request each.
    Http,
}

/// Fanfare, spoken in one of its ways.
#[derive(Clone, Debug)]
pub struct Fanfare {
    /// What subscribers speak; who publishes has a WebSocket with JSON, or with `MessagePack` if they have that, or HTTP.
    pub speech: Speech,
    /// How one publishes.
    pub publishing: Publishing,
    /// Host and port, as in a header.
    pub host: String,
    /// The path of the WebSocket, with its query if it has one.
    pub path: String,
    /// What goes before the paths of the HTTP API.
    pub base: String,
    /// The credentials, if it needs any.
    pub token: Option<Secret>,
    /// The size of a message's data.
    pub payload: usize,
    /// Whether subscribers keep their positions and go on from them when they come back.
    pub recovers: bool,
}

impl Fanfare {
    /// A WebSocket with JSON, as the yardstick has it.
    pub fn new(host: String, path: String, payload: usize) -> Self {
        Self {
            speech: Speech::Json,
            publishing: Publishing::Frames,
            host,
            path,
            base: String::new(),
            token: None,
            payload,
            recovers: false,
        }
    }

    fn put_credentials(&self, out: &mut String) {
        if let Some(token) = &self.token {
            out.push_str("Authorization: Bearer ");
            out.push_str(token.reveal());
            out.push_str("\r\n");
        }
    }

    fn is_events(&self, role: Role) -> bool {
        self.speech == Speech::Events && role == Role::Subscriber
    }

    /// Where the data begins and how a message is told from the rest, for frames of either encoding.
    #[inline]
    fn data_at(&self, payload: &[u8], hint: usize) -> Option<usize> {
        if self.speech == Speech::Msgpack {
            msgpack::data_at(payload, hint, self.payload)
        } else if message::is_data(payload, hint) {
            Some(hint)
        } else {
            message::find_data(payload)
        }
    }

    #[inline]
    fn payload(&self, hint: &mut usize, payload: &[u8], sink: &mut impl Sink) {
        let Some(at) = self.data_at(payload, *hint) else {
            return sink.notice(self.understand(payload));
        };
        *hint = at;
        let data = payload.get(at..).unwrap_or_default();
        let is_packed = self.speech == Speech::Msgpack;
        let offset = if self.recovers {
            let rest = data.get(self.payload..).unwrap_or_default();
            if is_packed {
                msgpack::offset(rest)
            } else {
                json::offset(rest)
            }
        } else {
            None
        };
        sink.message(Message {
            data,
            // The closing quote stands where it must; MessagePack says the length before.
            is_whole: if is_packed {
                data.len() >= self.payload
            } else {
                data.get(self.payload) == Some(&b'"')
            },
            size: payload.len(),
            offset,
        });
    }

    #[cold]
    fn understand<'a>(&self, payload: &'a [u8]) -> Notice<'a> {
        if self.speech == Speech::Msgpack {
            msgpack::understand(payload)
        } else {
            json::understand(payload)
        }
    }
}

impl Dialect for Fanfare {
    /// Where the data began in the last message.
    type Carry = usize;

    fn request(&self, opening: Opening<'_>) -> Vec<u8> {
        let is_http = opening.role == Role::Publisher && self.publishing == Publishing::Http;
        if is_http {
            return Vec::new();
        }
        let mut out = String::from("GET ");
        if self.is_events(opening.role) {
            out.push_str(&self.base);
            out.push_str(events::PATH);
        } else {
            out.push_str(&self.path);
        }
        // Who recovers subscribes by a frame, whose answer tells the position.
        if opening.role == Role::Subscriber && (!self.recovers || self.is_events(opening.role)) {
            out.push(
                if self.path.contains('?') && !self.is_events(opening.role) {
                    '&'
                } else {
                    '?'
                },
            );
            let topic = utf8_percent_encode(opening.topic, ESCAPED);
            let _ = write!(out, "topic={topic}");
        }
        let _ = write!(out, " HTTP/1.1\r\nHost: {}\r\n", self.host);
        self.put_credentials(&mut out);
        if self.is_events(opening.role) {
            out.push_str("Accept: text/event-stream\r\n");
        } else {
            out.push_str(&connect::websocket_headers());
            if self.speech == Speech::Msgpack {
                out.push_str("Sec-WebSocket-Protocol: fanfare.v1.msgpack\r\n");
            }
        }
        out.push_str("\r\n");
        out.into_bytes()
    }

    fn is_open(&self, role: Role, head: &str) -> bool {
        if self.is_events(role) {
            connect::is_status(head, "200") && head.contains("text/event-stream")
        } else {
            connect::is_websocket(head)
        }
    }

    fn begin(&self, opening: Opening<'_>, out: &mut Vec<u8>) -> bool {
        if opening.role == Role::Publisher || !self.recovers || self.is_events(opening.role) {
            return false;
        }
        if self.speech == Speech::Msgpack {
            let frame = msgpack::subscribe(opening.topic, opening.since);
            frames::put_masked(out, frames::BINARY, &[&frame]);
        } else {
            let frame = json::subscribe(opening.topic, opening.since);
            frames::put_masked(out, frames::TEXT, &[frame.as_bytes()]);
        }
        true
    }

    fn put_publish(&self, out: &mut Vec<u8>, topic: &str, data: &[u8]) {
        match (self.publishing, self.speech) {
            (Publishing::Frames, Speech::Msgpack) => {
                let frame = msgpack::publish(topic, data);
                frames::put_masked(out, frames::BINARY, &[&frame]);
            }
            (Publishing::Frames, _) => message::put_publish(out, topic, data),
            (Publishing::Http, _) => {
                let topic = utf8_percent_encode(topic, ESCAPED);
                let mut head = format!(
                    "POST {}/v1/topics/{topic}/messages HTTP/1.1\r\nHost: {}\r\n\
                     Content-Type: text/plain\r\nContent-Length: {}\r\n",
                    self.base,
                    self.host,
                    data.len()
                );
                self.put_credentials(&mut head);
                head.push_str("\r\n");
                out.extend_from_slice(head.as_bytes());
                out.extend_from_slice(data);
            }
        }
    }

    fn read(
        &self,
        hint: &mut usize,
        role: Role,
        bytes: &[u8],
        sink: &mut impl Sink,
    ) -> Result<usize, &'static str> {
        if role == Role::Publisher && self.publishing == Publishing::Http {
            return answers(bytes, sink);
        }
        let is_events = self.is_events(role);
        let wanted = if self.speech == Speech::Msgpack {
            frames::BINARY
        } else {
            frames::TEXT
        };
        let mut at = 0;
        loop {
            let next = if is_events {
                events::next(bytes, at)
            } else {
                frames::next(bytes, at)?
            };
            let Some(frame) = next else { return Ok(at) };
            let payload = bytes.get(frame.start..frame.end).unwrap_or_default();
            at = frame.end;
            if frame.opcode == wanted {
                self.payload(hint, payload, sink);
            } else {
                sink.notice(control(frame.opcode, payload));
            }
        }
    }
}

/// A frame that carries no message.
#[cold]
fn control(opcode: u8, payload: &[u8]) -> Notice<'_> {
    match opcode {
        frames::PING => {
            let mut out = Vec::new();
            frames::put_masked(&mut out, frames::PONG, &[payload]);
            Notice::Answer(out)
        }
        frames::PONG => Notice::Nothing,
        frames::CLOSE => Notice::Closing(payload),
        _ => Notice::Unexpected(payload),
    }
}

/// The answers to publishes over HTTP.
fn answers(bytes: &[u8], sink: &mut impl Sink) -> Result<usize, &'static str> {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(body_at) = connect::head_end(rest) else {
            return Ok(at);
        };
        let head = rest.get(..body_at).unwrap_or_default();
        let head = std::str::from_utf8(head).map_err(|_| "an answer's head that is no text")?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().ok())?
        });
        let length = length.ok_or("an answer that does not tell its length")?;
        let Some(answer) = body_at.checked_add(length).and_then(|end| rest.get(..end)) else {
            return Ok(at);
        };
        sink.notice(if connect::is_status(head, "200") {
            Notice::Accepted
        } else {
            Notice::Unexpected(answer)
        });
        at += answer.len();
    }
}

#[cfg(test)]
mod tests;
