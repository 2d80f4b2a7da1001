//! What a value may be. Each check gives the value, or says what would do in its place.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::config::{Value, ValueKind};
use ipnet::IpNet;

use super::layer::{is_bare_text, written_in};
use super::reader::Check;
use super::units::{format_duration, format_size, parse_duration, parse_size};
use crate::model;

/// `true` or `false`.
pub(super) fn boolean(value: &Value) -> Check<bool> {
    match &value.kind {
        ValueKind::Boolean(yes) => Ok(*yes),
        ValueKind::String(text) if is_bare_text(value) && text == "true" => Ok(true),
        ValueKind::String(text) if is_bare_text(value) && text == "false" => Ok(false),
        _ => Err("true or false is needed".to_owned()),
    }
}

/// A whole number in that range.
pub(super) fn number<N>(range: RangeInclusive<N>) -> impl Fn(&Value) -> Check<N>
where
    N: TryFrom<i64> + PartialOrd + ToString,
{
    move |value| {
        let number = match &value.kind {
            ValueKind::I64(number) => Some(*number),
            ValueKind::String(text) if is_bare_text(value) => text.parse().ok(),
            _ => None,
        };
        let number = number.and_then(|number| N::try_from(number).ok());
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                let (least, most) = (range.start().to_string(), range.end().to_string());
                format!("a whole number from {least} to {most} is needed")
            })
    }
}

/// A size in that range of bytes; a bare number is one of bytes.
pub(super) fn size(range: RangeInclusive<usize>) -> impl Fn(&Value) -> Check<usize> {
    move |value| {
        let size = match &value.kind {
            ValueKind::I64(number) => parse_size(&number.to_string()),
            ValueKind::String(text) => parse_size(text),
            _ => parse_size(""),
        };
        let size = size.map_err(|error| error.to_string())?;
        in_range(&size, &range, |size| format_size(*size))
    }
}

/// A duration in that range.
pub(super) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&Value) -> Check<Duration> {
    move |value| {
        let duration = match &value.kind {
            ValueKind::I64(0) => Ok(Duration::ZERO),
            ValueKind::String(text) => parse_duration(text),
            _ => parse_duration(""),
        };
        let duration = duration.map_err(|error| error.to_string())?;
        in_range(&duration, &range, |duration| format_duration(*duration))
    }
}

fn in_range<T>(value: &T, range: &RangeInclusive<T>, show: impl Fn(&T) -> String) -> Check<T>
where
    T: PartialOrd + Copy,
{
    if range.contains(value) {
        return Ok(*value);
    }
    let (least, most) = (show(range.start()), show(range.end()));
    Err(format!("from {least:?} to {most:?} would do"))
}

/// Any text but an empty one.
pub(super) fn text(value: &Value) -> Check<String> {
    match string(value) {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err("a text is needed, with at least one character".to_owned()),
    }
}

/// An address and a port.
pub(super) fn address(value: &Value) -> Check<SocketAddr> {
    let parsed = string(value).and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| {
        r#"an address and a port are needed, such as "127.0.0.1:8080" or "[::1]:8080""#.to_owned()
    })
}

/// An address, or a network of them.
pub(super) fn network(value: &Value) -> Check<IpNet> {
    let parsed = string(value).and_then(|text| match text.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address)),
        Err(_) => text.parse().ok(),
    });
    parsed.ok_or_else(|| {
        r#"an address or a network is needed, such as "10.0.0.7", "10.0.0.0/8" or "fd00::/8""#
            .to_owned()
    })
}

/// A topic filter.
pub(super) fn filter(value: &Value) -> Check<model::Filter> {
    let text =
        string(value).ok_or_else(|| r#"a topic filter is needed, such as "chat/#""#.to_owned())?;
    model::Filter::new(text).map_err(|error| error.to_string())
}

/// A topic name that clients may publish to.
pub(super) fn topic(value: &Value) -> Check<model::TopicName> {
    let text =
        string(value).ok_or_else(|| r#"a topic name is needed, such as "chat""#.to_owned())?;
    let name = model::TopicName::new(text).map_err(|error| error.to_string())?;
    if name.is_reserved() {
        return Err("topics under '$' belong to the broker; another name is needed".to_owned());
    }
    Ok(name)
}

/// A path as it stands in a request line, with nothing to escape.
pub(super) fn path(value: &Value) -> Check<String> {
    const OTHERS: &str = "/-._~!$&'()*+,;=:@";
    let plain = |c: char| c.is_ascii_alphanumeric() || OTHERS.contains(c);
    match string(value) {
        Some(text) if text.starts_with('/') && text.chars().all(plain) => Ok(text.to_owned()),
        _ => Err(
            r#"a path is needed that begins with "/" and has no blanks, queries or escapes"#
                .to_owned(),
        ),
    }
}

/// A directory that is there. A relative one is relative to the file that it is written in, so that
/// a configuration works from wherever the broker is started; elsewhere, to the working directory.
pub(super) fn directory(working_dir: &Path) -> impl Fn(&Value) -> Check<PathBuf> {
    move |value| {
        let path = text(value)?;
        let file = written_in(value).map(|file| working_dir.join(file));
        let base = file.as_deref().and_then(Path::parent);
        let path = base.unwrap_or(working_dir).join(path);
        if path.is_dir() {
            return Ok(path);
        }
        Err(format!(
            "{} is no directory; make it, or name another",
            path.display()
        ))
    }
}

/// One of a few words.
pub(super) fn choice<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&Value) -> Check<T> {
    move |value| {
        let word = string(value).and_then(|text| words.iter().find(|(word, _)| *word == text));
        word.map(|(_, choice)| *choice).ok_or_else(|| {
            let words: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            format!("{} would do", words.join(" or "))
        })
    }
}

/// A level, or levels by module divided by commas: `info,fanfare=debug`.
pub(super) fn level(value: &Value) -> Check<String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |part: &str| {
        let (module, level) = part.split_once('=').unwrap_or(("all", part));
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-');
        let known = LEVELS.iter().any(|known| level.eq_ignore_ascii_case(known));
        known && !module.is_empty() && module.chars().all(named)
    };
    match string(value) {
        Some(text) if text.split(',').all(is_level) => Ok(text.to_owned()),
        _ => Err(format!(
            r#"one of {} is needed, or levels by module such as "info,fanfare=debug""#,
            LEVELS.join(", ")
        )),
    }
}

/// The value's text, if it is one.
pub(super) fn string(value: &Value) -> Option<&str> {
    match &value.kind {
        ValueKind::String(text) => Some(text),
        _ => None,
    }
}
