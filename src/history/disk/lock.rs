//! One process at a time on a directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::StoreError;

/// Held as long as it lives; the operating system gives it back whatever ends the process.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the directory.
    ///
    /// # Errors
    /// [`StoreError::Locked`], and [`StoreError::Directory`] where no file can be made there.
    pub(super) fn take(directory: &Path) -> Result<Self, StoreError> {
        Self::take_for(directory, "")
    }

    /// Takes the directory for something that is no broker; whoever finds it taken is told for what.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(super) fn take_for(directory: &Path, what: &str) -> Result<Self, StoreError> {
        let unusable = |error| StoreError::Directory {
            directory: directory.to_owned(),
            error,
        };
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(directory.join("lock"))
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _unknown = file.read_to_string(&mut holder);
                return Err(StoreError::Locked {
                    directory: directory.to_owned(),
                    holder: holder.trim().to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        let pid = std::process::id();
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{pid}{what}"))
            .map_err(unusable)?;
        Ok(Self { _file: file })
    }
}
