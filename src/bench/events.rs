//! Server-sent events, as much of them as a load and a yardstick need.

use super::frames::{self, Frame};
use super::message;

/// The path of event streams.
pub const PATH: &str = "/sse";

const BEFORE_JSON: &[u8] = b"id: -:0:1700000000000\nevent: message\ndata: ";
const DATA: &[u8] = b"data: ";
const END: &[u8] = b"\n\n";

/// The event that begins at `at`, or none where it is not whole yet, told as if it were a frame: its
/// payload is the data, and what follows that up to the next event. What has no data, a comment for one,
/// is told as a pong: there is nothing to do about it.
#[inline]
pub fn next(bytes: &[u8], at: usize) -> Option<Frame> {
    let rest = bytes.get(at..).unwrap_or_default();
    let length = find(rest, END)? + END.len();
    let data = find(rest.get(..length)?, DATA);
    Some(Frame {
        opcode: if data.is_some() {
            frames::TEXT
        } else {
            frames::PONG
        },
        masked: false,
        start: at + data.map_or(0, |data| data + DATA.len()),
        end: at + length,
    })
}

/// Appends the event of a message: as long as the broker's where `envelope` is what the load found there.
pub fn put_message(out: &mut Vec<u8>, topic: &[u8], data: &[u8], envelope: usize) {
    out.extend_from_slice(BEFORE_JSON);
    message::put_object(out, topic, data, envelope.saturating_sub(END.len()));
    out.extend_from_slice(END);
}

#[inline]
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    loop {
        from += bytes.get(from..)?.iter().position(|byte| *byte == first)?;
        if bytes.get(from..)?.starts_with(wanted) {
            return Some(from);
        }
        from += 1;
    }
}
