//! Event streams of several topics that catch up.
//!
//! Such a stream goes on by time: the id of its last event says from when. Replays come topic by
//! topic, so while they run an event's own id says nothing of the other topics: a client that is cut
//! off then would miss what it has not got yet, or be told that it missed what it had. So what a
//! stream gets while it catches up carries the id of the moment from which it does.

use std::rc::Rc;

use bytes::Bytes;

use super::{Subscriber, flag};
use crate::broker::outbox::Segment;
use crate::model::Timestamp;
use crate::protocol::{EventId, put_event_as};

impl Subscriber {
    /// From now on until all that it subscribes to has been replayed, events carry the id of that
    /// moment. To be called before it subscribes.
    pub fn catch_up_from(&self, from: Timestamp) {
        self.catching_up.set(Some(from));
        self.set(flag::SELECTIVE);
    }

    /// Whether it catches up: then not even what is live is written as it comes.
    pub(super) fn is_catching_up(&self) -> bool {
        self.catching_up.get().is_some()
    }

    /// Whether it has everything, asked before it opens; then it does not begin to catch up at all.
    pub fn has_caught_up(&self) -> bool {
        let book = self.book.borrow();
        if book.is_behind() || !self.outbox.borrow().is_empty() {
            return !self.is_catching_up();
        }
        self.catching_up.set(None);
        self.settle_book(&book);
        true
    }

    /// Tells a stream that is through that it goes on from now; events carry their own ids again.
    pub(in crate::broker) fn end_catching_up(self: &Rc<Self>) {
        let book = self.book.borrow();
        if !self.is_catching_up() || self.has(flag::CORKED) || book.is_behind() {
            return;
        }
        self.catching_up.set(None);
        self.settle_book(&book);
        let id = EventId::at(None, Timestamp::now());
        self.send(Bytes::from(format!("id: {id}\n\n")));
    }

    /// The messages as they are queued for it.
    pub(super) fn as_queued(&self, messages: Segment) -> Segment {
        let Some(from) = self.catching_up.get() else {
            return messages;
        };
        let id = EventId::at(None, from);
        messages.rewritten(|event, bytes| put_event_as(id, event, bytes))
    }
}
