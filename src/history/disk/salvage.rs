//! A store whose pages are damaged, so that it cannot be gone on from: what is whole of it is copied, and
//! the rest set aside.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use super::apply::write_row;
use super::reader::is_corrupt;
use super::record::{read_message, read_once, read_retained, read_topic};
use super::schema;
use super::seen::mark_of;
use super::start::sync_names;
use super::state::{Mark, State};
use crate::history::memory::Random;
use crate::model::{Durability, Epoch, Timestamp, TopicName};

/// What became of the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Salvaged {
    pub(super) topics: u64,
    pub(super) messages: u64,
    /// Records that were there and are not whole, as far as that can be told.
    pub(super) damaged: u64,
}

struct Topic {
    name: TopicName,
    durability: Durability,
    state: State,
    /// Where the last run of messages without a hole begins, and what comes after it.
    run: Option<(Mark, Mark)>,
}

/// The file into which is copied.
fn fresh(file: &Path) -> PathBuf {
    beside(file, ".new")
}

/// The file's name with that at its end.
pub(super) fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Copies what is whole of the store into a new file that takes its place; the old one stays beside it, its
/// name ending with `damaged` and the time. All topics begin another epoch: what is not there any more
/// cannot be told.
///
/// # Errors
/// Where nothing of it can be read: it is left as it is.
pub(super) fn salvage(
    file: &Path,
    random: &Random,
    now: Timestamp,
) -> rusqlite::Result<(Salvaged, PathBuf)> {
    let new = fresh(file);
    for end in ["", "-wal", "-shm"] {
        let _was_not_there = fs::remove_file(beside(&new, end));
    }
    let failed = |error: std::io::Error| {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
        rusqlite::Error::SqliteFailure(code, Some(error.to_string()))
    };
    schema::touch(&new).map_err(failed)?;
    let from = schema::to_salvage(file)?;
    let to = schema::to_write(&new)?;
    schema::create(&to)?;
    let salvaged = copy(&from, &to, random, now)?;
    if salvaged.topics == 0 {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        let why = "no topic can be read".to_owned();
        return Err(rusqlite::Error::SqliteFailure(code, Some(why)));
    }
    schema::set_synced(&to, true)?;
    schema::carry_over(&to)?;
    drop((from, to));
    let old = beside(file, &format!(".damaged-{}", now.0));
    for end in ["", "-wal"] {
        let from = beside(file, end);
        if from.exists() {
            fs::rename(from, beside(&old, end)).map_err(failed)?;
        }
    }
    let _was_not_there = fs::remove_file(beside(file, "-shm"));
    fs::rename(&new, file).map_err(failed)?;
    if let Some(directory) = file.parent() {
        sync_names(directory);
    }
    Ok((salvaged, old))
}

fn copy(
    from: &Connection,
    to: &Connection,
    random: &Random,
    now: Timestamp,
) -> rusqlite::Result<Salvaged> {
    let mut salvaged = Salvaged::default();
    to.execute_batch("BEGIN IMMEDIATE")?;
    for key in ["created", "known_from", "boot", "last"] {
        if let Ok(Some(value)) = schema::meta(from, key) {
            schema::set_meta(to, key, &value)?;
        }
    }
    schema::set_meta(to, "known_from", &now.0.to_string())?;
    let mut topics = HashMap::new();
    each(
        from,
        "SELECT id, body FROM topic WHERE id > ?1 ORDER BY id",
        |row| {
            let id = row.get(0)?;
            match read_topic(id, row.get_ref(1)?.as_blob().unwrap_or_default()) {
                Ok((name, durability, mut state)) => {
                    state.epoch = Epoch::from_random(random());
                    let run = None;
                    let topic = Topic {
                        name,
                        durability,
                        state,
                        run,
                    };
                    topics.insert(id, topic);
                }
                Err(_) => salvaged.damaged += 1,
            }
            Ok(id)
        },
    )?;
    messages(from, to, &mut topics, &mut salvaged)?;
    let mut out = Vec::new();
    for topic in topics.values_mut() {
        let state = &mut topic.state;
        let floor = state.floor();
        // In an epoch of its own an offset may be another message's.
        if let Some((start, end)) = topic.run {
            state.start = start;
            state.aside = Some(floor).filter(|floor| *floor < start.offset);
            state.newest = end.offset - 1;
            state.time = state.time.max(end.time);
            state.weight = end.before;
        } else {
            state.start = state.end();
            state.aside = None;
        }
        state.lost_before = state.lost_before.max(now);
        write_row(to, &topic.name, topic.durability, state, &mut out)?;
        salvaged.topics += 1;
    }
    each(
        from,
        "SELECT topic, body FROM retained WHERE topic > ?1 ORDER BY topic",
        |row| {
            let id: i64 = row.get(0)?;
            let body = row.get_ref(1)?.as_blob().unwrap_or_default();
            let topic = topics.get(&id);
            if topic.is_some_and(|topic| read_retained(id, &topic.name, body).is_ok()) {
                to.prepare_cached("INSERT INTO retained(topic, body) VALUES (?1, ?2)")?
                    .execute(params![id, body])?;
            } else {
                salvaged.damaged += 1;
            }
            Ok(id)
        },
    )?;
    each(
        from,
        "SELECT seq, time, body FROM once WHERE seq > ?1 ORDER BY seq",
        |row| {
            let (seq, time): (i64, i64) = (row.get(0)?, row.get(1)?);
            let body = row.get_ref(2)?.as_blob().unwrap_or_default();
            if read_once(Timestamp(time.cast_unsigned()), body).is_ok() {
                to.prepare_cached("INSERT INTO once(seq, time, body) VALUES (?1, ?2, ?3)")?
                    .execute(params![seq, time, body])?;
            } else {
                salvaged.damaged += 1;
            }
            Ok(seq)
        },
    )?;
    to.execute_batch("COMMIT")?;
    Ok(salvaged)
}

