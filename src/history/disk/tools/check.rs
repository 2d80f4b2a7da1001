//! Looks through a whole store, and names what is not as it was written.

use rusqlite::{Connection, OptionalExtension as _};

use super::rows::{Seen, all, blob, number_of, once_of};
use super::tail::Tail;
use super::walk::{CHECKSUM, Damage, Found, Place, UNREADABLE, walk};
use super::{Source, ToolError};
use crate::history::disk::reader::is_corrupt;
use crate::history::disk::record::{read_message, read_retained, read_topic};
use crate::history::disk::state::State;
use crate::model::{Timestamp, TopicName};

/// What a store holds that is whole, and how many damages were told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Topics.
    pub topics: u64,
    /// Messages of their histories.
    pub messages: u64,
    /// What these weigh, in bytes.
    pub bytes: u64,
    /// Retained messages.
    pub retained: u64,
    /// Idempotency keys.
    pub once: u64,
    /// Messages that are whole and were set aside, since one after them was damaged.
    pub aside: u64,
    /// Damages.
    pub damages: u64,
    /// What the file takes, in bytes, its log left out.
    pub file: u64,
    /// What of it is free.
    pub free: u64,
}

/// Looks at every record and every page, and tells each damage as it is found.
///
/// # Errors
/// Where the store cannot be read at all, damaged or not.
pub fn check(source: &Source, tell: &mut dyn FnMut(&Damage)) -> Result<Checked, ToolError> {
    let (file, free) = source.room()?;
    let mut checking = Checking {
        conn: &source.conn,
        tail: &source.tail,
        tell,
        found: Checked {
            file,
            free,
            ..Checked::default()
        },
    };
    checking.pages()?;
    if source.lost > 0 {
        let lost = source.lost;
        let what = format!("its log ends early: the last messages are lost, {lost} of them");
        checking.damaged(Place::File, what);
    }
    for damage in &source.tail.damages {
        checking.damaged(damage.place.clone(), damage.what.clone());
    }
    checking.topics()?;
    checking.strays()?;
    checking.once()?;
    Ok(checking.found)
}

struct Checking<'a> {
    conn: &'a Connection,
    tail: &'a Tail,
    tell: &'a mut dyn FnMut(&Damage),
    found: Checked,
}

