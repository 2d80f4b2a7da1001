//! Writing where messages stand, after they were committed: many at once, ordered by topic, so that a page
//! is not written for every message; and deleting what topics have dropped.

use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::apply::write_row;
use super::catalog::Entry;
use super::reader::is_corrupt;
use super::schema;

/// As many rows are changed at once: some milliseconds. Tests see many slices and rounds.
const SLICE: usize = if cfg!(test) { 4 } else { 1024 };

/// As many messages are deleted at once: they lie beside each other.
const DEAD: i64 = if cfg!(test) { 4 } else { 1024 };

/// As many messages wait before a round begins.
const ROUND: usize = if cfg!(test) { 8 } else { 64 * 1024 };

/// As many bytes of messages wait before a round begins: what is trimmed meanwhile takes room.
const ROUND_BYTES: usize = 16 * 1024 * 1024;

/// What is to be placed.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Topics with changes that no round has taken up.
    in_line: Vec<Arc<Entry>>,
    /// How many messages they have.
    waiting: usize,
    /// What these weigh.
    bytes: usize,
    /// The topics of the round that is under way, the next one last.
    round: Vec<Arc<Entry>>,
    /// The last message that is placed once the round is over.
    upto: i64,
    /// Messages of lives that are gone.
    dead: Vec<i64>,
}

impl Places {
    /// A topic has changed, by so many messages of that weight.
    pub(super) fn changed(&mut self, entry: &Arc<Entry>, messages: usize, bytes: usize) {
        self.waiting += messages;
        self.bytes = self.bytes.saturating_add(bytes);
        let mut kept = entry.lock();
        if !std::mem::replace(&mut kept.is_in_line, true) {
            self.in_line.push(Arc::clone(entry));
        }
    }

    /// These messages belong to nothing.
    pub(super) fn bury(&mut self, dead: impl IntoIterator<Item = (u64, i64)>) {
        self.dead.extend(dead.into_iter().map(|(_, seq)| seq));
    }

    /// Whether a round is under way, or is due.
    pub(super) fn is_due(&self) -> bool {
        !self.round.is_empty() || self.waiting >= ROUND || self.bytes >= ROUND_BYTES
    }

    /// Whether there is anything to place.
    pub(super) fn has_work(&self) -> bool {
        !self.round.is_empty() || !self.in_line.is_empty() || !self.dead.is_empty()
    }

    /// Does a part of a round; begins one where none is under way. `last` is the last message that is
    /// committed. Returns the topics that have more to delete.
    pub(super) fn step(
        &mut self,
        conn: &Connection,
        last: i64,
        out: &mut Vec<u8>,
    ) -> rusqlite::Result<Vec<Arc<Entry>>> {
        if self.round.is_empty() {
            self.round = std::mem::take(&mut self.in_line);
            self.round
                .sort_by_cached_key(|entry| std::cmp::Reverse(entry.lock().committed.id));
            self.waiting = 0;
            self.bytes = 0;
            self.upto = last;
        }
        let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
        let dead = self.dead.len().min(SLICE);
        for seq in self.dead.iter().rev().take(dead) {
            bury(conn, *seq)?;
        }
        let mut changed = dead;
        let mut done = Vec::new();
        for entry in self.round.iter().rev() {
            if changed >= SLICE {
                break;
            }
            let placed = place(conn, entry, self.upto, out)?;
            changed += placed.messages + placed.deleted + 1;
            done.push(placed);
        }
        let is_over = done.len() == self.round.len()
            && dead == self.dead.len()
            && done.iter().all(|placed| !placed.has_more);
        schema::set_meta(conn, "last", &last.to_string())?;
        if is_over {
            schema::set_meta(conn, "placed", &self.upto.to_string())?;
        }
        transaction.commit()?;
        self.dead.truncate(self.dead.len() - dead);
        let mut behind = Vec::new();
        for placed in done {
            let Some(entry) = self.round.pop() else { break };
            let mut kept = entry.lock();
            let messages = placed.messages.min(kept.tail.len());
            kept.tail.drain(..messages);
            kept.first_there = placed.first_there;
            let floor = kept.committed.floor();
            if placed.first_there.is_none_or(|(_, first)| first < floor) {
                behind.push(Arc::clone(&entry));
            }
            kept.is_in_line = placed.has_more;
            let has_new = !kept.tail.is_empty();
            drop(kept);
            if placed.has_more {
                self.round.push(entry);
                break;
            }
            if has_new {
                self.changed(&entry, 0, 0);
            }
        }
        Ok(behind)
    }
}

impl Places {
    /// The topics of the round whose pages are damaged; they are not of the round any more.
    pub(super) fn damaged(
        &mut self,
        conn: &Connection,
        out: &mut Vec<u8>,
    ) -> rusqlite::Result<Vec<Arc<Entry>>> {
        let mut damaged = Vec::new();
        for entry in std::mem::take(&mut self.round) {
            let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
            match place(conn, &entry, self.upto, out).and_then(|_| transaction.commit()) {
                Ok(()) => self.round.push(entry),
                Err(error) if is_corrupt(&error) => damaged.push(entry),
                Err(error) => return Err(error),
            }
        }
        Ok(damaged)
    }
}

/// What was written of one topic.
struct Placed {
    /// So many of its tail are done with.
    messages: usize,
    /// So many offsets may have been deleted.
    deleted: usize,
    /// The oldest message of that life that is placed.
    first_there: Option<(i64, u64)>,
    /// Whether the round has more of it.
    has_more: bool,
}

