//! The values of a MessagePack frame, each as the bytes that it was written as.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use super::Refusal;
use super::fields::{Value, bad, wrong};
use super::json_out::{put_base64, put_string};
use super::msgpack_reader::{Fault, Head, Piece, Reader, walk};
use super::out::Shape;
use crate::model::Payload;

/// One value, as it was written.
#[derive(Clone, Copy)]
pub(super) struct MsgpackValue<'a>(pub(super) &'a [u8]);

impl<'a> Value<'a> for MsgpackValue<'a> {
    const OBJECT: &'static str = "a MessagePack map";

    fn flaw(self) -> Option<String> {
        walk(self.0, |_, _| {}).err().map(|fault| fault.to_string())
    }

    fn kind(self) -> &'static str {
        match Reader(self.0).head() {
            Err(_) if self.0.is_empty() => "nothing",
            Err(_) => "something that is not MessagePack",
            Ok(Head::Nil) => "null",
            Ok(Head::Boolean(_)) => "a boolean",
            Ok(Head::Number(_)) => "a number",
            Ok(Head::Negative(_)) => "a negative number",
            Ok(Head::Float(_)) => "a float",
            Ok(Head::Text(_)) => "a string",
            Ok(Head::Bytes(_)) => "bytes",
            Ok(Head::Open(Shape::Object, _)) => "a map",
            Ok(Head::Open(Shape::Array, _)) => "an array",
            Ok(Head::Extension) => "an extension type",
        }
    }

    fn each_member(
        self,
        what: impl fmt::Display,
        mut found: impl FnMut(Cow<'a, str>, Self),
    ) -> Result<(), Refusal> {
        let mut reader = Reader(self.0);
        let Ok(Head::Open(Shape::Object, count)) = reader.head() else {
            return Err(bad(format!(
                "{what} must be {}, found {}",
                Self::OBJECT,
                self.kind()
            )));
        };
        let mut members = || {
            for _ in 0..count {
                let Head::Text(name) = reader.head()? else {
                    return Err(Fault::Key);
                };
                let name = std::str::from_utf8(name).map_err(|_| Fault::NotUtf8)?;
                found(Cow::Borrowed(name), Self(reader.value()?));
            }
            if reader.0.is_empty() {
                Ok(())
            } else {
                Err(Fault::Trailing)
            }
        };
        members().map_err(|fault| bad(format!("{what} cannot be read as MessagePack: it {fault}")))
    }

    fn string(self, field: &dyn fmt::Display) -> Result<Cow<'a, str>, Refusal> {
        match Reader(self.0).head() {
            Ok(Head::Text(text)) => std::str::from_utf8(text)
                .map(Cow::Borrowed)
                .map_err(|_| bad(format!("'{field}' {}", Fault::NotUtf8))),
            _ => Err(wrong(field, "a string", self)),
        }
    }

    fn integer(self) -> Option<u64> {
        match Reader(self.0).head() {
            Ok(Head::Number(number)) => Some(number),
            _ => None,
        }
    }

    fn boolean(self) -> Option<bool> {
        match Reader(self.0).head() {
            Ok(Head::Boolean(value)) => Some(value),
            _ => None,
        }
    }

    fn payload(self, field: &dyn fmt::Display) -> Result<Payload, Refusal> {
        if let Ok(Head::Bytes(bytes)) = Reader(self.0).head() {
            return Ok(Payload::binary(Bytes::copy_from_slice(bytes)));
        }
        json_of(self.0).map_err(|fault| bad(format!("'{field}' {fault}")))
    }
}

/// The same value as a JSON payload.
fn json_of(value: &[u8]) -> Result<Payload, Fault> {
    let mut text = Vec::with_capacity(value.len() + value.len() / 4);
    let mut bytes_at = Vec::new();
    let mut is_after_key = false;
    walk(value, |piece, is_first| {
        let is_between = !is_first && !matches!(piece, Piece::Close(_));
        if is_between && !std::mem::take(&mut is_after_key) {
            text.push(b',');
        }
        match piece {
            Piece::Nil => text.extend_from_slice(b"null"),
            Piece::Boolean(true) => text.extend_from_slice(b"true"),
            Piece::Boolean(false) => text.extend_from_slice(b"false"),
            Piece::Number(number) => put_number(&mut text, number),
            Piece::Negative(number) => put_number(&mut text, number),
            // The shortest digits that mean this number, and always with a point or an exponent.
            Piece::Float(number) => put_number(&mut text, number),
            Piece::Text(string) => put_string(&mut text, string),
            Piece::Bytes(bytes) => {
                bytes_at.push(text.len() as u32);
                put_base64(&mut text, bytes);
            }
            Piece::Key(key) => {
                put_string(&mut text, key);
                text.push(b':');
                is_after_key = true;
            }
            Piece::Open(Shape::Object) => text.push(b'{'),
            Piece::Open(Shape::Array) => text.push(b'['),
            Piece::Close(Shape::Object) => text.push(b'}'),
            Piece::Close(Shape::Array) => text.push(b']'),
        }
    })?;
    let text = String::from_utf8(text).map_err(|_| Fault::NotUtf8)?;
    Ok(Payload::json_with_bytes(text, bytes_at))
}

fn put_number(text: &mut Vec<u8>, number: impl serde::Serialize) {
    // A finite number and a Vec cannot fail here.
    let _ = serde_json::to_writer(text, &number);
}

#[cfg(test)]
mod tests;