impl Checking<'_> {
    fn damaged(&mut self, place: Place, what: impl Into<String>) {
        self.found.damages += 1;
        (self.tell)(&Damage::new(place, what));
    }

    fn pages(&mut self) -> Result<(), ToolError> {
        let conn = self.conn;
        let mut check = conn.prepare("PRAGMA integrity_check(100)")?;
        let mut rows = check.query([])?;
        loop {
            match rows.next() {
                Ok(None) => return Ok(()),
                Ok(Some(row)) => {
                    let text: String = row.get(0)?;
                    if text != "ok" {
                        self.damaged(Place::File, text.replace('\n', "; "));
                    }
                }
                Err(error) if is_corrupt(&error) => {
                    self.damaged(Place::File, error.to_string());
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn topics(&mut self) -> Result<(), ToolError> {
        let conn = self.conn;
        all("SELECT id, body FROM topic WHERE id BETWEEN ?1 AND ?2 ORDER BY id").each(
            conn,
            |seen| {
                let row = match seen {
                    Seen::Row(row) => row,
                    Seen::Unreadable(first, last) => {
                        let table = "topic";
                        self.damaged(Place::Records { table, first, last }, UNREADABLE);
                        return Ok(());
                    }
                };
                let id = number_of(row);
                match blob(row, 1).and_then(|body| read_topic(id, body).ok()) {
                    Some((topic, _, state)) => {
                        let state = self.tail.extend(conn, &topic, state)?;
                        self.topic(&topic, &state)
                    }
                    None => self.lost(id, CHECKSUM),
                }
            },
        )
    }

    /// A topic's record is not there, or damaged.
    fn lost(&mut self, id: i64, what: &str) -> Result<(), ToolError> {
        let ends = self
            .conn
            .prepare_cached("SELECT min(offset), max(offset) FROM place WHERE topic = ?1")?
            .query_row([id], |row| {
                Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?))
            });
        let beside = match ends {
            Ok((Some(first), Some(last))) => {
                format!("; with it go its messages, offsets {first} to {last}")
            }
            Ok(_) => String::new(),
            Err(error) if is_corrupt(&error) => "; its messages cannot be read".to_owned(),
            Err(error) => return Err(error.into()),
        };
        let (table, first, last) = ("topic", id, id);
        self.damaged(
            Place::Records { table, first, last },
            format!("{what}{beside}"),
        );
        Ok(())
    }

    fn topic(&mut self, topic: &TopicName, state: &State) -> Result<(), ToolError> {
        self.found.topics += 1;
        let conn = self.conn;
        // What all messages up to the one before weigh, and when that was, where it was whole.
        let mut before: Option<(u64, Timestamp)> = None;
        walk(conn, state, self.tail.of(state.id), |found| {
            let (mark, body) = match found {
                Found::Whole(mark, body) => (mark, body),
                Found::Damaged(first, last, what) => {
                    before = None;
                    let topic = topic.clone();
                    self.damaged(Place::Messages { topic, first, last }, what);
                    return Ok(());
                }
            };
            let message = read_message((state.id, state.epoch), mark, topic, body);
            let fits = before
                .is_none_or(|(weight, time)| (weight, true) == (mark.before, time <= mark.time));
            match message {
                Ok(message) if fits => {
                    let weight = message.weight() as u64;
                    self.found.messages += 1;
                    self.found.bytes += weight;
                    before = Some((mark.before.saturating_add(weight), mark.time));
                }
                other => {
                    before = None;
                    let what = match other {
                        Ok(_) => "it does not go on where the one before ends",
                        Err(_) => "it is whole, but no message",
                    };
                    let (topic, first, last) = (topic.clone(), mark.offset, mark.offset);
                    self.damaged(Place::Messages { topic, first, last }, what);
                }
            }
            Ok::<(), ToolError>(())
        })?;
        if before.is_some_and(|(weight, _)| weight != state.weight) {
            let what = "its record does not end where its messages do";
            self.damaged(Place::Topic(topic.clone()), what);
        }
        self.aside(topic, state)?;
        self.beyond(topic, state)?;
        self.retained(topic, state)
    }

    /// What was set aside; that some of it is damaged was told then.
    fn aside(&mut self, topic: &TopicName, state: &State) -> Result<(), ToolError> {
        let Some(aside) = state.before(state.start.offset) else {
            return Ok(());
        };
        walk(self.conn, &aside, self.tail.of(state.id), |found| {
            if let Found::Whole(mark, body) = found {
                let message = read_message((state.id, state.epoch), mark, topic, body);
                self.found.aside += u64::from(message.is_ok());
            }
            Ok::<(), ToolError>(())
        })
    }

    /// Messages that the topic's record does not know of.
    fn beyond(&mut self, topic: &TopicName, state: &State) -> Result<(), ToolError> {
        let last = self
            .conn
            .prepare_cached("SELECT max(offset) FROM place WHERE topic = ?1 AND offset > ?2")?
            .query_row([state.id, state.newest.cast_signed()], |row| {
                row.get::<_, Option<i64>>(0)
            });
        match last {
            Ok(None) => {}
            Ok(Some(last)) => {
                let (topic, first) = (topic.clone(), state.newest + 1);
                let last = last.cast_unsigned();
                let what = "the topic's record ends before them";
                self.damaged(Place::Messages { topic, first, last }, what);
            }
            // Told already of the message before it, or of the file.
            Err(error) if is_corrupt(&error) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn retained(&mut self, topic: &TopicName, state: &State) -> Result<(), ToolError> {
        let found = self
            .conn
            .prepare_cached("SELECT body FROM retained WHERE topic = ?1")?
            .query_row([state.id], |row| {
                let body = blob(row, 0);
                Ok(body.is_some_and(|body| read_retained(state.id, topic, body).is_ok()))
            })
            .optional();
        match found {
            Ok(None) => {}
            Ok(Some(true)) => self.found.retained += 1,
            Ok(Some(false)) => self.damaged(Place::Retained(topic.clone()), CHECKSUM),
            Err(error) if is_corrupt(&error) => {
                self.damaged(Place::Retained(topic.clone()), UNREADABLE);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Messages and retained ones of topics that have no record.
    fn strays(&mut self) -> Result<(), ToolError> {
        for (table, is_expected) in [
            (
                "place",
                "SELECT EXISTS (SELECT 1 FROM topic WHERE id = ?1)
                     OR EXISTS (SELECT 1 FROM dropped WHERE topic = ?1)",
            ),
            (
                "retained",
                "SELECT EXISTS (SELECT 1 FROM topic WHERE id = ?1)
                     OR EXISTS (SELECT 1 FROM place WHERE topic = ?1)",
            ),
        ] {
            match self.strays_of(table, is_expected) {
                // The file's own check, and those of the topics, have told it.
                Err(ToolError::Database(error)) if is_corrupt(&error) => {}
                strays => strays?,
            }
        }
        Ok(())
    }

    fn strays_of(&mut self, table: &str, is_expected: &str) -> Result<(), ToolError> {
        let conn = self.conn;
        let mut select =
            conn.prepare(&format!("SELECT min(topic) FROM {table} WHERE topic > ?1"))?;
        let mut expected = conn.prepare(is_expected)?;
        let mut last = i64::MIN;
        while let Some(id) = select.query_row([last], |row| row.get::<_, Option<i64>>(0))? {
            last = id;
            if !expected.query_row([id], |row| row.get::<_, bool>(0))? {
                self.lost(id, "its record is missing")?;
            }
        }
        Ok(())
    }

    fn once(&mut self) -> Result<(), ToolError> {
        let conn = self.conn;
        let table = "idempotency key";
        all("SELECT seq, time, body FROM once WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq").each(
            conn,
            |seen| {
                match seen {
                    Seen::Unreadable(first, last) => {
                        self.damaged(Place::Records { table, first, last }, UNREADABLE);
                    }
                    Seen::Row(row) if once_of(row).is_some() => self.found.once += 1,
                    Seen::Row(row) => {
                        let first = number_of(row);
                        let last = first;
                        self.damaged(Place::Records { table, first, last }, CHECKSUM);
                    }
                }
                Ok(())
            },
        )
    }
}
