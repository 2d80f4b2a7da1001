//! How a store begins: what it finds in its directory, and whether that can be relied on.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rusqlite::Connection;
use thiserror::Error;

use super::load::Load;
use super::lock::Lock;
use super::queue::Queue;
use super::reader::is_corrupt;
use super::watermark::Watermark;
use super::writer::Writer;
use super::{DiskStore, Settings, Shared, reader, salvage, schema};
use crate::history::HistoryError;
use crate::history::ceiling::Ceiling;
use crate::history::memory::{Forgotten, MemoryStore, Random};
use crate::model::Timestamp;

/// Why a store does not begin.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Nothing can be kept in the directory.
    #[error("the store's directory {} cannot be used: {error}", directory.display())]
    Directory {
        /// Which.
        directory: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Another process has it.
    #[error(
        "the store {} is in use by process {holder}: one broker at a time, each its own store.path",
        directory.display()
    )]
    Locked {
        /// Which.
        directory: PathBuf,
        /// The process's number.
        holder: String,
    },
    /// It was written by a version after this.
    #[error(
        "the store {} has format {found}, and this version of fanfare knows up to {}: use the version \
         that wrote it, and its `fanfare store export`",
        file.display(), schema::FORMAT
    )]
    Newer {
        /// Its file.
        file: PathBuf,
        /// Its format.
        found: i64,
    },
    /// It was written by a version before this, and is not read any more.
    #[error(
        "the store {} has format {found}, which is not read any more: use `fanfare store export` of the \
         version that wrote it, and `fanfare store import` of this one",
        file.display()
    )]
    Older {
        /// Its file.
        file: PathBuf,
        /// Its format.
        found: i64,
    },
    /// It is a file of something else.
    #[error("{} is no store of fanfare's", file.display())]
    Foreign {
        /// Its file.
        file: PathBuf,
    },
    /// It cannot be read or written.
    #[error(
        "the store {} cannot be used: {error}; if it is damaged, move the directory away or bring back a backup",
        file.display()
    )]
    Unusable {
        /// Its file.
        file: PathBuf,
        /// Why.
        error: rusqlite::Error,
    },
    /// No threads are to be had.
    #[error("the store's threads cannot be started: {0}")]
    Threads(std::io::Error),
}

/// As many threads read.
const READERS: usize = 2;

impl DiskStore {
    /// The store in a directory, as it was left. `random` makes the epochs: if it repeated a number
    /// between two lives of a topic, cursors of the first would recover wrongly in the second.
    ///
    /// # Errors
    /// Where the directory or what is in it cannot be used: nothing is kept elsewhere instead.
    pub fn begin(
        settings: &Settings,
        random: impl Fn() -> u64 + Send + Sync + 'static,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let directory = &settings.directory;
        let lock = prepare(directory)?;
        let file = schema::file(directory);
        let unusable = |error| StoreError::Unusable {
            file: file.clone(),
            error,
        };
        let mut watermark = Watermark::open(directory).map_err(|error| StoreError::Directory {
            directory: directory.clone(),
            error,
        })?;
        let random: Random = Arc::new(random);
        let ceiling = Arc::new(Ceiling::new(settings.memory));
        let load = Load {
            random: &random,
            ceiling: &ceiling,
            now,
            metrics: settings.metrics.clone(),
        };
        let is_marked = marker(&file).exists();
        let opened = if is_marked {
            None
        } else {
            match open(&file) {
                Ok(conn) => match load.run(&conn, settings, &mut watermark) {
                    Ok(found) => Some((conn, found)),
                    Err(error) if is_corrupt(&error) => None,
                    Err(error) => return Err(unusable(error)),
                },
                Err(StoreError::Unusable { error, .. }) if is_corrupt(&error) => None,
                Err(error) => return Err(error),
            }
        };
        let (conn, found) = if let Some(opened) = opened {
            opened
        } else {
            salvage_what_is_left(&file, &random, now)?;
            let conn = open(&file)?;
            watermark.forget();
            let found = load.run(&conn, settings, &mut watermark);
            let found = found.map_err(unusable)?;
            found.figures.damaged(1);
            (conn, found)
        };
        let (next, dead) = (found.next, found.dead);
        let shared = Arc::new(Shared {
            file: file.clone(),
            window: settings.window,
            memory: MemoryStore::below(Arc::clone(&ceiling), Arc::clone(&random), now),
            random,
            ceiling,
            catalog: found.catalog,
            queue: Queue::new(settings.queue),
            homes: super::Homes::default(),
            lookups: super::Lookups::default(),
            fault: super::Fault::default(),
            figures: found.figures,
            forgotten: Forgotten::new(found.known_from),
            written_from: found.written_from,
            once: found.once,
            #[cfg(test)]
            trouble: super::tests::Trouble::default(),
        });
        let writer = Writer::new(&shared, conn, watermark, (next, dead));
        let threads = spawn(&shared, writer).map_err(StoreError::Threads)?;
        Ok(Self {
            shared,
            threads: Mutex::new(threads),
            _lock: lock,
        })
    }
}

