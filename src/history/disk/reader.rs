//! A thread that answers what histories ask of the disk.

use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};

use super::lookup::{Ask, Edge, Question, Since};
use super::record::{Damaged, check_message, read_message, read_topic};
use super::state::Mark;
use super::{Shared, schema};
use crate::history::{Finding, HistoryError, Limit};
use crate::model::{Message, Timestamp};

/// As many marks are found at once.
pub(super) const MARKS: usize = 256;

/// Answers until there are no more questions.
pub(super) fn run(shared: &Shared) {
    let mut opened: Option<Connection> = None;
    while let Some(ask) = shared.lookups.next() {
        let conn = match opened.take() {
            Some(conn) => Ok(conn),
            None => schema::to_read(&shared.file),
        };
        let found = conn.and_then(|conn| {
            answer(shared, &conn, &ask)?;
            opened = Some(conn);
            Ok(())
        });
        if let Err(error) = found {
            tracing::error!(topic = %ask.entry.topic, %error, "history cannot be read");
            let reason = "the disk cannot be read".to_owned();
            ask.answer(Err(HistoryError::Unavailable(reason)));
        }
        shared.lookups.done();
    }
}

fn answer(shared: &Shared, conn: &Connection, ask: &Ask) -> rusqlite::Result<()> {
    // One moment, whatever is written and dropped meanwhile.
    let _moment = conn.unchecked_transaction()?;
    let mut seen = Seen {
        conn,
        ask,
        first: ask.first,
        last: ask.last,
        held: ask.first,
        damaged: None,
    };
    seen.bound()?;
    let finding = match ask.what {
        Question::Read { limit, from } => Finding::Messages(seen.read(limit, from)?),
        Question::Since(from) => Finding::Since(Since {
            id: ask.id,
            from,
            offset: seen.search(|mark| mark.time >= from)?,
        }),
        Question::Edge { from, before } => {
            // The newest stays whatever it weighs.
            let newest = seen.last;
            let fits = |mark: Mark| mark.before >= before || mark.offset == newest;
            Finding::Edge(seen.edge(|mark| mark.time >= from && fits(mark))?)
        }
    };
    if let Some(damaged) = seen.damaged {
        let (from, last) = (ask.first, damaged);
        shared.damage(&ask.entry.topic, from, last, "a record is damaged");
        if !matches!(finding, Finding::Edge(_)) {
            let edge = seen.edge(|mark| mark.offset > damaged)?;
            ask.answer(Ok(Finding::Edge(edge)));
        }
    }
    ask.answer(Ok(finding));
    Ok(())
}

/// The messages that are asked about, at one moment.
struct Seen<'a> {
    conn: &'a Connection,
    ask: &'a Ask,
    first: u64,
    last: u64,
    /// The oldest that is held.
    held: u64,
    /// The last of them that was found damaged.
    damaged: Option<u64>,
}

