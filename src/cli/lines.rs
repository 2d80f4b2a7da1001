//! How a received message is printed.

use std::borrow::Cow;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::args::SubArgs;

/// What is printed of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `TIME TOPIC DATA`, for people.
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
}

/// Makes lines of messages.
pub(super) struct Lines {
    pub(super) form: Form,
    /// Whether people see colours.
    pub(super) colour: bool,
    /// The time zone that people live in.
    pub(super) zone: TimeZone,
}

impl Lines {
    /// What to print for the `message` frame; `None` if it is none that can be read.
    pub(super) fn print(&self, frame: &str) -> Option<Vec<u8>> {
        self.print_at(frame, Timestamp::now())
    }

    fn print_at(&self, frame: &str, now: Timestamp) -> Option<Vec<u8>> {
        if self.form == Form::Json {
            return Some(line(escape_json(frame)));
        }
        let message: MessageFields = serde_json::from_str(frame).ok()?;
        let data = Data::read(message.data, message.encoding.as_deref())?;
        if self.form == Form::Raw {
            return data.raw();
        }
        let (time, topic) = (self.clock(message.time, now), escape(&message.topic));
        let data = data.shown();
        Some(line(if self.colour {
            format!("\x1b[2m{time}\x1b[0m \x1b[36m{topic}\x1b[0m {data}")
        } else {
            format!("{time} {topic} {data}")
        }))
    }

    /// The time of day; with the date, if it was another day.
    fn clock(&self, millis: i64, now: Timestamp) -> String {
        let Ok(time) = Timestamp::from_millisecond(millis) else {
            return "?".to_owned();
        };
        let time = time.to_zoned(self.zone.clone());
        let today = now.to_zoned(self.zone.clone()).date();
        let clock = time.time();
        if time.date() == today {
            format!("{clock:.3}")
        } else {
            format!("{}T{clock:.3}", time.date())
        }
    }
}

#[derive(Deserialize)]
struct MessageFields<'a> {
    topic: String,
    #[serde(default)]
    time: i64,
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
        r#"{"type":"message","topic":"a/b","data":"x\n\u001b[2Jé","encoding":"text","time":1000}"#;
    const JSON: &str = r#"{"type":"message","topic":"a","data":{"n":1.50,"t":"x\n"},"offset":7}"#;
    const NULL: &str = r#"{"type":"message","topic":"a","data":null,"time":86399999}"#;
    const BYTES: &str =
        r#"{"type":"message","topic":"a","data":"AP8=","encoding":"base64","time":-1}"#;

    fn printed(form: Form, frame: &str) -> Vec<u8> {
        lines(form, false)
            .print_at(frame, Timestamp::UNIX_EPOCH)
            .unwrap()
    }

    fn lines(form: Form, colour: bool) -> Lines {
        let zone = TimeZone::UTC;
        Lines { form, colour, zone }
    }

    #[test]
    fn people_see_when_where_and_what_and_no_terminal_obeys_it() {
        for (frame, line) in [
            (TEXT, "00:00:01.000 a/b x\\n\\u{1b}[2Jé\n"),
            (JSON, "00:00:00.000 a {\"n\":1.50,\"t\":\"x\\n\"}\n"),
            (NULL, "23:59:59.999 a null\n"),
            (BYTES, "1969-12-31T23:59:59.999 a AP8=\n"),
            (
                "{\"topic\":\"a\",\"data\":\"\u{9b}2J\"}",
                "00:00:00.000 a \"\\u009b2J\"\n",
            ),
        ] {
            let told = String::from_utf8(printed(Form::Human, frame)).unwrap();
            assert_eq!(told, line, "{frame}");
        }
        let coloured = lines(Form::Human, true).print_at(NULL, Timestamp::UNIX_EPOCH);
        let coloured = String::from_utf8(coloured.unwrap()).unwrap();
        assert!(coloured.ends_with("\x1b[36ma\x1b[0m null\n"), "{coloured}");
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
            assert_eq!(lines(Form::Human, false).print(frame), None, "{frame}");
        }
        let no_base64 = r#"{"topic":"a","data":"?","encoding":"base64"}"#;
        assert_eq!(lines(Form::Raw, false).print(no_base64), None);
    }
}