fn messages(
    from: &Connection,
    to: &Connection,
    topics: &mut HashMap<i64, Topic>,
    salvaged: &mut Salvaged,
) -> rusqlite::Result<()> {
    let select = "SELECT offset, time, before, body, seq, topic FROM message
                  WHERE seq > ?1 ORDER BY seq";
    let mut last = 0;
    each(from, select, |row| {
        let seq: i64 = row.get(4)?;
        last = seq;
        let id: i64 = row.get(5)?;
        let Some(topic) = topics.get_mut(&id) else {
            return Ok(seq);
        };
        let state = &mut topic.state;
        let read = mark_of(row).and_then(|(mark, body)| {
            let message = read_message((id, state.epoch), mark, &topic.name, body)?;
            Ok((mark, body, message))
        });
        let Ok((mark, body, message)) = read else {
            salvaged.damaged += 1;
            return Ok(seq);
        };
        if mark.offset < state.floor() {
            return Ok(seq);
        }
        to.prepare_cached(
            "INSERT INTO message(offset, time, before, body, seq, topic) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            mark.offset.cast_signed(),
            mark.time.0.cast_signed(),
            mark.before.cast_signed(),
            body,
            seq,
            id
        ])?;
        to.prepare_cached("INSERT OR REPLACE INTO place(topic, offset, seq) VALUES (?1, ?2, ?3)")?
            .execute(params![id, mark.offset.cast_signed(), seq])?;
        salvaged.messages += 1;
        let end = Mark {
            offset: mark.offset + 1,
            time: mark.time,
            before: mark.before.saturating_add(message.weight() as u64),
        };
        let start = match topic.run {
            Some((start, next)) if next.offset == mark.offset => start,
            _ => mark,
        };
        topic.run = Some((start, end));
        Ok(seq)
    })?;
    schema::set_meta(to, "placed", &last.to_string())
}

/// Does something with each row, whose number it returns; what cannot be read is skipped.
pub(super) fn each(
    conn: &Connection,
    select: &str,
    mut with: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<i64>,
) -> rusqlite::Result<()> {
    let mut after = 0_i64;
    let mut step = 1_i64;
    loop {
        let walked = walk(conn, select, &mut after, &mut step, &mut with);
        match walked {
            Ok(()) => return Ok(()),
            Err(error) if is_corrupt(&error) && step < i64::MAX / 4 => {
                after = after.saturating_add(step);
                step *= 2;
            }
            // There is no more of it that could be read.
            Err(error) if is_corrupt(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn walk(
    conn: &Connection,
    select: &str,
    after: &mut i64,
    step: &mut i64,
    with: &mut impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<i64>,
) -> rusqlite::Result<()> {
    let mut select = conn.prepare(select)?;
    let mut rows = select.query([*after])?;
    while let Some(row) = rows.next()? {
        *after = with(row)?.max(*after);
        *step = 1;
    }
    Ok(())
}
