//! What is done between groups, a little at a time: deleting what was dropped, and giving room back.

use std::collections::VecDeque;
use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::apply::{delete_before, first_there};
use super::catalog::Entry;
use crate::model::Timestamp;

/// As many rows go at once: a millisecond or two.
const ROWS: u64 = 256;

/// As many pages are given back at once.
const PAGES: i64 = 64;

/// What there is to do.
#[derive(Debug)]
pub(super) struct Tidy {
    /// Topics that may have messages on the disk from before their oldest.
    behind: VecDeque<Arc<Entry>>,
    /// Whether lives of topics wait to be deleted.
    has_dropped: bool,
    /// Whether there may be pages to give back.
    has_room: bool,
    /// What was published once only before this is forgotten.
    once_until: Timestamp,
    has_old_once: bool,
}

impl Tidy {
    /// After a start all topics may be behind.
    pub(super) fn new(topics: Vec<Arc<Entry>>) -> Self {
        Self {
            behind: topics.into(),
            has_dropped: true,
            has_room: true,
            once_until: Timestamp(0),
            has_old_once: false,
        }
    }

    /// A topic has dropped messages.
    pub(super) fn is_behind(&mut self, entry: &Arc<Entry>) {
        self.behind.push_back(Arc::clone(entry));
        self.has_room = true;
    }

    /// A life of a topic was dropped.
    pub(super) fn has_dropped(&mut self) {
        self.has_dropped = true;
        self.has_room = true;
    }

    /// What was published once only before that time is to be forgotten.
    pub(super) fn forget_once(&mut self, until: Timestamp) {
        // Not for every message.
        if until.0 > self.once_until.0.saturating_add(1000) {
            self.once_until = until;
            self.has_old_once = true;
        }
    }

    /// Whether there is something to do.
    pub(super) fn has_work(&self) -> bool {
        !self.behind.is_empty() || self.has_dropped || self.has_room || self.has_old_once
    }

    /// Does a little of it.
    pub(super) fn step(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        if let Some(entry) = self.behind.pop_front() {
            return self.delete(conn, &entry);
        }
        if self.has_dropped {
            return self.delete_dropped(conn);
        }
        if self.has_old_once {
            return self.delete_once(conn);
        }
        if self.has_room {
            return self.give_back(conn);
        }
        Ok(())
    }

    fn delete(&mut self, conn: &Connection, entry: &Arc<Entry>) -> rusqlite::Result<()> {
        let (state, known) = {
            let kept = entry.lock();
            (kept.committed, kept.first_there)
        };
        let first = match known {
            Some((id, first)) if id == state.id => Some(first),
            _ => first_there(conn, state.id)?,
        };
        let Some(first) = first.filter(|first| *first < state.start.offset) else {
            return Ok(());
        };
        let upto = state.start.offset.min(first.saturating_add(ROWS));
        let transaction = begin(conn)?;
        delete_before(conn, state.id, upto)?;
        transaction.commit()?;
        entry.lock().first_there = Some((state.id, upto));
        if upto < state.start.offset {
            self.behind.push_back(Arc::clone(entry));
        }
        self.has_room = true;
        Ok(())
    }

    fn delete_dropped(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let id: Option<i64> = conn
            .prepare_cached("SELECT min(topic) FROM dropped")?
            .query_row([], |row| row.get(0))?;
        let Some(id) = id else {
            self.has_dropped = false;
            return Ok(());
        };
        let transaction = begin(conn)?;
        match first_there(conn, id)? {
            Some(first) => delete_before(conn, id, first.saturating_add(ROWS))?,
            None => {
                conn.prepare_cached("DELETE FROM dropped WHERE topic = ?1")?
                    .execute([id])?;
            }
        }
        transaction.commit()
    }

    fn delete_once(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        // They stand in the order in which they came; times go back by little, if at all.
        let transaction = begin(conn)?;
        let deleted = conn
            .prepare_cached(
                "DELETE FROM once WHERE seq IN (SELECT seq FROM once ORDER BY seq LIMIT ?2) AND time < ?1",
            )?
            .execute(params![self.once_until.0.cast_signed(), ROWS.cast_signed()])?;
        transaction.commit()?;
        self.has_old_once = deleted as u64 == ROWS;
        Ok(())
    }

    /// Gives pages back to the file system once a good part of the file is free.
    fn give_back(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let count = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let (free, all) = (count("freelist_count")?, count("page_count")?);
        self.has_room = free > PAGES && free > all / 8;
        if self.has_room {
            let mut vacuum = conn.prepare_cached(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
            let mut rows = vacuum.query([])?;
            while rows.next()?.is_some() {}
        }
        Ok(())
    }
}

fn begin(conn: &Connection) -> rusqlite::Result<Transaction<'_>> {
    Transaction::new_unchecked(conn, TransactionBehavior::Immediate)
}
