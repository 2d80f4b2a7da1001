//! Copies a store as it is at one moment, while a broker goes on with it or not.

use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode};

use super::target::Target;
use super::{Epochs, Source, ToolError};
use crate::history::disk::schema;
use crate::history::disk::standing::Standing;

/// As many pages are copied at once.
const PAGES: i32 = 1024;

/// What was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// What the copy takes, in bytes.
    pub bytes: u64,
    /// Whether topics of the copy begin other epochs when a broker first starts with it.
    pub is_renewed: bool,
}

/// Copies the store into a directory, which can be a broker's `store.path` then.
///
/// Where a broker goes on with the original, what it acknowledges from now on is not in the copy: its
/// topics begin other epochs, unless `epochs` says that they stand.
///
/// # Errors
/// Where something is there already; where one of the stores cannot be used. Nothing is left then.
pub fn backup(
    source: &Source,
    directory: &Path,
    epochs: Option<Epochs>,
) -> Result<BackedUp, ToolError> {
    let target = Target::new(directory, "fanfare store backup")?;
    let mut conn = target.open()?;
    copy(&source.conn, &mut conn)?;
    let standing = match epochs {
        Some(Epochs::Keep) => Standing::All,
        Some(Epochs::New) => Standing::None,
        None => source.standing()?,
    };
    standing.write(&conn)?;
    // One file, whatever the original has beside it.
    let value = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    conn.pragma_update_and_check(None, "journal_mode", "DELETE", value)?;
    conn.close().map_err(|(_, error)| error)?;
    target.finish()?;
    let file = schema::file(directory);
    let bytes = file.metadata().map_err(super::file_error(&file))?.len();
    Ok(BackedUp {
        bytes,
        is_renewed: standing != Standing::All,
    })
}

/// Copies page by page. What `from` reads is one moment, since it is within a transaction.
fn copy(from: &Connection, to: &mut Connection) -> Result<(), ToolError> {
    let backup = Backup::new(from, to)?;
    loop {
        match backup.step(PAGES)? {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            _ => {
                let busy = rusqlite::ffi::Error {
                    code: ErrorCode::DatabaseBusy,
                    extended_code: rusqlite::ffi::SQLITE_BUSY,
                };
                return Err(rusqlite::Error::SqliteFailure(busy, None).into());
            }
        }
    }
}
