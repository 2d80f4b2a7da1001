//! `[websocket]`: where a WebSocket is taken, how big its frames may be, and whether they are compressed.

use std::time::Duration;

use super::kinds;
use super::paths::Paths;
use super::reader::Section as Table;

const KIB: usize = 1024;
const GIB: usize = 1024 * 1024 * KIB;

/// `[websocket]`: where a WebSocket is taken, and how big its frames may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocket {
    /// The path that is upgraded.
    pub path: String,
    /// The longest frame taken, in bytes; the smaller of this and `max_message` counts.
    pub max_frame: usize,
    /// The longest message taken, as sent and as inflated, in bytes; a longer one closes with 1009.
    pub max_message: usize,
    /// How long messages may wait to be written together with those that follow.
    pub flush_interval: Duration,
    /// `[websocket.compression]`: what is agreed on with clients that offer `permessage-deflate`.
    pub compression: Compression,
}

/// `[websocket.compression]`: what is agreed on with clients that offer `permessage-deflate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// Whether anything is.
    pub enabled: bool,
    /// How much work compressing a message may be, 1 to 9.
    pub level: u8,
    /// Shorter messages are sent as they are, in bytes.
    pub min_bytes: usize,
    /// The largest window, 8 to 15: what a message refers to is at most 2 to this power bytes away.
    pub max_window_bits: u8,
}

impl Default for WebSocket {
    fn default() -> Self {
        Self {
            path: "/ws".to_owned(),
            max_frame: 64 * KIB,
            max_message: 64 * KIB,
            flush_interval: Duration::ZERO,
            compression: Compression::default(),
        }
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            enabled: true,
            level: 1,
            min_bytes: 256,
            max_window_bits: 15,
        }
    }
}

impl WebSocket {
    pub(super) fn read(mut table: Table<'_>, paths: &mut Paths) -> Self {
        let default = Self::default();
        Self {
            path: paths.take(&mut table).unwrap_or(default.path),
            max_frame: table
                .read("max_frame", kinds::size(1..=GIB))
                .unwrap_or(default.max_frame),
            max_message: table
                .read("max_message", kinds::size(1..=GIB))
                .unwrap_or(default.max_message),
            flush_interval: table
                .read(
                    "flush_interval",
                    kinds::duration(Duration::ZERO..=Duration::from_secs(1)),
                )
                .unwrap_or(default.flush_interval),
            compression: Compression::read(table.section("compression")),
        }
    }
}

impl Compression {
    fn read(mut table: Table<'_>) -> Self {
        let default = Self::default();
        Self {
            enabled: table
                .read("enabled", kinds::boolean)
                .unwrap_or(default.enabled),
            level: table
                .read("level", kinds::number(1..=9))
                .unwrap_or(default.level),
            min_bytes: table
                .read("min_bytes", kinds::size(0..=GIB))
                .unwrap_or(default.min_bytes),
            max_window_bits: table
                .read("max_window_bits", kinds::number(8..=15))
                .unwrap_or(default.max_window_bits),
        }
    }
}
