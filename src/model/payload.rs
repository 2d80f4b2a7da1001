//! What a message carries, and of which kind it is.

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

/// The three kinds of payload. A message keeps the kind it was published with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Any JSON value, as it was written but for insignificant white space.
    Json,
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
}

/// A payload: bytes that are known to be of their kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The kind.
    pub kind: Kind,
    /// The bytes: for `Json` a whole JSON text, for `Text` UTF-8.
    pub data: Bytes,
    /// See [`Payload::bytes_at`].
    bytes_at: Option<Arc<[u32]>>,
}

/// Why bytes are no payload of the kind they are said to be.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PayloadError {
    /// Said to be JSON and is not.
    #[error("the data is not valid JSON ({0})")]
    NotJson(String),
    /// Said to be text and is not UTF-8.
    #[error("the text is not valid UTF-8")]
    NotUtf8,
}

impl Payload {
    /// A JSON payload from a text that may hold white space around its tokens.
    ///
    /// # Errors
    /// [`PayloadError::NotJson`] says where the text stops being JSON.
    pub fn json(text: &[u8]) -> Result<Self, PayloadError> {
        let raw: &serde_json::value::RawValue =
            serde_json::from_slice(text).map_err(|e| PayloadError::NotJson(e.to_string()))?;
        Ok(Self::json_checked(raw.get()))
    }

    /// A JSON payload from a text that a JSON parser has accepted.
    pub fn json_checked(text: &str) -> Self {
        Self::of(Kind::Json, without_white_space(text))
    }

    /// A JSON payload from a text without white space that was made of something with bytes in it:
    /// the strings that begin at these places, in order, are base64 of bytes.
    pub fn json_with_bytes(text: String, bytes_at: Vec<u32>) -> Self {
        Self {
            bytes_at: (!bytes_at.is_empty()).then(|| Arc::from(bytes_at)),
            ..Self::of(Kind::Json, Bytes::from(text))
        }
    }

    /// A text payload.
    pub fn text(text: impl Into<String>) -> Self {
        Self::of(Kind::Text, Bytes::from(text.into().into_bytes()))
    }

    /// A text payload from bytes that should be UTF-8.
    ///
    /// # Errors
    /// [`PayloadError::NotUtf8`] if they are not.
    pub fn text_bytes(data: Bytes) -> Result<Self, PayloadError> {
        if std::str::from_utf8(&data).is_err() {
            return Err(PayloadError::NotUtf8);
        }
        Ok(Self::text_checked(data))
    }

    /// A text payload from bytes that are known to be UTF-8.
    pub fn text_checked(data: Bytes) -> Self {
        Self::of(Kind::Text, data)
    }

    /// A binary payload.
    pub fn binary(data: Bytes) -> Self {
        Self::of(Kind::Binary, data)
    }

    /// A payload as it was kept: what [`kind`](Self::kind), [`data`](Self::data) and
    /// [`bytes_at`](Self::bytes_at) said of it.
    ///
    /// # Errors
    /// [`PayloadError::NotUtf8`] for JSON and text that is none, or places that are none in it.
    pub fn kept(kind: Kind, data: Bytes, bytes_at: Vec<u32>) -> Result<Self, PayloadError> {
        let is_text = match kind {
            Kind::Json | Kind::Text => std::str::from_utf8(&data).is_ok(),
            Kind::Binary => true,
        };
        let is_place = |at: &u32| data.get(*at as usize) == Some(&b'"');
        if !is_text || !bytes_at.is_sorted() || !bytes_at.iter().all(is_place) {
            return Err(PayloadError::NotUtf8);
        }
        Ok(Self {
            bytes_at: (!bytes_at.is_empty()).then(|| Arc::from(bytes_at)),
            ..Self::of(kind, data)
        })
    }

    /// Where in a JSON text the strings begin, quotes included, that stand for bytes, in order. What
    /// was published in an encoding that has bytes is bytes again in such an encoding, and base64
    /// in every other.
    pub fn bytes_at(&self) -> &[u32] {
        self.bytes_at.as_deref().unwrap_or_default()
    }

    /// About how many bytes it takes to keep.
    pub fn weight(&self) -> usize {
        self.data.len() + size_of_val(self.bytes_at())
    }

    /// Whether it is null or empty: as a retained message, nothing. Of JSON that is `null` and `""`;
    /// an empty array or object is a value like others.
    pub fn is_nothing(&self) -> bool {
        match self.kind {
            Kind::Json => matches!(&*self.data, b"null" | b"\"\""),
            Kind::Text | Kind::Binary => self.data.is_empty(),
        }
    }

    /// The text of a `Json` or `Text` payload.
    pub fn as_str(&self) -> Option<&str> {
        match self.kind {
            Kind::Json | Kind::Text => std::str::from_utf8(&self.data).ok(),
            Kind::Binary => None,
        }
    }

    fn of(kind: Kind, data: Bytes) -> Self {
        Self {
            kind,
            data,
            bytes_at: None,
        }
    }
}

/// A JSON text less the white space between its tokens; numbers and strings stay as written.
fn without_white_space(text: &str) -> Bytes {
    let is_space = |b: u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r');
    // Without a way out of the loop: so it is done many bytes at a time.
    let has_space = || text.bytes().fold(false, |any, byte| any | is_space(byte));
    let is_string = text.starts_with('"');
    if is_string || !has_space() {
        return Bytes::copy_from_slice(text.trim_ascii_end().as_bytes());
    }
    let mut out = Vec::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        if in_string {
            out.push(byte);
            if escaped {
                escaped = false;
            } else if byte == b'\\' {
                escaped = true;
            } else if byte == b'"' {
                in_string = false;
            }
        } else if !is_space(byte) {
            in_string = byte == b'"';
            out.push(byte);
        }
    }
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_what_was_written_but_for_white_space() {
        for (written, kept) in [
            (" { \"a\" : [ 1.50 , 2e0 ] } ", r#"{"a":[1.50,2e0]}"#),
            (r#""a b \" c ""#, r#""a b \" c ""#),
            (r#"{"a \\": "x y"}"#, r#"{"a \\":"x y"}"#),
            ("12345678901234567890123", "12345678901234567890123"),
            ("null", "null"),
        ] {
            let payload = Payload::json(written.as_bytes()).unwrap();
            assert_eq!(payload.as_str(), Some(kept), "{written}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for bad in ["", "{", "{\"a\":}", "1 2", "nul", "\"\u{1}\""] {
            assert!(Payload::json(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(Payload::json(b"\"\xff\"").is_err());
    }

    #[test]
    fn null_and_the_empty_are_nothing() {
        for (payload, is_nothing) in [
            (Payload::json(b" null ").unwrap(), true),
            (Payload::json(b"\"\"").unwrap(), true),
            (Payload::json(b"[]").unwrap(), false),
            (Payload::json(b"{}").unwrap(), false),
            (Payload::json(b"0").unwrap(), false),
            (Payload::json(b"false").unwrap(), false),
            (Payload::text(""), true),
            (Payload::text("null"), false),
            (Payload::text(" "), false),
            (Payload::binary(Bytes::new()), true),
            (Payload::binary(Bytes::from_static(b"\0")), false),
        ] {
            assert_eq!(payload.is_nothing(), is_nothing, "{payload:?}");
        }
    }

    #[test]
    fn text_must_be_utf8() {
        assert_eq!(
            Payload::text_bytes(Bytes::from_static(b"\xff")),
            Err(PayloadError::NotUtf8)
        );
    }
}
