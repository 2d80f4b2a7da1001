//! NATS over a WebSocket: its lines and payloads are a stream within binary frames.

use fanfare::bench::connect;
use fanfare::bench::dialect::{Dialect, Message, Notice, Opening, Role, Sink, Standing};
use fanfare::bench::frames;

use super::Stream;

/// NATS without credentials.
pub struct Nats {
    /// The size of a message's data.
    pub payload: usize,
}

impl Dialect for Nats {
    type Carry = Stream;

    fn request(&self, _opening: Opening<'_>) -> Vec<u8> {
        super::request("/", "")
    }

    fn is_open(&self, _role: Role, head: &str) -> bool {
        connect::is_websocket(head)
    }

    fn begin(&self, opening: Opening<'_>, out: &mut Vec<u8>) -> bool {
        let mut text =
            String::from("CONNECT {\"verbose\":false,\"pedantic\":false,\"protocol\":1}\r\n");
        if opening.role == Role::Subscriber {
            text.push_str(&format!("SUB {} 1\r\n", opening.topic.replace('/', ".")));
        }
        text.push_str("PING\r\n");
        frames::put_masked(out, frames::BINARY, &[text.as_bytes()]);
        true
    }

    fn put_publish(&self, out: &mut Vec<u8>, topic: &str, data: &[u8]) {
        let line = format!("PUB {} {}\r\n", topic.replace('/', "."), data.len());
        frames::put_masked(out, frames::BINARY, &[line.as_bytes(), data, b"\r\n"]);
    }

    fn read(
        &self,
        stream: &mut Stream,
        _role: Role,
        bytes: &[u8],
        sink: &mut impl Sink,
    ) -> Result<usize, &'static str> {
        stream.read(bytes, sink, |bytes, sink| self.lines(bytes, sink))
    }
}

impl Nats {
    fn lines(&self, bytes: &[u8], sink: &mut impl Sink) -> Result<usize, &'static str> {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                return Ok(at);
            };
            let line = &rest[..end];
            if line.starts_with(b"MSG ") {
                let size = line.rsplit(|byte| *byte == b' ').next();
                let size = size.and_then(|size| std::str::from_utf8(size).ok());
                let size = size.and_then(|size| size.trim_end().parse::<usize>().ok());
                let size = size.ok_or("a MSG without a size")?;
                let Some(data) = rest.get(end + 1..end + 1 + size + 2) else {
                    return Ok(at);
                };
                sink.message(Message {
                    data: &data[..size],
                    is_whole: size == self.payload && data.ends_with(b"\r\n"),
                    size: end + 1 + data.len(),
                    offset: None,
                });
                at += end + 1 + data.len();
                continue;
            }
            at += end + 1;
            if line.starts_with(b"PONG") {
                sink.notice(Notice::Stands(Standing::default()));
            } else if line.starts_with(b"PING") {
                let mut pong = Vec::new();
                frames::put_masked(&mut pong, frames::BINARY, &[b"PONG\r\n"]);
                sink.notice(Notice::Answer(pong));
            } else if line.starts_with(b"-ERR") {
                sink.notice(Notice::Unexpected(line));
            }
        }
    }
}
