//! The name of a session.

use std::fmt;

/// Names one session (a client's connection) for as long as the process lives. It is random, so it
/// says nothing of other sessions; it is a name and no credential.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl SessionId {
    /// The session of that name, if the text is a name at all.
    pub fn parse(text: &str) -> Option<Self> {
        let of_form = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        of_form
            .then(|| u64::from_str_radix(text, 16).ok().map(Self))
            .flatten()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}