impl Seen<'_> {
    /// Leaves out what has been dropped since it was asked.
    fn bound(&mut self) -> rusqlite::Result<()> {
        let id = self.ask.id;
        let row = self
            .conn
            .prepare_cached("SELECT body FROM topic WHERE id = ?1")?
            .query_row([id], |row| {
                Ok(read_topic(id, row.get_ref(0)?.as_blob()?).map(|(_, _, state)| state))
            })
            .optional()?;
        let state = match row {
            Some(Ok(state)) => state,
            // It is written again with the next change.
            Some(Err(Damaged)) => self.ask.entry.lock().committed,
            None => {
                self.last = 0;
                return Ok(());
            }
        };
        if state.id == id {
            self.held = state.start.offset;
            self.first = self.first.max(self.held);
            self.last = self.last.min(state.newest);
        } else {
            self.last = 0;
        }
        Ok(())
    }

    /// Walks along the records from `first` on, as long as `each` wants another. One that is damaged
    /// or missing is noted, and those after it are walked along.
    fn walk(
        &mut self,
        first: u64,
        mut each: impl FnMut(&mut Self, Mark, &[u8]) -> Result<bool, Damaged>,
    ) -> rusqlite::Result<()> {
        let mut select = select(self.conn)?;
        let id = self.ask.id;
        let mut next = first;
        let mut rows = select.query(params![id, next.cast_signed(), self.last.cast_signed()])?;
        while next <= self.last {
            let row = match rows.next() {
                Ok(row) => row,
                Err(error) if is_corrupt(&error) => {
                    drop(rows);
                    next = self.skip(&mut select, next)?;
                    rows =
                        select.query(params![id, next.cast_signed(), self.last.cast_signed()])?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Some(row) = row else {
                self.note(self.last);
                break;
            };
            let Ok((mark, body)) = mark_of(row) else {
                self.note(next);
                next += 1;
                continue;
            };
            if mark.offset != next {
                self.note(mark.offset.saturating_sub(1));
            }
            next = mark.offset + 1;
            match each(self, mark, body) {
                Ok(true) => {}
                Ok(false) => break,
                Err(Damaged) => self.note(mark.offset),
            }
        }
        Ok(())
    }

    /// The next offset after a page that cannot be read.
    fn skip(&mut self, select: &mut CachedStatement<'_>, from: u64) -> rusqlite::Result<u64> {
        let mut step = 1;
        let mut next = from;
        loop {
            next = next.saturating_add(step).min(self.last + 1);
            step *= 2;
            self.note(next - 1);
            if next > self.last {
                return Ok(next);
            }
            let at = params![self.ask.id, next.cast_signed(), self.last.cast_signed()];
            let mut rows = select.query(at)?;
            match rows.next() {
                Ok(_) => return Ok(next),
                Err(error) if is_corrupt(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn note(&mut self, offset: u64) {
        self.damaged = self.damaged.max(Some(offset));
    }

    /// The messages from the first on that is not before that time, without those before one that is
    /// damaged.
    fn read(&mut self, limit: Limit, from: Timestamp) -> rusqlite::Result<Vec<Arc<Message>>> {
        let ask = self.ask;
        let mut found: Vec<Arc<Message>> = Vec::new();
        let mut bytes = 0_usize;
        let mut damaged = None;
        let mut first = self.first;
        if self.first <= self.last && self.mark(self.first)?.is_none_or(|mark| mark.time < from) {
            first = self.search(|mark| mark.time >= from)?;
        }
        self.walk(first, |seen, mark, body| {
            if seen.damaged > damaged {
                damaged = seen.damaged;
                found.clear();
                bytes = 0;
            }
            if found.len() >= limit.messages {
                return Ok(false);
            }
            let message = read_message((ask.id, ask.epoch), mark, &ask.entry.topic, body)?;
            bytes = bytes.saturating_add(message.weight());
            if !found.is_empty() && bytes > limit.bytes {
                return Ok(false);
            }
            found.push(Arc::new(message));
            Ok(true)
        })?;
        if self.damaged > damaged {
            found.retain(|message| {
                let offset = message.position.map(|position| position.offset);
                offset > self.damaged
            });
        }
        Ok(found)
    }

    /// The first offset of which `is_there` is true; it is so of all after it.
    fn search(&mut self, is_there: impl Fn(Mark) -> bool) -> rusqlite::Result<u64> {
        let (mut low, mut high) = (self.first, self.last + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.mark(middle)? {
                Some(mark) if is_there(mark) => high = middle,
                Some(_) => low = middle + 1,
                // What is damaged is set aside with all before it.
                None => {
                    self.note(middle);
                    low = middle + 1;
                }
            }
        }
        Ok(low)
    }

    /// The first message of which `is_there` is true, as [`search`](Self::search), and the next ones.
    fn edge(&mut self, is_there: impl Fn(Mark) -> bool) -> rusqlite::Result<Edge> {
        let first = self.search(is_there)?;
        let last = match first.checked_sub(1) {
            Some(before) if before >= self.held => self.mark(before)?.map(|mark| mark.time),
            _ => None,
        };
        let mut marks = Vec::new();
        let mut damaged = self.damaged;
        self.walk(first, |seen, mark, body| {
            if seen.damaged > damaged {
                damaged = seen.damaged;
                marks.clear();
            }
            check_message(seen.ask.id, mark, body)?;
            marks.push(mark);
            Ok(marks.len() < MARKS)
        })?;
        marks.retain(|mark| Some(mark.offset) > self.damaged);
        Ok(Edge {
            id: self.ask.id,
            marks,
            last,
            damaged: self.damaged,
        })
    }

    /// Where one message stands, if it is whole.
    fn mark(&self, offset: u64) -> rusqlite::Result<Option<Mark>> {
        let mut select = select(self.conn)?;
        let at = params![self.ask.id, offset.cast_signed(), offset.cast_signed()];
        let found = select.query_row(at, |row| {
            let whole = mark_of(row).and_then(|(mark, body)| {
                check_message(self.ask.id, mark, body)?;
                Ok(mark)
            });
            Ok(whole.ok())
        });
        match found {
            Err(rusqlite::Error::QueryReturnedNoRows) => Ok(None),
            Err(error) if is_corrupt(&error) => Ok(None),
            found => found,
        }
    }
}

fn select(conn: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
    conn.prepare_cached(
        "SELECT offset, time, before, body FROM message
         WHERE topic = ?1 AND offset BETWEEN ?2 AND ?3 ORDER BY offset",
    )
}

/// Any value may be of any type where a page is damaged.
fn mark_of<'a>(row: &'a rusqlite::Row<'_>) -> Result<(Mark, &'a [u8]), Damaged> {
    let number = |index: usize| -> Result<u64, Damaged> {
        let number: i64 = row.get(index).map_err(|_| Damaged)?;
        Ok(number.cast_unsigned())
    };
    let mark = Mark {
        offset: number(0)?,
        time: Timestamp(number(1)?),
        before: number(2)?,
    };
    let body = row.get_ref(3).map_err(|_| Damaged)?;
    Ok((mark, body.as_blob().map_err(|_| Damaged)?))
}

/// Whether a page of the file is not what it should be.
pub(super) fn is_corrupt(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(
        error.sqlite_error_code(),
        Some(DatabaseCorrupt | NotADatabase)
    )
}
