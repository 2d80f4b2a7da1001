//! Sockudo: the protocol of Pusher, whose clients publish to each other in private channels that they have subscribed to. Its HTTP
//! API is for backends, and closes the connection behind every answer: it is no place to publish from thousands of times a second.

use std::fmt::Write;

use fanfare::bench::connect;
use fanfare::bench::dialect::{Dialect, Message, Notice, Opening, Role, Sink, Standing};
use fanfare::bench::{frames, message};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The application of our configuration.
const APP: &str = "bench";
/// Its key.
const KEY: &str = "bench-key";
/// Its secret.
const SECRET: &str = "bench-secret";

/// What the server says first, with the name that signatures are for.
const SOCKET_ID: &str = r#"\"socket_id\":\""#;

/// A server of Pusher's protocol.
pub struct Pusher {
    /// The size of a message's data.
    pub payload: usize,
    /// The topics that are published to.
    pub topics: Vec<String>,
}

/// What is kept of a session.
#[derive(Default)]
pub struct Member {
    /// The channels that it is yet to subscribe to.
    channels: Vec<String>,
    /// How many subscriptions are yet to stand.
    awaited: usize,
    /// Where the last message had its data.
    hint: usize,
}

impl Dialect for Pusher {
    type Carry = Member;

    fn carry(&self, opening: Opening<'_>) -> Member {
        let channels = match opening.role {
            Role::Subscriber => vec![channel(opening.topic)],
            Role::Publisher => self.topics.iter().map(|topic| channel(topic)).collect(),
        };
        Member {
            awaited: channels.len(),
            channels,
            hint: 0,
        }
    }

    fn request(&self, _opening: Opening<'_>) -> Vec<u8> {
        super::request(&format!("/app/{KEY}?protocol=7&client=bench&version=1"), "")
    }

    fn is_open(&self, _role: Role, head: &str) -> bool {
        connect::is_websocket(head)
    }

    fn begin(&self, _opening: Opening<'_>, _out: &mut Vec<u8>) -> bool {
        // What the server says first is in every subscription's signature.
        true
    }

    fn put_publish(&self, out: &mut Vec<u8>, topic: &str, data: &[u8]) {
        let head = format!(
            r#"{{"event":"client-m","channel":"{}","data":""#,
            channel(topic)
        );
        frames::put_masked(out, frames::TEXT, &[head.as_bytes(), data, br#""}"#]);
    }

    fn read(
        &self,
        member: &mut Member,
        _role: Role,
        bytes: &[u8],
        sink: &mut impl Sink,
    ) -> Result<usize, &'static str> {
        let mut at = 0;
        while let Some(frame) = frames::next(bytes, at)? {
            let payload = &bytes[frame.start..frame.end];
            at = frame.end;
            if frame.opcode == frames::PING {
                let mut pong = Vec::new();
                frames::put_masked(&mut pong, frames::PONG, &[payload]);
                sink.notice(Notice::Answer(pong));
            }
            if frame.opcode == frames::CLOSE {
                sink.notice(Notice::Closing(payload));
            }
            if frame.opcode != frames::TEXT {
                continue;
            }
            if !message::is_data(payload, member.hint) {
                member.hint = message::find_data(payload).unwrap_or_default();
            }
            let data = &payload[member.hint..];
            if member.hint > 0 && data.get(self.payload) == Some(&b'"') {
                sink.message(Message {
                    data,
                    is_whole: true,
                    size: payload.len(),
                    offset: None,
                });
            } else {
                sink.notice(member.understand(payload));
            }
        }
        Ok(at)
    }
}

impl Member {
    fn understand<'a>(&mut self, payload: &'a [u8]) -> Notice<'a> {
        let text = String::from_utf8_lossy(payload);
        if text.contains("subscription_succeeded") {
            self.awaited = self.awaited.saturating_sub(1);
            match self.awaited {
                0 => Notice::Stands(Standing::default()),
                _ => Notice::Nothing,
            }
        } else if text.contains("pusher:connection_established") {
            let id = text.split_once(SOCKET_ID).and_then(|(_, rest)| {
                let (id, _) = rest.split_once('\\')?;
                Some(id)
            });
            id.map_or(Notice::Unexpected(payload), |id| {
                Notice::Answer(self.subscribe(id))
            })
        } else if text.contains("pusher:ping") {
            let mut pong = Vec::new();
            let text = br#"{"event":"pusher:pong","data":{}}"#;
            frames::put_masked(&mut pong, frames::TEXT, &[text]);
            Notice::Answer(pong)
        } else if text.contains("pusher:pong") {
            Notice::Nothing
        } else {
            Notice::Unexpected(payload)
        }
    }

    /// The frames that subscribe to all of its channels.
    fn subscribe(&mut self, id: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for channel in std::mem::take(&mut self.channels) {
            let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
            mac.update(format!("{id}:{channel}").as_bytes());
            let signature = hex(&mac.finalize().into_bytes());
            let frame = format!(
                r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}","auth":"{KEY}:{signature}"}}}}"#
            );
            frames::put_masked(&mut out, frames::TEXT, &[frame.as_bytes()]);
        }
        out
    }
}

fn channel(topic: &str) -> String {
    format!("private-{}", topic.replace('/', "-"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// The configuration of a server that takes so many sessions.
pub fn pusher_app(port: u16, metrics_port: u16, most: usize) -> String {
    // Without a figure for client events nothing counts them.
    format!(
        r#"{{
  "debug": false,
  "host": "127.0.0.1",
  "port": {port},
  "adapter": {{ "driver": "local" }},
  "cache": {{ "driver": "memory" }},
  "queue": {{ "driver": "memory" }},
  "metrics": {{ "enabled": false, "port": {metrics_port} }},
  "rate_limiter": {{ "enabled": false }},
  "app_manager": {{
    "driver": "memory",
    "array": {{
      "apps": [
        {{
          "id": "{APP}",
          "key": "{KEY}",
          "secret": "{SECRET}",
          "enabled": true,
          "policy": {{
            "limits": {{
              "max_connections": {most},
              "max_client_events_per_second": 0,
              "max_event_payload_in_kb": 100
            }},
            "features": {{ "enable_client_messages": true }}
          }}
        }}
      ]
    }}
  }}
}}
"#
    )
}
