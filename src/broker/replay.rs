//! A replay is a cursor: it reads a topic's history in pieces as the outbox drains, and turns the
//! topic live at the head.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use crate::history::Limit;
use crate::model::{Message, TopicName};
use crate::protocol::{GapReason, ServerFrame, message_bytes};

use super::book::Replay;
use super::message::{Piece, ReadAsk, ToHome};
use super::outbox::{FrameEnd, Segment};
use super::registry::Registry;
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
        let (bytes, room) = subscriber.replay_room();
        if room == 0 {
            return;
        }
        let limit = Limit { bytes, ..PIECE };
        let asks = subscriber.book.borrow_mut().ask_pieces(room);
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
            topic,
            reason,
            count: to - after,
            epoch: Some(epoch),
            from: after + 1,
            to,
        });
    }
    queue(subscriber, messages, until, echo);
    is_done
}

fn queue(subscriber: &Rc<Subscriber>, messages: &[Arc<Message>], until: u64, echo: bool) {
    let mut bytes = BytesMut::new();
    let mut ends = Vec::with_capacity(messages.len());
    for message in messages {
        let is_replayed = message.position.is_some_and(|p| p.offset <= until);
        if !is_replayed && !echo && message.publisher == Some(subscriber.id()) {
            continue;
        }
        bytes.extend_from_slice(&message_bytes(subscriber.format(), message, is_replayed));
        ends.push(FrameEnd(bytes.len() as u32));
    }
    if !ends.is_empty() {
        let (bytes, ends) = (bytes.freeze(), Rc::from(ends));
        subscriber.push_replayed(Segment::messages(&bytes, &ends, 0, bytes.len()));
    }
}
