//! A store that is being made: under another name until it is whole.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::{ToolError, file_error};
use crate::history::disk::lock::Lock;
use crate::history::disk::{StoreError, schema, watermark};

/// A file beside the store's that takes its place, or goes.
pub(super) struct Target {
    directory: PathBuf,
    pub(super) partial: PathBuf,
    is_done: bool,
    _lock: Lock,
}

impl Target {
    /// Begins one in a directory that has no store; it is made if it is not there.
    pub(super) fn new(directory: &Path, what: &str) -> Result<Self, ToolError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(file_error(directory))?;
        let lock = Lock::take_for(directory, &format!(" ({what})"))?;
        let file = schema::file(directory);
        // What lies beside another store would be taken for this one's.
        for path in [file.clone(), schema::log(&file), watermark::path(directory)] {
            if path.symlink_metadata().is_ok() {
                return Err(ToolError::Taken { path });
            }
        }
        Self::beside(directory, lock)
    }

    /// Begins one in the directory of a store, to take that one's place.
    pub(super) fn beside(directory: &Path, lock: Lock) -> Result<Self, ToolError> {
        let mut partial = schema::file(directory).into_os_string();
        partial.push(".partial");
        let target = Self {
            directory: directory.to_owned(),
            partial: partial.into(),
            is_done: false,
            _lock: lock,
        };
        // One that was killed may have left it.
        target.remove();
        schema::touch(&target.partial).map_err(file_error(&target.partial))?;
        Ok(target)
    }

    /// A connection that writes it, as fast as that can be: what is not finished is of no use.
    pub(super) fn open(&self) -> Result<Connection, ToolError> {
        let unusable = |error| StoreError::Unusable {
            file: self.partial.clone(),
            error,
        };
        let open = || {
            let conn = schema::to_write(&self.partial)?;
            conn.pragma_update(None, "synchronous", "OFF")?;
            Ok(conn)
        };
        Ok(open().map_err(unusable)?)
    }

    /// Puts it in its place, for good.
    pub(super) fn finish(mut self) -> Result<(), ToolError> {
        let file = schema::file(&self.directory);
        let sync = |path: &Path| {
            let synced = File::open(path).and_then(|opened| opened.sync_all());
            synced.map_err(file_error(path))
        };
        sync(&self.partial)?;
        fs::rename(&self.partial, &file).map_err(file_error(&file))?;
        self.is_done = true;
        sync(&self.directory)
    }

    fn remove(&self) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let mut file = self.partial.clone().into_os_string();
            file.push(suffix);
            // Most of them are not there.
            let _gone = fs::remove_file(file);
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.is_done {
            self.remove();
        }
    }
}
