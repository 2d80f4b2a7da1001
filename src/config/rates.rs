//! How much in a time, and how many at a time: the keys of `[limits]` that hold clients back.

use std::num::NonZeroU32;

use ::config::Value;

use super::kinds;
use super::reader::{Check, Section as Table};
use super::units::format_size;

/// The highest rate of anything that is counted one by one.
const MOST: u32 = 1_000_000;

/// The highest rate of bytes: 128 MiB a second. The limiter counts in whole nanoseconds, so a rate far
/// above this would not be held exactly.
const MOST_BYTES: usize = 128 * 1024 * 1024;

/// The largest burst: 1 GiB.
const MOST_BURST: usize = 1024 * 1024 * 1024;

/// So much a second, and so much at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// What is admitted a second in the long run.
    pub per_second: NonZeroU32,
    /// What is admitted at once after a pause.
    pub burst: NonZeroU32,
}

/// What publishers are held to over HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApiRate {
    /// The rate that sessions publish with.
    #[default]
    AsSessions,
    /// A rate of their own; `None` is no limit.
    Own(Option<Rate>),
}

/// The part of `[limits]` that is rates, and counts by address and user. `None` and 0 are off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Publishes of one session.
    pub publishes: Option<Rate>,
    /// Publishes over HTTP, of one API key, or of one address where no key is needed.
    pub api_publishes: ApiRate,
    /// Frames that one session sends, control frames too.
    pub frames: Option<Rate>,
    /// Bytes of the frames that one session sends.
    pub bytes: Option<Rate>,
    /// Handshakes of one address.
    pub handshakes: Option<Rate>,
    /// Credentials of one address that turn out wrong.
    pub auth_failures: Option<Rate>,
    /// Sessions of one address at a time.
    pub connections_per_ip: usize,
    /// Sessions of one user at a time.
    pub connections_per_user: usize,
}

impl Rate {
    /// A rate whose burst is what it admits in a second; `None` for 0.
    pub fn per_second(rate: u32) -> Option<Self> {
        Self::with_burst(rate, rate)
    }

    /// A rate with that burst; `None` where either is 0.
    pub fn with_burst(rate: u32, burst: u32) -> Option<Self> {
        Some(Self {
            per_second: NonZeroU32::new(rate)?,
            burst: NonZeroU32::new(burst)?,
        })
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            publishes: None,
            api_publishes: ApiRate::AsSessions,
            frames: None,
            bytes: None,
            handshakes: None,
            auth_failures: Rate::with_burst(10, 50),
            connections_per_ip: 0,
            connections_per_user: 0,
        }
    }
}

impl Rates {
    /// What publishers are held to over HTTP.
    pub fn over_http(&self) -> Option<Rate> {
        match self.api_publishes {
            ApiRate::AsSessions => self.publishes,
            ApiRate::Own(rate) => rate,
        }
    }

    /// Reads the keys from `[limits]`; `frame` is the longest frame that is taken.
    pub(super) fn read(table: &mut Table<'_>, frame: usize) -> Self {
        let default = Self::default();
        let per_ip = table.read("connections_per_ip", kinds::number(0..=MANY));
        let per_user = table.read("connections_per_user", kinds::number(0..=MANY));
        let api_publishes = if table.has("api_publishes_per_second") {
            ApiRate::Own(counted(table, "api_publishes_per_second", None))
        } else {
            ApiRate::AsSessions
        };
        Self {
            publishes: counted(table, "publishes_per_second", default.publishes),
            api_publishes,
            frames: counted(table, "frames_per_second", default.frames),
            bytes: bytes(table, "bytes_per_second", default.bytes, frame),
            handshakes: counted(table, "handshakes_per_second", default.handshakes),
            auth_failures: counted(table, "auth_failures_per_second", default.auth_failures),
            connections_per_ip: per_ip.unwrap_or(default.connections_per_ip),
            connections_per_user: per_user.unwrap_or(default.connections_per_user),
        }
    }
}

/// Counts that only have to be sensible.
const MANY: usize = 1_000_000_000;

/// A rate of what is counted one by one.
fn counted(table: &mut Table<'_>, key: &str, default: Option<Rate>) -> Option<Rate> {
    let example = format!("{key} = {{ rate = 10, burst = 50 }}");
    let read = rate(
        table,
        key,
        &example,
        |value, least| kinds::number(least..=MOST)(value),
        |value| kinds::number(1..=MOST_BURST as u32)(value),
    );
    match read {
        None => default,
        Some(Read::Number(rate)) => Rate::per_second(rate),
        Some(Read::Table { rate, burst }) => Rate::with_burst(rate, burst),
    }
}

/// A rate of bytes, whose burst has room for the longest frame: one that never fits could never be
/// sent, however long its sender waits.
fn bytes(table: &mut Table<'_>, key: &str, default: Option<Rate>, frame: usize) -> Option<Rate> {
    let example = format!(r#"{key} = {{ rate = "64KiB", burst = "256KiB" }}"#);
    let small = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    let read = rate(
        table,
        key,
        &example,
        |value, least| kinds::size(least as usize..=MOST_BYTES)(value).map(small),
        |value| kinds::size(1..=MOST_BURST)(value).map(small),
    );
    let (rate, burst) = match read {
        None => return default,
        Some(Read::Number(rate)) => return Rate::with_burst(rate, rate.max(small(frame))),
        Some(Read::Table { rate, burst }) => (rate, burst),
    };
    if (burst as usize) < frame {
        let frame = format_size(frame);
        table.refuse(
            key,
            format!("a burst of {}", format_size(burst as usize)),
            format!(
                "a frame may have {frame}, so at least that is needed; \
                 or lower websocket.max_frame"
            ),
        );
    }
    Rate::with_burst(rate, burst)
}

enum Read {
    Number(u32),
    Table { rate: u32, burst: u32 },
}

/// What stands at the key: a number, 0 being off, or a table of two.
fn rate(
    table: &mut Table<'_>,
    key: &str,
    example: &str,
    rate: impl Fn(&Value, u32) -> Check<u32>,
    burst: impl Fn(&Value) -> Check<u32>,
) -> Option<Read> {
    if !table.is_table(key) {
        return table.read(key, |value| rate(value, 0)).map(Read::Number);
    }
    let mut inner = table.optional(key, example)?;
    let rate = inner.required("rate", example, |value| rate(value, 1));
    let burst = inner.required("burst", example, burst);
    Some(Read::Table {
        rate: rate?,
        burst: burst?,
    })
}
