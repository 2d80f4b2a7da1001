//! Makes a store of what an export wrote.

use std::collections::HashSet;
use std::io::{BufRead, Read as _};
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, params};

use super::fault::Fault;
use super::line::{self, EXPORT, FORMAT, First, Last, Once, Published, Sort, Topic, read};
use super::target::Target;
use super::{Epochs, ToolError};
use crate::history::Remembered;
use crate::history::disk::apply::{Insert, remember, write_kept, write_row};
use crate::history::disk::schema;
use crate::history::disk::standing::Standing;
use crate::history::disk::state::{Mark, State};
use crate::model::{Durability, Epoch, Message, Position, Timestamp, TopicName};

/// What was taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Topics.
    pub topics: u64,
    /// Messages of their histories.
    pub messages: u64,
    /// Retained messages.
    pub retained: u64,
    /// Idempotency keys.
    pub once: u64,
    /// Whether topics begin other epochs when a broker first starts with the store.
    pub is_renewed: bool,
}

/// No line is longer, in bytes.
const LONGEST: u64 = 256 * 1024 * 1024;

/// Makes a store in a directory that has none, with the epochs, offsets and times of the export.
///
/// Where a broker went on with what was exported, its topics begin other epochs, unless `epochs` says
/// that they stand.
///
/// # Errors
/// [`ToolError::Taken`], and [`ToolError::Line`] for the first line that is wrong. No store is left then.
pub fn import(
    directory: &Path,
    lines: &mut dyn BufRead,
    epochs: Option<Epochs>,
    now: Timestamp,
) -> Result<Imported, ToolError> {
    let target = Target::new(directory, "fanfare store import")?;
    let conn = target.open()?;
    schema::create(&conn)?;
    conn.pragma_update(None, "synchronous", "OFF")?;
    // Nothing is taken back: a file that is not finished goes as a whole.
    let value = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    conn.pragma_update_and_check(None, "journal_mode", "OFF", value)?;
    conn.execute_batch("BEGIN")?;
    let mut importing = Importing::new(&conn);
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        let taken = (&mut *lines).take(LONGEST).read_until(b'\n', &mut line);
        if taken.map_err(ToolError::Input)? == 0 {
            break;
        }
        number += 1;
        let text = line.trim_ascii();
        let done = if text.is_empty() {
            Ok(())
        } else if line.len() as u64 == LONGEST {
            Err(format!("it is longer than {LONGEST} bytes").into())
        } else {
            importing.take(text)
        };
        done.map_err(|fault| fault.at(number))?;
    }
    let standing = importing
        .end(epochs, now)
        .map_err(|fault| fault.at(number + 1))?;
    let done = importing.done;
    conn.execute_batch("COMMIT")?;
    conn.close().map_err(|(_, error)| error)?;
    target.finish()?;
    Ok(Imported {
        topics: done.topics,
        messages: done.messages,
        retained: done.retained,
        once: done.once,
        is_renewed: standing != Standing::All,
    })
}

struct Importing<'a> {
    conn: &'a Connection,
    /// What the first line says.
    first: Option<(Standing, u64)>,
    current: Option<Current>,
    /// Those that were begun.
    topics: HashSet<TopicName>,
    done: Last,
    out: Vec<u8>,
}

/// The topic that was begun last.
struct Current {
    topic: TopicName,
    durability: Durability,
    /// With the messages that have come; `newest` is that of the last of these.
    state: State,
    /// What the topic's line says.
    newest: u64,
    time: Timestamp,
    has_retained: bool,
}

impl<'a> Importing<'a> {
    fn new(conn: &'a Connection) -> Self {
        Self {
            conn,
            first: None,
            current: None,
            topics: HashSet::new(),
            done: Last::default(),
            out: Vec::new(),
        }
    }

