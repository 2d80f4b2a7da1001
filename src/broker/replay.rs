//! A replay is a cursor: it reads a topic's history in pieces as the outbox drains, and turns the
//! topic live at the head.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use crate::history::Limit;
use crate::model::{Message, TopicName};
use crate::protocol::{GapReason, ServerFrame, message_bytes};

use super::message::Piece;
use super::outbox::{FrameEnd, Segment};
use super::subscriber::Subscriber;

/// How much is read at once: enough to fill a write, little enough to leave the home to others.
pub const PIECE: Limit = Limit {
    messages: 256,
    bytes: 48 * 1024,
};

/// Replays of one session that read at once; the others wait for their turn.
pub const AT_ONCE: usize = 16;

/// Queues a piece for its session, and says whether the replay is done: the topic is live.
pub fn take_piece(
    subscriber: &Rc<Subscriber>,
    topic: &TopicName,
    piece: &Piece,
    now: Instant,
) -> bool {
    let mut book = subscriber.book.borrow_mut();
    let echo = book.echoes(topic);
    let Some(replay) = book.replay(topic) else {
        // Unsubscribed meanwhile.
        return false;
    };
    replay.asked = false;
    if piece.epoch != Some(replay.epoch) {
        // Forgotten, or another life: what was to come is gone, and nobody knows how much came after.
        let (from, to) = (replay.after + 1, replay.until.max(replay.after));
        let reason = if piece.epoch.is_some() {
            GapReason::Cleared
        } else {
            GapReason::Trimmed
        };
        let epoch = replay.epoch;
        drop(book);
        if to >= from {
            tell_gap(subscriber, topic, reason, epoch, from, to);
        }
        return true;
    }
    let epoch = replay.epoch;
    let first = piece
        .messages
        .first()
        .and_then(|m| m.position)
        .map(|p| p.offset);
    let missing_to = first.map_or(piece.newest, |first| first.saturating_sub(1));
    let missing = (missing_to > replay.after).then_some((replay.after + 1, missing_to));
    let until = replay.until;
    let last = piece
        .messages
        .last()
        .and_then(|m| m.position)
        .map(|p| p.offset);
    replay.after = last.unwrap_or(missing_to).max(replay.after);
    drop(book);
    if let Some((from, to)) = missing {
        tell_gap(subscriber, topic, GapReason::Trimmed, epoch, from, to);
    }
    queue(subscriber, &piece.messages, until, echo, now);
    piece.is_head
}

fn queue(
    subscriber: &Rc<Subscriber>,
    messages: &[Arc<Message>],
    until: u64,
    echo: bool,
    now: Instant,
) {
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
        subscriber.push(Segment::messages(&bytes, &ends, 0, bytes.len()), now);
    }
}

fn tell_gap(
    subscriber: &Rc<Subscriber>,
    topic: &TopicName,
    reason: GapReason,
    epoch: crate::model::Epoch,
    from: u64,
    to: u64,
) {
    subscriber.send_frame(&ServerFrame::Gap {
        topic,
        reason,
        count: to + 1 - from,
        epoch: Some(epoch),
        from,
        to,
    });
}
