//! One transaction: what a group of changes does to the tables.

use std::collections::HashMap;

use rusqlite::{CachedStatement, Connection, Transaction, TransactionBehavior, params};

use super::queue::{Item, What};
use super::record::{write_message, write_once, write_retained, write_topic};
use super::state::{Mark, State};
use crate::history::{Once, Remembered, Retain};
use crate::model::{Durability, Message, Timestamp, TopicName};

/// Does what all of them say, or nothing. `first` is the number of the first message among them.
///
/// # Errors
/// Nothing of it is there then, as long as the connection stays open.
pub(super) fn commit(
    conn: &Connection,
    items: &[Item],
    first: i64,
    out: &mut Vec<u8>,
) -> rusqlite::Result<()> {
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    let mut seq = first;
    let mut insert = Insert::prepare(conn)?;
    // The topics whose row says what no message says.
    let mut rows: HashMap<i64, &Item> = HashMap::new();
    for item in items {
        apply(conn, &mut insert, item, seq, out)?;
        seq += i64::from(item.is_message());
        match item.what {
            What::Clear { old } => {
                rows.remove(&old);
                rows.insert(item.state.id, item);
            }
            What::Forget => {
                rows.remove(&item.state.id);
            }
            _ if item.needs_row() || rows.contains_key(&item.state.id) => {
                rows.insert(item.state.id, item);
            }
            _ => {}
        }
    }
    for item in rows.values() {
        write_row(conn, &item.entry.topic, item.durability, &item.state, out)?;
    }
    drop(insert);
    transaction.commit()
}

fn apply(
    conn: &Connection,
    insert: &mut Insert<'_>,
    item: &Item,
    seq: i64,
    out: &mut Vec<u8>,
) -> rusqlite::Result<()> {
    let id = item.state.id;
    match &item.what {
        What::Message {
            message,
            mark,
            retain,
            once,
        } => {
            insert.message((seq, id), *mark, message, out)?;
            match retain {
                Retain::Leave => {}
                Retain::Set => write_kept(conn, id, message, out)?,
                Retain::Clear => delete_kept(conn, id)?,
            }
            if let Some(once) = once {
                remember(conn, &remembered(item, *once, Some(message)), out)?;
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
                remember(conn, &remembered(item, *once, message.as_deref()), out)?;
            }
        }
        What::Trim => {}
        What::Forget => drop_life(conn, id)?,
    }
    Ok(())
}

/// Writes messages, each under a number of its own: looked up once for all of a group.
pub(super) struct Insert<'conn>(CachedStatement<'conn>);

impl<'conn> Insert<'conn> {
    pub(super) fn prepare(conn: &'conn Connection) -> rusqlite::Result<Self> {
        conn.prepare_cached(
            "INSERT INTO message(seq, topic, offset, time, before, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .map(Self)
    }

    pub(super) fn message(
        &mut self,
        (seq, id): (i64, i64),
        mark: Mark,
        message: &Message,
        out: &mut Vec<u8>,
    ) -> rusqlite::Result<()> {
        write_message(id, mark, message, out);
        let (offset, time, before) = (mark.offset, mark.time.0, mark.before);
        self.0
            .execute(params![
                seq,
                id,
                offset.cast_signed(),
                time.cast_signed(),
                before.cast_signed(),
                &*out,
            ])
            .map(|_| ())
    }
}

/// Writes what a topic retains.
pub(super) fn write_kept(
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

/// Deletes what a topic retains.
pub(super) fn delete_kept(conn: &Connection, id: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM retained WHERE topic = ?1")?
        .execute([id])
        .map(|_| ())
}

/// Writes that a message is not to be published again.
pub(super) fn remember(
    conn: &Connection,
    remembered: &Remembered,
    out: &mut Vec<u8>,
) -> rusqlite::Result<()> {
    write_once(remembered, out);
    conn.prepare_cached("INSERT INTO once(time, body) VALUES (?1, ?2)")?
        .execute(params![remembered.time.0.cast_signed(), &*out])
        .map(|_| ())
}

fn remembered(item: &Item, once: Once, message: Option<&Message>) -> Remembered {
    Remembered {
        topic: item.entry.topic.clone(),
        once,
        position: message.and_then(|message| message.position),
        time: message.map_or_else(Timestamp::now, |message| message.time),
    }
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

/// Writes what is known of a topic.
pub(super) fn write_row(
    conn: &Connection,
    topic: &TopicName,
    durability: Durability,
    state: &State,
    out: &mut Vec<u8>,
) -> rusqlite::Result<()> {
    write_topic(topic, durability, state, out);
    conn.prepare_cached("INSERT OR REPLACE INTO topic(id, body) VALUES (?1, ?2)")?
        .execute(params![state.id, &*out])
        .map(|_| ())
}

/// Puts a life of a topic in the place of one whose pages are damaged, and are not touched any more.
pub(super) fn renew(
    conn: &Connection,
    (topic, durability): (&TopicName, Durability),
    old: i64,
    new: &State,
    retained: Option<&Message>,
    out: &mut Vec<u8>,
) -> rusqlite::Result<()> {
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    conn.prepare_cached("DELETE FROM topic WHERE id = ?1")?
        .execute([old])?;
    write_row(conn, topic, durability, new, out)?;
    if let Some(message) = retained {
        delete_kept(conn, old)?;
        write_kept(conn, new.id, message, out)?;
    }
    transaction.commit()
}
