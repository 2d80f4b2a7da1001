//! How a store begins: what it finds in its directory, and whether that can be relied on.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use thiserror::Error;

use super::catalog::{Catalog, Entry, Kept};
use super::lock::Lock;
use super::queue::Queue;
use super::record::{read_once, read_retained, read_topic, write_topic};
use super::state::State;
use super::writer::Writer;
use super::{DiskStore, Settings, Shared, reader, schema};
use crate::history::HistoryError;
use crate::history::ceiling::Ceiling;
use crate::history::memory::{Forgotten, MemoryStore, Random};
use crate::history::slot::Slot;
use crate::model::{Durability, Epoch, Timestamp, TopicName};

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
    #[error("the store {} cannot be used: {error}", file.display())]
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
        let conn = open(&file)?;
        let random: Random = Arc::new(random);
        let ceiling = Arc::new(Ceiling::new(settings.memory));
        let found = load(&conn, &random, &ceiling, settings, now).map_err(unusable)?;
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
            once: Mutex::new(found.once),
            #[cfg(test)]
            trouble: Mutex::new(None),
        });
        let threads = spawn(&shared, conn).map_err(StoreError::Threads)?;
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
    Ok(lock)
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
    let file = file.to_owned();
    match schema::format(&conn).map_err(unusable)? {
        None => Err(StoreError::Foreign { file }),
        Some(found) if found > schema::FORMAT => Err(StoreError::Newer { file, found }),
        Some(found) if found < schema::FORMAT => Err(StoreError::Older { file, found }),
        Some(_) => {
            schema::set_up(&conn).map_err(unusable)?;
            Ok(conn)
        }
    }
}

fn spawn(shared: &Arc<Shared>, conn: Connection) -> std::io::Result<Vec<JoinHandle<()>>> {
    let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
    let writer = Writer::new(shared, conn);
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

/// What was found.
struct Found {
    catalog: Catalog,
    known_from: Timestamp,
    once: Vec<crate::history::Remembered>,
    figures: super::Figures,
}

fn load(
    conn: &Connection,
    random: &Random,
    ceiling: &Arc<Ceiling>,
    settings: &Settings,
    now: Timestamp,
) -> rusqlite::Result<Found> {
    let figures = super::Figures::default();
    let boot = boot();
    let is_new = schema::meta(conn, "created")?.is_none();
    // Whether the machine may have stopped with something that was not on its disk.
    let is_unclean = !is_new
        && schema::meta(conn, "clean")?.as_deref() != Some("1")
        && (boot.is_none() || schema::meta(conn, "boot")? != boot);
    schema::set_synced(conn, true)?;
    // What a process left in the log that was killed while syncs failed may never reach the disk: what
    // is synced from now on does not stand on that.
    schema::carry_over(conn)?;
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    if is_new {
        schema::set_meta(conn, "created", &now.0.to_string())?;
        schema::set_meta(conn, "known_from", &now.0.to_string())?;
    }
    schema::set_meta(conn, "clean", "0")?;
    schema::set_meta(conn, "boot", boot.as_deref().unwrap_or_default())?;
    let known_from = schema::meta(conn, "known_from")?.and_then(|text| text.parse().ok());
    let known_from = Timestamp(known_from.unwrap_or(now.0));
    let rows = topics(conn, &figures)?;
    let catalog = Catalog::new(first_free(conn, &rows)?);
    let mut out = Vec::new();
    for (topic, durability, mut state) in rows {
        if is_unclean && durability < Durability::Synced {
            tracing::warn!(%topic, "the machine stopped without notice: the topic begins another epoch");
            state.epoch = Epoch::from_random(random());
            state.lost_before = state.lost_before.max(now);
            write_topic(&topic, durability, &state, &mut out);
            conn.prepare_cached("UPDATE topic SET body = ?2 WHERE id = ?1")?
                .execute(rusqlite::params![state.id, out])?;
        }
        let mut slot = Slot::new(ceiling);
        if let Some(message) = retained(conn, &topic, &state, &figures)? {
            let room = slot.room_at_any_rate(message.weight());
            slot.put(Arc::new(message), room);
        }
        let mut kept = Kept::new(state, durability, slot);
        kept.has_row = true;
        catalog.insert(Entry::new(topic, kept));
    }
    let once = once(conn, settings, now)?;
    transaction.commit()?;
    schema::set_synced(conn, false)?;
    Ok(Found {
        catalog,
        known_from,
        once,
        figures,
    })
}

/// All that is known of topics.
fn topics(
    conn: &Connection,
    figures: &super::Figures,
) -> rusqlite::Result<Vec<(TopicName, Durability, State)>> {
    let mut select = conn.prepare("SELECT id, body FROM topic")?;
    let mut rows = select.query([])?;
    let mut topics = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        match read_topic(id, row.get_ref(1)?.as_blob()?) {
            Ok(topic) => topics.push(topic),
            Err(_) => {
                tracing::error!(id, "the store is damaged: a topic's record is set aside");
                figures.damaged(1);
            }
        }
    }
    Ok(topics)
}

/// The first number that no topic has had.
fn first_free(conn: &Connection, rows: &[(TopicName, Durability, State)]) -> rusqlite::Result<i64> {
    let mut last = rows.iter().map(|(_, _, state)| state.id).max().unwrap_or(0);
    for table in ["topic FROM message", "topic FROM dropped", "id FROM topic"] {
        let (column, table) = table.split_once(' ').unwrap_or_default();
        let most: Option<i64> =
            conn.query_row(&format!("SELECT max({column}) {table}"), [], |row| {
                row.get(0)
            })?;
        last = last.max(most.unwrap_or(0));
    }
    Ok(last + 1)
}

fn retained(
    conn: &Connection,
    topic: &TopicName,
    state: &State,
    figures: &super::Figures,
) -> rusqlite::Result<Option<crate::model::Message>> {
    let mut select = conn.prepare_cached("SELECT body FROM retained WHERE topic = ?1")?;
    let mut rows = select.query([state.id])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let message = read_retained(state.id, topic, row.get_ref(0)?.as_blob()?);
    if message.is_err() {
        tracing::error!(%topic, "the store is damaged: the retained message is set aside");
        figures.damaged(1);
    }
    Ok(message.ok())
}

fn once(
    conn: &Connection,
    settings: &Settings,
    now: Timestamp,
) -> rusqlite::Result<Vec<crate::history::Remembered>> {
    let window = u64::try_from(settings.window.as_millis()).unwrap_or(u64::MAX);
    let from = now.0.saturating_sub(window);
    let mut select = conn.prepare("SELECT time, body FROM once ORDER BY seq DESC LIMIT ?1")?;
    let most = i64::try_from(settings.most_once).unwrap_or(i64::MAX);
    let mut rows = select.query([most])?;
    let mut once = Vec::new();
    while let Some(row) = rows.next()? {
        let time = Timestamp(row.get::<_, i64>(0)?.cast_unsigned());
        if time.0 < from {
            continue;
        }
        once.extend(read_once(time, row.get_ref(1)?.as_blob()?).ok());
    }
    once.reverse();
    Ok(once)
}

/// What tells one start of the machine from another, where the system says it.
fn boot() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(boot.trim().to_owned())
}
