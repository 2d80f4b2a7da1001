//! How a message that stands for others tells how many: `skipped` is put into its ready bytes.
//!
//! A message is encoded once for all who get it, and only who is slow gets one with `skipped`, each
//! with a number of its own.

use std::borrow::Cow;

use bytes::Bytes;

use super::json_out::Json;
use super::msgpack_out::{Msgpack, open_for_more};
use super::out::Out;
use super::wire::WireFormat;
use crate::websocket::{Inflater, MAX_HEADER, Opcode, put_header};

/// The field's name.
const SKIPPED: &str = "skipped";

/// The same message with `skipped`, as the socket gets it. The raw format cannot tell it; bytes that
/// are no message of that format stay as they are.
pub fn with_skipped(format: WireFormat, message: &Bytes, skipped: u64) -> Bytes {
    let told = match format {
        WireFormat::Json => payload(message).and_then(|object| {
            let object = in_json(&object, b"", skipped)?;
            Some(framed(Opcode::Text, &object))
        }),
        WireFormat::Sse => in_json(message, b"\n\n", skipped),
        WireFormat::Msgpack => payload(message).and_then(|object| {
            let mut object = Msgpack(object.into_owned());
            open_for_more(&mut object.0)?;
            put(&mut object, skipped);
            Some(framed(Opcode::Binary, &object.0))
        }),
        WireFormat::Raw => None,
    };
    told.map_or_else(|| message.clone(), Bytes::from)
}

/// A JSON object, before what ends the event, with the field as its last.
fn in_json(message: &[u8], end: &[u8], skipped: u64) -> Option<Vec<u8>> {
    let object = message.strip_suffix(end)?.strip_suffix(b"}")?;
    let mut out = Json(object.to_vec());
    put(&mut out, skipped);
    out.0.push(b'}');
    out.0.extend_from_slice(end);
    Some(out.0)
}

fn put(out: &mut dyn Out, skipped: u64) {
    out.name(SKIPPED, false);
    out.number(skipped);
}

/// What the frame carries, behind its header (RFC 6455 §5.2), as it was before it was compressed.
fn payload(frame: &[u8]) -> Option<Cow<'_, [u8]>> {
    const RSV1: u8 = 0x40;
    let start = match frame.get(1)? {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let payload = frame.get(start..)?;
    if frame.first()? & RSV1 == 0 {
        return Some(Cow::Borrowed(payload));
    }
    // Each is compressed for itself, and what suits a smaller window suits this one.
    let inflated = Inflater::new(15)
        .inflate(payload, usize::MAX / 2, false)
        .ok()?;
    Some(Cow::Owned(inflated))
}

fn framed(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(MAX_HEADER + payload.len());
    put_header(&mut out, opcode, payload.len());
    out.extend_from_slice(payload);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Epoch, Message, Payload, Position, Timestamp, TopicName};
    use crate::protocol::{Deflaters, Effort, Sent, Window, message_bytes};
    use crate::websocket::walk;

    fn message(data: &str) -> Message {
        Message {
            topic: TopicName::new("a/b").unwrap(),
            payload: Payload::text(data),
            time: Timestamp(1_700_000_000_123),
            position: Some(Position {
                epoch: Epoch::parse("e1").unwrap(),
                offset: 7,
            }),
            user: Some("ann".into()),
            key: Some("k".into()),
            publisher: None,
        }
    }

    /// The object that the bytes hold.
    fn object(format: WireFormat, bytes: &[u8]) -> serde_json::Value {
        match format {
            WireFormat::Json => serde_json::from_slice(walk::only(bytes).1).unwrap(),
            WireFormat::Msgpack => {
                let mut rest = walk::only(bytes).1;
                let value = rmpv::decode::read_value(&mut rest).unwrap();
                assert!(rest.is_empty());
                serde_json::to_value(as_json(&value)).unwrap()
            }
            WireFormat::Sse => {
                let text = str::from_utf8(bytes).unwrap();
                assert!(text.ends_with("}\n\n"));
                let (_, data) = text.split_once("data: ").unwrap();
                serde_json::from_str(data).unwrap()
            }
            WireFormat::Raw => walk::only(bytes).1.into(),
        }
    }

    fn as_json(value: &rmpv::Value) -> serde_json::Value {
        match value {
            rmpv::Value::Map(members) => members
                .iter()
                .map(|(name, value)| (name.as_str().unwrap().to_owned(), as_json(value)))
                .collect(),
            rmpv::Value::Integer(number) => number.as_u64().unwrap().into(),
            rmpv::Value::String(text) => text.as_str().unwrap().into(),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_message_tells_how_many_it_stands_for_and_all_else_stays() {
        // Whose length takes more bytes by the field, and whose does not.
        for len in [0, 5, 20, 100, 65_400, 65_500, 70_000] {
            for format in [WireFormat::Json, WireFormat::Msgpack, WireFormat::Sse] {
                let bytes = message_bytes(format, &message(&"x".repeat(len)), Sent::Live);
                for skipped in [1, 200, 70_000, u64::from(u32::MAX) + 1] {
                    let told = with_skipped(format, &bytes, skipped);
                    let mut expected = object(format, &bytes);
                    expected["skipped"] = skipped.into();
                    assert_eq!(
                        object(format, &told),
                        expected,
                        "{format:?} {len} {skipped}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_raw_message_stays_as_it_is() {
        let bytes = message_bytes(WireFormat::Raw, &message("}"), Sent::Live);
        assert_eq!(with_skipped(WireFormat::Raw, &bytes, 3), bytes);
    }

    #[test]
    fn a_message_that_was_compressed_tells_it_in_plain() {
        let mut deflaters = Deflaters::new(Effort::default(), |_, _| {});
        for format in [WireFormat::Json, WireFormat::Msgpack] {
            let plain = message_bytes(format, &message(&"text ".repeat(200)), Sent::Live);
            let deflated = deflaters.deflate(&plain, Window::Small).unwrap();
            let told = with_skipped(format, &deflated, 3);
            assert_eq!(told, with_skipped(format, &plain, 3), "{format:?}");
            assert_ne!(told, plain);
        }
    }

    #[test]
    fn what_is_no_message_stays_as_it_is() {
        for format in WireFormat::ALL {
            for bytes in [&b""[..], b"\x81", b"\x81\x01x", b"\x82\x01\xc0", b"data: {"] {
                let bytes = Bytes::copy_from_slice(bytes);
                assert_eq!(with_skipped(format, &bytes, 1), bytes, "{format:?}");
            }
        }
    }
}
