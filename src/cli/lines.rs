//! How a received message is printed.

use std::borrow::Cow;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::args::SubArgs;

/// What is printed of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `TOPIC DATA`, for people.
    Human,
    /// The message object, as the broker sent it.
    Json,
    /// The data alone.
    Raw,
}

impl Form {
    /// The form that the options ask for.
    pub(super) fn of(args: &SubArgs) -> Self {
        match args {
            SubArgs { json: true, .. } => Self::Json,
            SubArgs { raw: true, .. } => Self::Raw,
            _ => Self::Human,
        }
    }

    /// What to print for the `message` frame; `None` if it is none that can be read.
    pub(super) fn print(self, frame: &str) -> Option<Vec<u8>> {
        if self == Self::Json {
            return Some(line(escape_json(frame)));
        }
        let message: MessageFields = serde_json::from_str(frame).ok()?;
        let data = Data::read(message.data, message.encoding.as_deref())?;
        if self == Self::Raw {
            return data.raw();
        }
        Some(line(format!("{} {}", escape(&message.topic), data.shown())))
    }
}

#[derive(Deserialize)]
struct MessageFields<'a> {
    topic: String,
    /// JSON null reads as `None`.
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    encoding: Option<String>,
}

/// A message's data, by its kind.
enum Data<'a> {
    Json(&'a str),
    Text(String),
    Base64(String),
}

impl<'a> Data<'a> {
    fn read(data: Option<&'a RawValue>, encoding: Option<&str>) -> Option<Self> {
        let json = data.map_or("null", RawValue::get);
        match encoding {
            None => Some(Self::Json(json)),
            Some("text") => serde_json::from_str(json).ok().map(Self::Text),
            Some("base64") => serde_json::from_str(json).ok().map(Self::Base64),
            Some(_) => None,
        }
    }

    fn shown(&self) -> Cow<'_, str> {
        match self {
            Self::Json(json) => escape_json(json),
            Self::Text(text) | Self::Base64(text) => escape(text),
        }
    }

    fn raw(self) -> Option<Vec<u8>> {
        match self {
            Self::Json(json) => Some(line(json)),
            Self::Text(text) => Some(line(text)),
            Self::Base64(text) => STANDARD.decode(text).ok(),
        }
    }
}

fn line(text: impl Into<String>) -> Vec<u8> {
    let mut line = text.into().into_bytes();
    line.push(b'\n');
    line
}

/// The text without what a terminal would obey: `\n`, `\t`, `\u{1b}` in place of the characters.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    replace_controls(text, |c, out| out.extend(c.escape_default()))
}

/// The same for JSON, which means the same afterwards: between values a blank, in strings `\u001b`.
fn escape_json(text: &str) -> Cow<'_, str> {
    replace_controls(text, |c, out| match c {
        '\t' | '\n' | '\r' => out.push(' '),
        c => {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        }
    })
}

fn replace_controls(text: &str, replace: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c.is_control() {
            replace(c, &mut out);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        r#"{"type":"message","topic":"a/b","data":"x\n\u001b[2Jé","encoding":"text"}"#;
    const JSON: &str = r#"{"type":"message","topic":"a","data":{"n":1.50,"t":"x\n"},"offset":7}"#;
    const NULL: &str = r#"{"type":"message","topic":"a","data":null}"#;
    const BYTES: &str = r#"{"type":"message","topic":"a","data":"AP8=","encoding":"base64"}"#;

    fn printed(form: Form, frame: &str) -> Vec<u8> {
        form.print(frame).unwrap()
    }

    #[test]
    fn people_see_the_topic_and_data_that_no_terminal_obeys() {
        for (frame, line) in [
            (TEXT, "a/b x\\n\\u{1b}[2Jé\n"),
            (JSON, "a {\"n\":1.50,\"t\":\"x\\n\"}\n"),
            (NULL, "a null\n"),
            (BYTES, "a AP8=\n"),
            (
                "{\"topic\":\"a\",\"data\":\"\u{9b}2J\"}",
                "a \"\\u009b2J\"\n",
            ),
        ] {
            assert_eq!(printed(Form::Human, frame), line.as_bytes(), "{frame}");
        }
    }

    #[test]
    fn json_is_the_object_as_it_came_on_one_line() {
        let mut expected = JSON.to_owned();
        expected.push('\n');
        assert_eq!(printed(Form::Json, JSON), expected.as_bytes());
        let broken = "{\r\n\"topic\": \"\u{7f}\"}";
        assert_eq!(printed(Form::Json, broken), b"{  \"topic\": \"\\u007f\"}\n");
    }

    #[test]
    fn raw_is_the_data_alone_and_bytes_get_nothing_added() {
        assert_eq!(printed(Form::Raw, TEXT), "x\n\u{1b}[2Jé\n".as_bytes());
        assert_eq!(printed(Form::Raw, JSON), b"{\"n\":1.50,\"t\":\"x\\n\"}\n");
        assert_eq!(printed(Form::Raw, BYTES), b"\x00\xff");
    }

    #[test]
    fn what_is_no_message_is_not_printed() {
        for frame in [
            "",
            "{}",
            r#"{"topic":1,"data":2}"#,
            r#"{"topic":"a","data":2,"encoding":"text"}"#,
            r#"{"topic":"a","data":"x","encoding":"rot13"}"#,
        ] {
            assert_eq!(Form::Human.print(frame), None, "{frame}");
        }
        let no_base64 = r#"{"topic":"a","data":"?","encoding":"base64"}"#;
        assert_eq!(Form::Raw.print(no_base64), None);
    }
}
