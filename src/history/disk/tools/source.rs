//! A store that is read, as it was at one moment.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::tail::Tail;
use super::{ToolError, file_error};
use crate::history::disk::lock::Lock;
use crate::history::disk::reader::is_corrupt;
use crate::history::disk::standing::{Standing, is_closed, is_of_this_boot};
use crate::history::disk::watermark::{Reached, Watermark};
use crate::history::disk::{StoreError, load, schema, start};

/// One moment of a store, which is not changed.
pub struct Source {
    pub(super) conn: Connection,
    /// The messages that have not been placed.
    pub(super) tail: Tail,
    /// How many of the last messages are lost.
    pub(super) lost: u64,
    is_live: bool,
    /// Keeps brokers from starting meanwhile, where none runs.
    _lock: Option<Lock>,
}

impl Source {
    /// Opens the store in a directory; `what` tells a broker that cannot start meanwhile who is there.
    ///
    /// # Errors
    /// [`ToolError::NoStore`], and [`StoreError`] where there is none that can be read.
    pub fn open(directory: &Path, what: &str) -> Result<Self, ToolError> {
        let file = schema::file(directory);
        let no_store = || ToolError::NoStore {
            directory: directory.to_owned(),
        };
        if !file.try_exists().map_err(file_error(&file))? {
            return Err(no_store());
        }
        let (lock, is_live) = match Lock::take_for(directory, &format!(" ({what})")) {
            Ok(lock) => (Some(lock), false),
            // A broker says its number, and nothing else.
            Err(StoreError::Locked { holder, .. }) => (None, holder.parse::<u32>().is_ok()),
            // Where nothing can be written no broker runs.
            Err(_) => (None, false),
        };
        // Before the moment: what is in it is at least this.
        let reached = Watermark::look(directory);
        let conn = look(&file).map_err(|error| StoreError::Unusable {
            file: file.clone(),
            error,
        })?;
        let Some(conn) = conn else {
            return Err(no_store());
        };
        start::recognise(&conn, &file)?;
        let tail = Tail::read(&conn)?;
        let lost = lost(&conn, reached, is_live)?;
        Ok(Self {
            conn,
            tail,
            lost,
            is_live,
            _lock: lock,
        })
    }

    /// Whether a broker goes on with the store.
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// The version of its format.
    pub fn format(&self) -> i64 {
        schema::FORMAT
    }

    /// Which topics' epochs stand in a copy of it.
    pub(super) fn standing(&self) -> rusqlite::Result<Standing> {
        if self.is_live || self.lost > 0 || !self.tail.is_whole {
            return Ok(Standing::None);
        }
        Standing::of(&self.conn)
    }

    /// What the file takes, and what of that is free, in bytes.
    pub(super) fn room(&self) -> rusqlite::Result<(u64, u64)> {
        let number = |name: &str| {
            let value = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
            let number = self.conn.pragma_query_value(None, name, value)?;
            Ok::<u64, rusqlite::Error>(number.cast_unsigned())
        };
        let page = number("page_size")?;
        let (all, free) = (number("page_count")?, number("freelist_count")?);
        Ok((all.saturating_mul(page), free.saturating_mul(page)))
    }
}

/// Begins to read; `None` where nothing was ever written.
fn look(file: &Path) -> rusqlite::Result<Option<Connection>> {
    let conn = schema::to_read(file)?;
    // What a process left in the log that was killed stays there.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.execute_batch("BEGIN")?;
    // The first look is the moment.
    let is_empty = schema::is_empty(&conn)?;
    Ok((!is_empty).then_some(conn))
}

/// How many messages were committed that are not there.
fn lost(conn: &Connection, reached: Reached, is_live: bool) -> rusqlite::Result<u64> {
    let expected = if is_live || is_closed(conn)? || is_of_this_boot(conn)? {
        reached.last
    } else {
        reached.synced
    };
    match load::last(conn) {
        Ok(last) if last < expected => Ok(expected.abs_diff(last)),
        Ok(_) => Ok(0),
        // That page is named by whoever looks at it.
        Err(error) if is_corrupt(&error) => Ok(0),
        Err(error) => Err(error),
    }
}
