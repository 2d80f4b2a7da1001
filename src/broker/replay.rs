//! A replay is a cursor: it reads a topic's history in pieces as the outbox drains, and turns the
//! topic live at the head.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use crate::history::Limit;
use crate::model::{Message, TopicName};
use crate::protocol::{GapReason, Sent, ServerFrame, message_bytes};

use super::book::{Entry, Replay};
use super::message::{Piece, ReadAsk, RetainedAsk, RetainedPiece, ToHome};
use super::outbox::{FrameEnd, Segment};
use super::registry::Registry;
use super::retained::Next;
use super::subscriber::Subscriber;
use super::waiting::Waiting;

/// How much is read at once: enough to fill a write, little enough to leave the home to others.
pub const PIECE: Limit = Limit {
    messages: 256,
    bytes: 48 * 1024,
};

/// Replays of one session that read at once; the others wait for their turn.
pub const AT_ONCE: usize = 16;

impl Registry {
    /// Asks for the next pieces of a session's replays, where its outbox has room.
    pub(super) fn go_on_replaying(&mut self, subscriber: &Rc<Subscriber>) {
        subscriber.end_catching_up();
        let (bytes, room) = subscriber.replay_room();
        if room == 0 {
            return;
        }
        let limit = Limit { bytes, ..PIECE };
        let mut book = subscriber.book.borrow_mut();
        if book.is_owed_retained() {
            // A topic's retained message comes before what is replayed of it.
            let next = book.ask_retained();
            drop(book);
            if let Some(next) = next {
                self.ask_retained(subscriber, next, limit);
            }
            return;
        }
        let asks = book.ask_pieces(room);
        drop(book);
        for (topic, after) in asks {
            let home = self.shards.home(&topic);
            let token = self.waiting.add(
                home,
                Waiting::Replay {
                    subscriber: Rc::clone(subscriber),
                    topic: topic.clone(),
                    after,
                },
            );
            let ask = ReadAsk {
                topic,
                after,
                limit,
            };
            self.ask_home(home, ToHome::Read(ask, token));
        }
    }

    pub(super) fn replayed(
        &mut self,
        subscriber: &Rc<Subscriber>,
        topic: &TopicName,
        after: u64,
        piece: &Piece,
    ) {
        if subscriber.is_ending() {
            return;
        }
        let reading = self.reading(subscriber);
        let mut book = subscriber.book.borrow_mut();
        if !reading.is_brought(&book, topic) {
            // It is withheld from the session since the piece was asked for.
            book.end_replay(topic);
            subscriber.settle_book(&book);
            drop(book);
            return self.replay_later(subscriber);
        }
        let replay = book.replay(topic);
        drop(book);
        if replay.is_some_and(|replay| piece.epoch != Some(replay.epoch))
            && self.fanout.is_due(topic)
        {
            // The history was cleared: what tells of it is due, and ends the replay.
            self.flush_all(Instant::now());
        }
        let is_done = take_piece(subscriber, topic, after, piece);
        if is_done {
            if self.fanout.is_due(topic) {
                // Due messages were in the piece already: they pass while the replay still hides them.
                self.flush_all(Instant::now());
            }
            let mut book = subscriber.book.borrow_mut();
            book.end_replay(topic);
            subscriber.settle_book(&book);
        }
        self.replay_later(subscriber);
    }

    fn ask_retained(&mut self, subscriber: &Rc<Subscriber>, next: Next, limit: Limit) {
        let waiting = Waiting::Retained {
            subscriber: Rc::clone(subscriber),
            number: next.number,
        };
        let token = self.waiting.add(next.home, waiting);
        let mut access = subscriber.rights().access();
        let is_lent = |entry: &Entry| entry.is_lent;
        if subscriber
            .book
            .borrow()
            .find(&next.filter)
            .is_some_and(is_lent)
        {
            access = Arc::new(access.lent(&next.filter));
        }
        let ask = RetainedAsk {
            filter: next.filter,
            after: next.after,
            access,
            limit,
        };
        self.ask_home(next.home, ToHome::ReadRetained(ask, token));
    }

