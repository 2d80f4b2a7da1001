//! The messages that the broker has not confirmed.

use std::collections::VecDeque;

use tungstenite::Utf8Bytes;

use super::source::Place;

/// So many may be unconfirmed, and no more are sent.
const MESSAGES: usize = 1024;
/// The same in bytes.
const BYTES: usize = 4 * 1024 * 1024;
/// How often a message is sent that the broker cannot take now.
const TRIES: u32 = 10;

/// A message that was sent, or is to be sent again.
pub(super) struct Entry {
    pub(super) place: Place,
    frame: Utf8Bytes,
    tries: u32,
    is_answered: bool,
}

/// What is sent and not confirmed, by ascending numbers.
pub(super) struct Window {
    entries: VecDeque<Entry>,
    /// The number of the first entry.
    first: u64,
    unanswered: usize,
    bytes: usize,
    /// Those that are to be sent again, in their order.
    again: VecDeque<u64>,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            first: 1,
            unanswered: 0,
            bytes: 0,
            again: VecDeque::new(),
        }
    }
}

impl Window {
    /// The number of the next message.
    pub(super) fn next_id(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Whether another message may be sent.
    pub(super) fn has_room(&self) -> bool {
        self.entries.len() < MESSAGES && self.bytes < BYTES
    }

    /// How many messages are not answered.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// Adds the message of [`Self::next_id`].
    pub(super) fn push(&mut self, place: Place, frame: Utf8Bytes) {
        self.unanswered += 1;
        self.bytes += frame.len();
        self.entries.push_back(Entry {
            place,
            frame,
            tries: 1,
            is_answered: false,
        });
    }

    /// Takes the message of that number out: it was answered. `None` if it was already, or never sent.
    pub(super) fn answered(&mut self, id: u64) -> Option<Place> {
        let entry = self.waiting(id)?;
        entry.is_answered = true;
        let (place, len) = (entry.place.clone(), entry.frame.len());
        self.unanswered -= 1;
        self.bytes -= len;
        while self.entries.front().is_some_and(|entry| entry.is_answered) {
            self.entries.pop_front();
            self.first += 1;
        }
        Some(place)
    }

    /// Has the message sent again; `false` if that was done often enough.
    pub(super) fn try_again(&mut self, id: u64) -> bool {
        let Some(entry) = self.waiting(id).filter(|entry| entry.tries < TRIES) else {
            return false;
        };
        entry.tries += 1;
        self.again.push_back(id);
        true
    }

    /// Has everything that is unanswered sent again: nobody knows whether it arrived.
    pub(super) fn all_again(&mut self) {
        let numbered = (self.first..).zip(&self.entries);
        let unanswered = numbered.filter(|(_, entry)| !entry.is_answered);
        self.again = unanswered.map(|(id, _)| id).collect();
    }

    /// The next frame that is to be sent again.
    pub(super) fn next_again(&mut self) -> Option<Utf8Bytes> {
        loop {
            let id = self.again.pop_front()?;
            if let Some(entry) = self.waiting(id) {
                return Some(entry.frame.clone());
            }
        }
    }

    fn waiting(&mut self, id: u64) -> Option<&mut Entry> {
        let index = usize::try_from(id.checked_sub(self.first)?).ok()?;
        self.entries
            .get_mut(index)
            .filter(|entry| !entry.is_answered)
    }
}
