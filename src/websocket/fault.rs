//! What a peer did wrong, as its close frame tells it.

use std::borrow::Cow;

/// The end of a connection whose peer broke the protocol or a limit (RFC 6455 §7.1.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The close code: 1002, 1007, 1008 or 1009 (RFC 6455 §7.4.1).
    pub code: u16,
    /// A few words for people.
    pub reason: Cow<'static, str>,
}

impl Fault {
    /// The peer broke RFC 6455 or RFC 7692.
    pub(super) fn protocol(reason: &'static str) -> Self {
        Self::new(1002, reason)
    }

    /// What was sent is not what it says it is: a text that is no UTF-8, data that nothing inflates.
    pub(super) fn inconsistent(reason: &'static str) -> Self {
        Self::new(1007, reason)
    }

    /// Allowed by the RFC, and more than anyone needs.
    pub(super) fn policy(reason: &'static str) -> Self {
        Self::new(1008, reason)
    }

    /// A frame or message over its limit.
    pub(super) fn too_large(what: &str, max: usize) -> Self {
        Self::new(1009, format!("a {what} has at most {max} bytes here"))
    }

    fn new(code: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }
}
