//! The fields of an object that a client sent, each as it was written, and what they are read as.
//!
//! Whatever the encoding: what it has to know of one value says the trait [`Value`].

use std::borrow::Cow;
use std::fmt;

use super::{ErrorCode, Refusal};
use crate::model::Payload;

/// One value of an object, as it was written.
pub(super) trait Value<'a>: Copy {
    /// What an object is called in this encoding, with its article.
    const OBJECT: &'static str;

    /// What makes it one that the protocol does not take, though its end could be found: "has …".
    fn flaw(self) -> Option<String>;

    /// What stands there, in words.
    fn kind(self) -> &'static str;

    /// Calls `found` with each member of the object that this is; `what` names it in refusals.
    fn each_member(
        self,
        what: impl fmt::Display,
        found: impl FnMut(Cow<'a, str>, Self),
    ) -> Result<(), Refusal>;

    /// The string that it is.
    fn string(self, field: &dyn fmt::Display) -> Result<Cow<'a, str>, Refusal>;

    /// The unsigned integer that it is.
    fn integer(self) -> Option<u64>;

    /// The boolean that it is.
    fn boolean(self) -> Option<bool>;

    /// What it publishes where it stands alone, without an encoding.
    fn payload(self, field: &dyn fmt::Display) -> Result<Payload, Refusal>;
}

/// The fields of one object that have a known name.
pub(super) struct Fields<V, const N: usize> {
    names: &'static [&'static str; N],
    values: [Option<V>; N],
    duplicate: Option<&'static str>,
    flaw: Option<String>,
}

impl<'a, V: Value<'a>, const N: usize> Fields<V, N> {
    /// Reads an object; `what` names it in refusals. Fields of other names are passed over.
    pub(super) fn read(
        what: impl fmt::Display,
        object: V,
        names: &'static [&'static str; N],
    ) -> Result<Self, Refusal> {
        let mut fields = Self {
            names,
            values: [None; N],
            duplicate: None,
            flaw: None,
        };
        object.each_member(what, |name, value| {
            let slots = names.iter().zip(&mut fields.values);
            let known = slots.into_iter().find(|(known, _)| **known == name);
            if fields.flaw.is_none()
                && let Some(flaw) = value.flaw()
            {
                fields.flaw = Some(match &known {
                    Some((known, _)) => format!("'{known}' {flaw}"),
                    None => format!("a field that the protocol does not have {flaw}"),
                });
            }
            if let Some((known, slot)) = known {
                if slot.is_some() {
                    fields.duplicate.get_or_insert(known);
                }
                *slot = Some(value);
            }
        })?;
        Ok(fields)
    }

    /// The field as it was written; a null is one too.
    pub(super) fn get(&self, name: &str) -> Option<V> {
        let at = self.names.iter().position(|known| *known == name)?;
        self.values.get(at).copied().flatten()
    }

    /// The field as it was written, or a refusal that says what should stand there.
    pub(super) fn need(
        &self,
        name: impl fmt::Display,
        key: &str,
        what: &str,
    ) -> Result<V, Refusal> {
        self.get(key)
            .ok_or_else(|| bad(format!("'{name}' is missing; it must be {what}")))
    }

    /// The name of a field that stands twice.
    pub(super) fn duplicate(&self) -> Option<&'static str> {
        self.duplicate
    }

    /// Refuses an object in which a known field stands twice, or one is not such as the protocol
    /// takes.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        match (self.duplicate, &self.flaw) {
            (Some(name), _) => Err(bad(format!("'{name}' stands twice; give it once"))),
            (None, Some(flaw)) => Err(bad(flaw.clone())),
            (None, None) => Ok(()),
        }
    }
}

/// A refusal of the frame's form.
pub(super) fn bad(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(ErrorCode::BadRequest, message)
}

/// A refusal of a value that is not `wanted`.
pub(super) fn wrong<'a>(field: impl fmt::Display, wanted: &str, value: impl Value<'a>) -> Refusal {
    bad(format!(
        "'{field}' must be {wanted}, found {}",
        value.kind()
    ))
}

/// A string.
pub(super) fn string<'a>(
    field: impl fmt::Display,
    value: impl Value<'a>,
) -> Result<Cow<'a, str>, Refusal> {
    value.string(&field)
}

/// An unsigned integer from 0 to `max`.
pub(super) fn integer<'a>(
    field: impl fmt::Display,
    value: impl Value<'a>,
    max: u64,
) -> Result<u64, Refusal> {
    match value.integer() {
        Some(number) if number <= max => Ok(number),
        _ => {
            let found = match value.kind() {
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
pub(super) fn boolean<'a>(
    field: impl fmt::Display,
    value: impl Value<'a>,
) -> Result<bool, Refusal> {
    value
        .boolean()
        .ok_or_else(|| wrong(field, "true or false", value))
}

#[cfg(test)]
mod tests {
    use crate::protocol::{Action, parse_json};

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
