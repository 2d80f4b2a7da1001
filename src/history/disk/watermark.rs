//! How far the log of the file has come, told apart from it: where a byte of the log is damaged, SQLite
//! leaves out all that comes after it without a word.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A small file beside the store.
#[derive(Debug)]
pub(super) struct Watermark {
    file: File,
    reached: Reached,
}

/// What was committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reached {
    /// The number of the last message.
    pub(super) last: i64,
    /// That of the last that the disk has.
    pub(super) synced: i64,
}

impl Watermark {
    /// Opens it, and reads what a process before this wrote; nothing where that cannot be told.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(path(directory))?;
        let reached = read_from(&file);
        Ok(Self { file, reached })
    }

    /// What it tells, for whoever only looks.
    pub(super) fn look(directory: &Path) -> Reached {
        let file = File::open(path(directory));
        file.map_or_else(|_| Reached::default(), |file| read_from(&file))
    }

    /// What was committed, as far as this tells.
    pub(super) fn reached(&self) -> Reached {
        self.reached
    }

    /// All up to that message is committed. It costs no waiting for the disk: what it tells may be
    /// less than what is there.
    pub(super) fn rise(&mut self, last: i64, synced: bool) {
        self.reached.last = last;
        if synced {
            self.reached.synced = last;
        }
        self.write();
    }

    /// A start has found all up to that message, which the disk has, and nothing beyond it.
    pub(super) fn stand(&mut self, last: i64) {
        self.reached = Reached { last, synced: last };
        self.write();
    }

    /// What it tells is of a store that is not there any more.
    pub(super) fn forget(&mut self) {
        self.reached = Reached::default();
    }

    fn write(&self) {
        let mut bytes = [0; 20];
        let words = [self.reached.last, self.reached.synced];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        if let Some((said, place)) = bytes.split_last_chunk_mut::<4>() {
            *place = crc32fast::hash(said).to_le_bytes();
        }
        if let Err(error) = self.file.write_all_at(&bytes, 0) {
            tracing::debug!(%error, "the store's watermark cannot be written");
        }
    }
}

/// Where it is.
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join("watermark")
}

fn read_from(file: &File) -> Reached {
    let mut bytes = [0; 20];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => read(bytes).unwrap_or_default(),
        Err(_) => Reached::default(),
    }
}

fn read(bytes: [u8; 20]) -> Option<Reached> {
    let (said, sum) = bytes.split_last_chunk::<4>()?;
    let (last, rest) = said.split_first_chunk()?;
    let (synced, _) = rest.split_first_chunk()?;
    (crc32fast::hash(said).to_le_bytes() == *sum).then(|| Reached {
        last: i64::from_le_bytes(*last),
        synced: i64::from_le_bytes(*synced),
    })
}
