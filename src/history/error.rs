//! What a store says when it does not do what it was asked.

use thiserror::Error;

/// Why a history did not do what was asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum HistoryError {
    /// The bounds keep no message. A fault of the configuration: trying again does not help.
    #[error("a history holds at least 1 message; give the topic no history to keep none")]
    NoMessages,
    /// There is no room for another retained message; nothing was changed.
    #[error(
        "there is no room to retain the message: clear retained messages that are not needed, or \
         raise store.memory"
    )]
    Full,
    /// The store cannot do it at present; nothing was changed. Trying again later may help.
    #[error("the history cannot be used at present ({0}); try again later")]
    Unavailable(String),
}

impl HistoryError {
    /// Whether the same call may succeed later.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Full | Self::Unavailable(_))
    }
}
