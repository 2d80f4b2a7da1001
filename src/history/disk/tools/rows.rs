//! The rows of a table, past pages that cannot be read.

use rusqlite::{Connection, Row, Statement, params_from_iter};

use crate::history::Remembered;
use crate::history::disk::reader::is_corrupt;
use crate::history::disk::record::read_once;
use crate::model::Timestamp;

/// A table, or a part of one, in the order of a number that names each row.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    /// Selects the numbers from `?1` to `?2` first of all columns, in order; of the topic `?3`.
    pub(super) select: &'a str,
    pub(super) topic: Option<i64>,
    pub(super) first: i64,
    pub(super) last: i64,
}

/// What stands in it.
pub(super) enum Seen<'a> {
    Row(&'a Row<'a>),
    /// The rows from the one number to the other, as far as there are any.
    Unreadable(i64, i64),
}

impl Rows<'_> {
    /// Gives each row to `each`.
    ///
    /// # Errors
    /// What is wrong beside pages; what `each` says.
    pub(super) fn each<E: From<rusqlite::Error>>(
        &self,
        conn: &Connection,
        mut each: impl FnMut(Seen<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut select = conn.prepare_cached(self.select)?;
        let mut next = Some(self.first);
        while let Some(from) = next.take_if(|from| *from <= self.last) {
            let mut seen = from;
            let mut rows = select.query(self.bounds(from))?;
            let error = loop {
                match rows.next() {
                    Ok(Some(row)) => {
                        seen = match row.get::<_, i64>(0) {
                            Ok(number) => number.saturating_add(1),
                            Err(_) => seen.saturating_add(1),
                        };
                        each(Seen::Row(row))?;
                    }
                    Ok(None) => return Ok(()),
                    Err(error) => break error,
                }
            };
            drop(rows);
            if !is_corrupt(&error) {
                return Err(error.into());
            }
            if seen > self.last {
                return Ok(());
            }
            next = self.readable_after(&mut select, seen)?;
            let last = next.map_or(self.last, |next| next - 1);
            each(Seen::Unreadable(seen, last))?;
        }
        Ok(())
    }

    /// The first number from which on a row can be read, after one from which on none can.
    fn readable_after(
        &self,
        select: &mut Statement<'_>,
        from: i64,
    ) -> rusqlite::Result<Option<i64>> {
        let (mut bad, mut step) = (from, 1_i64);
        let mut good = loop {
            if bad >= self.last {
                return Ok(None);
            }
            let next = bad.saturating_add(step).min(self.last);
            if self.is_readable(select, next)? {
                break next;
            }
            bad = next;
            step = step.saturating_mul(2);
        };
        while good - bad > 1 {
            let middle = bad + (good - bad) / 2;
            if self.is_readable(select, middle)? {
                good = middle;
            } else {
                bad = middle;
            }
        }
        Ok(Some(good))
    }

    fn is_readable(&self, select: &mut Statement<'_>, from: i64) -> rusqlite::Result<bool> {
        let mut rows = select.query(self.bounds(from))?;
        match rows.next() {
            Ok(_) => Ok(true),
            Err(error) if is_corrupt(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn bounds(&self, from: i64) -> rusqlite::ParamsFromIter<impl Iterator<Item = i64>> {
        params_from_iter([from, self.last].into_iter().chain(self.topic))
    }
}

/// The whole of a table.
pub(super) fn all(select: &str) -> Rows<'_> {
    Rows {
        select,
        topic: None,
        first: 0,
        last: i64::MAX,
    }
}

/// The number that names a row.
pub(super) fn number_of(row: &Row<'_>) -> i64 {
    row.get(0).unwrap_or_default()
}

/// The bytes in a column; any value may be of any type where a page is damaged.
pub(super) fn blob<'a>(row: &'a Row<'_>, index: usize) -> Option<&'a [u8]> {
    row.get_ref(index).ok()?.as_blob().ok()
}

/// The idempotency key in a row of its number, time and record.
pub(super) fn once_of(row: &Row<'_>) -> Option<Remembered> {
    let time = Timestamp(row.get::<_, i64>(1).ok()?.cast_unsigned());
    read_once(time, blob(row, 2)?).ok()
}
