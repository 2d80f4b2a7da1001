//! Why the store can keep nothing at present.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rusqlite::ErrorCode;

use crate::history::HistoryError;

/// What is wrong, if something is.
#[derive(Debug, Default)]
pub(super) struct Fault {
    is_on: AtomicBool,
    why: Mutex<String>,
}

impl Fault {
    /// Whether something is wrong.
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// # Errors
    /// [`HistoryError::Unavailable`] while something is wrong.
    pub(super) fn check(&self) -> Result<(), HistoryError> {
        if self.is_on() {
            return Err(HistoryError::Unavailable(self.why().clone()));
        }
        Ok(())
    }

    /// What is wrong, in words.
    pub(super) fn words(&self) -> Option<String> {
        self.is_on().then(|| self.why().clone())
    }

    /// Something is wrong. Whether nothing was before.
    pub(super) fn begin(&self, why: &str) -> bool {
        why.clone_into(&mut self.why());
        !self.is_on.swap(true, Ordering::AcqRel)
    }

    /// All is well again.
    pub(super) fn end(&self) {
        self.is_on.store(false, Ordering::Release);
    }

    fn why(&self) -> std::sync::MutexGuard<'_, String> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an operator is told of an error.
pub(super) fn words(error: &rusqlite::Error) -> String {
    let what = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full",
        Some(ErrorCode::SystemIoFailure) => "the disk has a fault",
        Some(ErrorCode::ReadOnly) => "the disk is read-only",
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "the store is damaged (start the broker again: it copies what is whole)"
        }
        Some(ErrorCode::CannotOpen) => "the store cannot be opened",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process holds the store"
        }
        _ => "the store cannot be written",
    };
    format!("{what}: {error}")
}
