//! The retained message of a topic that keeps no history, on the disk.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Shared;
use super::catalog::Entry;
use super::queue::{ITEM, Item, What};
use crate::history::slot::Room;
use crate::history::{Completion, HistoryError, News, Once, Retained, Ticket};
use crate::model::{Durability, Message};

/// Held in memory, and written by the store's thread.
#[derive(Debug)]
pub(super) struct DiskRetained {
    pub(super) shared: Arc<Shared>,
    pub(super) entry: Arc<Entry>,
    pub(super) news: Arc<News>,
    pub(super) durability: Durability,
    pub(super) pending: VecDeque<(Ticket, Option<(Arc<Message>, Room)>)>,
}

impl DiskRetained {
    /// Has the disk drop the messages of the time when the topic kept a history.
    pub(super) fn drop_history(&self) {
        let mut state = self.entry.lock().committed;
        let is_nothing = state.len() == 0 && state.aside.is_none();
        if is_nothing || self.shared.fault.is_on() || self.shared.queue.reserve(ITEM).is_err() {
            return;
        }
        state.begin_at(state.end(), state.time);
        let item = Item::new(&self.entry, &self.news, self.durability, state, What::Trim);
        self.shared.queue.push_from(&self.news, item);
    }
}

impl Retained for DiskRetained {
    fn message(&self) -> Option<Arc<Message>> {
        self.entry.lock().slot.message()
    }

    fn set(
        &mut self,
        message: Option<Arc<Message>>,
        once: Option<Once>,
    ) -> Result<Completion, HistoryError> {
        self.shared.fault.check()?;
        let weight = message.as_ref().map_or(0, |message| message.weight());
        let change = match &message {
            Some(message) => {
                let room = self.entry.lock().slot.make_room(weight)?;
                Some((Arc::clone(message), room))
            }
            None => None,
        };
        self.shared.queue.reserve(ITEM + weight)?;
        let state = self.entry.lock().committed;
        let what = What::Retained { message, once };
        let ticket = self.news.ticket(self.durability);
        self.pending.push_back((ticket, change));
        let item = Item {
            ticket: Some(ticket),
            ..Item::new(&self.entry, &self.news, self.durability, state, what)
        };
        self.shared.queue.push_from(&self.news, item);
        Ok(Completion::Later(ticket))
    }

    fn settle(&mut self, upto: Ticket) {
        while let Some((_, change)) = self.pending.pop_front_if(|(ticket, _)| *ticket <= upto) {
            let mut kept = self.entry.lock();
            match change {
                Some((message, room)) => kept.slot.put(message, room),
                None => kept.slot.clear(),
            }
        }
    }

    fn take_back(&mut self) {
        self.pending.clear();
    }
}

impl Drop for DiskRetained {
    fn drop(&mut self) {
        self.shared.close(&self.entry);
    }
}
