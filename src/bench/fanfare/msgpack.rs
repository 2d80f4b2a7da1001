//! The frames of `fanfare.v1.msgpack`, as much of them as a load needs.

use std::borrow::Cow;

use rmp::{Marker, decode, encode};

use super::json::{Fields, fields_of};
use crate::bench::dialect::Notice;
use crate::model::Position;

const DATA: &[u8] = b"\xa4data";
const OFFSET: &[u8] = b"\xa6offset";

/// The key `data` and the header of a text of so many bytes, at the end of which the text begins.
fn before_data(size: usize) -> ([u8; 10], usize) {
    let mut bytes = [0; 10];
    let mut rest = &mut bytes[..];
    let all = rest.len();
    let _ = encode::write_str(&mut rest, "data");
    let _ = encode::write_str_len(&mut rest, u32::try_from(size).unwrap_or(u32::MAX));
    let length = all - rest.len();
    (bytes, length)
}

/// Where the data of so many bytes begins, most probably at `hint`.
#[inline]
pub(super) fn data_at(payload: &[u8], hint: usize, size: usize) -> Option<usize> {
    let (before, length) = before_data(size);
    let before = before.get(..length)?;
    let is_there = hint
        .checked_sub(length)
        .and_then(|from| payload.get(from..hint))
        == Some(before);
    if is_there {
        return Some(hint);
    }
    // With another header the data is not what was published: it is told as damaged where it begins.
    memchr::memmem::find(payload, before)
        .map(|at| at + length)
        .or_else(|| memchr::memmem::find(payload, DATA).map(|at| at + DATA.len()))
}

/// The offset in what follows a message's data.
pub(super) fn offset(rest: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(rest, OFFSET)? + OFFSET.len();
    decode::read_int(&mut rest.get(at..)?).ok()
}

/// The frame that subscribes to a topic. Writing into a `Vec` cannot fail, so no result is looked at.
pub(super) fn subscribe(topic: &str, since: Option<&Position>) -> Vec<u8> {
    let mut out = Vec::new();
    let _ = encode::write_map_len(&mut out, if since.is_some() { 4 } else { 3 });
    put_texts(&mut out, &["type", "subscribe", "topic", topic, "id"]);
    let _ = encode::write_uint(&mut out, 1);
    if let Some(since) = since {
        put_texts(&mut out, &["since"]);
        let _ = encode::write_map_len(&mut out, 2);
        put_texts(&mut out, &["epoch", since.epoch.as_str(), "offset"]);
        let _ = encode::write_uint(&mut out, since.offset);
    }
    out
}

/// The frame that publishes the data.
pub(super) fn publish(topic: &str, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + topic.len() + 40);
    let _ = encode::write_map_len(&mut out, 3);
    put_texts(&mut out, &["type", "publish", "topic", topic, "data"]);
    let _ = encode::write_str_len(&mut out, u32::try_from(data.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(data);
    out
}

fn put_texts(out: &mut Vec<u8>, texts: &[&str]) {
    for text in texts {
        let _ = encode::write_str(out, text);
    }
}

/// What a frame without data says.
pub(super) fn understand(payload: &[u8]) -> Notice<'_> {
    let mut rest = payload;
    let Ok(count) = decode::read_map_len(&mut rest) else {
        return Notice::Unexpected(payload);
    };
    let mut kind = None;
    let mut fields = Fields::default();
    for _ in 0..count {
        let Some(name) = text(&mut rest) else { break };
        match (name, rest.first().map(|byte| Marker::from_u8(*byte))) {
            ("type", _) => kind = text(&mut rest),
            ("epoch", _) => fields.epoch = text(&mut rest).map(Cow::Borrowed),
            ("recovered", _) => fields.recovered = decode::read_bool(&mut rest).ok(),
            ("offset", _) => fields.offset = decode::read_int(&mut rest).ok(),
            ("count", _) => fields.count = decode::read_int(&mut rest).ok(),
            ("from", _) => fields.from = decode::read_int(&mut rest).ok(),
            ("to", _) => fields.to = decode::read_int(&mut rest).ok(),
            (_, Some(Marker::Null)) => rest = rest.get(1..).unwrap_or_default(),
            (_, Some(Marker::True | Marker::False)) => {
                let _ = decode::read_bool(&mut rest);
            }
            (_, Some(Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32)) => {
                let _ = text(&mut rest);
            }
            (_, Some(_)) => {
                // A number, or what none of the frames has that matter here.
                if decode::read_int::<i64, _>(&mut rest).is_err() {
                    break;
                }
            }
            (_, None) => break,
        }
    }
    kind.map_or(Notice::Unexpected(payload), |kind| {
        fields_of(kind, &fields, payload)
    })
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (text, after) = decode::read_str_from_slice(*rest).ok()?;
    *rest = after;
    Some(text)
}
