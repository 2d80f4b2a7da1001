//! The fields of a JSON object, each as the text that it was written as, and what they are read as.
//!
//! No tree of values is built: a field is looked at only when it is asked for, and nesting costs no
//! stack, however deep it is.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{ErrorCode, Refusal};

/// The fields of one object that have a known name.
pub(super) struct Fields<'a, const N: usize> {
    names: &'static [&'static str; N],
    values: [Option<&'a RawValue>; N],
    duplicate: Option<&'static str>,
}

impl<'a, const N: usize> Fields<'a, N> {
    /// Reads an object; `what` names it in refusals. Fields of other names are passed over.
    pub(super) fn read(
        what: impl fmt::Display,
        text: &'a str,
        names: &'static [&'static str; N],
    ) -> Result<Self, Refusal> {
        let mut fields = Self {
            names,
            values: [None; N],
            duplicate: None,
        };
        each_member(what, text, |name, value| {
            let slots = names.iter().zip(&mut fields.values);
            for (known, slot) in slots {
                if *known == name {
                    if slot.is_some() {
                        fields.duplicate.get_or_insert(known);
                    }
                    *slot = Some(value);
                    break;
                }
            }
        })?;
        Ok(fields)
    }

    /// The field's text; a JSON null is a text too.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let at = self.names.iter().position(|known| *known == name)?;
        self.values.get(at).copied().flatten()
    }

    /// The field's text, or a refusal that says what should stand there.
    pub(super) fn need(
        &self,
        name: impl fmt::Display,
        key: &str,
        what: &str,
    ) -> Result<&'a RawValue, Refusal> {
        self.get(key)
            .ok_or_else(|| bad(format!("'{name}' is missing; it must be {what}")))
    }

    /// The name of a field that stands twice.
    pub(super) fn duplicate(&self) -> Option<&'static str> {
        self.duplicate
    }

    /// Refuses an object in which a known field stands twice.
    pub(super) fn no_duplicate(&self) -> Result<(), Refusal> {
        self.duplicate.map_or(Ok(()), |name| {
            Err(bad(format!("'{name}' stands twice; give it once")))
        })
    }
}

/// Calls `found` with each member of the object that `text` is.
pub(super) fn each_member<'a>(
    what: impl fmt::Display,
    text: &'a str,
    mut found: impl FnMut(Cow<'a, str>, &'a RawValue),
) -> Result<(), Refusal> {
    let start = text.trim_start_matches([' ', '\t', '\n', '\r']);
    if !start.starts_with('{') {
        let kind = kind_of(start);
        return Err(bad(format!("{what} must be a JSON object, found {kind}")));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    reader
        .deserialize_map(Members(&mut found))
        .and_then(|()| reader.end())
        .map_err(|error| bad(format!("{what} is not valid JSON: {error}")))
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

/// A refusal of the frame's form.
pub(super) fn bad(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(ErrorCode::BadRequest, message)
}

/// A refusal of a value that is not `wanted`.
pub(super) fn wrong(field: impl fmt::Display, wanted: &str, value: &RawValue) -> Refusal {
    let found = kind_of(value.get());
    bad(format!("'{field}' must be {wanted}, found {found}"))
}

/// A string.
pub(super) fn string(field: impl fmt::Display, value: &RawValue) -> Result<Cow<'_, str>, Refusal> {
    let text = value.get();
    let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    match inner {
        None => Err(wrong(field, "a string", value)),
        Some(inner) if !inner.contains('\\') => Ok(Cow::Borrowed(inner)),
        Some(_) => serde_json::from_str(text).map(Cow::Owned).map_err(|_| {
            bad(format!(
                "'{field}' must be a string of Unicode characters, found an escape that is none"
            ))
        }),
    }
}

/// An unsigned integer from 0 to `max`.
pub(super) fn integer(
    field: impl fmt::Display,
    value: &RawValue,
    max: u64,
) -> Result<u64, Refusal> {
    let text = value.get();
    let number = text
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten();
    match number {
        Some(number) if number <= max => Ok(number),
        _ => {
            let found = match kind_of(text) {
                "a number" => "a larger number",
                other => other,
            };
            Err(bad(format!(
                "'{field}' must be an integer from 0 to {max}, found {found}"
            )))
        }
    }
}

/// A boolean.
pub(super) fn boolean(field: impl fmt::Display, value: &RawValue) -> Result<bool, Refusal> {
    match value.get() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(wrong(field, "true or false", value)),
    }
}

/// What stands there, in words.
fn kind_of(text: &str) -> &'static str {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Action, parse_json};

    #[test]
    fn names_and_values_are_borrowed_from_the_text() {
        let mut members = Vec::new();
        let text = r#" {"a" : [1, 2], "\u0062": "x" } "#;
        each_member("it", text, |name, value| members.push((name, value.get()))).unwrap();
        assert!(matches!(members[0], (Cow::Borrowed("a"), "[1, 2]")));
        assert!(matches!(&members[1], (Cow::Owned(b), "\"x\"") if b == "b"));
        let value = serde_json::from_str(r#""plain""#).unwrap();
        assert!(matches!(string("f", value), Ok(Cow::Borrowed("plain"))));
    }

    #[test]
    fn nesting_costs_no_stack() {
        const DEPTH: usize = 100_000;
        let arrays = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
        let objects = format!("{}1{}", r#"{"a":"#.repeat(DEPTH), "}".repeat(DEPTH));
        let check = move || {
            for deep in [arrays, objects] {
                let text =
                    format!(r#"{{"type":"publish","topic":"t","more":{deep},"data":{deep}}}"#);
                let Action::Publish(publish) = parse_json(&text).unwrap().action else {
                    panic!("a publish");
                };
                assert_eq!(publish.payload.data, deep);
                for field in ["id", "type", "topic", "since", "data"] {
                    let text = format!(r#"{{"type":"subscribe","{field}":{deep}}}"#);
                    assert!(parse_json(&text).is_err(), "{field}");
                }
            }
            let open = "[".repeat(1_000_000);
            assert!(parse_json(&open).is_err());
            assert!(parse_json(&format!(r#"{{"data":{open}"#)).is_err());
        };
        std::thread::Builder::new()
            .stack_size(128 * 1024)
            .spawn(check)
            .unwrap()
            .join()
            .unwrap();
    }
}
