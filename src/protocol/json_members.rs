//! The members of a JSON object that is plainly written, found in one pass.
//!
//! Nearly every frame is such an object, so nearly every frame is read here. What is not plain is for
//! serde_json, which takes all there is and says what is wrong with the rest.

use serde_json::value::RawValue;
use smallvec::SmallVec;

/// The most that an object has without more memory being asked for: those of a publish, and more.
const FEW: usize = 8;

/// The names and the values of the object that `text` is, as they were written, in their order.
///
/// `None` where a name has an escape, or anything is not JSON: the text has to be read by a parser that
/// can tell.
pub(super) fn plain_members(text: &str) -> Option<SmallVec<[(&str, &str); FEW]>> {
    let mut members = SmallVec::new();
    let mut rest = Rest(text);
    rest.token(b'{')?;
    if rest.token(b'}').is_none() {
        loop {
            rest.skip_space();
            let name = rest.string()?;
            rest.token(b':')?;
            rest.skip_space();
            members.push((name.get(1..name.len() - 1)?, rest.value()?));
            if rest.token(b',').is_none() {
                break rest.token(b'}')?;
            }
        }
    }
    rest.skip_space();
    rest.0.is_empty().then_some(members)
}

/// What is still to be read.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.0.as_bytes().first() {
            self.take(1);
        }
    }

    fn take(&mut self, len: usize) -> Option<&'a str> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// That token, if it comes next.
    fn token(&mut self, token: u8) -> Option<()> {
        self.skip_space();
        let is_next = self.0.as_bytes().first() == Some(&token);
        is_next.then(|| self.take(1))?.map(|_| ())
    }

    /// A string without an escape, in its quotes.
    fn string(&mut self) -> Option<&'a str> {
        let inner = self.0.strip_prefix('"')?.as_bytes();
        let len = plain_len(inner);
        let is_whole = inner.get(len) == Some(&b'"');
        is_whole.then(|| self.take(len + 2))?
    }

    fn value(&mut self) -> Option<&'a str> {
        match self.0.as_bytes().first()? {
            b'"' => self.string().or_else(|| self.any_value()),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            b'0'..=b'9' => self.integer().or_else(|| self.any_value()),
            _ => self.any_value(),
        }
    }

    fn word(&mut self, word: &str) -> Option<&'a str> {
        self.0.starts_with(word).then(|| self.take(word.len()))?
    }

    /// An integer without a sign.
    fn integer(&mut self) -> Option<&'a str> {
        let bytes = self.0.as_bytes();
        let is_digit = |byte: &u8| byte.is_ascii_digit();
        let len = bytes.iter().take_while(|byte| is_digit(byte)).count();
        let is_plain = match bytes.get(len) {
            Some(b'.' | b'e' | b'E') => false,
            _ => len == 1 || bytes.first() != Some(&b'0'),
        };
        is_plain.then(|| self.take(len))?
    }

    fn any_value(&mut self) -> Option<&'a str> {
        let mut values = serde_json::Deserializer::from_str(self.0).into_iter::<&'a RawValue>();
        let value = values.next()?.ok()?.get();
        self.take(value.len())
    }
}

/// How many characters of a string, in bytes, come before a quote, an escape, or what may not stand in a
/// string.
fn plain_len(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let ends = ends_in(u64::from_le_bytes(*word));
        if ends != 0 {
            return place * 8 + ends.trailing_zeros() as usize / 8;
        }
    }
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    words.len() * 8 + rest.iter().position(ends).unwrap_or(rest.len())
}

