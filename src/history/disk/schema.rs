//! The file of the store: how it is opened, and what its tables are.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

/// The version of the format; `user_version` in the file.
pub(super) const FORMAT: i64 = 1;

/// Says that the file is a store of Fanfare's: `Fanf`.
const APPLICATION: i64 = 0x4661_6e66;

/// As many pages of log before it is carried over into the file: with half of it the thread that writes waits
/// for the disk more often than it need, with more it waits longer at a time and saves little.
const LOG_PAGES: i64 = 2000;

/// What the log's file is cut to when it has grown.
const LOG_BYTES: i64 = 16 * 1024 * 1024;

/// A commit of messages only appends to `message`. Where they stand (`place`) and what is known of their
/// topics (`topic`) follows in bulk, up to the message that `meta` names as `placed`: a page is not written for
/// every message. What is to be deleted is collected (`dead`), and goes in the order in which it lies.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS meta(
        key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS topic(
        id INTEGER PRIMARY KEY, body BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS message(
        seq INTEGER PRIMARY KEY, topic INTEGER NOT NULL, offset INTEGER NOT NULL,
        time INTEGER NOT NULL, before INTEGER NOT NULL, body BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS place(
        topic INTEGER NOT NULL, offset INTEGER NOT NULL, seq INTEGER NOT NULL,
        PRIMARY KEY (topic, offset)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS dead(
        seq INTEGER PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS retained(
        topic INTEGER PRIMARY KEY, body BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS once(
        seq INTEGER PRIMARY KEY, time INTEGER NOT NULL, body BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS dropped(
        topic INTEGER PRIMARY KEY);
";

/// The store's file in its directory.
pub(super) fn file(directory: &Path) -> PathBuf {
    directory.join("store.db")
}

/// The log beside the file.
pub(super) fn log(file: &Path) -> PathBuf {
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

/// What version of the format a file is of; `None` where it is new or no store of Fanfare's.
pub(super) fn format(conn: &Connection) -> rusqlite::Result<Option<i64>> {
    let application: i64 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application != APPLICATION {
        return Ok(None);
    }
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
        .map(Some)
}

/// Whether nothing was ever written to the file.
pub(super) fn is_empty(conn: &Connection) -> rusqlite::Result<bool> {
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(tables == 0)
}

/// Makes the file, for the owner's eyes only, unless it is there. What SQLite lays beside it has the
/// same permissions.
pub(super) fn touch(file: &Path) -> std::io::Result<()> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(file)
        .map(|_| ())
}

/// A connection that writes.
pub(super) fn to_write(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(file, flags)?;
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.set_prepared_statement_cache_capacity(32);
    conn.pragma_update(None, "cache_size", -16 * 1024)?;
    Ok(conn)
}

/// Sets a connection that writes up: the log, and how often it is carried over.
pub(super) fn set_up(conn: &Connection) -> rusqlite::Result<()> {
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |r| r.get(0))?;
    if mode != "wal" {
        return Err(rusqlite::Error::InvalidQuery);
    }
    conn.pragma_update(None, "synchronous", "NORMAL")?;
    conn.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    conn.pragma_update(None, "journal_size_limit", LOG_BYTES)
}

/// Makes the tables of a new file.
pub(super) fn create(conn: &Connection) -> rusqlite::Result<()> {
    conn.pragma_update(None, "page_size", 4096)?;
    conn.pragma_update(None, "auto_vacuum", 2)?;
    set_up(conn)?;
    conn.execute_batch("BEGIN IMMEDIATE")?;
    conn.pragma_update(None, "application_id", APPLICATION)?;
    conn.pragma_update(None, "user_version", FORMAT)?;
    conn.execute_batch(TABLES)?;
    conn.execute_batch("COMMIT")
}

/// A connection that only reads.
pub(super) fn to_read(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(file, flags)?;
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.set_prepared_statement_cache_capacity(16);
    conn.pragma_update(None, "query_only", true)?;
    conn.pragma_update(None, "cache_size", -16 * 1024)?;
    Ok(conn)
}

/// A connection that reads what can be read of a damaged file.
pub(super) fn to_salvage(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(file, flags)?;
    // Without it a file that was cut off is not looked at. It comes first: other settings look.
    conn.execute_batch("PRAGMA writable_schema = ON")?;
    conn.pragma_update(None, "query_only", true)?;
    Ok(conn)
}

/// What the table of single values says.
pub(super) fn meta(conn: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
}

/// Sets one of the single values.
pub(super) fn set_meta(conn: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO meta(key, value) VALUES (?1, ?2)")?
        .execute([key, value])
        .map(|_| ())
}

/// Makes commits from now on wait until the disk has them, or not.
pub(super) fn set_synced(conn: &Connection, synced: bool) -> rusqlite::Result<()> {
    let how = if synced { "FULL" } else { "NORMAL" };
    conn.pragma_update(None, "synchronous", how)
}

/// Writes all that is in the log into the file, for good, and empties the log.
///
/// # Errors
/// Where it cannot be written, and where others still read the log.
pub(super) fn carry_over(conn: &Connection) -> rusqlite::Result<()> {
    let is_left: i64 = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if is_left == 0 {
        return Ok(());
    }
    let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    Err(rusqlite::Error::SqliteFailure(busy, None))
}
