//! Messages that were committed and not placed yet: what topics' records do not tell of.

use std::collections::HashMap;

use rusqlite::Connection;

use super::ToolError;
use super::rows::{Rows, Seen, blob, number_of};
use super::walk::{CHECKSUM, Damage, Place, UNREADABLE, record};
use crate::history::disk::record::{check_message, read_message};
use crate::history::disk::state::{Mark, State};
use crate::history::disk::{load, schema};
use crate::model::{Timestamp, TopicName};

/// All of them, by the number of their topic.
#[derive(Debug, Default)]
pub(super) struct Tail {
    topics: HashMap<i64, Vec<(u64, i64)>>,
    /// Whether all of them are as they were written.
    pub(super) is_whole: bool,
    /// Those of which it is not known whose they are.
    pub(super) damages: Vec<Damage>,
}

impl Tail {
    pub(super) fn read(conn: &Connection) -> Result<Self, ToolError> {
        let placed = schema::meta(conn, "placed")?.and_then(|text| text.parse().ok());
        let rows = Rows {
            select: "SELECT seq, topic, offset, time, before, body FROM message
                 WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq",
            topic: None,
            first: placed.unwrap_or(0_i64).saturating_add(1),
            last: i64::MAX,
        };
        let mut tail = Self {
            is_whole: true,
            ..Self::default()
        };
        rows.each(conn, |seen| {
            let table = "message";
            let row = match seen {
                Seen::Row(row) => row,
                Seen::Unreadable(first, last) => {
                    tail.is_whole = false;
                    let last = last.min(load::last(conn).unwrap_or(first)).max(first);
                    let place = Place::Records { table, first, last };
                    tail.damages.push(Damage::new(place, UNREADABLE));
                    return Ok(());
                }
            };
            let number = |index: usize| row.get::<_, i64>(index).ok();
            let seq = number_of(row);
            let (Some(id), Some(offset)) = (number(1), number(2)) else {
                tail.is_whole = false;
                let (first, last) = (seq, seq);
                let place = Place::Records { table, first, last };
                tail.damages.push(Damage::new(place, CHECKSUM));
                return Ok(());
            };
            let mark = Mark {
                offset: offset.cast_unsigned(),
                time: Timestamp(number(3).unwrap_or_default().cast_unsigned()),
                before: number(4).unwrap_or_default().cast_unsigned(),
            };
            let body = blob(row, 5).unwrap_or_default();
            tail.is_whole &= check_message(id, mark, body).is_ok();
            tail.topics.entry(id).or_default().push((mark.offset, seq));
            Ok::<(), ToolError>(())
        })?;
        Ok(tail)
    }

    /// Those of a topic, in order.
    pub(super) fn of(&self, id: i64) -> &[(u64, i64)] {
        self.topics.get(&id).map(Vec::as_slice).unwrap_or_default()
    }

    /// What is known of a topic, with what its record does not tell.
    pub(super) fn extend(
        &self,
        conn: &Connection,
        topic: &TopicName,
        mut state: State,
    ) -> rusqlite::Result<State> {
        for (offset, seq) in self.of(state.id) {
            if *offset != state.newest + 1 {
                continue;
            }
            record(conn, state.id, (*offset, *seq), |found| {
                let read = found.ok().and_then(|(mark, body)| {
                    let message = read_message((state.id, state.epoch), mark, topic, body);
                    Some((mark, message.ok()?))
                });
                let is_empty = state.len() == 0;
                state.newest = *offset;
                // Of one that is damaged nothing is known but that it was there.
                if let Some((mark, message)) = read {
                    if is_empty {
                        state.start = mark;
                    }
                    state.time = mark.time;
                    state.weight = mark.before.saturating_add(message.weight() as u64);
                }
            })?;
        }
        Ok(state)
    }
}
