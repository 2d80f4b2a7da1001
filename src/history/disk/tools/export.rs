//! A store written as lines of JSON.

use std::io::Write;
use std::path::Path;

use rusqlite::Connection;

use super::super::lock::Lock;
use super::super::record::{read_message, read_once, read_retained, read_topic};
use super::super::schema;
use super::super::seen::mark_of;
use super::super::state::State;
use super::lines::{Body, FORMAT, Line, VERSION, name};
use super::{Counts, ToolError, settle};
use crate::model::{Timestamp, TopicName};

/// Writes all that the store holds, one line of JSON for each topic, message, and what is not to be
/// published again. What is damaged is left out, with all of its topic before it. `random` makes epochs
/// where the store has to be put in order first.
///
/// # Errors
/// [`ToolError`].
pub fn export(
    directory: &Path,
    out: &mut dyn Write,
    random: impl Fn() -> u64 + Send + Sync + 'static,
) -> Result<Counts, ToolError> {
    settle(directory, random)?;
    let _lock = Lock::take(directory)?;
    let file = schema::file(directory);
    let failed = |error| ToolError::Database {
        file: file.clone(),
        error,
    };
    let conn = schema::to_read(&file).map_err(failed)?;
    let mut export = Export {
        conn: &conn,
        out,
        counts: Counts::default(),
    };
    export.line(&Line::Format {
        name: FORMAT.to_owned(),
        version: VERSION,
    })?;
    export.all().map_err(failed)??;
    export.out.flush()?;
    Ok(export.counts)
}

struct Export<'a> {
    conn: &'a Connection,
    out: &'a mut dyn Write,
    counts: Counts,
}

/// What the database says, and what became of the lines.
type Written = rusqlite::Result<Result<(), ToolError>>;

impl Export<'_> {
    fn line(&mut self, line: &Line) -> Result<(), ToolError> {
        serde_json::to_writer(&mut *self.out, line).map_err(std::io::Error::from)?;
        self.out.write_all(b"\n")?;
        Ok(())
    }

    fn all(&mut self) -> Written {
        let mut select = self
            .conn
            .prepare("SELECT id, body FROM topic ORDER BY id")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let body = row.get_ref(1)?.as_blob().unwrap_or_default();
            let Ok((topic, durability, state)) = read_topic(row.get(0)?, body) else {
                continue;
            };
            let line = Line::Topic {
                name: topic.to_string(),
                durability: durability.as_str().to_owned(),
                newest: state.newest,
                time: state.time.0,
            };
            let written = self.line(&line);
            if written.is_err() {
                return Ok(written);
            }
            self.counts.topics += 1;
            for part in [Self::messages, Self::retained] {
                let written = part(self, &topic, &state)?;
                if written.is_err() {
                    return Ok(written);
                }
            }
        }
        self.once()
    }

    fn messages(&mut self, topic: &TopicName, state: &State) -> Written {
        // From the first on after which none is damaged.
        let first = self.whole_from(topic, state)?;
        let mut select = self.conn.prepare_cached(
            "SELECT message.offset, message.time, message.before, message.body
             FROM place CROSS JOIN message ON message.seq = place.seq
             WHERE place.topic = ?1 AND place.offset >= ?2 ORDER BY place.offset",
        )?;
        let mut rows = select.query([state.id, first.cast_signed()])?;
        while let Some(row) = rows.next()? {
            let read = mark_of(row)
                .and_then(|(mark, body)| read_message((state.id, state.epoch), mark, topic, body));
            let Ok(message) = read else { continue };
            let body = match Body::new(&message) {
                Ok(body) => body,
                Err(error) => return Ok(Err(std::io::Error::from(error).into())),
            };
            let written = self.line(&Line::Message(body));
            if written.is_err() {
                return Ok(written);
            }
            self.counts.messages += 1;
        }
        Ok(Ok(()))
    }

    fn whole_from(&self, topic: &TopicName, state: &State) -> rusqlite::Result<u64> {
        let mut select = self.conn.prepare_cached(
            "SELECT message.offset, message.time, message.before, message.body
             FROM place CROSS JOIN message ON message.seq = place.seq
             WHERE place.topic = ?1 AND place.offset >= ?2 ORDER BY place.offset",
        )?;
        let start = state.start.offset;
        let mut rows = select.query([state.id, start.cast_signed()])?;
        let (mut first, mut next) = (start, start);
        while let Some(row) = rows.next()? {
            let Ok((mark, body)) = mark_of(row) else {
                continue;
            };
            if mark.offset != next {
                first = mark.offset;
            }
            next = mark.offset + 1;
            if read_message((state.id, state.epoch), mark, topic, body).is_err() {
                first = next;
            }
        }
        Ok(if next == state.newest + 1 {
            first
        } else {
            state.newest + 1
        })
    }

    fn retained(&mut self, topic: &TopicName, state: &State) -> Written {
        let mut select = self
            .conn
            .prepare_cached("SELECT body FROM retained WHERE topic = ?1")?;
        let mut rows = select.query([state.id])?;
        let Some(row) = rows.next()? else {
            return Ok(Ok(()));
        };
        let body = row.get_ref(0)?.as_blob().unwrap_or_default();
        let Ok(message) = read_retained(state.id, topic, body) else {
            return Ok(Ok(()));
        };
        self.counts.retained += 1;
        Ok(match Body::new(&message) {
            Ok(body) => self.line(&Line::Retained(body)),
            Err(error) => Err(std::io::Error::from(error).into()),
        })
    }

    fn once(&mut self) -> Written {
        let mut select = self
            .conn
            .prepare("SELECT time, body FROM once ORDER BY seq")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let time = Timestamp(row.get::<_, i64>(0)?.cast_unsigned());
            let body = row.get_ref(1)?.as_blob().unwrap_or_default();
            let Ok(remembered) = read_once(time, body) else {
                continue;
            };
            let written = self.line(&Line::Once {
                topic: remembered.topic.to_string(),
                name: name(remembered.once.name),
                body: name(remembered.once.body),
                time: time.0,
                position: remembered.position.map(Into::into),
            });
            if written.is_err() {
                return Ok(written);
            }
            self.counts.once += 1;
        }
        Ok(Ok(()))
    }
}
