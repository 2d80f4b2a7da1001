//! What exceeded which limit.

use std::time::Duration;

use crate::metrics::{RateLimit, Refusal as Reason};
use crate::protocol::{ErrorCode, Refusal};

/// A limit that was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// Which.
    pub limit: RateLimit,
    /// How long to wait before there is room again.
    pub wait: Duration,
}

impl Excess {
    /// How it is told.
    pub fn refusal(&self) -> Refusal {
        let (code, message) = match self.limit {
            RateLimit::Publishes => (
                ErrorCode::RateLimited,
                "more publishes than the limit allows; nothing was published, send it again later",
            ),
            RateLimit::Frames => (
                ErrorCode::RateLimited,
                "more frames than the limit allows; nothing was done, send it again later",
            ),
            RateLimit::Bytes => (
                ErrorCode::RateLimited,
                "more bytes than the limit allows; nothing was done, send it again later",
            ),
            RateLimit::Handshakes => (
                ErrorCode::RateLimited,
                "more handshakes from this address than the limit allows; try again later",
            ),
            RateLimit::AuthFailures => (
                ErrorCode::RateLimited,
                "too many wrong credentials came from this address; try again later",
            ),
            RateLimit::ConnectionsPerIp => (
                ErrorCode::LimitExceeded,
                "this address has as many sessions as it may; end one first",
            ),
            RateLimit::ConnectionsPerUser => (
                ErrorCode::LimitExceeded,
                "this user has as many sessions as it may; end one first",
            ),
        };
        Refusal::new(code, message).retry_after(self.wait)
    }

    /// The label of a handshake that is refused for it.
    pub fn reason(&self) -> Reason {
        match self.limit {
            RateLimit::ConnectionsPerIp | RateLimit::ConnectionsPerUser => Reason::Connections,
            _ => Reason::Rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Label;

    #[test]
    fn every_excess_is_a_429_that_says_how_long_to_wait() {
        for limit in RateLimit::ALL {
            let wait = Duration::from_millis(1500);
            let excess = Excess {
                limit: *limit,
                wait,
            };
            let refusal = excess.refusal();
            assert_eq!(refusal.code.http_status(), 429, "{limit:?}");
            assert_eq!(refusal.retry_after, Some(wait), "{limit:?}");
        }
    }
}