/// Writes where some of a topic's messages stand, and what is known of it; deletes some of what it has
/// dropped.
fn place(
    conn: &Connection,
    entry: &Entry,
    upto: i64,
    out: &mut Vec<u8>,
) -> rusqlite::Result<Placed> {
    let (state, durability, has_row, first, tail, has_more) = {
        let kept = entry.lock();
        let tail: Vec<_> = kept.tail.iter().take(SLICE).copied().collect();
        let next = kept.tail.get(tail.len());
        let has_more = next.is_some_and(|(_, seq)| *seq <= upto);
        (
            kept.committed,
            kept.durability,
            kept.has_row,
            kept.first_there,
            tail,
            has_more,
        )
    };
    let mut placed = Placed {
        messages: tail.len(),
        deleted: 0,
        first_there: first,
        has_more,
    };
    if !has_row {
        return Ok(placed);
    }
    let floor = state.floor();
    let mut insert = conn
        .prepare_cached("INSERT OR REPLACE INTO place(topic, offset, seq) VALUES (?1, ?2, ?3)")?;
    for (offset, seq) in &tail {
        if *offset < floor {
            bury(conn, *seq)?;
        } else {
            insert.execute(params![state.id, offset.cast_signed(), seq])?;
            if *offset == 1 {
                placed.first_there = Some((state.id, 1));
            }
        }
    }
    write_row(conn, &entry.topic, durability, &state, out)?;
    if let Some((id, first)) = placed.first_there
        && id == state.id
        && first < floor
    {
        let upto = floor.min(first.saturating_add(SLICE as u64));
        delete_range(conn, id, upto)?;
        placed.deleted = usize::try_from(upto - first).unwrap_or(SLICE);
        placed.first_there = Some((id, upto));
    }
    Ok(placed)
}

/// A message is to be deleted.
fn bury(conn: &Connection, seq: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT OR IGNORE INTO dead(seq) VALUES (?1)")?
        .execute([seq])
        .map(|_| ())
}

/// Deletes some messages that are to be deleted. Whether there may be more.
pub(super) fn delete_dead(conn: &Connection) -> rusqlite::Result<bool> {
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    let dead = conn
        .prepare_cached("SELECT seq FROM dead ORDER BY seq LIMIT ?1")?
        .query_map([DEAD], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<i64>>>()?;
    // What was published together mostly goes together: many rows of a page, in one pass over it.
    let mut delete = conn.prepare_cached("DELETE FROM message WHERE seq BETWEEN ?1 AND ?2")?;
    for run in dead.chunk_by(|one, next| one + 1 == *next) {
        if let (Some(first), Some(last)) = (run.first(), run.last()) {
            delete.execute([first, last])?;
        }
    }
    drop(delete);
    if let Some(last) = dead.last() {
        conn.prepare_cached("DELETE FROM dead WHERE seq <= ?1")?
            .execute([last])?;
    }
    transaction.commit()?;
    Ok(dead.len() as i64 == DEAD)
}

/// Deletes some of what a topic has dropped. Whether there may be more.
pub(super) fn delete_dropped(
    conn: &Connection,
    entry: &Entry,
    out: &mut Vec<u8>,
) -> rusqlite::Result<bool> {
    let (state, durability, has_row) = {
        let kept = entry.lock();
        (kept.committed, kept.durability, kept.has_row)
    };
    let Some(upto) = some_before(conn, state.id, state.floor())? else {
        return Ok(false);
    };
    if !has_row {
        return Ok(false);
    }
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    // Whoever reads finds where the topic begins in the moment in which the rest goes.
    write_row(conn, &entry.topic, durability, &state, out)?;
    delete_range(conn, state.id, upto)?;
    transaction.commit()?;
    Ok(true)
}

/// Deletes some messages of a life that is gone. Whether there may be more.
pub(super) fn delete_life(conn: &Connection, id: i64) -> rusqlite::Result<bool> {
    let Some(upto) = some_before(conn, id, u64::MAX >> 1)? else {
        return Ok(false);
    };
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    delete_range(conn, id, upto)?;
    transaction.commit()?;
    Ok(true)
}

/// The end of the oldest placed messages, as many as go at once, if there are any before `floor`.
fn some_before(conn: &Connection, id: i64, floor: u64) -> rusqlite::Result<Option<u64>> {
    let first: Option<i64> = conn
        .prepare_cached("SELECT min(offset) FROM place WHERE topic = ?1")?
        .query_row([id], |row| row.get(0))?;
    let first = first.map(i64::cast_unsigned).filter(|first| *first < floor);
    Ok(first.map(|first| floor.min(first.saturating_add(SLICE as u64 / 2))))
}

/// The placed messages of a topic before that offset are to be deleted.
fn delete_range(conn: &Connection, id: i64, upto: u64) -> rusqlite::Result<()> {
    let range = params![id, upto.cast_signed()];
    conn.prepare_cached(
        "INSERT OR IGNORE INTO dead(seq)
         SELECT seq FROM place WHERE topic = ?1 AND offset < ?2",
    )?
    .execute(range)?;
    conn.prepare_cached("DELETE FROM place WHERE topic = ?1 AND offset < ?2")?
        .execute(range)
        .map(|_| ())
}