/// Marks the first of eight bytes that ends what is plain by its highest bit; bits above that mean nothing.
const fn ends_in(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    // A byte that is less than another borrows when that is taken off, which shows in its highest bit.
    const fn less(word: u64, than: u64) -> u64 {
        word.wrapping_sub(EACH * than) & !word
    }
    let quote = less(word ^ (EACH * b'"' as u64), 1);
    let escape = less(word ^ (EACH * b'\\' as u64), 1);
    (quote | escape | less(word, 0x20)) & (EACH << 7)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;
    use serde::Deserialize;
    use serde::de::{Deserializer, MapAccess, Visitor};

    use super::*;

    /// The members as serde_json has them; names with escapes are told apart.
    #[derive(Debug, PartialEq)]
    struct Members<'a>(Vec<(Cow<'a, str>, &'a str)>);

    #[derive(Deserialize)]
    struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

    impl<'de> Deserialize<'de> for Members<'de> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct All;
            impl<'de> Visitor<'de> for All {
                type Value = Members<'de>;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                    let mut all = Vec::new();
                    while let Some(Name(name)) = map.next_key()? {
                        all.push((name, map.next_value::<&RawValue>()?.get()));
                    }
                    Ok(Members(all))
                }
            }
            deserializer.deserialize_map(All)
        }
    }

    /// Holds what is plain to what serde_json says; whether it was.
    fn check(text: &str) -> Result<bool, TestCaseError> {
        let Some(plain) = plain_members(text) else {
            return Ok(false);
        };
        let read: Members<'_> = serde_json::from_str(text)
            .map_err(|error| TestCaseError::fail(format!("{text:?} was taken: {error}")))?;
        let plain = plain.into_iter().map(|(n, v)| (Cow::Borrowed(n), v));
        prop_assert_eq!(Members(plain.collect()), read, "{}", text);
        Ok(true)
    }

    /// Pieces of which many make an object, and many nearly do.
    fn piece() -> impl Strategy<Value = String> {
        let known = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"",
            "\\",
            " ",
            "\n",
            "0",
            "01",
            "12",
            "-3",
            "1.5",
            "2e9",
            "true",
            "tru",
            "false",
            "null",
            "\"a\"",
            "\"\\u0041\"",
            "\"\u{1}\"",
            "\"é\"",
            "\"a\":1,",
            "\"b\" : {\"c\":[]}",
            "{\"a\":",
            "é",
            "\u{a0}",
        ]);
        prop_oneof![9 => known.prop_map(str::to_owned), 1 => any::<String>()]
    }

    fn value() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<f64>().prop_map(|number| serde_json::json!(number).to_string()),
            any::<u64>().prop_map(|number| number.to_string()),
            any::<String>().prop_map(|text| serde_json::json!(text).to_string()),
            any::<Vec<bool>>().prop_map(|list| serde_json::json!({"in": list}).to_string()),
            Just("null".to_owned()),
        ]
    }

    proptest! {
        #[test]
        fn a_string_is_plain_up_to_its_end_or_its_first_escape(
            bytes in prop::collection::vec(
                prop_oneof![8 => any::<u8>(), 1 => Just(b'"'), 1 => Just(b'\\'), 1 => 0x1f..0x21u8],
                0..40,
            ),
            plain in 0..30usize,
        ) {
            let bytes = [vec![b'x'; plain], bytes].concat();
            let ends = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
            let end = bytes.iter().position(ends).unwrap_or(bytes.len());
            prop_assert_eq!(plain_len(&bytes), end);
        }

        #[test]
        fn what_is_taken_is_json_and_read_as_such(
            pieces in prop::collection::vec(piece(), 0..12),
        ) {
            check(&pieces.concat())?;
            check(&format!("{{{}}}", pieces.concat()))?;
        }

        #[test]
        fn every_object_with_plain_names_is_taken(
            members in prop::collection::vec(("[a-z é]{0,5}", value()), 0..12),
            space in "[ \t\r\n]{0,2}",
        ) {
            let members: Vec<_> = members
                .iter()
                .map(|(name, value)| format!("{space}\"{name}\"{space}:{space}{value}{space}"))
                .collect();
            let text = format!("{space}{{{}}}{space}", members.join(","));
            prop_assert!(check(&text)?, "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_an_object_is_left_to_others() {
        for text in [
            "",
            "{",
            "}",
            "{}{}",
            "{} x",
            "[]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{\"a\":01}",
            "{\"a\":tru}",
            "{\"a\":truex}",
            "{\"a\":\"\u{1}\"}",
            "{\"a\u{1}\":1}",
            "{\"\\u0061\":1}",
            "{\"a\":\"\\x\"}",
            "\u{a0}{}",
            "{\"a\":1 \"b\":2}",
        ] {
            assert!(plain_members(text).is_none(), "{text:?}");
        }
    }
}
