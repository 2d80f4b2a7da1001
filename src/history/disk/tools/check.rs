//! Looking whether all of a store is whole.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::Connection;

use super::super::lock::Lock;
use super::super::reader::is_corrupt;
use super::super::record::{check_message, read_once, read_retained, read_topic};
use super::super::salvage::each;
use super::super::schema;
use super::super::seen::mark_of;
use super::super::start::StoreError;
use super::{Counts, ToolError};
use crate::model::{Timestamp, TopicName};

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// What is whole.
    pub whole: Counts,
    /// Records and pages that are not.
    pub damaged: u64,
    /// What the store takes, in bytes.
    pub bytes: u64,
}

/// Reads all of the store, and tells of everything that is damaged, in words. Changes nothing.
///
/// # Errors
/// [`ToolError`].
pub fn check(directory: &Path, tell: &mut dyn FnMut(&str)) -> Result<Checked, ToolError> {
    let file = schema::file(directory);
    if !file.exists() {
        return Err(ToolError::Missing(directory.to_owned()));
    }
    let _lock = Lock::take(directory)?;
    let failed = |error| ToolError::Database {
        file: file.clone(),
        error,
    };
    let conn = schema::to_salvage(&file).map_err(failed)?;
    match schema::format(&conn).map_err(failed)? {
        Some(found) if found == schema::FORMAT => {}
        Some(found) if found > schema::FORMAT => {
            return Err(StoreError::Newer { file, found }.into());
        }
        Some(found) => return Err(StoreError::Older { file, found }.into()),
        None => return Err(StoreError::Foreign { file }.into()),
    }
    let mut checked = Checked {
        bytes: std::fs::metadata(&file)?.len(),
        ..Checked::default()
    };
    pages(&conn, &mut checked, tell).map_err(failed)?;
    records(&conn, &mut checked, tell).map_err(failed)?;
    Ok(checked)
}

fn pages(
    conn: &Connection,
    checked: &mut Checked,
    tell: &mut dyn FnMut(&str),
) -> rusqlite::Result<()> {
    let mut damaged = |what: &str| {
        checked.damaged += 1;
        tell(what);
    };
    let mut look = || -> rusqlite::Result<()> {
        let mut select = conn.prepare("PRAGMA integrity_check")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let line: String = row.get(0)?;
            if line != "ok" {
                damaged(&line);
            }
        }
        Ok(())
    };
    match look() {
        Err(error) if is_corrupt(&error) => {
            damaged(&error.to_string());
            Ok(())
        }
        looked => looked,
    }
}

fn records(
    conn: &Connection,
    checked: &mut Checked,
    tell: &mut dyn FnMut(&str),
) -> rusqlite::Result<()> {
    let mut topics: HashMap<i64, TopicName> = HashMap::new();
    let mut damaged = 0;
    let whole = &mut checked.whole;
    each(
        conn,
        "SELECT id, body FROM topic WHERE id > ?1 ORDER BY id",
        |row| {
            let id = row.get(0)?;
            if let Ok((topic, _, _)) = read_topic(id, row.get_ref(1)?.as_blob().unwrap_or_default())
            {
                whole.topics += 1;
                topics.insert(id, topic);
            } else {
                damaged += 1;
                tell(&format!("topic number {id}: its record is damaged"));
            }
            Ok(id)
        },
    )?;
    let select = "SELECT offset, time, before, body, seq, topic FROM message
                  WHERE seq > ?1 ORDER BY seq";
    each(conn, select, |row| {
        let (seq, id): (i64, i64) = (row.get(4)?, row.get(5).unwrap_or_default());
        let is_whole = mark_of(row).and_then(|(mark, body)| check_message(id, mark, body));
        if is_whole.is_ok() {
            whole.messages += 1;
        } else {
            damaged += 1;
            let topic = topics
                .get(&id)
                .map_or("of no topic that is known", TopicName::as_str);
            let offset: i64 = row.get(0).unwrap_or_default();
            tell(&format!("{topic}: message {offset} is damaged"));
        }
        Ok(seq)
    })?;
    each(
        conn,
        "SELECT topic, body FROM retained WHERE topic > ?1 ORDER BY topic",
        |row| {
            let id = row.get(0)?;
            let body = row.get_ref(1)?.as_blob().unwrap_or_default();
            let topic = topics.get(&id);
            if topic.is_some_and(|topic| read_retained(id, topic, body).is_ok()) {
                whole.retained += 1;
            } else {
                damaged += 1;
                let topic = topic.map_or("of no topic that is known", TopicName::as_str);
                tell(&format!("{topic}: the retained message is damaged"));
            }
            Ok(id)
        },
    )?;
    each(
        conn,
        "SELECT seq, time, body FROM once WHERE seq > ?1 ORDER BY seq",
        |row| {
            let (seq, time): (i64, i64) = (row.get(0)?, row.get(1).unwrap_or_default());
            let body = row.get_ref(2)?.as_blob().unwrap_or_default();
            if read_once(Timestamp(time.cast_unsigned()), body).is_ok() {
                whole.once += 1;
            } else {
                damaged += 1;
                tell(&format!(
                    "what is published once only: record {seq} is damaged"
                ));
            }
            Ok(seq)
        },
    )?;
    checked.damaged += damaged;
    Ok(())
}
