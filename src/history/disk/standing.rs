//! Of which topics a store can say that it has everything that was acknowledged: their epochs stand.

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::schema;
use crate::model::Durability;

/// Which topics go on in their epochs where a store is opened. The others begin new ones: something that
/// had an offset may be gone, and the offset would be given to another message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Standing {
    /// All of them: whoever wrote it has written everything.
    All,
    /// Those that are synced: the machine stopped without notice.
    Synced,
    /// None: it is a copy of a store that went on.
    None,
}

/// Set in a copy of a store that went on.
const COPY: &str = "copy";

impl Standing {
    /// What a store says of itself.
    pub(super) fn of(conn: &Connection) -> rusqlite::Result<Self> {
        let says = |key: &str, value: &str| {
            schema::meta(conn, key).map(|found| found.as_deref() == Some(value))
        };
        if says(COPY, "1")? {
            return Ok(Self::None);
        }
        if says("clean", "1")? || schema::meta(conn, "created")?.is_none() {
            return Ok(Self::All);
        }
        let boot = boot();
        // A process that ended leaves everything to the system, and that is the one that runs.
        let is_here = boot.is_some() && schema::meta(conn, "boot")? == boot;
        Ok(if is_here { Self::All } else { Self::Synced })
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

    /// Has a start that takes place find that nothing was closed as it should be, if it ends so.
    pub(super) fn begin(conn: &Connection) -> rusqlite::Result<()> {
        schema::set_meta(conn, COPY, "0")?;
        schema::set_meta(conn, "clean", "0")?;
        schema::set_meta(conn, "boot", boot().as_deref().unwrap_or_default())
    }

    /// Whether the epochs of such topics stand.
    pub(super) fn includes(self, durability: Durability) -> bool {
        match self {
            Self::All => true,
            Self::Synced => durability >= Durability::Synced,
            Self::None => false,
        }
    }
}

/// What tells one start of the machine from another, where the system says it.
fn boot() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(boot.trim().to_owned())
}
