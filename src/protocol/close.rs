//! Closing: the close codes of RFC 6455 §7.4 and of the protocol's section 5.

use std::borrow::Cow;
use std::time::Duration;

use super::codes::whole_ms;
use crate::websocket::Fault;

/// A WebSocket close code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// Asked for.
    pub const NORMAL: Self = Self(1000);
    /// The server is going away (drain).
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the WebSocket protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A kind of data that is not allowed here.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// A close frame without a code; never sent.
    pub const NO_STATUS: Self = Self(1005);
    /// The connection ended without a close frame; never sent.
    pub const ABNORMAL: Self = Self(1006);
    /// A text that is not UTF-8.
    pub const INVALID_UTF8: Self = Self(1007);
    /// Forbidden, too many protocol errors or too many fragments.
    pub const POLICY: Self = Self(1008);
    /// A frame or message over the limit.
    pub const TOO_LARGE: Self = Self(1009);
    /// The server failed.
    pub const INTERNAL: Self = Self(1011);
    /// The server is overloaded; try later.
    pub const OVERLOADED: Self = Self(1013);
    /// The credentials ran out or were revoked.
    pub const CREDENTIALS_EXPIRED: Self = Self(4001);
    /// The outbound queue was full, or was not emptied in time.
    pub const SLOW: Self = Self(4008);
    /// No sign of life within the heartbeat timeout.
    pub const HEARTBEAT: Self = Self(4009);
    /// A rate limit was exceeded for too long.
    pub const RATE: Self = Self(4029);
    /// An operator or the application asks the client to reconnect.
    pub const RECONNECT: Self = Self(4100);
    /// Disconnected for good by an operator or the application.
    pub const DISCONNECTED: Self = Self(4500);
    /// The credentials are refused.
    pub const CREDENTIALS_REFUSED: Self = Self(4501);
    /// The credentials do not allow it.
    pub const FORBIDDEN: Self = Self(4503);

    /// Whether a client should connect again after a close with this code.
    pub const fn reconnect(self) -> bool {
        matches!(self.0, 1001 | 1011 | 1013 | 4000..=4499)
    }

    /// Whether operators and the application may end a session with this code: for good, to be
    /// connected anew, or with one of the application's own.
    pub const fn is_for_applications(self) -> bool {
        matches!(self.0, 4100 | 4500 | 4200..=4399 | 4700..=4899)
    }
}

/// The end of a session: what its close frame says and what a `closing` frame adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The code.
    pub code: CloseCode,
    /// A few words for people; at most 123 bytes of it reach the wire.
    pub reason: Cow<'static, str>,
    /// How long the client should wait before it connects again.
    pub after: Option<Duration>,
}

impl Close {
    /// An end that asks for no waiting.
    pub fn new(code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            reason: reason.into(),
            after: None,
        }
    }

    /// The same end, asking the client to wait before it connects again.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.after = Some(wait);
        self
    }

    /// The waiting time in whole milliseconds, rounded up; 0 where none is asked for.
    pub fn after_ms(&self) -> u64 {
        self.after.map_or(0, whole_ms)
    }
}

impl From<Fault> for Close {
    /// The end of a session whose client broke the WebSocket protocol.
    fn from(fault: Fault) -> Self {
        Self::new(CloseCode(fault.code), fault.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_close_code_says_reconnect_as_the_table_does() {
        for (code, reconnect) in [
            (CloseCode::NORMAL, false),
            (CloseCode::GOING_AWAY, true),
            (CloseCode::PROTOCOL_ERROR, false),
            (CloseCode::UNSUPPORTED_DATA, false),
            (CloseCode::INVALID_UTF8, false),
            (CloseCode::POLICY, false),
            (CloseCode::TOO_LARGE, false),
            (CloseCode::INTERNAL, true),
            (CloseCode::OVERLOADED, true),
            (CloseCode::CREDENTIALS_EXPIRED, true),
            (CloseCode::SLOW, true),
            (CloseCode::HEARTBEAT, true),
            (CloseCode::RATE, true),
            (CloseCode::RECONNECT, true),
            (CloseCode::DISCONNECTED, false),
            (CloseCode::CREDENTIALS_REFUSED, false),
            (CloseCode::FORBIDDEN, false),
            (CloseCode(4000), true),
            (CloseCode(4499), true),
            (CloseCode(4999), false),
        ] {
            assert_eq!(code.reconnect(), reconnect, "{code:?}");
        }
    }

    #[test]
    fn an_application_has_codes_of_its_own_and_none_of_the_brokers() {
        for code in [4100, 4200, 4399, 4500, 4700, 4899] {
            assert!(CloseCode(code).is_for_applications(), "{code}");
        }
        for code in [
            0, 1000, 1006, 3000, 4000, 4008, 4099, 4101, 4199, 4400, 4499, 4501, 4503, 4699, 4900,
            4999, 5000,
        ] {
            assert!(!CloseCode(code).is_for_applications(), "{code}");
        }
    }
}
