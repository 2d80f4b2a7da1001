//! The messages of a topic, each looked at, and what is wrong with them.

use std::fmt;

use rusqlite::Connection;

use super::rows::{Rows, Seen, number_of};
use crate::history::disk::reader::is_corrupt;
use crate::history::disk::record::check_message;
use crate::history::disk::seen::mark_of;
use crate::history::disk::state::{Mark, State};
use crate::model::TopicName;

/// Something of a store that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What it is of.
    pub place: Place,
    /// What is wrong.
    pub what: String,
}

/// Where something is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The messages of a topic from one offset to the other.
    Messages {
        /// Whose.
        topic: TopicName,
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
    /// The record of a topic as a whole: what it is called, or where it begins and ends.
    Topic(TopicName),
    /// The retained message of a topic.
    Retained(TopicName),
    /// Records whose topic is not known; of one of these tables, between those numbers.
    Records {
        /// What they are.
        table: &'static str,
        /// The first one's number.
        first: i64,
        /// The last one's.
        last: i64,
    },
    /// The file's own structure.
    File,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Messages { topic, first, last } if first == last => {
                write!(f, "{:?}, offset {first}", topic.as_str())?;
            }
            Place::Messages { topic, first, last } => {
                write!(f, "{:?}, offsets {first} to {last}", topic.as_str())?;
            }
            Place::Topic(topic) => write!(f, "{:?}", topic.as_str())?,
            Place::Retained(topic) => write!(f, "{:?}, the retained message", topic.as_str())?,
            Place::Records { table, first, last } if first == last => {
                write!(f, "the {table} {first}")?;
            }
            Place::Records { table, first, last } => write!(f, "the {table} {first} to {last}")?,
            Place::File => f.write_str("the file")?,
        }
        write!(f, ": {}", self.what)
    }
}

impl Damage {
    pub(super) fn new(place: Place, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { place, what }
    }
}

pub(super) const CHECKSUM: &str = "what is there does not fit its checksum";
pub(super) const UNREADABLE: &str = "a page of the file cannot be read";
const MISSING: &str = "missing";

/// What stands at a place of a topic's history.
pub(super) enum Found<'a> {
    /// A message whose record is whole.
    Whole(Mark, &'a [u8]),
    /// Nothing that can be relied on, from one offset to the other.
    Damaged(u64, u64, &'static str),
}

/// Looks at each message that a topic holds, in order; what is damaged in a row is told as one. `tail` are
/// the topic's messages that have not been placed.
///
/// # Errors
/// What is wrong beside damage; what `each` says.
pub(super) fn walk<E: From<rusqlite::Error>>(
    conn: &Connection,
    state: &State,
    tail: &[(u64, i64)],
    each: impl FnMut(Found<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut walking = Walking {
        conn,
        id: state.id,
        next: state.start.offset,
        damaged: None,
        each,
    };
    let placed = tail.first().map_or(state.newest, |(first, _)| {
        state.newest.min(first.saturating_sub(1))
    });
    let rows = Rows {
        select: "SELECT offset, seq FROM place
             WHERE topic = ?3 AND offset BETWEEN ?1 AND ?2 ORDER BY offset",
        topic: Some(state.id),
        first: state.start.offset.cast_signed(),
        last: placed.cast_signed(),
    };
    rows.each(conn, |seen| match seen {
        Seen::Unreadable(first, last) => {
            let (first, last) = (first.cast_unsigned(), last.cast_unsigned());
            walking.next = last + 1;
            walking.see(Found::Damaged(first, last, UNREADABLE))
        }
        Seen::Row(row) => {
            let seq = row.get(1).unwrap_or_default();
            walking.at(number_of(row).cast_unsigned(), seq)
        }
    })?;
    for (offset, seq) in tail {
        if (walking.next..=state.newest).contains(offset) {
            walking.at(*offset, *seq)?;
        }
    }
    walking.end(state.newest)
}

struct Walking<'a, F> {
    conn: &'a Connection,
    id: i64,
    /// The offset that is expected.
    next: u64,
    /// What was found last, if that was damage.
    damaged: Option<(u64, u64, &'static str)>,
    each: F,
}

impl<F> Walking<'_, F> {
    /// Looks at the message that should stand at an offset.
    fn at<E>(&mut self, offset: u64, seq: i64) -> Result<(), E>
    where
        E: From<rusqlite::Error>,
        F: FnMut(Found<'_>) -> Result<(), E>,
    {
        if offset > self.next {
            self.see(Found::Damaged(self.next, offset - 1, MISSING))?;
        }
        self.next = offset + 1;
        let (conn, id) = (self.conn, self.id);
        record(conn, id, (offset, seq), |found| {
            self.see(match found {
                Ok((mark, body)) => Found::Whole(mark, body),
                Err(what) => Found::Damaged(offset, offset, what),
            })
        })?
    }

    fn see<E>(&mut self, found: Found<'_>) -> Result<(), E>
    where
        F: FnMut(Found<'_>) -> Result<(), E>,
    {
        if let Found::Damaged(first, last, what) = found {
            if let Some((_, upto, before)) = &mut self.damaged
                && *before == what
                && *upto + 1 == first
            {
                *upto = last;
                return Ok(());
            }
            self.flush()?;
            self.damaged = Some((first, last, what));
            return Ok(());
        }
        self.flush()?;
        (self.each)(found)
    }

    fn flush<E>(&mut self) -> Result<(), E>
    where
        F: FnMut(Found<'_>) -> Result<(), E>,
    {
        match self.damaged.take() {
            Some((first, last, what)) => (self.each)(Found::Damaged(first, last, what)),
            None => Ok(()),
        }
    }

    fn end<E>(&mut self, newest: u64) -> Result<(), E>
    where
        F: FnMut(Found<'_>) -> Result<(), E>,
    {
        if self.next <= newest {
            self.see(Found::Damaged(self.next, newest, MISSING))?;
        }
        self.flush()
    }
}

/// Gives the record with that number, if it is the whole one of the topic's message at that offset, or says
/// what is wrong.
pub(super) fn record<T>(
    conn: &Connection,
    id: i64,
    (offset, seq): (u64, i64),
    see: impl FnOnce(Result<(Mark, &[u8]), &'static str>) -> T,
) -> rusqlite::Result<T> {
    let mut select =
        conn.prepare_cached("SELECT offset, time, before, body FROM message WHERE seq = ?1")?;
    let mut rows = select.query([seq])?;
    match rows.next() {
        Ok(None) => Ok(see(Err(MISSING))),
        Err(error) if is_corrupt(&error) => Ok(see(Err(UNREADABLE))),
        Err(error) => Err(error),
        Ok(Some(row)) => Ok(see(match mark_of(row) {
            Ok((mark, body)) if mark.offset == offset && check_message(id, mark, body).is_ok() => {
                Ok((mark, body))
            }
            _ => Err(CHECKSUM),
        })),
    }
}
