//! A retained message in memory: counted in the store, and refused where there is no room for it.

use std::fmt;
use std::sync::Arc;

use super::ceiling::Ceiling;
use super::{Completion, HistoryError, Once, Retained};
use crate::model::Message;

/// Where a topic's retained message is.
pub(super) struct Slot {
    ceiling: Arc<Ceiling>,
    message: Option<Arc<Message>>,
}

/// Room that was made for a message: given back if nothing is put there.
#[derive(Debug)]
pub(super) struct Room {
    ceiling: Arc<Ceiling>,
    bytes: usize,
}

impl Slot {
    pub(super) fn new(ceiling: &Arc<Ceiling>) -> Self {
        Self {
            ceiling: Arc::clone(ceiling),
            message: None,
        }
    }

    /// Takes room for a message of that weight, in the place of the one that is there.
    ///
    /// # Errors
    /// [`HistoryError::Full`].
    pub(super) fn make_room(&self, bytes: usize) -> Result<Room, HistoryError> {
        let leaves = self.message.as_ref().map_or(0, |held| held.weight());
        let has_room = self.ceiling.take_retained(bytes, leaves);
        let room = Room {
            ceiling: Arc::clone(&self.ceiling),
            bytes,
        };
        if has_room {
            return Ok(room);
        }
        Err(HistoryError::Full)
    }

    /// Room for a message that was retained already, whether there is any or not.
    pub(super) fn room_at_any_rate(&self, bytes: usize) -> Room {
        self.ceiling.take_retained(bytes, 0);
        Room {
            ceiling: Arc::clone(&self.ceiling),
            bytes,
        }
    }

    /// Puts a message where room was made for it.
    pub(super) fn put(&mut self, message: Arc<Message>, mut room: Room) {
        self.clear();
        // From now on it is the message's.
        room.bytes = 0;
        self.ceiling.count_retained();
        self.message = Some(message);
    }

    pub(super) fn clear(&mut self) {
        if let Some(gone) = self.message.take() {
            self.ceiling.uncount_retained();
            self.ceiling.release_retained(gone.weight());
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
        self.ceiling.release_retained(self.bytes);
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}
