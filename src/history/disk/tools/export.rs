//! Writes a store out as lines of JSON, one record after another.

use std::borrow::Cow;
use std::io::Write;

use rusqlite::OptionalExtension as _;

use super::line::{self, ASIDE, EXPORT, FORMAT, First, Last, Once, Topic, write, write_digest};
use super::rows::{Seen, all, blob, number_of, once_of};
use super::walk::{CHECKSUM, Damage, Found, Place, UNREADABLE, walk};
use super::{Source, ToolError};
use crate::history::Remembered;
use crate::history::disk::reader::is_corrupt;
use crate::history::disk::record::{read_message, read_retained, read_topic};
use crate::history::disk::schema;
use crate::history::disk::state::{State, after};
use crate::model::{Durability, Epoch, Filter, Message, Timestamp, TopicName};

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Topics.
    pub topics: u64,
    /// Messages of their histories.
    pub messages: u64,
    /// Retained messages.
    pub retained: u64,
    /// Idempotency keys.
    pub once: u64,
    /// Damages: these, and in a history what is before them, were left out.
    pub damages: u64,
}

/// Writes out all topics that the filter matches, and tells what is damaged.
///
/// What is damaged is left out, and of a history all that is before it: what remains is one unbroken run.
///
/// # Errors
/// Where the store cannot be read, or `out` cannot be written.
pub fn export(
    source: &Source,
    filter: Option<&Filter>,
    now: Timestamp,
    out: &mut dyn Write,
    tell: &mut dyn FnMut(&Damage),
) -> Result<Exported, ToolError> {
    write_out(source, (EXPORT, filter), now, out, tell)
}

/// Writes out what [`export`] leaves out of histories though it is whole, since something after it is
/// damaged, and tells what is. A topic's line names the offsets between which that lies; there may be holes.
///
/// # Errors
/// Where the store cannot be read, or `out` cannot be written.
pub fn export_aside(
    source: &Source,
    filter: Option<&Filter>,
    now: Timestamp,
    out: &mut dyn Write,
    tell: &mut dyn FnMut(&Damage),
) -> Result<Exported, ToolError> {
    write_out(source, (ASIDE, filter), now, out, tell)
}

fn write_out(
    source: &Source,
    (what, filter): (&'static str, Option<&Filter>),
    now: Timestamp,
    out: &mut dyn Write,
    tell: &mut dyn FnMut(&Damage),
) -> Result<Exported, ToolError> {
    let known = |key| -> Result<Option<u64>, ToolError> {
        let text = schema::meta(&source.conn, key)?;
        Ok(text.and_then(|text| text.parse().ok()))
    };
    // Of what is not exported nothing is known.
    let known_from = known("known_from")?.filter(|_| filter.is_none());
    let known_from = known_from.unwrap_or(now.0);
    // An export does not tell durabilities apart.
    let known_from = known_from.max(known("written_from")?.unwrap_or(0));
    let first = First {
        fanfare: Cow::Borrowed(what),
        format: FORMAT,
        time: now.0,
        known_from,
        epochs: source.standing()?,
        filter: filter.map(|filter| Cow::Borrowed(filter.as_str())),
    };
    write(out, &first)?;
    let mut exporting = Exporting {
        source,
        filter,
        is_aside: what == ASIDE,
        out,
        tell,
        done: Exported::default(),
    };
    exporting.end_of_log();
    exporting.topics()?;
    if exporting.is_aside {
        exporting.all_nameless()?;
    } else {
        exporting.once()?;
    }
    let done = exporting.done;
    let last = Last {
        end: true,
        topics: done.topics,
        messages: done.messages,
        retained: done.retained,
        once: done.once,
    };
    write(out, &last)?;
    out.flush().map_err(ToolError::Output)?;
    Ok(done)
}

struct Exporting<'a> {
    source: &'a Source,
    filter: Option<&'a Filter>,
    /// Whether what is set aside is written, and nothing else.
    is_aside: bool,
    out: &'a mut dyn Write,
    tell: &'a mut dyn FnMut(&Damage),
    done: Exported,
}

