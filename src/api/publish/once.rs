//! Idempotency keys: the header and the field, and what they stand for.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;
use sha2::{Digest, Sha256};

use crate::history::Once;
use crate::model::Kind;
use crate::protocol::{ErrorCode, Publish, Refusal};

/// The longest key.
const LONGEST: usize = 255;

/// The header that gives one.
pub const HEADER: &str = "Idempotency-Key";

/// A name that a publisher gives a message, so that it can be published again without being
/// published twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// The key in `text`, which stands in `field`.
    ///
    /// # Errors
    /// If it is empty, too long, or of other than visible ASCII characters.
    pub fn new(field: &str, text: &str) -> Result<Self, Refusal> {
        if (1..=LONGEST).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(Self(text.into()));
        }
        Err(Refusal::new(
            ErrorCode::BadRequest,
            format!("'{field}' must have 1 to {LONGEST} visible ASCII characters, and no spaces"),
        ))
    }

    /// The key in the header, if it is there.
    ///
    /// # Errors
    /// If it is none, or there are several.
    pub fn of_header(request: &HttpRequest) -> Result<Option<Self>, Refusal> {
        Self::of_headers(request.headers())
    }

    fn of_headers(headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let mut values = headers.get_all(HEADER);
        let Some(first) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(Refusal::new(
                ErrorCode::BadRequest,
                format!("the header '{HEADER}' is there twice; give it once"),
            ));
        }
        Self::new(HEADER, first.to_str().unwrap_or_default()).map(Some)
    }

    /// What its message is known by: the key is the publisher's own, whose API key has that name.
    pub fn once(&self, publisher: Option<&str>, publish: &Publish) -> Once {
        let mut name = Sha256::new();
        match publisher {
            None => name.update([0]),
            Some(publisher) => put(&mut name, 1, publisher.as_bytes()),
        }
        put(&mut name, 2, self.0.as_bytes());
        let mut body = Sha256::new();
        let kind = match publish.payload.kind {
            Kind::Json => 0,
            Kind::Text => 1,
            Kind::Binary => 2,
        };
        put(&mut body, kind, &publish.payload.data);
        if let Some(key) = &publish.key {
            put(&mut body, 3, key.as_bytes());
        }
        if publish.retain {
            body.update([4]);
        }
        Once {
            name: name.finalize().into(),
            body: body.finalize().into(),
        }
    }
}

/// Adds bytes so that where they end can be told.
fn put(hash: &mut Sha256, tag: u8, bytes: &[u8]) {
    hash.update([tag]);
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::model::{Payload, TopicName};

    #[test]
    fn a_key_has_visible_characters_and_not_too_many() {
        let longest = "x".repeat(255);
        for good in ["1", "a-b_c:d", "\"quoted\"", "~!", longest.as_str()] {
            assert!(IdempotencyKey::new("f", good).is_ok(), "{good}");
        }
        let longer = "x".repeat(256);
        for bad in ["", " ", "a b", "a\n", "é", "\u{7f}", longer.as_str()] {
            let refusal = IdempotencyKey::new("idempotency_key", bad).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::BadRequest);
            assert!(refusal.message.contains("'idempotency_key'"), "{refusal}");
        }
    }

    #[test]
    fn a_header_that_is_there_twice_is_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(IdempotencyKey::of_headers(&headers), Ok(None));
        let name = HeaderName::from_static("idempotency-key");
        headers.append(name.clone(), HeaderValue::from_static("a"));
        let key = IdempotencyKey::of_headers(&headers).unwrap();
        assert_eq!(key, Some(IdempotencyKey("a".into())));
        headers.append(name.clone(), HeaderValue::from_static("a"));
        assert!(IdempotencyKey::of_headers(&headers).is_err());
        headers.insert(name, HeaderValue::from_bytes(b"\xe9").unwrap());
        assert!(IdempotencyKey::of_headers(&headers).is_err());
    }

    #[test]
    fn whatever_differs_is_told_apart() {
        let publish = |payload, key: Option<&str>| Publish {
            topic: TopicName::new("a").unwrap(),
            payload,
            key: key.map(Into::into),
            retain: false,
        };
        let json = |text: &str| Payload::json(text.as_bytes()).unwrap();
        let key = |text| IdempotencyKey::new("f", text).unwrap();
        let one = key("k").once(Some("p"), &publish(json("[1]"), None));
        let same = key("k").once(Some("p"), &publish(json(" [ 1 ] "), None));
        assert_eq!(one, same, "white space says nothing");

        let names = [
            key("k").once(None, &publish(json("[1]"), None)).name,
            key("k").once(Some(""), &publish(json("[1]"), None)).name,
            key("pk").once(Some(""), &publish(json("[1]"), None)).name,
            key("k2").once(Some("p"), &publish(json("[1]"), None)).name,
            one.name,
        ];
        let bodies = [
            publish(json("[1]"), None),
            publish(json("[2]"), None),
            publish(Payload::text("[1]"), None),
            publish(Payload::binary("[1]".into()), None),
            publish(json("[1]"), Some("")),
            publish(json("[1]"), Some("k")),
            Publish {
                retain: true,
                ..publish(json("[1]"), None)
            },
        ]
        .map(|publish| key("k").once(None, &publish).body);
        let distinct = |all: &[[u8; 32]]| {
            let mut sorted = all.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            sorted.len() == all.len()
        };
        assert!(distinct(&names) && distinct(&bodies));
    }
}
