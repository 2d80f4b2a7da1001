//! What is done with a store by commands, not by the broker that keeps it: `fanfare store`.
//!
//! All but [`backup`] want the store for themselves, and are refused while a broker has it.

mod check;
mod export;
mod import;
mod lines;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::lock::Lock;
use super::{DiskStore, Settings, StoreError, schema};
use crate::model::Timestamp;

pub use check::{Checked, check};
pub use export::export;
pub use import::import;

/// Why a command did not do what was asked.
#[derive(Debug, Error)]
pub enum ToolError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store cannot be read or written.
    #[error("the store {} cannot be read or written: {error}", file.display())]
    Database {
        /// Its file.
        file: PathBuf,
        /// Why.
        error: rusqlite::Error,
    },
    /// What was to be read or written elsewhere could not be.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// There is no store.
    #[error("there is no store in {}", .0.display())]
    Missing(PathBuf),
    /// There is something already where something new is to be made.
    #[error("there is something in {} already: name a directory that is empty or not there", .0.display())]
    Occupied(PathBuf),
    /// A line is none that [`export`] wrote.
    #[error("line {line}: {reason}")]
    Line {
        /// Which, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// What was read or written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Topics.
    pub topics: u64,
    /// Messages of histories.
    pub messages: u64,
    /// Retained messages.
    pub retained: u64,
    /// What is not to be published again.
    pub once: u64,
}

/// Gives all room back that nothing is in. Returns what the store took before and takes now, in bytes.
///
/// # Errors
/// [`ToolError`]. Where there is not as much room again for a moment, nothing is changed.
pub fn compact(directory: &Path) -> Result<(u64, u64), ToolError> {
    settle(directory, || 0)?;
    let _lock = Lock::take(directory)?;
    let file = schema::file(directory);
    let failed = |error| ToolError::Database {
        file: file.clone(),
        error,
    };
    let before = std::fs::metadata(&file)?.len();
    let conn = schema::to_write(&file).map_err(failed)?;
    conn.execute_batch("VACUUM").map_err(failed)?;
    schema::carry_over(&conn).map_err(failed)?;
    drop(conn);
    Ok((before, std::fs::metadata(&file)?.len()))
}

/// Copies the store, as it is at this moment, into a directory that is empty or not there, which is a
/// store too then. A broker may be at work on it meanwhile. All topics of the copy will begin another epoch: what is
/// published after it was made is not in it. Returns what it takes, in bytes.
///
/// # Errors
/// [`ToolError`].
pub fn backup(directory: &Path, to: &Path) -> Result<u64, ToolError> {
    let file = schema::file(directory);
    if !file.exists() {
        return Err(ToolError::Missing(directory.to_owned()));
    }
    make_empty(to)?;
    let copy = schema::file(to);
    let failed = |error| ToolError::Database {
        file: file.clone(),
        error,
    };
    schema::touch(&copy)?;
    let from = schema::to_read(&file).map_err(failed)?;
    let mut into = schema::to_write(&copy).map_err(failed)?;
    {
        // It holds the moment; the broker goes on writing its log.
        let moment = from.unchecked_transaction().map_err(failed)?;
        schema::meta(&moment, "created").map_err(failed)?;
        let copying = rusqlite::backup::Backup::new(&from, &mut into).map_err(failed)?;
        while copying.step(PAGES).map_err(failed)? != rusqlite::backup::StepResult::Done {
            std::thread::sleep(PAUSE);
        }
    }
    schema::set_up(&into).map_err(failed)?;
    schema::set_synced(&into, true).map_err(failed)?;
    schema::set_meta(&into, "is_copy", "1").map_err(failed)?;
    schema::carry_over(&into).map_err(failed)?;
    drop(into);
    Ok(std::fs::metadata(&copy)?.len())
}

/// As many pages are copied between two pauses: 4 MiB.
const PAGES: i32 = 1024;
const PAUSE: Duration = Duration::from_millis(2);

/// Opens the store as a broker does, and closes it: what a process before this left open is in order then.
fn settle(
    directory: &Path,
    random: impl Fn() -> u64 + Send + Sync + 'static,
) -> Result<(), ToolError> {
    if !schema::file(directory).exists() {
        return Err(ToolError::Missing(directory.to_owned()));
    }
    let settings = Settings {
        directory: directory.to_owned(),
        memory: usize::MAX,
        queue: 0,
        window: Duration::MAX,
        most_once: 0,
        metrics: None,
    };
    drop(DiskStore::begin(&settings, random, Timestamp::now())?);
    Ok(())
}

/// Makes the directory, unless it is there and empty.
fn make_empty(directory: &Path) -> Result<(), ToolError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    if std::fs::read_dir(directory)?.next().is_some() {
        return Err(ToolError::Occupied(directory.to_owned()));
    }
    Ok(())
}
