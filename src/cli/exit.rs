//! How a command ends.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::process::ExitCode;

/// How a command ended, as its exit code tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: it did what was asked.
    Done,
    /// 1: it could not.
    Failed,
    /// 2: the command line cannot be carried out as it stands.
    Misused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::Misused => Self::from(2),
        }
    }
}

/// Why a command could not do what was asked, in words for whoever asked. Never with a secret.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    exit: Exit,
    message: String,
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Failure {
    /// It could not be done.
    pub fn failed(message: impl Display) -> Self {
        Self {
            exit: Exit::Failed,
            message: message.to_string(),
        }
    }

    /// It was asked for in a way that cannot be carried out.
    pub fn misused(message: impl Display) -> Self {
        Self {
            exit: Exit::Misused,
            message: message.to_string(),
        }
    }

    /// Writes why, and gives the exit code. Where nobody reads it, the code has to do.
    pub fn tell(&self, stderr: &mut dyn Write) -> Exit {
        let _ = writeln!(stderr, "fanfare: {}", self.message);
        self.exit
    }
}

/// What became of writing a result to standard output. Who closes it has read enough.
pub(super) fn written(result: io::Result<()>) -> Result<(), Unwritten> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Unwritten::Closed,
        _ => Unwritten::Failed(Failure::failed(format!(
            "standard output cannot be written: {error}"
        ))),
    })
}

/// Writes a command's whole result to standard output.
pub(super) fn print(stdout: &mut dyn Write, text: &str) -> Result<Exit, Failure> {
    let result = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written(result) {
        Ok(()) | Err(Unwritten::Closed) => Ok(Exit::Done),
        Err(Unwritten::Failed(failure)) => Err(failure),
    }
}

/// Why something was not written.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// The reader has gone, which is its right.
    Closed,
    /// Something is wrong.
    Failed(Failure),
}