    fn take(&mut self, line: &[u8]) -> Result<(), Fault> {
        if self.first.is_none() {
            self.first = Some(first(line)?);
            return Ok(());
        }
        if self.done.end {
            return Err("there is something after the end of the export".into());
        }
        match Sort::of(line)? {
            Sort::Topic => self.begin(&read(line)?),
            Sort::Published => {
                let published: Published<'_> = read(line)?;
                match published.retained {
                    Some(true) => self.retain(&published),
                    Some(false) => Err("retained is true, or not there".into()),
                    None => self.append(&published),
                }
            }
            Sort::Once => self.remember(&read(line)?),
            Sort::Last => {
                self.finish()?;
                let last: Last = read(line)?;
                self.done.end = true;
                if last == self.done {
                    return Ok(());
                }
                let Last {
                    topics,
                    messages,
                    retained,
                    once,
                    ..
                } = self.done;
                let found = format!(
                    "{topics} topics, {messages} messages, {retained} retained and {once} keys"
                );
                Err(format!("the end counts otherwise: before it there are {found}").into())
            }
        }
    }

    fn begin(&mut self, line: &Topic<'_>) -> Result<(), Fault> {
        self.finish()?;
        let topic = name(&line.topic)?;
        let durability = Durability::NAMES
            .iter()
            .find(|(name, _)| *name == line.durability);
        let Some((_, durability)) = durability.filter(|(_, named)| *named > Durability::Memory)
        else {
            return Err("durability is \"written\" or \"synced\"".into());
        };
        let is_number = i64::try_from(line.newest).is_ok_and(|newest| newest < i64::MAX);
        if !is_number || line.oldest == 0 || line.oldest > line.newest + 1 {
            return Err("oldest is at least 1 and at most one more than newest".into());
        }
        if !self.topics.insert(topic.clone()) {
            return Err(format!("the topic {:?} was begun before", topic.as_str()).into());
        }
        self.done.topics += 1;
        let time = Timestamp(line.time);
        let id = i64::try_from(self.done.topics).unwrap_or(i64::MAX);
        let mut state = State::new(id, epoch(&line.epoch)?, time, Timestamp(line.lost_before));
        state.newest = line.oldest - 1;
        state.start.offset = line.oldest;
        self.current = Some(Current {
            topic,
            durability: *durability,
            state,
            newest: line.newest,
            time,
            has_retained: false,
        });
        Ok(())
    }

    fn append(&mut self, line: &Published<'_>) -> Result<(), Fault> {
        if line.epoch.is_some() {
            return Err("a message is of its topic's epoch".into());
        }
        let offset = line.offset.ok_or("a message has an offset")?;
        let message = message(line, None)?;
        let Some(current) = current(&mut self.current, &message.topic) else {
            return Err("a message stands after its topic".into());
        };
        let state = &mut current.state;
        if offset != state.newest + 1 || offset > current.newest {
            let what = match state.newest {
                last if last == current.newest => {
                    format!("the topic says that {last} is its newest")
                }
                last => format!("{} is expected", last + 1),
            };
            return Err(format!("the offset is {offset}, and {what}").into());
        }
        let is_first = offset == state.start.offset;
        if message.time > current.time || (!is_first && message.time < state.time) {
            return Err(
                "the time is before that of the message before, or after the topic's".into(),
            );
        }
        let mark: Mark = state.take(message.weight(), message.time);
        let id = state.id;
        let seq = self.seq();
        Insert::prepare(self.conn)?.message((seq, id), mark, &message, &mut self.out)?;
        self.conn
            .prepare_cached("INSERT INTO place(topic, offset, seq) VALUES (?1, ?2, ?3)")?
            .execute(params![id, mark.offset.cast_signed(), seq])?;
        self.done.messages += 1;
        Ok(())
    }

    /// The number of the message that comes next.
    fn seq(&self) -> i64 {
        i64::try_from(self.done.messages).map_or(i64::MAX, |messages| messages + 1)
    }

    fn retain(&mut self, line: &Published<'_>) -> Result<(), Fault> {
        let position = position(line.epoch.as_deref(), line.offset)?;
        let message = message(line, position)?;
        let Some(current) = current(&mut self.current, &message.topic) else {
            return Err("a retained message stands after its topic".into());
        };
        if std::mem::replace(&mut current.has_retained, true) {
            return Err("the topic retains another message already".into());
        }
        let id = current.state.id;
        write_kept(self.conn, id, &message, &mut self.out)?;
        self.done.retained += 1;
        Ok(())
    }

