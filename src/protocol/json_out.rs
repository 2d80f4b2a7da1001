//! JSON written by hand: the same code runs once to measure and once to write, so that every frame
//! takes exactly one allocation of exactly its size.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Where JSON goes: into bytes, or into a count of them.
pub(super) trait Out {
    /// Bytes as they are.
    fn raw(&mut self, bytes: &[u8]);
    /// A JSON string with its quotes.
    fn string(&mut self, text: &str);
    /// Bytes as base64 in quotes.
    fn base64(&mut self, bytes: &[u8]);

    /// An unsigned integer.
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
}

/// Counts what would be written.
#[derive(Default)]
struct Length(usize);

impl Out for Length {
    fn raw(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }

    fn string(&mut self, text: &str) {
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

impl Out for Vec<u8> {
    fn raw(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn string(&mut self, text: &str) {
        // Neither a str nor a Vec can fail here.
        let _ = serde_json::to_writer(self, text);
    }

    fn base64(&mut self, bytes: &[u8]) {
        self.push(b'"');
        let start = self.len();
        self.resize(start + bytes.len().div_ceil(3) * 4, 0);
        if let Some(space) = self.get_mut(start..) {
            // The space is of the length that the encoding has.
            let _ = STANDARD.encode_slice(bytes, space);
        }
        self.push(b'"');
    }
}

/// How many bytes `write` writes.
pub(super) fn measure(write: impl FnOnce(&mut dyn Out)) -> usize {
    let mut length = Length::default();
    write(&mut length);
    length.0
}

/// A JSON object that is being written, field by field.
pub(super) struct Object<'o> {
    out: &'o mut dyn Out,
    started: bool,
}

impl<'o> Object<'o> {
    /// An object without fields.
    pub(super) fn new(out: &'o mut dyn Out) -> Self {
        Self {
            out,
            started: false,
        }
    }

    /// An object whose first field is `type`.
    pub(super) fn of_type(out: &'o mut dyn Out, name: &str) -> Self {
        let mut object = Self::new(out);
        object.string("type", name);
        object
    }

    /// Starts a field whose value the caller writes. The name needs no escaping.
    pub(super) fn name(&mut self, name: &str) -> &mut dyn Out {
        self.out.raw(if self.started { b",\"" } else { b"{\"" });
        self.started = true;
        self.out.raw(name.as_bytes());
        self.out.raw(b"\":");
        self.out
    }

    /// A string.
    pub(super) fn string(&mut self, name: &str, text: &str) {
        self.name(name).string(text);
    }

    /// A string, or no field at all.
    pub(super) fn string_if(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.string(name, text);
        }
    }

    /// A string, or null.
    pub(super) fn string_or_null(&mut self, name: &str, text: Option<&str>) {
        match text {
            Some(text) => self.string(name, text),
            None => self.name(name).raw(b"null"),
        }
    }

    /// An unsigned integer.
    pub(super) fn number(&mut self, name: &str, number: u64) {
        self.name(name).number(number);
    }

    /// An unsigned integer, or no field at all.
    pub(super) fn number_if(&mut self, name: &str, number: Option<u64>) {
        if let Some(number) = number {
            self.number(name, number);
        }
    }

    /// A boolean.
    pub(super) fn boolean(&mut self, name: &str, value: bool) {
        self.name(name).raw(if value { b"true" } else { b"false" });
    }

    /// An array, of which `item` writes each element.
    pub(super) fn array<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut item: impl FnMut(&mut dyn Out, T),
    ) {
        let out = self.name(name);
        out.raw(b"[");
        for (place, value) in items.into_iter().enumerate() {
            if place > 0 {
                out.raw(b",");
            }
            item(out, value);
        }
        out.raw(b"]");
    }

    /// Ends the object.
    pub(super) fn end(self) {
        self.out.raw(if self.started { b"}" } else { b"{}" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn write(out: &mut dyn Out, text: &str, bytes: &[u8], number: u64) {
        let mut object = Object::new(out);
        object.string("text", text);
        object.name("bytes").base64(bytes);
        object.number("number", number);
        object.array("all", [1, 2], |out, n| out.number(n));
        object.boolean("yes", true);
        object.string_or_null("none", None);
        object.end();
    }

    proptest! {
        #[test]
        fn what_is_measured_is_what_is_written(
            text in any::<String>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
            number in any::<u64>(),
        ) {
            let mut out = Vec::new();
            write(&mut out, &text, &bytes, number);
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
            let mut out: Vec<u8> = Vec::new();
            out.string(&text);
            assert_eq!(measure(|o| o.string(&text)), out.len(), "{code:x}");
        }
    }

    #[test]
    fn numbers_are_written_whole() {
        for number in [0, 1, 9, 10, 4_294_967_296, u64::MAX] {
            let mut out: Vec<u8> = Vec::new();
            out.number(number);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
        let mut out: Vec<u8> = Vec::new();
        Object::new(&mut out).end();
        assert_eq!(out, b"{}");
    }
}
