//! Sockudo: the protocol of Pusher for subscribers, and its signed HTTP API for who publishes.

use std::fmt::Write;
use std::time::SystemTime;

use fanfare::bench::connect;
use fanfare::bench::dialect::{Dialect, Message, Notice, Opening, Role, Sink, Standing};
use fanfare::bench::{frames, message};
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;

/// The application of our configuration.
pub const APP: &str = "bench";
/// Its key.
pub const KEY: &str = "bench-key";
/// Its secret.
pub const SECRET: &str = "bench-secret";

/// A server of Pusher's protocol.
pub struct Pusher {
    /// The size of a message's data.
    pub payload: usize,
}

impl Dialect for Pusher {
    type Carry = usize;

    fn request(&self, opening: Opening<'_>) -> Vec<u8> {
        match opening.role {
            Role::Subscriber => {
                super::request(&format!("/app/{KEY}?protocol=7&client=bench&version=1"), "")
            }
            Role::Publisher => Vec::new(),
        }
    }

    fn is_open(&self, _role: Role, head: &str) -> bool {
        connect::is_websocket(head)
    }

    fn begin(&self, opening: Opening<'_>, out: &mut Vec<u8>) -> bool {
        let channel = opening.topic.replace('/', "-");
        let frame = format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}"}}}}"#);
        frames::put_masked(out, frames::TEXT, &[frame.as_bytes()]);
        true
    }

    fn put_publish(&self, out: &mut Vec<u8>, topic: &str, data: &[u8]) {
        let channel = topic.replace('/', "-");
        let data = String::from_utf8_lossy(data);
        let body = format!(r#"{{"name":"m","channel":"{channel}","data":"{data}"}}"#);
        let path = format!("/apps/{APP}/events");
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let query = format!(
            "auth_key={KEY}&auth_timestamp={}&auth_version=1.0&body_md5={}",
            now.as_secs(),
            hex(&Md5::digest(body.as_bytes()))
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(format!("POST\n{path}\n{query}").as_bytes());
        let signature = hex(&mac.finalize().into_bytes());
        let request = format!(
            "POST {path}?{query}&auth_signature={signature} HTTP/1.1\r\nHost: 127.0.0.1\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        out.extend_from_slice(request.as_bytes());
    }

    fn read(
        &self,
        hint: &mut usize,
        role: Role,
        bytes: &[u8],
        sink: &mut impl Sink,
    ) -> Result<usize, &'static str> {
        if role == Role::Publisher {
            return answers(bytes, sink);
        }
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
            if !message::is_data(payload, *hint) {
                *hint = message::find_data(payload).unwrap_or_default();
            }
            let data = &payload[*hint..];
            if *hint > 0 && data.get(self.payload) == Some(&b'"') {
                sink.message(Message {
                    data,
                    is_whole: true,
                    size: payload.len(),
                    offset: None,
                });
            } else {
                sink.notice(understand(payload));
            }
        }
        Ok(at)
    }
}

fn understand(payload: &[u8]) -> Notice<'_> {
    let has = |text: &str| String::from_utf8_lossy(payload).contains(text);
    if has("subscription_succeeded") {
        Notice::Stands(Standing::default())
    } else if has("pusher:connection_established") || has("pusher:pong") {
        Notice::Nothing
    } else if has("pusher:ping") {
        let mut pong = Vec::new();
        let text = br#"{"event":"pusher:pong","data":{}}"#;
        frames::put_masked(&mut pong, frames::TEXT, &[text]);
        Notice::Answer(pong)
    } else {
        Notice::Unexpected(payload)
    }
}

/// The answers to publishes: all that counts is that none of them is a refusal.
fn answers(bytes: &[u8], sink: &mut impl Sink) -> Result<usize, &'static str> {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let Some(body_at) = connect::head_end(rest) else {
            return Ok(at);
        };
        let head = String::from_utf8_lossy(&rest[..body_at]);
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().ok())?
        });
        let end = body_at + length.ok_or("an answer that does not tell its length")?;
        if end > rest.len() {
            return Ok(at);
        }
        if !connect::is_status(&head, "200") {
            sink.notice(Notice::Unexpected(&rest[..end]));
        }
        at += end;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// The configuration of a server that takes so many sessions.
pub fn pusher_app(port: u16, metrics_port: u16, most: usize) -> String {
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
              "max_client_events_per_second": 1000000,
              "max_backend_events_per_second": 1000000,
              "max_read_requests_per_second": 1000000,
              "max_event_payload_in_kb": 100
            }}
          }}
        }}
      ]
    }}
  }}
}}
"#
    )
}
