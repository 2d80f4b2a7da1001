//! Refusals: the error codes of the protocol and the one error that answers are made of.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::model::TopicError;

/// The error codes of the protocol (section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request is not of the form that the protocol asks for.
    BadRequest,
    /// A text that should be a topic name or filter is none.
    InvalidTopic,
    /// No credentials, or none that anyone knows.
    Unauthorized,
    /// The credentials do not allow it.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The session has no such subscription.
    NotSubscribed,
    /// The session already has this subscription.
    AlreadySubscribed,
    /// The topic keeps no history.
    HistoryDisabled,
    /// The topic keeps no presence.
    PresenceDisabled,
    /// It contradicts what stands already.
    Conflict,
    /// Larger than a limit allows.
    TooLarge,
    /// Too many in too short a time; waiting helps.
    RateLimited,
    /// A number of things that one may have is used up.
    LimitExceeded,
    /// The broker failed; the request may be right.
    Internal,
    /// The broker cannot do it now.
    Unavailable,
}

impl ErrorCode {
    /// Every code, in the order of the protocol's table.
    pub const ALL: [Self; 15] = [
        Self::BadRequest,
        Self::InvalidTopic,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::NotSubscribed,
        Self::AlreadySubscribed,
        Self::HistoryDisabled,
        Self::PresenceDisabled,
        Self::Conflict,
        Self::TooLarge,
        Self::RateLimited,
        Self::LimitExceeded,
        Self::Internal,
        Self::Unavailable,
    ];

    /// The code as it stands in frames and problem bodies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::InvalidTopic => "invalid_topic",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::NotSubscribed => "not_subscribed",
            Self::AlreadySubscribed => "already_subscribed",
            Self::HistoryDisabled => "history_disabled",
            Self::PresenceDisabled => "presence_disabled",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::LimitExceeded => "limit_exceeded",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
        }
    }

    /// The status of an HTTP answer that says the same.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::BadRequest | Self::InvalidTopic => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound | Self::NotSubscribed => 404,
            Self::AlreadySubscribed
            | Self::HistoryDisabled
            | Self::PresenceDisabled
            | Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::RateLimited | Self::LimitExceeded => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why something that was asked for is not done: what error frames and problem bodies are made of.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct Refusal {
    /// The code, for programs.
    pub code: ErrorCode,
    /// A sentence for people: which field or thing it is about, and what would do.
    pub message: Cow<'static, str>,
    /// How long to wait before asking again, where waiting helps.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal for which waiting does not help.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after: None,
        }
    }

    /// The same refusal, saying how long to wait.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The text in `field` is no topic name, or no filter, for the reason that `err` gives.
    pub fn invalid_topic(field: &str, err: &TopicError) -> Self {
        Self::new(ErrorCode::InvalidTopic, format!("'{field}': {err}"))
    }

    /// The waiting time in whole milliseconds, rounded up so that who waits that long is not early.
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.retry_after.map(whole_ms)
    }
}

/// A duration in milliseconds, rounded up.
pub(super) fn whole_ms(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_code_has_the_text_and_status_of_the_table() {
        let table = [
            ("bad_request", 400),
            ("invalid_topic", 400),
            ("unauthorized", 401),
            ("forbidden", 403),
            ("not_found", 404),
            ("not_subscribed", 404),
            ("already_subscribed", 409),
            ("history_disabled", 409),
            ("presence_disabled", 409),
            ("conflict", 409),
            ("too_large", 413),
            ("rate_limited", 429),
            ("limit_exceeded", 429),
            ("internal", 500),
            ("unavailable", 503),
        ];
        let codes = ErrorCode::ALL.map(|code| (code.as_str(), code.http_status()));
        assert_eq!(codes, table);
    }

    #[test]
    fn a_refusal_of_a_topic_names_the_field_and_the_rule() {
        let refusal = Refusal::invalid_topic("topic", &TopicError::TooLong(300));
        assert_eq!(refusal.code, ErrorCode::InvalidTopic);
        assert_eq!(
            refusal.to_string(),
            "'topic': a topic has at most 255 bytes, this one has 300"
        );
    }

    #[test]
    fn waiting_times_are_rounded_up_to_whole_milliseconds() {
        let refusal = Refusal::new(ErrorCode::RateLimited, "slower");
        assert_eq!(refusal.retry_after_ms(), None);
        for (nanos, ms) in [(0, 0), (1, 1), (1_000_000, 1), (1_000_001, 2)] {
            let refusal = refusal.clone().retry_after(Duration::from_nanos(nanos));
            assert_eq!(refusal.retry_after_ms(), Some(ms), "{nanos}");
        }
    }
}
