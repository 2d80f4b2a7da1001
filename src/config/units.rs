//! Durations and sizes as they are written: `"25s"`, `"64KiB"`.

use std::time::Duration;

use thiserror::Error;

/// The longest duration that is taken: ten years, so that adding one to a clock never overflows.
const LONGEST: Duration = Duration::from_hours(3650 * 24);

/// Milliseconds a unit of time has, the largest first.
const TIMES: [(&str, u64); 5] = [
    ("d", 24 * 60 * 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// Bytes a unit of size has, the largest first.
const SIZES: [(&str, u64); 4] = [
    ("GiB", 1024 * 1024 * 1024),
    ("MiB", 1024 * 1024),
    ("KiB", 1024),
    ("B", 1),
];

/// Why a text is no duration, or no size.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum UnitError {
    /// Not a number with a unit of time.
    #[error(r#"a duration is a whole number with ms, s, m, h or d, such as "25s", or "0""#)]
    Duration,
    /// More than ten years.
    #[error(r#"a duration is at most "3650d""#)]
    TooLong,
    /// Not a number with a unit of size.
    #[error(r#"a size is a whole number with B, KiB, MiB or GiB, such as "64KiB", or of bytes"#)]
    Size,
    /// More than this machine can count.
    #[error("a size is at most what this machine can address")]
    TooBig,
}

/// A duration from `"500ms"`, `"25s"`, `"10m"`, `"24h"`, `"7d"` or `"0"`.
///
/// # Errors
/// Says what would do.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (number, unit) = split(text).ok_or(UnitError::Duration)?;
    let millis = factor(&TIMES, unit).ok_or(UnitError::Duration)?;
    let duration = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(millis))
        .map(Duration::from_millis);
    match duration {
        Some(duration) if duration <= LONGEST => Ok(duration),
        _ => Err(UnitError::TooLong),
    }
}

/// A size in bytes from `"1000B"`, `"64KiB"`, `"1MiB"`, `"2GiB"` or a bare number of bytes.
///
/// # Errors
/// Says what would do.
pub fn parse_size(text: &str) -> Result<usize, UnitError> {
    let (number, unit) = split(text).ok_or(UnitError::Size)?;
    let bytes = if unit.is_empty() {
        1
    } else {
        factor(&SIZES, unit).ok_or(UnitError::Size)?
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(bytes))
        .and_then(|size| isize::try_from(size).ok())
        .map(isize::unsigned_abs)
        .ok_or(UnitError::TooBig)
}

/// A duration as [`parse_duration`] reads it, in the largest unit that needs no fraction. What is
/// finer than a millisecond is left out.
pub fn format_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    format(&TIMES, millis)
}

/// A size in bytes as [`parse_size`] reads it, in the largest unit that needs no fraction.
pub fn format_size(bytes: usize) -> String {
    format(&SIZES, bytes as u64)
}

/// The leading digits, of which there is at least one, and the rest.
fn split(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    (end > 0).then_some(())?;
    text.split_at_checked(end)
}

fn factor(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    Some(*factor)
}

fn format(units: &[(&str, u64)], amount: u64) -> String {
    let whole = units
        .iter()
        .find(|(_, factor)| amount.is_multiple_of(*factor));
    match whole {
        Some((unit, factor)) if amount > 0 => format!("{}{unit}", amount / factor),
        _ => amount.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_alike() {
        for (text, millis) in [
            ("0", 0),
            ("1ms", 1),
            ("500ms", 500),
            ("25s", 25_000),
            ("10m", 600_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
            ("3650d", 315_360_000_000),
        ] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(text), Ok(duration), "{text}");
            let written = format_duration(duration);
            assert_eq!(parse_duration(&written), Ok(duration), "{text} {written}");
        }
        assert_eq!(format_duration(Duration::from_secs(90)), "90s");
        assert_eq!(format_duration(Duration::from_hours(24)), "1d");
        assert_eq!(format_duration(Duration::from_micros(1500)), "1ms");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for (text, why) in [
            ("", UnitError::Duration),
            ("s", UnitError::Duration),
            ("25", UnitError::Duration),
            ("25 s", UnitError::Duration),
            ("25S", UnitError::Duration),
            ("-1s", UnitError::Duration),
            ("+1s", UnitError::Duration),
            ("1.5s", UnitError::Duration),
            ("1h30m", UnitError::Duration),
            ("1s ", UnitError::Duration),
            ("٣s", UnitError::Duration),
            ("3651d", UnitError::TooLong),
            ("99999999999999999999s", UnitError::TooLong),
            ("18446744073709551615d", UnitError::TooLong),
        ] {
            assert_eq!(parse_duration(text), Err(why), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_and_written_alike() {
        for (text, bytes) in [
            ("0", 0),
            ("1B", 1),
            ("1000B", 1000),
            ("65536", 65536),
            ("64KiB", 65536),
            ("1MiB", 1 << 20),
            ("2GiB", 2 << 30),
            ("0KiB", 0),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
            let written = format_size(bytes);
            assert_eq!(parse_size(&written), Ok(bytes), "{text} {written}");
        }
        assert_eq!(format_size(65536), "64KiB");
        assert_eq!(format_size(65537), "65537B");
        assert_eq!(format_size(0), "0");
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for (text, why) in [
            ("", UnitError::Size),
            ("KiB", UnitError::Size),
            ("64kib", UnitError::Size),
            ("64KB", UnitError::Size),
            ("64 KiB", UnitError::Size),
            ("1.5MiB", UnitError::Size),
            ("-1", UnitError::Size),
            ("99999999999999999999", UnitError::TooBig),
            ("9999999999999GiB", UnitError::TooBig),
        ] {
            assert_eq!(parse_size(text), Err(why), "{text}");
        }
    }
}
