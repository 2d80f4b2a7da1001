//! What the peers speak.

mod mqtt;
mod nats;
mod nchan;
mod pusher;

use fanfare::bench::dialect::{Notice, Sink};
use fanfare::bench::frames;

pub use mqtt::Mqtt;
pub use nats::Nats;
pub use nchan::Nchan;
pub use pusher::{Pusher, pusher_app};

/// A WebSocket's request for a path, with these headers besides.
fn request(path: &str, headers: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{}{headers}\r\n",
        fanfare::bench::connect::websocket_headers()
    )
    .into_bytes()
}

/// A stream of bytes within frames: where a protocol's own units may end within one and go on in the next.
#[derive(Default)]
pub struct Stream {
    held: Vec<u8>,
}

impl Stream {
    /// Goes through the frames. What is in them is shown to `take`, which says how much of it was whole.
    fn read<S: Sink>(
        &mut self,
        bytes: &[u8],
        sink: &mut S,
        take: impl Fn(&[u8], &mut S) -> Result<usize, &'static str>,
    ) -> Result<usize, &'static str> {
        let mut at = 0;
        while let Some(frame) = next(bytes, at)? {
            let payload = &bytes[frame.start..frame.end];
            at = frame.end;
            match frame.opcode {
                frames::TEXT | frames::BINARY | frames::CONTINUATION => {
                    if self.held.is_empty() {
                        let used = take(payload, sink)?;
                        self.held.extend_from_slice(&payload[used..]);
                    } else {
                        self.held.extend_from_slice(payload);
                        let used = take(&self.held, sink)?;
                        self.held.drain(..used);
                    }
                }
                frames::PING => {
                    let mut pong = Vec::new();
                    frames::put_masked(&mut pong, frames::PONG, &[payload]);
                    sink.notice(Notice::Answer(pong));
                }
                frames::CLOSE => sink.notice(Notice::Closing(payload)),
                _ => {}
            }
        }
        Ok(at)
    }
}

/// The next frame, a fragment too: the order of the bytes is all that counts here.
fn next(bytes: &[u8], at: usize) -> Result<Option<frames::Frame>, &'static str> {
    match bytes.get(at) {
        Some(first) if first & 0x80 == 0 => {
            let Some(&second) = bytes.get(at + 1) else {
                return Ok(None);
            };
            let header = match second & 0x7f {
                126 => 4,
                127 => 10,
                _ => 2,
            };
            // With the last bit set it is read like any other.
            let Some(head) = bytes.get(at..at + header) else {
                return Ok(None);
            };
            let mut whole = head.to_vec();
            whole[0] |= 0x80;
            let size = match header {
                2 => usize::from(second & 0x7f),
                4 => usize::from(u16::from_be_bytes([whole[2], whole[3]])),
                _ => return Err("a fragment beyond any size"),
            };
            let (start, end) = (at + header, at + header + size);
            Ok((end <= bytes.len()).then_some(frames::Frame {
                opcode: whole[0] & 0x0f,
                masked: false,
                start,
                end,
            }))
        }
        _ => frames::next(bytes, at),
    }
}