impl Exporting<'_> {
    fn damaged(&mut self, place: Place, what: &str) {
        self.done.damages += 1;
        (self.tell)(&Damage::new(place, what));
    }

    fn end_of_log(&mut self) {
        let source = self.source;
        if source.lost > 0 {
            self.damaged(
                Place::File,
                "its log ends early: the last messages are lost",
            );
        }
        for damage in &source.tail.damages {
            self.damaged(damage.place.clone(), &damage.what);
        }
    }

    fn is_asked_for(&self, topic: &TopicName) -> bool {
        self.filter.is_none_or(|filter| filter.matches(topic))
    }

    fn topics(&mut self) -> Result<(), ToolError> {
        let select = "SELECT id, body FROM topic WHERE id BETWEEN ?1 AND ?2 ORDER BY id";
        let source = self.source;
        all(select).each(&source.conn, |seen| {
            let table = "topic";
            match seen {
                Seen::Unreadable(first, last) => {
                    self.damaged(Place::Records { table, first, last }, UNREADABLE);
                }
                Seen::Row(row) => {
                    let id = number_of(row);
                    match blob(row, 1).and_then(|body| read_topic(id, body).ok()) {
                        Some((topic, durability, state)) if self.is_asked_for(&topic) => {
                            self.topic(&topic, durability, state)?;
                        }
                        Some(_) => {}
                        None => {
                            let (first, last) = (id, id);
                            self.damaged(Place::Records { table, first, last }, CHECKSUM);
                            if self.is_aside {
                                self.nameless(id)?;
                            }
                        }
                    }
                }
            }
            Ok(())
        })
    }

    /// Topics whose records were damaged when a broker began.
    fn all_nameless(&mut self) -> Result<(), ToolError> {
        let source = self.source;
        let mut select = source.conn.prepare(
            "SELECT min(topic) FROM place WHERE topic > ?1 AND topic NOT IN (SELECT id FROM topic)
             AND topic NOT IN (SELECT topic FROM dropped)",
        )?;
        let mut last = i64::MIN;
        loop {
            match select.query_row([last], |row| row.get::<_, Option<i64>>(0)) {
                Ok(Some(id)) => {
                    self.nameless(id)?;
                    last = id;
                }
                Ok(None) => return Ok(()),
                Err(error) if is_corrupt(&error) => {
                    self.damaged(Place::File, UNREADABLE);
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The messages of a topic of which nothing else is known; it is called by its number.
    fn nameless(&mut self, id: i64) -> Result<(), ToolError> {
        let source = self.source;
        let conn = &source.conn;
        let tail = source.tail.of(id);
        let select = "SELECT min(offset), max(offset) FROM place WHERE topic = ?1";
        let placed = conn.query_row(select, [id], |row| {
            let number = |index| row.get::<_, Option<i64>>(index);
            let ends = number(0)?.zip(number(1)?);
            Ok(ends.map(|(first, last)| (first.cast_unsigned(), last.cast_unsigned())))
        });
        let placed = match placed {
            Err(error) if is_corrupt(&error) => {
                let (table, first, last) = ("topic", id, id);
                self.damaged(Place::Records { table, first, last }, UNREADABLE);
                return Ok(());
            }
            placed => placed?,
        };
        let ends = tail.first().zip(tail.last());
        let ends = ends.map(|((first, _), (last, _))| (*first, *last));
        let Some((first, last)) = placed.or(ends) else {
            return Ok(());
        };
        let last = ends.map_or(last, |(_, end)| end.max(last));
        let name = TopicName::new(&format!("unknown/{id}"));
        let Some(topic) = name.ok().filter(|topic| self.is_asked_for(topic)) else {
            return Ok(());
        };
        let epoch = Epoch::from_random(0);
        let mut state = State::new(id, epoch, Timestamp(0), Timestamp(0));
        state.start.offset = first;
        state.newest = last;
        self.write_topic(&topic, Durability::Written, &state, tail)
    }

    fn topic(
        &mut self,
        topic: &TopicName,
        durability: Durability,
        state: State,
    ) -> Result<(), ToolError> {
        let source = self.source;
        let state = source.tail.extend(&source.conn, topic, state)?;
        let tail = source.tail.of(state.id);
        let whole = state;
        let state = self.unbroken(topic, state, tail)?;
        let state = if self.is_aside {
            let Some(aside) = whole.before(state.start.offset) else {
                return Ok(());
            };
            aside
        } else {
            state
        };
        self.write_topic(topic, durability, &state, tail)?;
        if !self.is_aside
            && let Some(message) = self.retained(topic, state.id)?
        {
            line::write_message(self.out, &message, true)?;
            self.done.retained += 1;
        }
        Ok(())
    }

    /// Writes what a topic is, and the messages of its history.
    fn write_topic(
        &mut self,
        topic: &TopicName,
        durability: Durability,
        state: &State,
        tail: &[(u64, i64)],
    ) -> Result<(), ToolError> {
        let source = self.source;
        write(
            self.out,
            &Topic {
                topic: Cow::Borrowed(topic.as_str()),
                epoch: Cow::Borrowed(state.epoch.as_str()),
                newest: state.newest,
                oldest: state.start.offset,
                time: state.time.0,
                lost_before: state.lost_before.0,
                durability: Cow::Borrowed(durability.as_str()),
            },
        )?;
        self.done.topics += 1;
        walk(&source.conn, state, tail, |found| {
            // What is damaged was left out above, or it was told when it was set aside.
            if let Found::Whole(mark, body) = found
                && let Ok(message) = read_message((state.id, state.epoch), mark, topic, body)
            {
                line::write_message(self.out, &message, false)?;
                self.done.messages += 1;
            }
            Ok::<(), ToolError>(())
        })
    }

    /// The topic without what is damaged of its history, and what is before that.
    fn unbroken(
        &mut self,
        topic: &TopicName,
        mut state: State,
        tail: &[(u64, i64)],
    ) -> Result<State, ToolError> {
        let whole = state;
        let mut is_after_damage = false;
        walk(&self.source.conn, &whole, tail, |found| {
            let damaged = match found {
                Found::Whole(mark, body) => {
                    let message = read_message((whole.id, whole.epoch), mark, topic, body);
                    if message.is_ok() {
                        if std::mem::take(&mut is_after_damage) {
                            // Not later than this one.
                            state.begin_at(mark, mark.time);
                        }
                        return Ok(());
                    }
                    (mark.offset, mark.offset, CHECKSUM)
                }
                Found::Damaged(first, last, what) => (first, last, what),
            };
            let (first, last, what) = damaged;
            let topic = topic.clone();
            self.damaged(Place::Messages { topic, first, last }, what);
            is_after_damage = true;
            Ok::<(), ToolError>(())
        })?;
        if is_after_damage {
            state.start = state.end();
            state.lost_before = state.lost_before.max(after(state.time));
        }
        Ok(state)
    }

    fn retained(&mut self, topic: &TopicName, id: i64) -> Result<Option<Message>, ToolError> {
        let found = self
            .source
            .conn
            .prepare_cached("SELECT body FROM retained WHERE topic = ?1")?
            .query_row([id], |row| {
                Ok(blob(row, 0).and_then(|body| read_retained(id, topic, body).ok()))
            })
            .optional();
        let what = match found {
            Ok(None) => return Ok(None),
            Ok(Some(Some(message))) => return Ok(Some(message)),
            Ok(Some(None)) => CHECKSUM,
            Err(error) if is_corrupt(&error) => UNREADABLE,
            Err(error) => return Err(error.into()),
        };
        self.damaged(Place::Retained(topic.clone()), what);
        Ok(None)
    }

    fn once(&mut self) -> Result<(), ToolError> {
        let select = "SELECT seq, time, body FROM once WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq";
        let source = self.source;
        let table = "idempotency key";
        all(select).each(&source.conn, |seen| {
            match seen {
                Seen::Unreadable(first, last) => {
                    self.damaged(Place::Records { table, first, last }, UNREADABLE);
                }
                Seen::Row(row) => match once_of(row) {
                    Some(once) if self.is_asked_for(&once.topic) => self.write_once(&once)?,
                    Some(_) => {}
                    None => {
                        let first = number_of(row);
                        let last = first;
                        self.damaged(Place::Records { table, first, last }, CHECKSUM);
                    }
                },
            }
            Ok(())
        })
    }

    fn write_once(&mut self, once: &Remembered) -> Result<(), ToolError> {
        let line = Once {
            once: Cow::Owned(write_digest(once.once.name)),
            body: Cow::Owned(write_digest(once.once.body)),
            topic: Cow::Borrowed(once.topic.as_str()),
            epoch: once
                .position
                .map(|position| Cow::Owned(position.epoch.to_string())),
            offset: once.position.map(|position| position.offset),
            time: once.time.0,
        };
        write(self.out, &line)?;
        self.done.once += 1;
        Ok(())
    }
}
