//! JSON written by hand: the same code runs once to measure and once to write, so that every frame
//! takes exactly one allocation of exactly its size.

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

/// Counts the bytes that JSON would take.
#[derive(Default)]
struct Length(usize);

/// What bytes and their count do differently.
trait Sink {
    fn raw(&mut self, bytes: &[u8]);
    fn quoted(&mut self, text: &str);
    fn base64(&mut self, bytes: &[u8]);
}

impl Sink for Length {
    fn raw(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }

    fn quoted(&mut self, text: &str) {
        // What serde_json escapes, and no more.
        let escaped: usize = text
            .bytes()
            .map(|byte| match byte {
                b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
                0..0x20 => 6,
                _ => 1,
            })
            .sum();
        self.0 += escaped + 2;
    }

    fn base64(&mut self, bytes: &[u8]) {
        self.0 += bytes.len().div_ceil(3) * 4 + 2;
    }
}

impl Sink for Json {
    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn quoted(&mut self, text: &str) {
        put_string(&mut self.0, text);
    }

    fn base64(&mut self, bytes: &[u8]) {
        put_base64(&mut self.0, bytes);
    }
}

impl<S: Sink> Text for S {
    fn raw(&mut self, bytes: &[u8]) {
        Sink::raw(self, bytes);
    }
}

impl<S: Sink> Out for S {
    fn string(&mut self, text: &str) {
        self.quoted(text);
    }

    fn bytes(&mut self, bytes: &[u8]) -> Option<&'static str> {
        self.base64(bytes);
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
        Sink::raw(self, digits.get(digits.len() - len..).unwrap_or_default());
    }

    fn decimal(&mut self, number: f64) {
        Sink::raw(self, number.to_string().as_bytes());
    }

    fn boolean(&mut self, value: bool) {
        Sink::raw(self, if value { b"true" } else { b"false" });
    }

    fn null(&mut self) {
        Sink::raw(self, b"null");
    }

    fn json(&mut self, text: &[u8], _bytes_at: &[u32]) {
        Sink::raw(self, text);
    }

    fn open(&mut self, shape: Shape) -> usize {
        Sink::raw(
            self,
            match shape {
                Shape::Object => b"{",
                Shape::Array => b"[",
            },
        );
        0
    }

    fn name(&mut self, name: &str, is_first: bool) {
        Sink::raw(self, if is_first { b"\"" } else { b",\"" });
        Sink::raw(self, name.as_bytes());
        Sink::raw(self, b"\":");
    }

    fn element(&mut self, is_first: bool) {
        if !is_first {
            Sink::raw(self, b",");
        }
    }

    fn close(&mut self, shape: Shape, _opened: usize, _count: usize) {
        Sink::raw(
            self,
            match shape {
                Shape::Object => b"}",
                Shape::Array => b"]",
            },
        );
    }
}

/// How many bytes `write` writes.
pub(super) fn measure(write: impl FnOnce(&mut dyn Text)) -> usize {
    let mut length = Length::default();
    write(&mut length);
    length.0
}

/// A JSON string with its quotes.
pub(super) fn put_string(out: &mut Vec<u8>, text: &str) {
    // Neither a str nor a Vec can fail here.
    let _ = serde_json::to_writer(out, text);
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
        fn what_is_measured_is_what_is_written(
            text in any::<String>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
            number in any::<u64>(),
        ) {
            let out = written(|o| write(o, &text, &bytes, number));
            prop_assert_eq!(measure(|o| write(o, &text, &bytes, number)), out.len());
            let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(read["text"].as_str(), Some(text.as_str()));
            prop_assert_eq!(read["number"].as_u64(), Some(number));
            let read = STANDARD.decode(read["bytes"].as_str().unwrap()).unwrap();
            prop_assert_eq!(read, bytes);
        }
    }

    #[test]
    fn every_character_is_measured_as_it_is_written() {
        for code in 0..0x300_u32 {
            let text = char::from_u32(code).unwrap().to_string();
            let out = written(|o| o.string(&text));
            assert_eq!(measure(|o| o.string(&text)), out.len(), "{code:x}");
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