    fn remember(&mut self, line: &Once<'_>) -> Result<(), Fault> {
        let once = crate::history::Once {
            name: line::read_digest(&line.once)?,
            body: line::read_digest(&line.body)?,
        };
        let remembered = Remembered {
            topic: name(&line.topic)?,
            once,
            position: position(line.epoch.as_deref(), line.offset)?,
            time: Timestamp(line.time),
        };
        remember(self.conn, &remembered, &mut self.out)?;
        self.done.once += 1;
        Ok(())
    }

    /// Writes the record of the topic that was begun last.
    fn finish(&mut self) -> Result<(), Fault> {
        let Some(mut current) = self.current.take() else {
            return Ok(());
        };
        let (last, newest) = (current.state.newest, current.newest);
        if last != newest {
            let topic = current.topic.as_str();
            let what =
                format!("the topic {topic:?} ends with offset {last}, and should with {newest}");
            return Err(what.into());
        }
        // That of a message before, where none is held.
        current.state.time = current.time;
        let Current {
            topic,
            durability,
            state,
            ..
        } = &current;
        write_row(self.conn, topic, *durability, state, &mut self.out)?;
        Ok(())
    }

    /// All lines were read.
    fn end(&mut self, epochs: Option<Epochs>, now: Timestamp) -> Result<Standing, Fault> {
        let Some((says, known_from)) = self.first.filter(|_| self.done.end) else {
            return Err("the export has no end: it was cut off".into());
        };
        let standing = match epochs {
            Some(Epochs::Keep) => Standing::All,
            Some(Epochs::New) => Standing::None,
            None => says,
        };
        schema::set_meta(self.conn, "created", &now.0.to_string())?;
        schema::set_meta(self.conn, "known_from", &known_from.to_string())?;
        let last = (self.seq() - 1).to_string();
        schema::set_meta(self.conn, "placed", &last)?;
        schema::set_meta(self.conn, "last", &last)?;
        standing.write(self.conn)?;
        Ok(standing)
    }
}

/// What the first line says.
fn first(line: &[u8]) -> Result<(Standing, u64), Fault> {
    let none = "it is not the first line of an export";
    let first: First<'_> = read(line).map_err(|error| format!("{none}: {error}"))?;
    if first.fanfare != EXPORT {
        return Err(none.into());
    }
    if first.format != FORMAT {
        let format = first.format;
        return Err(format!(
            "the export has format {format}, and this version of fanfare reads {FORMAT}"
        )
        .into());
    }
    Ok((first.epochs, first.known_from))
}

/// The topic that was begun last, if it is that one.
fn current<'a>(current: &'a mut Option<Current>, topic: &TopicName) -> Option<&'a mut Current> {
    current.as_mut().filter(|current| current.topic == *topic)
}

fn name(text: &str) -> Result<TopicName, Fault> {
    TopicName::new(text).map_err(|error| error.to_string().into())
}

fn epoch(text: &str) -> Result<Epoch, Fault> {
    Epoch::parse(text).ok_or_else(|| "an epoch is 1 to 8 letters and digits".into())
}

fn position(text: Option<&str>, offset: Option<u64>) -> Result<Option<Position>, Fault> {
    match (text, offset) {
        (Some(text), Some(offset)) => Ok(Some(Position {
            epoch: epoch(text)?,
            offset,
        })),
        (None, None) => Ok(None),
        _ => Err("epoch and offset go together".into()),
    }
}

fn message(line: &Published<'_>, position: Option<Position>) -> Result<Message, Fault> {
    Ok(Message {
        topic: name(&line.topic)?,
        payload: line.payload()?,
        time: Timestamp(line.time),
        position,
        user: line.user.as_deref().map(Arc::from),
        key: line.key.as_deref().map(Arc::from),
        publisher: None,
    })
}
