//! What can be wrong with a configuration, told so that the reader knows what to change.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// One thing that is wrong: where, what was found there, and what would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it is written: a file and line, `environment FANFARE__…`, or a command-line option.
    pub source: String,
    /// The key, as a path: `server.listen`, `topic[0].filter`.
    pub key: String,
    /// What was found there. Never a secret.
    pub found: String,
    /// What would do instead.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            source,
            key,
            found,
            remedy,
        } = self;
        write!(f, "{source}: {key}: {found}; {remedy}")
    }
}

/// Why there is no configuration to start with.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A file that cannot be read, or is no TOML.
    #[error("{}{}: {reason}", path.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
    File {
        /// The file.
        path: PathBuf,
        /// The line, where it is known, counted from 1.
        line: Option<usize>,
        /// What is wrong, and what would do.
        reason: String,
    },
    /// What is wrong with the values: all of it.
    #[error("{}", lines(.0))]
    Faults(Vec<Fault>),
}

fn lines(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    lines.join("\n")
}
