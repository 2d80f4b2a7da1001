//! JSON text as MessagePack. The text is one that a JSON parser has accepted; however deep it is nested, it
//! costs no stack.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmp::encode;
use serde::de::{Deserializer as _, Error, Visitor};

use super::msgpack_out::put_header;
use super::out::Shape;

/// Appends the value; the strings that begin at `bytes_at`, in order, are base64 of bytes. Writing into
/// a `Vec` cannot fail, so no result of it is looked at.
pub(super) fn put_json(out: &mut Vec<u8>, text: &str, bytes_at: &[u32]) {
    let mut counts = counts(text).into_iter();
    let mut bytes_at = bytes_at.iter().peekable();
    for token in (Tokens { text, at: 0 }) {
        match token {
            Token::Open(shape) => {
                let values = counts.next().unwrap_or_default();
                let count = match shape {
                    Shape::Object => values / 2,
                    Shape::Array => values,
                };
                put_header(out, shape, count);
            }
            Token::Close => {}
            Token::String(at, quoted) => {
                if bytes_at.next_if(|place| **place as usize == at).is_some() {
                    let bytes = STANDARD.decode(inner(quoted)).unwrap_or_default();
                    let _ = encode::write_bin(out, &bytes);
                } else {
                    put_string(out, quoted);
                }
            }
            Token::Other("null") => {
                let _ = encode::write_nil(out);
            }
            Token::Other("true") => {
                let _ = encode::write_bool(out, true);
            }
            Token::Other("false") => {
                let _ = encode::write_bool(out, false);
            }
            Token::Other(number) => put_number(out, number),
        }
    }
}

enum Token<'a> {
    Open(Shape),
    Close,
    /// Where it begins, and its text with the quotes.
    String(usize, &'a str),
    /// A number or a word.
    Other(&'a str),
}

struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let bytes = self.text.as_bytes();
        let from = |at: usize| bytes.get(at..).unwrap_or_default();
        let is_between = |b: &u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':');
        self.at += from(self.at).iter().take_while(|b| is_between(b)).count();
        let start = self.at;
        let rest = from(start);
        self.at += match rest.first()? {
            b'{' | b'}' | b'[' | b']' => 1,
            b'"' => quoted_len(rest),
            _ => {
                let is_other = |b: &u8| !is_between(b) && !matches!(b, b'}' | b']');
                rest.iter().take_while(|b| is_other(b)).count()
            }
        };
        let token = self.text.get(start..self.at)?;
        Some(match token.as_bytes().first()? {
            b'{' => Token::Open(Shape::Object),
            b'[' => Token::Open(Shape::Array),
            b'}' | b']' => Token::Close,
            b'"' => Token::String(start, token),
            _ => Token::Other(token),
        })
    }
}

/// How long the string is that the bytes begin with, quotes included.
fn quoted_len(bytes: &[u8]) -> usize {
    let mut is_escaped = false;
    let end = bytes.iter().skip(1).position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(bytes.len(), |end| end + 2)
}

/// How many values, names included, stand in each object and array, in the order in which they open.
fn counts(text: &str) -> Vec<usize> {
    let mut counts: Vec<usize> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for token in (Tokens { text, at: 0 }) {
        if matches!(token, Token::Close) {
            open.pop();
            continue;
        }
        if let Some(count) = open.last().and_then(|at| counts.get_mut(*at)) {
            *count += 1;
        }
        if matches!(token, Token::Open(_)) {
            open.push(counts.len());
            counts.push(0);
        }
    }
    counts
}

fn inner(quoted: &str) -> &str {
    let inner = quoted.strip_prefix('"').unwrap_or(quoted);
    inner.strip_suffix('"').unwrap_or(inner)
}

fn put_string(out: &mut Vec<u8>, quoted: &str) {
    if quoted.contains('\\') {
        let _ = encode::write_str(out, &unescaped(quoted));
    } else {
        let _ = encode::write_str(out, inner(quoted));
    }
}

/// Whole numbers as such where they fit into 64 bits, all others as the nearest float: what other
/// readers of JSON make of them too. A zero with a sign is a float, since integers have none.
fn put_number(out: &mut Vec<u8>, text: &str) {
    if let Ok(number) = text.parse::<u64>() {
        let _ = encode::write_uint(out, number);
    } else if let Ok(number) = text.parse::<i64>()
        && number < 0
    {
        let _ = encode::write_sint(out, number);
    } else {
        let _ = encode::write_f64(out, text.parse().unwrap_or_default());
    }
}

/// The text of a string with escapes. JSON may have halves of a surrogate pair alone, which are no
/// characters: U+FFFD stands for each.
fn unescaped(quoted: &str) -> String {
    struct Lossy;
    impl Visitor<'_> for Lossy {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<String, E> {
            let mut text = String::with_capacity(bytes.len());
            for chunk in bytes.utf8_chunks() {
                text.push_str(chunk.valid());
                // Half a pair is three bytes that are invalid one by one; the first is always this.
                if chunk.invalid().first() == Some(&0xed) {
                    text.push(char::REPLACEMENT_CHARACTER);
                }
            }
            Ok(text)
        }
    }
    serde_json::Deserializer::from_str(quoted)
        .deserialize_bytes(Lossy)
        .unwrap_or_default()
}
