//! Of which topics a store can say that it has everything that was acknowledged: their epochs stand.

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::load::boot;
use super::schema;

/// Which topics go on in their epochs where a copy of a store is opened. The others begin new ones:
/// something that had an offset may be missing, and the offset would be given to another message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Standing {
    /// All of them: whoever wrote it has written everything.
    All,
    /// Those that are synced: the machine stopped without notice.
    Synced,
    /// None: it is a copy of a store that went on, or its end is damaged.
    None,
}

/// Set in a copy of a store that went on.
const COPY: &str = "is_copy";

impl Standing {
    /// What a store says of itself that no broker uses.
    pub(super) fn of(conn: &Connection) -> rusqlite::Result<Self> {
        if is_copy(conn)? {
            return Ok(Self::None);
        }
        let is_new = schema::meta(conn, "created")?.is_none();
        if is_new || is_closed(conn)? || is_of_this_boot(conn)? {
            return Ok(Self::All);
        }
        Ok(Self::Synced)
    }

    /// Has the next start find it.
    pub(super) fn write(self, conn: &Connection) -> rusqlite::Result<()> {
        let (copy, clean) = match self {
            Self::All => ("0", "1"),
            Self::Synced => ("0", "0"),
            Self::None => ("1", "0"),
        };
        schema::set_meta(conn, COPY, copy)?;
        schema::set_meta(conn, "clean", clean)?;
        schema::set_meta(conn, "boot", "")
    }
}

/// Whether it is a copy of a store that went on, and was not used yet.
pub(super) fn is_copy(conn: &Connection) -> rusqlite::Result<bool> {
    schema::meta(conn, COPY).map(|copy| copy.as_deref() == Some("1"))
}

/// From now on it is a store like others.
pub(super) fn is_used(conn: &Connection) -> rusqlite::Result<()> {
    schema::set_meta(conn, COPY, "0")
}

/// Whether the last to use it closed it.
pub(super) fn is_closed(conn: &Connection) -> rusqlite::Result<bool> {
    schema::meta(conn, "clean").map(|clean| clean.as_deref() == Some("1"))
}

/// Whether the machine still runs on which it was last used: what was written is there.
pub(super) fn is_of_this_boot(conn: &Connection) -> rusqlite::Result<bool> {
    let boot = boot();
    Ok(boot.is_some() && schema::meta(conn, "boot")? == boot)
}
