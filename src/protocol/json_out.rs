//! JSON written by hand.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::out::{Out, Shape};

/// JSON on its way, and lines around it.
pub(super) trait Text: Out {
    /// Bytes as they are.
    fn raw(&mut self, bytes: &[u8]);
}

/// Writes JSON into bytes.
pub(super) struct Json(pub(super) Vec<u8>);

impl Text for Json {
    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

impl Out for Json {
    fn string(&mut self, text: &str) {
        put_string(&mut self.0, text);
    }

    fn bytes(&mut self, bytes: &[u8]) -> Option<&'static str> {
        put_base64(&mut self.0, bytes);
        Some("base64")
    }

    fn number(&mut self, number: u64) {
        let mut digits = [0; 20];
        let (mut rest, mut len) = (number, 0);
        for slot in digits.iter_mut().rev() {
            *slot = b'0' + (rest % 10) as u8;
            rest /= 10;
            len += 1;
            if rest == 0 {
                break;
            }
        }
        self.raw(digits.get(digits.len() - len..).unwrap_or_default());
    }

    fn decimal(&mut self, number: f64) {
        self.raw(number.to_string().as_bytes());
    }

    fn boolean(&mut self, value: bool) {
        self.raw(if value { b"true" } else { b"false" });
    }

    fn null(&mut self) {
        self.raw(b"null");
    }

    fn json(&mut self, text: &[u8], _bytes_at: &[u32]) {
        self.raw(text);
    }

    fn open(&mut self, shape: Shape) -> usize {
        self.raw(match shape {
            Shape::Object => b"{",
            Shape::Array => b"[",
        });
        0
    }

    fn name(&mut self, name: &str, is_first: bool) {
        self.0.reserve(name.len() + 4);
        if !is_first {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.raw(name.as_bytes());
        self.raw(b"\":");
    }

    fn element(&mut self, is_first: bool) {
        if !is_first {
            self.raw(b",");
        }
    }

    fn close(&mut self, shape: Shape, _opened: usize, _count: usize) {
        self.raw(match shape {
            Shape::Object => b"}",
            Shape::Array => b"]",
        });
    }
}

/// A JSON string with its quotes.
pub(super) fn put_string(out: &mut Vec<u8>, text: &str) {
    // What serde_json escapes, and no more; looked for without a way out of the loop, so that it is done
    // many bytes at a time.
    let is_escaped = |byte: u8| matches!(byte, 0..0x20 | b'"' | b'\\');
    if text.bytes().fold(false, |any, byte| any | is_escaped(byte)) {
        // Neither a str nor a Vec can fail here.
        let _ = serde_json::to_writer(out, text);
        return;
    }
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Bytes as base64 in quotes.
pub(super) fn put_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    if let Some(space) = out.get_mut(start..) {
        // The space is of the length that the encoding has.
        let _ = STANDARD.encode_slice(bytes, space);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::out::Object;
    use proptest::prelude::*;

    fn write(out: &mut dyn Out, text: &str, bytes: &[u8], number: u64) {
        let mut object = Object::new(out);
        object.string("text", text);
        object.name("bytes").bytes(bytes);
        object.number("number", number);
        object.array("all", [1, 2], |out, n| out.number(n));
        object.boolean("yes", true);
        object.string_or_null("none", None);
        object.name("half").decimal(0.5);
        object.end();
    }

    fn written(write: impl FnOnce(&mut dyn Out)) -> Vec<u8> {
        let mut out = Json(Vec::new());
        write(&mut out);
        out.0
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            text in any::<String>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
            number in any::<u64>(),
        ) {
            let out = written(|o| write(o, &text, &bytes, number));
            let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(read["text"].as_str(), Some(text.as_str()));
            prop_assert_eq!(read["number"].as_u64(), Some(number));
            let read = STANDARD.decode(read["bytes"].as_str().unwrap()).unwrap();
            prop_assert_eq!(read, bytes);
        }
    }

    #[test]
    fn every_character_is_written_as_serde_json_writes_it() {
        for code in 0..0x300_u32 {
            let text = char::from_u32(code).unwrap().to_string();
            let out = written(|o| o.string(&text));
            assert_eq!(out, serde_json::to_vec(&text).unwrap(), "{code:x}");
        }
    }

    #[test]
    fn numbers_are_written_whole() {
        for number in [0, 1, 9, 10, 4_294_967_296, u64::MAX] {
            let out = written(|o| o.number(number));
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
        assert_eq!(written(|o| Object::new(o).end()), b"{}");
    }
}