    /// A piece of the retained messages has come.
    pub(super) fn retained_came(
        &mut self,
        subscriber: &Rc<Subscriber>,
        number: u64,
        piece: RetainedPiece,
    ) {
        if subscriber.is_ending() {
            return;
        }
        if !self.fanout.is_idle() {
            // What is due is older than the piece: it passes while the cursor has not come to it.
            self.flush_all(Instant::now());
        }
        let reading = self.reading(subscriber);
        let mut book = subscriber.book.borrow_mut();
        let mut messages = book.take_retained(number, piece);
        messages.retain(|message| reading.is_brought(&book, &message.topic));
        subscriber.settle_book(&book);
        drop(book);
        queue(subscriber, messages.iter().map(|m| (m, Sent::Retained)));
        self.replay_later(subscriber);
    }

    fn replay_later(&mut self, subscriber: &Rc<Subscriber>) {
        if subscriber.is_selective() {
            self.replaying.push(Rc::clone(subscriber));
            self.turn.wake();
        }
    }
}

/// Queues the piece after `after` for its session, and says whether the replay is done: the topic is
/// live.
fn take_piece(subscriber: &Rc<Subscriber>, topic: &TopicName, after: u64, piece: &Piece) -> bool {
    let mut book = subscriber.book.borrow_mut();
    if !book.take_asked(topic, after) {
        // Unsubscribed meanwhile, or begun anew.
        return false;
    }
    let echo = book.echoes(topic);
    let Some(mut replay) = book.replay(topic) else {
        return false;
    };
    let epoch = replay.epoch;
    let until = replay.until;
    let (gap, messages, is_done) = if piece.epoch == Some(epoch) {
        let offset = |m: &Arc<Message>| m.position.map(|p| p.offset);
        let first = piece.messages.first().and_then(offset);
        let missing_to = first.map_or(piece.newest, |first| first.saturating_sub(1));
        let last = piece.messages.last().and_then(offset);
        replay.after = last.unwrap_or(missing_to).max(after);
        let gap = (GapReason::Trimmed, missing_to);
        (gap, &*piece.messages, piece.is_head)
    } else if let Some(epoch) = piece.epoch {
        // Another life: what was to come is gone, and all of this one is still to be read.
        replay = Replay::new(epoch, 0, 0);
        ((GapReason::Cleared, until), &[][..], false)
    } else {
        ((GapReason::Trimmed, until), &[][..], true)
    };
    book.go_on(topic, replay);
    drop(book);
    let (reason, to) = gap;
    if to > after {
        subscriber.send_frame(&ServerFrame::Gap {
            topic: topic.as_str(),
            reason,
            count: to - after,
            epoch: Some(epoch),
            from: after + 1,
            to,
        });
    }
    if piece.epoch == Some(epoch) {
        // What is missing may be what the topic retains.
        let skipped = piece.skipped.iter();
        queue(subscriber, skipped.map(|message| (message, Sent::Retained)));
    }
    let messages = messages.iter().map(|message| {
        let is_replayed = message.position.is_some_and(|p| p.offset <= until);
        let sent = if is_replayed {
            Sent::Replayed
        } else {
            Sent::Live
        };
        (message, sent)
    });
    let is_own = |message: &Message| message.publisher == Some(subscriber.id());
    let wanted = messages.filter(|(m, sent)| echo || *sent == Sent::Replayed || !is_own(m));
    queue(subscriber, wanted);
    is_done
}

fn queue<'m>(
    subscriber: &Rc<Subscriber>,
    messages: impl Iterator<Item = (&'m Arc<Message>, Sent)>,
) {
    let mut bytes = BytesMut::new();
    let mut ends = Vec::new();
    for (message, sent) in messages {
        bytes.extend_from_slice(&message_bytes(subscriber.format(), message, sent));
        ends.push(FrameEnd(bytes.len() as u32));
    }
    if !ends.is_empty() {
        let (bytes, ends) = (bytes.freeze(), Rc::from(ends));
        subscriber.push_replayed(Segment::messages(&bytes, &ends, 0, bytes.len()));
    }
}
