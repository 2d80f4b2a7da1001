//! A retained message in memory: counted in the store, and refused where there is no room for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;
use crate::history::{Completion, HistoryError, Once, Retained};
use crate::model::Message;

/// Where a topic's retained message is.
pub(super) struct Slot {
    shared: Arc<Shared>,
    message: Option<Arc<Message>>,
}

/// Room that was made for a message: given back if nothing is put there.
pub(super) struct Room {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Slot {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            message: None,
        }
    }

    /// Takes room for a message of that weight, in the place of the one that is there.
    ///
    /// # Errors
    /// [`HistoryError::Full`].
    pub(super) fn make_room(&self, bytes: usize) -> Result<Room, HistoryError> {
        let shared = &self.shared;
        let before = shared.retained_bytes.fetch_add(bytes, Ordering::Relaxed);
        let room = Room {
            shared: Arc::clone(shared),
            bytes,
        };
        let leaves = self.message.as_ref().map_or(0, |held| held.weight());
        let retained = before.saturating_add(bytes).saturating_sub(leaves);
        let all = retained.saturating_add(shared.bytes.load(Ordering::Relaxed));
        if all <= shared.ceiling {
            return Ok(room);
        }
        Err(HistoryError::Full)
    }

    /// Puts a message where room was made for it.
    pub(super) fn put(&mut self, message: Arc<Message>, mut room: Room) {
        self.clear();
        // From now on it is the message's.
        room.bytes = 0;
        self.shared.retained.fetch_add(1, Ordering::Relaxed);
        self.message = Some(message);
    }

    pub(super) fn clear(&mut self) {
        if let Some(gone) = self.message.take() {
            self.shared.retained.fetch_sub(1, Ordering::Relaxed);
            self.shared
                .retained_bytes
                .fetch_sub(gone.weight(), Ordering::Relaxed);
        }
    }
}

impl Retained for Slot {
    fn message(&self) -> Option<Arc<Message>> {
        self.message.clone()
    }

    fn set(
        &mut self,
        message: Option<Arc<Message>>,
        _once: Option<Once>,
    ) -> Result<Completion, HistoryError> {
        match message {
            Some(message) => {
                let room = self.make_room(message.weight())?;
                self.put(message, room);
            }
            None => self.clear(),
        }
        Ok(Completion::Now)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shared
            .retained_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}
