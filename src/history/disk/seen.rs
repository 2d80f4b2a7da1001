//! The messages of one topic on the disk, at one moment: found, checked, and searched.

use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Row, params};

use super::lookup::{Ask, Edge};
use super::reader::{MARKS, is_corrupt};
use super::record::{Damaged, check_message, read_message, read_topic};
use super::state::Mark;
use crate::history::Limit;
use crate::model::{Message, Timestamp};

/// What is asked about, as the disk has it.
pub(super) struct Seen<'a> {
    conn: &'a Connection,
    ask: &'a Ask,
    /// Messages of which the disk does not know where they stand: the newest.
    tail: Vec<(u64, i64)>,
    first: u64,
    pub(super) last: u64,
    /// The oldest that is held.
    held: u64,
    /// The last of them that was found damaged.
    pub(super) damaged: Option<u64>,
}

/// What of a topic's messages has not been placed, from the one before the first that is asked about on: at
/// most so many; and whether there are more.
pub(super) fn tail(ask: &Ask, most: usize) -> (Vec<(u64, i64)>, bool) {
    let kept = ask.entry.lock();
    if kept.committed.id != ask.id {
        return (Vec::new(), false);
    }
    // With the one before, whose time is asked for.
    let first = ask.first.saturating_sub(1);
    let first = kept.tail.partition_point(|(offset, _)| *offset < first);
    let tail: Vec<_> = kept.tail.range(first..).take(most).copied().collect();
    let has_more = first + tail.len() < kept.tail.len();
    (tail, has_more)
}

impl<'a> Seen<'a> {
    pub(super) fn new(
        conn: &'a Connection,
        ask: &'a Ask,
        (tail, has_more): (Vec<(u64, i64)>, bool),
    ) -> Self {
        // What is not looked at is not asked about.
        let known = tail.last().filter(|_| has_more);
        let last = known.map_or(ask.last, |(offset, _)| ask.last.min(*offset));
        Self {
            conn,
            ask,
            tail,
            first: ask.first,
            last,
            held: ask.first,
            damaged: None,
        }
    }

    /// Leaves out what has been dropped since it was asked.
    pub(super) fn bound(&mut self) -> rusqlite::Result<()> {
        let id = self.ask.id;
        let row = self
            .conn
            .prepare_cached("SELECT body FROM topic WHERE id = ?1")?
            .query_row([id], |row| {
                let body = row.get_ref(0)?.as_blob().unwrap_or_default();
                Ok(read_topic(id, body).map(|(_, _, state)| state))
            })
            .optional();
        self.held = match row {
            Ok(Some(Ok(state))) => state.start.offset,
            Ok(None) => {
                self.last = 0;
                return Ok(());
            }
            // It is written again with the next change.
            Ok(Some(Err(Damaged))) => self.ask.entry.lock().committed.start.offset,
            Err(error) if is_corrupt(&error) => self.ask.entry.lock().committed.start.offset,
            Err(error) => return Err(error),
        };
        self.first = self.first.max(self.held);
        Ok(())
    }

