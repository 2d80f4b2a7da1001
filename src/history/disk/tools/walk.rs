//! The messages of a topic, each looked at, and what is wrong with them.

use std::fmt;

use rusqlite::Connection;

use super::rows::{Rows, Seen};
use crate::history::disk::reader::mark_of;
use crate::history::disk::record::{Damaged, check_message};
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

/// Looks at each message that a topic holds, in order; what is damaged in a row is told as one.
///
/// # Errors
/// What is wrong beside damage; what `each` says.
pub(super) fn walk<E: From<rusqlite::Error>>(
    conn: &Connection,
    state: &State,
    mut each: impl FnMut(Found<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut next = state.start.offset;
    let mut damaged: Option<(u64, u64, &'static str)> = None;
    let mut see = |found: Found<'_>| -> Result<(), E> {
        if let Found::Damaged(first, last, what) = found {
            match &mut damaged {
                Some((_, upto, before)) if *before == what && *upto + 1 == first => *upto = last,
                _ => {
                    if let Some((first, last, what)) = damaged.replace((first, last, what)) {
                        each(Found::Damaged(first, last, what))?;
                    }
                }
            }
            return Ok(());
        }
        if let Some((first, last, what)) = damaged.take() {
            each(Found::Damaged(first, last, what))?;
        }
        each(found)
    };
    let rows = Rows {
        select: "SELECT offset, time, before, body FROM message
             WHERE topic = ?3 AND offset BETWEEN ?1 AND ?2 ORDER BY offset",
        topic: Some(state.id),
        first: state.start.offset.cast_signed(),
        last: state.newest.cast_signed(),
    };
    rows.each(conn, |seen| {
        let row = match seen {
            Seen::Row(row) => row,
            Seen::Unreadable(first, last) => {
                next = last.cast_unsigned() + 1;
                return see(Found::Damaged(
                    first.cast_unsigned(),
                    last.cast_unsigned(),
                    UNREADABLE,
                ));
            }
        };
        let Ok((mark, body)) = mark_of(row) else {
            next += 1;
            return see(Found::Damaged(next - 1, next - 1, CHECKSUM));
        };
        if mark.offset > next {
            see(Found::Damaged(next, mark.offset - 1, MISSING))?;
        }
        next = mark.offset + 1;
        match check_message(state.id, mark, body) {
            Ok(()) => see(Found::Whole(mark, body)),
            Err(Damaged) => see(Found::Damaged(mark.offset, mark.offset, CHECKSUM)),
        }
    })?;
    if next <= state.newest {
        see(Found::Damaged(next, state.newest, MISSING))?;
    }
    if let Some((first, last, what)) = damaged {
        each(Found::Damaged(first, last, what))?;
    }
    Ok(())
}
