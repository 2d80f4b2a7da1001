//! The values of a JSON frame, each as the text that it was written as.
//!
//! No tree of values is built: a field is looked at only when it is asked for, and nesting costs no
//! stack, however deep it is.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Refusal;
use super::fields::{Value, bad, wrong};
use super::json_members::plain_members;
use crate::model::Payload;

/// One value, as it was written.
#[derive(Clone, Copy)]
pub(super) struct JsonValue<'a>(pub(super) &'a str);

impl<'a> Value<'a> for JsonValue<'a> {
    const OBJECT: &'static str = "a JSON object";

    fn flaw(self) -> Option<String> {
        None
    }

    fn kind(self) -> &'static str {
        let text = self.0.trim_start_matches([' ', '\t', '\n', '\r']);
        let with_point = || {
            text.bytes()
                .take(400)
                .any(|b| matches!(b, b'.' | b'e' | b'E'))
        };
        match text.bytes().next() {
            None => "nothing",
            Some(b'"') => "a string",
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b't' | b'f') if matches!(text.trim_end(), "true" | "false") => "a boolean",
            Some(b'n') if text.trim_end() == "null" => "null",
            Some(b'-') => "a negative number",
            Some(b'0'..=b'9') if with_point() => "a number with a fraction or an exponent",
            Some(b'0'..=b'9') => "a number",
            Some(_) => "something that is not JSON",
        }
    }

    fn each_member(
        self,
        what: impl fmt::Display,
        mut found: impl FnMut(Cow<'a, str>, Self),
    ) -> Result<(), Refusal> {
        if let Some(members) = plain_members(self.0) {
            for (name, value) in members {
                found(Cow::Borrowed(name), Self(value));
            }
            return Ok(());
        }
        let kind = self.kind();
        if kind != "an object" {
            return Err(bad(format!(
                "{what} must be {}, found {kind}",
                Self::OBJECT
            )));
        }
        let mut reader = serde_json::Deserializer::from_str(self.0);
        reader
            .deserialize_map(Members(&mut |name, value: &'a RawValue| {
                found(name, Self(value.get()));
            }))
            .and_then(|()| reader.end())
            .map_err(|error| bad(format!("{what} is not valid JSON: {error}")))
    }

    fn string(self, field: &dyn fmt::Display) -> Result<Cow<'a, str>, Refusal> {
        let text = self.0;
        let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
        match inner {
            None => Err(wrong(field, "a string", self)),
            Some(inner) if !inner.contains('\\') => Ok(Cow::Borrowed(inner)),
            Some(_) => serde_json::from_str(text).map(Cow::Owned).map_err(|_| {
                bad(format!(
                    "'{field}' must be a string of Unicode characters, found an escape that is none"
                ))
            }),
        }
    }

    fn integer(self) -> Option<u64> {
        let text = self.0;
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse().ok())
            .flatten()
    }

    fn boolean(self) -> Option<bool> {
        self.0.parse().ok()
    }

    fn payload(self, _field: &dyn fmt::Display) -> Result<Payload, Refusal> {
        Ok(Payload::json_checked(self.0))
    }
}

struct Members<'f, F>(&'f mut F);

#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de, F: FnMut(Cow<'de, str>, &'de RawValue)> Visitor<'de> for Members<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(Key(name)) = members.next_key()? {
            (self.0)(name, members.next_value()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_borrowed_from_the_text() {
        let mut members = Vec::new();
        let text = r#" {"a" : [1, 2], "\u0062": "x" } "#;
        JsonValue(text)
            .each_member("it", |name, value| members.push((name, value.0)))
            .unwrap();
        assert!(matches!(members[0], (Cow::Borrowed("a"), "[1, 2]")));
        assert!(matches!(&members[1], (Cow::Owned(b), "\"x\"") if b == "b"));
        let plain = JsonValue(r#""plain""#).string(&"f");
        assert!(matches!(plain, Ok(Cow::Borrowed("plain"))));
    }
}
