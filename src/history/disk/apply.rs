//! One transaction: what a group of changes does to the tables.

use std::collections::HashMap;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::queue::{Item, What};
use super::record::{write_message, write_once, write_retained, write_topic};
use super::state::Mark;
use crate::history::{Once, Remembered, Retain};
use crate::model::{Message, Timestamp};

/// Of one topic, at most so many messages are deleted with a group of changes. More are left for between.
const DELETED: u64 = 1024;

/// Messages that wait to be deleted until they are worth it.
const WORTH: u64 = 64;

/// Does what all of them say, or nothing.
///
/// # Errors
/// Nothing of it will be there, unless the process ends before the store was opened anew.
pub(super) fn commit(conn: &Connection, items: &[Item], out: &mut Vec<u8>) -> rusqlite::Result<()> {
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    // Of each topic the last change, which tells all of it.
    let mut last: HashMap<i64, &Item> = HashMap::with_capacity(items.len());
    for item in items {
        apply(conn, item, out)?;
        if let What::Clear { old } = item.what {
            last.remove(&old);
        }
        last.insert(item.state.id, item);
    }
    for item in last.values() {
        if !matches!(item.what, What::Forget) {
            write_row(conn, item, out)?;
            delete_dropped(conn, item)?;
        }
    }
    transaction.commit()
}

fn apply(conn: &Connection, item: &Item, out: &mut Vec<u8>) -> rusqlite::Result<()> {
    let id = item.state.id;
    match &item.what {
        What::Message {
            message,
            mark,
            retain,
            once,
        } => {
            insert(conn, id, *mark, message, out)?;
            match retain {
                Retain::Leave => {}
                Retain::Set => write_kept(conn, id, message, out)?,
                Retain::Clear => delete_kept(conn, id)?,
            }
            if let Some(once) = once {
                remember(conn, item, *once, (message.time, Some(message)), out)?;
            }
        }
        What::Clear { old } => {
            drop_life(conn, *old)?;
        }
        What::Retained { message, once } => {
            match message {
                Some(message) => write_kept(conn, id, message, out)?,
                None => delete_kept(conn, id)?,
            }
            if let Some(once) = once {
                let message = message.as_deref();
                let time = message.map_or_else(Timestamp::now, |message| message.time);
                remember(conn, item, *once, (time, message), out)?;
            }
        }
        What::Trim => {}
        What::Forget => drop_life(conn, id)?,
    }
    Ok(())
}

fn insert(
    conn: &Connection,
    id: i64,
    mark: Mark,
    message: &Message,
    out: &mut Vec<u8>,
) -> rusqlite::Result<()> {
    write_message(id, mark, message, out);
    let (offset, time, before) = (mark.offset, mark.time.0, mark.before);
    conn.prepare_cached(
        "INSERT INTO message(topic, offset, time, before, body) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        id,
        offset.cast_signed(),
        time.cast_signed(),
        before.cast_signed(),
        &*out,
    ])
    .map(|_| ())
}

fn write_kept(
    conn: &Connection,
    id: i64,
    message: &Message,
    out: &mut Vec<u8>,
) -> rusqlite::Result<()> {
    write_retained(id, message, out);
    conn.prepare_cached("INSERT OR REPLACE INTO retained(topic, body) VALUES (?1, ?2)")?
        .execute(params![id, &*out])
        .map(|_| ())
}

fn delete_kept(conn: &Connection, id: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM retained WHERE topic = ?1")?
        .execute([id])
        .map(|_| ())
}

fn remember(
    conn: &Connection,
    item: &Item,
    once: Once,
    (time, message): (Timestamp, Option<&Message>),
    out: &mut Vec<u8>,
) -> rusqlite::Result<()> {
    let remembered = Remembered {
        topic: item.entry.topic.clone(),
        once,
        position: message.and_then(|message| message.position),
        time,
    };
    write_once(&remembered, out);
    conn.prepare_cached("INSERT INTO once(time, body) VALUES (?1, ?2)")?
        .execute(params![time.0.cast_signed(), &*out])
        .map(|_| ())
}

/// Drops a life of a topic; its messages go by and by.
pub(super) fn drop_life(conn: &Connection, id: i64) -> rusqlite::Result<()> {
    delete_kept(conn, id)?;
    conn.prepare_cached("DELETE FROM topic WHERE id = ?1")?
        .execute([id])?;
    conn.prepare_cached("INSERT OR IGNORE INTO dropped(topic) VALUES (?1)")?
        .execute([id])
        .map(|_| ())
}

fn write_row(conn: &Connection, item: &Item, out: &mut Vec<u8>) -> rusqlite::Result<()> {
    write_topic(&item.entry.topic, item.durability, &item.state, out);
    conn.prepare_cached("INSERT OR REPLACE INTO topic(id, body) VALUES (?1, ?2)")?
        .execute(params![item.state.id, &*out])
        .map(|_| ())
}

/// Deletes some of what the topic has dropped, where it is many.
fn delete_dropped(conn: &Connection, item: &Item) -> rusqlite::Result<()> {
    let start = item.state.start.offset;
    let mut kept = item.entry.lock();
    let first = match kept.first_there {
        // Of a life before.
        Some((id, first)) if id == item.state.id => first,
        _ => first_there(conn, item.state.id)?.unwrap_or(start),
    };
    let upto = start.min(first.saturating_add(DELETED));
    // Where the transaction fails this may be behind or ahead: it is asked for anew then.
    kept.first_there = Some((item.state.id, first));
    if upto < first.saturating_add(WORTH) {
        return Ok(());
    }
    kept.first_there = Some((item.state.id, upto));
    drop(kept);
    delete_before(conn, item.state.id, upto)
}

/// The oldest message of a topic that is there, dropped or not.
pub(super) fn first_there(conn: &Connection, id: i64) -> rusqlite::Result<Option<u64>> {
    conn.prepare_cached("SELECT min(offset) FROM message WHERE topic = ?1")?
        .query_row([id], |row| row.get::<_, Option<i64>>(0))
        .map(|first| first.map(i64::cast_unsigned))
}

/// Deletes the messages of a topic before that offset.
pub(super) fn delete_before(conn: &Connection, id: i64, upto: u64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM message WHERE topic = ?1 AND offset < ?2")?
        .execute(params![id, upto.cast_signed()])
        .map(|_| ())
}