    /// Walks along the records from `first` on, as long as `each` wants another. One that is damaged
    /// or missing is noted, and those after it are walked along.
    fn walk(
        &mut self,
        first: u64,
        mut each: impl FnMut(&mut Self, Mark, &[u8]) -> Result<bool, Damaged>,
    ) -> rusqlite::Result<()> {
        let unplaced = self.tail.first().map(|(offset, _)| *offset);
        let placed = self
            .last
            .min(unplaced.map_or(u64::MAX, |offset| offset - 1));
        let mut select = placed_between(self.conn)?;
        let mut next = first;
        while next <= placed {
            let between = params![self.ask.id, next.cast_signed(), placed.cast_signed()];
            let mut rows = select.query(between)?;
            match self.walk_rows(&mut rows, &mut next, placed, &mut each) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) if is_corrupt(&error) => {
                    drop(rows);
                    next = self.skip(&mut select, next, placed)?;
                }
                Err(error) => return Err(error),
            }
        }
        let tail = self.tail.partition_point(|(offset, _)| *offset < next);
        for index in tail..self.tail.len() {
            let Some((offset, seq)) = self.tail.get(index).copied() else {
                break;
            };
            if offset > self.last {
                break;
            }
            let mut wants_more = Err(Damaged);
            let found = numbered(self.conn)?.query_row([seq], |row| {
                wants_more = mark_of(row).and_then(|(mark, body)| each(self, mark, body));
                Ok(())
            });
            match (found, wants_more) {
                (Ok(()), Ok(true)) => {}
                (Ok(()), Ok(false)) => return Ok(()),
                (Ok(()) | Err(rusqlite::Error::QueryReturnedNoRows), _) => self.note(offset),
                (Err(error), _) if is_corrupt(&error) => self.note(offset),
                (Err(error), _) => return Err(error),
            }
        }
        Ok(())
    }

    /// Walks along rows; whether it came to the end.
    fn walk_rows(
        &mut self,
        rows: &mut rusqlite::Rows<'_>,
        next: &mut u64,
        last: u64,
        each: &mut impl FnMut(&mut Self, Mark, &[u8]) -> Result<bool, Damaged>,
    ) -> rusqlite::Result<bool> {
        while *next <= last {
            let Some(row) = rows.next()? else {
                self.note(last);
                *next = last + 1;
                break;
            };
            // What the message says of its offset may be what is damaged of it.
            let place = row.get::<_, i64>(4).map_or(0, i64::cast_unsigned);
            if place < *next || place > last {
                // Whatever that is, it does not stand here.
                self.note(*next);
                *next += 1;
                continue;
            }
            if place > *next {
                self.note(place - 1);
            }
            *next = place + 1;
            let whole = mark_of(row).and_then(|(mark, body)| {
                if mark.offset == place {
                    each(self, mark, body)
                } else {
                    Err(Damaged)
                }
            });
            match whole {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(Damaged) => self.note(place),
            }
        }
        Ok(true)
    }

    /// The next offset after a page that cannot be read.
    fn skip(
        &mut self,
        select: &mut CachedStatement<'_>,
        from: u64,
        last: u64,
    ) -> rusqlite::Result<u64> {
        let mut step = 1;
        let mut next = from;
        loop {
            next = next.saturating_add(step).min(last + 1);
            step *= 2;
            self.note(next - 1);
            if next > last {
                return Ok(next);
            }
            let mut rows =
                select.query(params![self.ask.id, next.cast_signed(), last.cast_signed()])?;
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
    pub(super) fn read(
        &mut self,
        limit: Limit,
        from: Timestamp,
    ) -> rusqlite::Result<Vec<Arc<Message>>> {
        let ask = self.ask;
        let mut found: Vec<Arc<Message>> = Vec::new();
        let mut bytes = 0_usize;
        let mut damaged = None;
        let mut first = self.first;
        if from > Timestamp(0) && self.mark(first)?.is_some_and(|mark| mark.time < from) {
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
    pub(super) fn search(&mut self, is_there: impl Fn(Mark) -> bool) -> rusqlite::Result<u64> {
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
    pub(super) fn edge(&mut self, is_there: impl Fn(Mark) -> bool) -> rusqlite::Result<Edge> {
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
            upto: self.ask.last,
            last,
            damaged: self.damaged,
        })
    }

    /// Where one message stands, if it is whole.
    fn mark(&self, offset: u64) -> rusqlite::Result<Option<Mark>> {
        let check = |row: &Row<'_>| {
            let whole = mark_of(row).and_then(|(mark, body)| {
                check_message(self.ask.id, mark, body)?;
                Ok(mark)
            });
            Ok(whole.ok().filter(|mark| mark.offset == offset))
        };
        let in_tail = self.tail.binary_search_by_key(&offset, |(at, _)| *at);
        let found = match in_tail.ok().and_then(|index| self.tail.get(index)) {
            Some((_, seq)) => numbered(self.conn)?.query_row([*seq], check),
            None => placed_between(self.conn)?.query_row(
                params![self.ask.id, offset.cast_signed(), offset.cast_signed()],
                check,
            ),
        };
        match found {
            Err(rusqlite::Error::QueryReturnedNoRows) => Ok(None),
            Err(error) if is_corrupt(&error) => Ok(None),
            found => found,
        }
    }
}

fn placed_between(conn: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
    // A place without its message is one that is damaged: its offset is missed.
    conn.prepare_cached(
        "SELECT message.offset, message.time, message.before, message.body, place.offset
         FROM place CROSS JOIN message ON message.seq = place.seq
         WHERE place.topic = ?1 AND place.offset BETWEEN ?2 AND ?3 ORDER BY place.offset",
    )
}

fn numbered(conn: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
    conn.prepare_cached("SELECT offset, time, before, body FROM message WHERE seq = ?1")
}

/// Any value may be of any type where a page is damaged.
pub(super) fn mark_of<'a>(row: &'a Row<'_>) -> Result<(Mark, &'a [u8]), Damaged> {
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
