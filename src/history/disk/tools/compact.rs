//! Gives all free room of a store back.

use std::path::Path;

use rusqlite::{Connection, Row};

use super::target::Target;
use super::{ToolError, file_error};
use crate::history::disk::lock::Lock;
use crate::history::disk::record::read_topic;
use crate::history::disk::{StoreError, load, schema, start};

/// What the store took and takes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Before, its log included.
    pub before: u64,
    /// Now.
    pub after: u64,
}

/// Writes the store anew, without what was dropped from it. Needs room for the new one beside the old.
///
/// # Errors
/// [`StoreError::Locked`] while a broker has it. The store is as it was then.
pub fn compact(directory: &Path) -> Result<Compacted, ToolError> {
    let file = schema::file(directory);
    if !file.try_exists().map_err(file_error(&file))? {
        return Err(ToolError::NoStore {
            directory: directory.to_owned(),
        });
    }
    let lock = Lock::take_for(directory, " (fanfare store compact)")?;
    let unusable = |error| StoreError::Unusable {
        file: file.clone(),
        error,
    };
    let before = size(&file)? + size(&schema::log(&file)).unwrap_or_default();
    let conn = schema::to_write(&file).map_err(unusable)?;
    if schema::is_empty(&conn).map_err(unusable)? {
        return Err(ToolError::NoStore {
            directory: directory.to_owned(),
        });
    }
    start::recognise(&conn, &file)?;
    delete_dropped(&conn)?;
    // Everything into the one file: what is left in a log would not go with the new one. It says no where
    // anyone else reads the store.
    schema::set_synced(&conn, true)?;
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "DELETE", value)?;
    if mode != "delete" {
        return Err(rusqlite::Error::InvalidQuery.into());
    }
    let target = Target::beside(directory, lock)?;
    let partial = target.partial.to_string_lossy();
    conn.execute("VACUUM INTO ?1", [&*partial])?;
    conn.close().map_err(|(_, error)| error)?;
    target.finish()?;
    let after = size(&file)?;
    Ok(Compacted { before, after })
}

fn value(row: &Row<'_>) -> rusqlite::Result<String> {
    row.get(0)
}

fn size(file: &Path) -> Result<u64, ToolError> {
    let found = file.metadata().map_err(file_error(file))?;
    Ok(found.len())
}

/// Deletes what a broker would delete by and by.
fn delete_dropped(conn: &Connection) -> Result<(), ToolError> {
    let transaction = conn.unchecked_transaction()?;
    // What goes may be what was written last, and nobody is to miss it.
    let last = load::last(conn)?;
    schema::set_meta(conn, "last", &last.to_string())?;
    let placed = schema::meta(conn, "placed")?.and_then(|text| text.parse().ok());
    conn.execute(
        "DELETE FROM message WHERE seq > ?1 AND topic NOT IN (SELECT id FROM topic)",
        [placed.unwrap_or(0_i64)],
    )?;
    let mut select = conn.prepare("SELECT topic FROM dropped")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        delete_before(conn, row.get(0)?, i64::MAX)?;
    }
    conn.execute("DELETE FROM dropped", [])?;
    drop(rows);
    drop(select);
    delete_nameless(conn)?;
    let mut select = conn.prepare("SELECT id, body FROM topic")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        // What is damaged is left as it is, for whoever looks at it.
        if let Ok((_, _, state)) = read_topic(id, row.get_ref(1)?.as_blob().unwrap_or_default()) {
            delete_before(conn, id, state.floor().cast_signed())?;
        }
    }
    drop(rows);
    drop(select);
    transaction.commit()?;
    Ok(())
}

/// Deletes what was kept by topics whose records were damaged when a broker began.
fn delete_nameless(conn: &Connection) -> rusqlite::Result<()> {
    let mut select =
        conn.prepare("SELECT DISTINCT topic FROM place WHERE topic NOT IN (SELECT id FROM topic)")?;
    let ids = select.query_map([], |row| row.get(0))?;
    for id in ids.collect::<rusqlite::Result<Vec<i64>>>()? {
        delete_before(conn, id, i64::MAX)?;
    }
    conn.execute(
        "DELETE FROM retained WHERE topic NOT IN (SELECT id FROM topic)",
        [],
    )
    .map(|_| ())
}

/// Deletes the messages of a topic before that offset.
fn delete_before(conn: &Connection, id: i64, upto: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "DELETE FROM message WHERE seq IN (SELECT seq FROM place WHERE topic = ?1 AND offset < ?2)",
    )?
    .execute([id, upto])?;
    conn.prepare_cached("DELETE FROM place WHERE topic = ?1 AND offset < ?2")?
        .execute([id, upto])
        .map(|_| ())
}
