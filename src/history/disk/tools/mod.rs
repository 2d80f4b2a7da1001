//! What is done to a store from outside a broker: looked through, copied, written out and read in again,
//! and made small.
//!
//! What only reads sees one moment, and may do so beside a broker. A broker does not start meanwhile.

mod backup;
mod check;
mod compact;
mod export;
mod fault;
mod import;
mod line;
mod rows;
mod source;
mod tail;
mod target;
#[cfg(test)]
mod tests;
mod walk;

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::StoreError;
pub use backup::{BackedUp, backup};
pub use check::{Checked, check};
pub use compact::{Compacted, compact};
pub use export::{Exported, export, export_aside};
pub use import::{Imported, import};
pub use source::Source;
pub use walk::{Damage, Place};

/// What becomes of the topics' epochs in a copy, where that is not left to what the copy is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epochs {
    /// They stand: clients go on with the copy where they were.
    Keep,
    /// The topics begin others when a broker first starts with the copy: clients are told that they missed something.
    New,
}

/// Why something could not be done.
#[derive(Debug, Error)]
pub enum ToolError {
    /// No store is there.
    #[error("there is no store in {}", directory.display())]
    NoStore {
        /// Where.
        directory: PathBuf,
    },
    /// Something is there already, and nothing is overwritten.
    #[error("{} is there already: name a directory that is empty, or is not there", path.display())]
    Taken {
        /// What.
        path: PathBuf,
    },
    /// The store, or its directory, cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It can no longer be read or written.
    #[error("the store cannot be used: {0}")]
    Database(#[from] rusqlite::Error),
    /// A file cannot be used.
    #[error("{} cannot be used: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A line is none of an export, or none that fits those before it.
    #[error("line {number}: {what}")]
    Line {
        /// Counted from 1.
        number: u64,
        /// What is wrong with it.
        what: String,
    },
    /// What is to be imported cannot be read.
    #[error("what is to be imported cannot be read: {0}")]
    Input(io::Error),
    /// What is exported cannot be written.
    #[error("the export cannot be written: {0}")]
    Output(io::Error),
}

/// Makes an error of a file.
fn file_error(path: &Path) -> impl Fn(io::Error) -> ToolError {
    move |error| ToolError::File {
        path: path.to_owned(),
        error,
    }
}
