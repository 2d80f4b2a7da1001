//! Why a line is not taken.

use super::ToolError;

/// What is wrong with a line, or with the file that is written.
pub(super) enum Fault {
    Line(String),
    Database(rusqlite::Error),
}

impl Fault {
    /// As whoever imports is told of it.
    pub(super) fn at(self, number: u64) -> ToolError {
        match self {
            Self::Line(what) => ToolError::Line { number, what },
            Self::Database(error) => error.into(),
        }
    }
}

impl From<String> for Fault {
    fn from(what: String) -> Self {
        Self::Line(what)
    }
}

impl From<&str> for Fault {
    fn from(what: &str) -> Self {
        Self::Line(what.to_owned())
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}
