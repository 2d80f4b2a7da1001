//! A store made of lines of JSON.

use std::io::BufRead;
use std::path::Path;

use rusqlite::{Connection, params};

use super::super::apply::{insert, remember, write_kept, write_row};
use super::super::lock::Lock;
use super::super::state::State;
use super::super::{schema, state};
use super::lines::{FORMAT, Line, VERSION, bytes};
use super::{Counts, ToolError, make_empty};
use crate::history::{Once, Remembered};
use crate::model::{Durability, Epoch, Message, Position, Timestamp, TopicName};

/// As many lines are one transaction.
const LINES: u64 = 10_000;

/// Makes a store of what [`export`](super::export()) wrote, in a directory that is empty or not there. All
/// topics begin another epoch, which `random` makes.
///
/// # Errors
/// [`ToolError`]. What was made until then is taken away again.
pub fn import(
    directory: &Path,
    input: &mut dyn BufRead,
    random: impl Fn() -> u64,
) -> Result<Counts, ToolError> {
    make_empty(directory)?;
    let made = make(directory, input, random);
    if made.is_err() {
        for file in std::fs::read_dir(directory)? {
            std::fs::remove_file(file?.path())?;
        }
    }
    made
}

fn make(
    directory: &Path,
    input: &mut dyn BufRead,
    random: impl Fn() -> u64,
) -> Result<Counts, ToolError> {
    let _lock = Lock::take(directory)?;
    let file = schema::file(directory);
    let failed = |error| ToolError::Database {
        file: file.clone(),
        error,
    };
    schema::touch(&file)?;
    let conn = schema::to_write(&file).map_err(failed)?;
    schema::create(&conn).map_err(failed)?;
    let mut import = Import {
        conn: &conn,
        now: Timestamp::now(),
        topic: None,
        ids: 0,
        seq: 0,
        counts: Counts::default(),
        out: Vec::new(),
    };
    conn.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
    let mut text = String::new();
    for line in 1_u64.. {
        text.clear();
        if input.read_line(&mut text)? == 0 {
            break;
        }
        let wrong = |reason| ToolError::Line { line, reason };
        let parsed = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        match import.take(parsed, line, &random) {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => return Err(wrong(reason)),
            Err(error) => return Err(failed(error)),
        }
        if line % LINES == 0 {
            conn.execute_batch("COMMIT; BEGIN IMMEDIATE")
                .map_err(failed)?;
        }
    }
    import.end().map_err(failed)?;
    conn.execute_batch("COMMIT").map_err(failed)?;
    schema::set_synced(&conn, true).map_err(failed)?;
    schema::carry_over(&conn).map_err(failed)?;
    Ok(import.counts)
}

struct Import<'a> {
    conn: &'a Connection,
    now: Timestamp,
    /// The one that was named last.
    topic: Option<(TopicName, Durability, State)>,
    ids: i64,
    seq: i64,
    counts: Counts,
    out: Vec<u8>,
}

/// What the database says, and what is wrong with the line.
type Taken = rusqlite::Result<Result<(), String>>;

impl Import<'_> {
    fn take(&mut self, line: Line, number: u64, random: &impl Fn() -> u64) -> Taken {
        match line {
            Line::Format { name, version } => {
                let is_known = number == 1 && name == FORMAT && version == VERSION;
                Ok(is_known.then_some(()).ok_or_else(|| {
                    format!("only the first line is a format, and it is {FORMAT} {VERSION}")
                }))
            }
            _ if number == 1 => Ok(Err("the first line says what it is: a format".to_owned())),
            Line::Topic {
                name,
                durability,
                newest,
                time,
            } => self.topic(
                &name,
                &durability,
                (newest, time),
                Epoch::from_random(random()),
            ),
            Line::Message(body) => {
                let Some((topic, _, _)) = &self.topic else {
                    return Ok(Err("a topic comes before its messages".to_owned()));
                };
                match body.message(topic) {
                    Ok(message) => self.message(&message),
                    Err(reason) => Ok(Err(reason)),
                }
            }
            Line::Retained(body) => {
                let Some((topic, _, state)) = &self.topic else {
                    return Ok(Err("a topic comes before what it retains".to_owned()));
                };
                match body.message(topic) {
                    Ok(message) => {
                        self.counts.retained += 1;
                        write_kept(self.conn, state.id, &message, &mut self.out).map(Ok)
                    }
                    Err(reason) => Ok(Err(reason)),
                }
            }
            Line::Once {
                topic,
                name,
                body,
                time,
                position,
            } => {
                let remembered = || -> Result<Remembered, String> {
                    let once = Once {
                        name: bytes(&name)?,
                        body: bytes(&body)?,
                    };
                    let position = position.as_ref().map(Position::try_from).transpose()?;
                    Ok(Remembered {
                        topic: TopicName::new(&topic).map_err(|error| error.to_string())?,
                        once,
                        position,
                        time: Timestamp(time),
                    })
                };
                match remembered() {
                    Ok(remembered) => {
                        self.counts.once += 1;
                        remember(self.conn, &remembered, &mut self.out).map(Ok)
                    }
                    Err(reason) => Ok(Err(reason)),
                }
            }
        }
    }

    fn topic(
        &mut self,
        name: &str,
        durability: &str,
        (newest, time): (u64, u64),
        epoch: Epoch,
    ) -> Taken {
        let Ok(topic) = TopicName::new(name) else {
            return Ok(Err(format!("{name:?} is no topic")));
        };
        let known = Durability::NAMES
            .iter()
            .find(|(known, _)| *known == durability);
        let Some((_, durability)) = known else {
            return Ok(Err(format!("{durability:?} is no durability")));
        };
        self.end_topic()?;
        self.ids += 1;
        self.counts.topics += 1;
        let time = Timestamp(time);
        let mut state = State::new(self.ids, epoch, time, self.now);
        state.newest = newest;
        state.start = state.end();
        self.topic = Some((topic, *durability, state));
        Ok(Ok(()))
    }

    fn message(&mut self, message: &Message) -> Taken {
        let Some((_, _, state)) = &mut self.topic else {
            return Ok(Ok(()));
        };
        let offset = message.position.map_or(0, |position| position.offset);
        let is_first = state.len() == 0;
        if offset == 0 || (!is_first && (offset != state.newest + 1 || message.time < state.time)) {
            return Ok(Err(
                "offsets rise by one, and times do not go back".to_owned()
            ));
        }
        if is_first {
            state.newest = offset - 1;
            state.start.offset = offset;
        }
        let mark = state.take(message.weight(), message.time);
        self.seq += 1;
        self.counts.messages += 1;
        insert(
            self.conn,
            (self.seq, state.id),
            mark,
            message,
            &mut self.out,
        )?;
        self.conn
            .prepare_cached("INSERT INTO place(topic, offset, seq) VALUES (?1, ?2, ?3)")?
            .execute(params![state.id, mark.offset.cast_signed(), self.seq])?;
        Ok(Ok(()))
    }

    fn end_topic(&mut self) -> rusqlite::Result<()> {
        if let Some((topic, durability, mut state)) = self.topic.take() {
            state.lost_before = state.lost_before.max(state::after(state.time));
            write_row(self.conn, &topic, durability, &state, &mut self.out)?;
        }
        Ok(())
    }

    fn end(&mut self) -> rusqlite::Result<()> {
        self.end_topic()?;
        for key in ["created", "known_from"] {
            schema::set_meta(self.conn, key, &self.now.0.to_string())?;
        }
        for key in ["placed", "last"] {
            schema::set_meta(self.conn, key, &self.seq.to_string())?;
        }
        schema::set_meta(self.conn, "clean", "1")
    }
}