fn prepare(directory: &Path) -> Result<Lock, StoreError> {
    let unusable = |error| StoreError::Directory {
        directory: directory.to_owned(),
        error,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(unusable)?;
    let lock = Lock::take(directory)?;
    schema::touch(&schema::file(directory)).map_err(unusable)?;
    // Or what is synced in the file may be in one that has no name after the machine stopped.
    sync_names(directory);
    Ok(lock)
}

/// Says that the store was found damaged where it was written to.
pub(super) fn marker(file: &Path) -> PathBuf {
    salvage::beside(file, ".damaged")
}

fn salvage_what_is_left(file: &Path, random: &Random, now: Timestamp) -> Result<(), StoreError> {
    tracing::error!(file = %file.display(), "the store is damaged: what is whole of it is copied");
    let (salvaged, old) =
        salvage::salvage(file, random, now).map_err(|error| StoreError::Unusable {
            file: file.to_owned(),
            error,
        })?;
    let _was_not_there = std::fs::remove_file(marker(file));
    tracing::error!(
        topics = salvaged.topics,
        messages = salvaged.messages,
        damaged = salvaged.damaged,
        old = %old.display(),
        "the store was damaged: what was whole of it goes on, the old file is kept beside it"
    );
    Ok(())
}

/// Waits until the disk has the names of what is in the directory, and the directory's own.
pub(super) fn sync_names(directory: &Path) {
    let directory = directory.canonicalize().unwrap_or(directory.to_owned());
    for directory in [Some(directory.as_path()), directory.parent()] {
        // Not every file system can.
        let _ = directory.and_then(|path| File::open(path).and_then(|open| open.sync_all()).ok());
    }
}

/// Opens the file, which is made where it is empty.
fn open(file: &Path) -> Result<Connection, StoreError> {
    let unusable = |error| StoreError::Unusable {
        file: file.to_owned(),
        error,
    };
    let conn = schema::to_write(file).map_err(unusable)?;
    if schema::is_empty(&conn).map_err(unusable)? {
        schema::create(&conn).map_err(unusable)?;
        return Ok(conn);
    }
    recognise(&conn, file)?;
    schema::set_up(&conn).map_err(unusable)?;
    Ok(conn)
}

/// Whether the file is a store of the format that is read.
///
/// # Errors
/// Says what it is instead.
pub(super) fn recognise(conn: &Connection, file: &Path) -> Result<(), StoreError> {
    let file = file.to_owned();
    match schema::format(conn) {
        Err(error) => Err(StoreError::Unusable { file, error }),
        Ok(None) => Err(StoreError::Foreign { file }),
        Ok(Some(found)) if found > schema::FORMAT => Err(StoreError::Newer { file, found }),
        Ok(Some(found)) if found < schema::FORMAT => Err(StoreError::Older { file, found }),
        Ok(Some(_)) => Ok(()),
    }
}

fn spawn(shared: &Arc<Shared>, writer: Writer) -> std::io::Result<Vec<JoinHandle<()>>> {
    let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
    let of_writer = Arc::clone(shared);
    let mut threads = vec![named("store-writer").spawn(move || {
        let run = std::panic::AssertUnwindSafe(|| writer.run());
        if std::panic::catch_unwind(run).is_err() {
            let why = "the store's thread has failed: see the log, and start the broker again";
            tracing::error!("{why}");
            of_writer.fault.begin(why);
            of_writer
                .homes
                .failed(&HistoryError::Unavailable(why.to_owned()));
        }
    })?];
    for _ in 0..READERS {
        let shared = Arc::clone(shared);
        threads.push(named("store-reader").spawn(move || reader::run(&shared))?);
    }
    Ok(threads)
}
