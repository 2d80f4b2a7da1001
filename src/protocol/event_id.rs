//! The ids of an event stream: what its client sends back when it comes again.

use std::fmt;

use super::Cursor;
use crate::model::{Epoch, Position, Timestamp};

/// Every id is shorter than this; what is longer is none of ours.
const MAX_BYTES: usize = 64;

/// The id of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventId {
    /// Of a message, or of the moment at which a stream was opened: `epoch:offset:time`, with `-:0`
    /// where there is no position.
    At {
        /// Where in its topic's history.
        cursor: Option<Cursor>,
        /// When, by the broker's clock.
        time: Timestamp,
    },
    /// `closed:CODE`: the stream was ended for good. An `EventSource` comes back whatever it is told; by
    /// this id it is known again, and stopped.
    Closed(u16),
}

impl EventId {
    /// The id of a position, or of a moment alone.
    pub fn at(position: Option<Position>, time: Timestamp) -> Self {
        let cursor = position.map(|at| Cursor {
            epoch: Some(at.epoch),
            offset: at.offset,
        });
        Self::At { cursor, time }
    }

    /// An id from a client: `None` where it is none that a broker ever gave.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        if text.len() > MAX_BYTES {
            return None;
        }
        if let Some(code) = text.strip_prefix("closed:") {
            return number(code)
                .and_then(|code| u16::try_from(code).ok())
                .map(Self::Closed);
        }
        let mut parts = text.split(':');
        let (epoch, offset) = (parts.next()?, number(parts.next()?)?);
        let time = Timestamp(number(parts.next()?)?);
        if parts.next().is_some() {
            return None;
        }
        let cursor = if epoch == "-" {
            (offset == 0).then_some(None)?
        } else {
            let epoch = Some(Epoch::parse(epoch)?);
            Some(Cursor { epoch, offset })
        };
        Some(Self::At { cursor, time })
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At { cursor, time } => {
                let at = cursor.and_then(|at| Some((at.epoch?, at.offset)));
                match at {
                    Some((epoch, offset)) => write!(f, "{epoch}:{offset}:{}", time.0),
                    None => write!(f, "-:0:{}", time.0),
                }
            }
            Self::Closed(code) => write!(f, "closed:{code}"),
        }
    }
}

/// Digits alone: `str::parse` would take a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written() {
        let at = |epoch, offset, time| EventId::At {
            cursor: Some(Cursor {
                epoch: Epoch::parse(epoch),
                offset,
            }),
            time: Timestamp(time),
        };
        let moment = |time| EventId::At {
            cursor: None,
            time: Timestamp(time),
        };
        for (text, id) in [
            ("abc:7:1700", at("abc", 7, 1700)),
            ("abc:0:0", at("abc", 0, 0)),
            ("-:0:1700", moment(1700)),
            ("closed:4500", EventId::Closed(4500)),
            (
                "abcdefgh:18446744073709551615:18446744073709551615",
                at("abcdefgh", u64::MAX, u64::MAX),
            ),
        ] {
            assert_eq!(EventId::parse(text.as_bytes()), Some(id), "{text}");
            assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn what_no_broker_gave_is_none() {
        for text in [
            "",
            "abc",
            "abc:7",
            "abc:7:1700:1",
            "abc:-1:1700",
            "abc:+1:1700",
            "abc:7:x",
            "abc:7:",
            ":7:1700",
            "?:7:1700",
            "-:7:1700",
            "abcdefghi:7:1700",
            "abc:18446744073709551616:1700",
            "abc:7:1700\0",
            " abc:7:1700",
            "closed:",
            "closed:99999",
            "closed:4500:1",
        ] {
            assert_eq!(EventId::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(EventId::parse(&b"1".repeat(1_000_000)), None);
        assert_eq!(EventId::parse(b"abc:7:\xff"), None);
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_back(text in "[a-z-]{0,9}:[0-9]{0,21}:[0-9]{0,21}(:[0-9])?") {
            if let Some(id) = EventId::parse(text.as_bytes()) {
                let again = id.to_string();
                prop_assert_eq!(EventId::parse(again.as_bytes()), Some(id));
            }
        }
    }
}
