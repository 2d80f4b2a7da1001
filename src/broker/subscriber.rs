//! One session as the broker sees it: its outbox, its subscriptions, and where both stand.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;

use crate::auth::Rights;
use crate::config::Who;
use crate::metrics::{DropReason, Held};
use crate::model::{SessionId, Timestamp, TopicName};
use crate::protocol::{Close, CloseCode, Encoding, ServerFrame, WireFormat, control_bytes};
use crate::websocket::close_bytes;

use super::batch::Wanted;
use super::book::Book;
use super::outbox::{Outbox, Segment};
use super::replay;
use super::turn::Turn;
use super::wire::Wire;

mod catching_up;
mod facts;
mod handling;
mod writing;

pub use facts::SessionCounts;
pub(super) use writing::Unwritten;
pub use writing::spoken;

/// Conditions of a subscriber that a fan-out must mind. While none is set, messages are written
/// straight to its wire.
mod flag {
    /// Nothing may be written yet: the handshake has not been answered.
    pub const CORKED: u8 = 1;
    /// Something waits in the outbox, so that what comes must wait behind it.
    pub const QUEUED: u8 = 2;
    /// Some topic is not to be delivered as it comes: a replay runs, a filter is opening, or an event
    /// stream catches up.
    pub const SELECTIVE: u8 = 4;
    /// A close was queued; no message follows it.
    pub const CLOSING: u8 = 8;
    /// It stands in the turn's list already.
    pub const MARKED: u8 = 16;
    /// It has several subscriptions, so several topics may fall due for it in one turn.
    pub const SEVERAL: u8 = 32;
    /// The connection is gone.
    pub const GONE: u8 = 64;
}

/// How a session that the server ends treats what is still queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// What is queued is written out first.
    Orderly,
    /// What is queued is dropped and counted: the peer does not take it.
    Abrupt,
}

/// A session as the broker sees it. Owned by its worker; shared between the session and the
/// audiences it stands in.
///
/// What a delivery touches stands first and together: of many sessions none is in the processor's cache.
#[repr(C)]
pub struct Subscriber {
    flags: Cell<u8>,
    encoding: Encoding,
    id: SessionId,
    wire: Rc<dyn Wire>,
    facts: facts::Facts,
    /// The last delivery job that visited it, so that overlapping subscriptions deliver once.
    visited: Cell<u64>,
    outbox: RefCell<Outbox>,
    rights: Rc<Rights>,
    turn: Rc<Turn>,
    reported_bytes: Cell<usize>,
    /// Held while the outbox is counted among the slow ones.
    slow: RefCell<Option<Held>>,
    closed_with: Cell<Option<(CloseCode, Instant)>>,
    /// Long answers that it has asked for and that have not come.
    owed: Cell<u32>,
    /// The moment from which an event stream of several topics catches up, while it does.
    catching_up: Cell<Option<Timestamp>>,
    pub(super) book: RefCell<Book>,
}

/// A long answer that a session waits for: until it comes, the session is not read, so that it
/// cannot ask for many by few bytes.
pub struct Debt(Rc<Subscriber>);

impl Subscriber {
    /// A subscriber whose outbox holds at most `queue` bytes. It is corked: what is sent waits
    /// until [`Subscriber::open`].
    pub fn new(
        id: SessionId,
        encoding: Encoding,
        rights: Rc<Rights>,
        wire: Rc<dyn Wire>,
        queue: usize,
        turn: Rc<Turn>,
    ) -> Rc<Self> {
        Rc::new(Self {
            flags: Cell::new(flag::CORKED),
            encoding,
            visited: Cell::new(0),
            wire,
            outbox: RefCell::new(Outbox::new(queue, encoding.format)),
            id,
            rights,
            turn,
            reported_bytes: Cell::new(0),
            slow: RefCell::default(),
            closed_with: Cell::new(None),
            owed: Cell::new(0),
            catching_up: Cell::new(None),
            facts: facts::Facts::default(),
            book: RefCell::default(),
        })
    }

    /// The session's name.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// What is spoken on its wire.
    pub fn format(&self) -> WireFormat {
        self.encoding.format
    }

    /// How messages stand on its wire.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// What it may.
    pub fn rights(&self) -> &Rc<Rights> {
        &self.rights
    }

    /// Bytes waiting in its outbox.
    pub fn queued_bytes(&self) -> usize {
        self.outbox.borrow().queued()
    }

    /// Since when its outbox has not been emptied.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.outbox.borrow().waiting_since()
    }

    /// With which code the server closed it, and when, if it did.
    pub fn closed_with(&self) -> Option<(CloseCode, Instant)> {
        self.closed_with.get()
    }

    /// Whether a close was queued or the connection is gone: nothing it sends counts any more.
    pub fn is_ending(&self) -> bool {
        self.has(flag::CLOSING | flag::GONE)
    }

    /// Whether it should not be read now: its answers would wait behind a full outbox.
    pub fn is_congested(&self) -> bool {
        self.owed.get() > 0 || (self.has(flag::QUEUED) && self.outbox.borrow().is_congested())
    }

    /// Notes that a long answer is asked for.
    pub fn owe(self: &Rc<Self>) -> Debt {
        self.owed.set(self.owed.get() + 1);
        Debt(Rc::clone(self))
    }

    /// Writes the handshake's answer and the first frames, then all that came meanwhile.
    pub fn open(self: &Rc<Self>, first: Bytes) {
        self.outbox.borrow_mut().push_first(first);
        self.clear(flag::CORKED);
        self.mark();
    }

    /// Writes an answer that opens nothing, and ends.
    pub fn open_refused(self: &Rc<Self>, answer: Bytes) {
        let mut outbox = self.outbox.borrow_mut();
        let dropped = outbox.clear();
        self.turn
            .metrics
            .dropped(DropReason::Closed, dropped as u64);
        outbox.push_first(answer);
        drop(outbox);
        self.clear(flag::CORKED);
        self.set(flag::CLOSING);
        self.mark();
    }

    /// Queues a frame that is no message and is never dropped.
    pub fn send(self: &Rc<Self>, frame: Bytes) {
        if self.is_ending() {
            return;
        }
        self.outbox.borrow_mut().push(Segment::control(frame));
        self.mark();
    }

    /// Queues a frame of the protocol's, where this session's format has it.
    pub fn send_frame(self: &Rc<Self>, frame: &ServerFrame<'_>) {
        if let Some(bytes) = control_bytes(self.format(), frame) {
            self.send(bytes);
        }
    }

    /// Queues a WebSocket control frame, before all messages that wait.
    pub fn send_urgent(self: &Rc<Self>, frame: Bytes) {
        if self.has(flag::CORKED) || self.is_ending() {
            return;
        }
        self.outbox.borrow_mut().overtake(frame);
        self.mark();
    }

    /// Ends the session from the server's side: tells the peer why, then says that nothing follows.
    pub fn close(self: &Rc<Self>, close: &Close, ending: Ending, now: Instant) {
        if self.is_ending() {
            return;
        }
        self.set(flag::CLOSING);
        self.closed_with.set(Some((close.code, now)));
        let mut outbox = self.outbox.borrow_mut();
        if ending == Ending::Abrupt {
            let dropped = outbox.clear();
            self.turn.metrics.dropped(DropReason::Slow, dropped as u64);
        } else {
            let conflated = outbox.release_of(|_| true, now);
            self.count_conflated(conflated);
        }
        if let Some(bytes) = control_bytes(self.format(), &ServerFrame::closing(close)) {
            outbox.push(Segment::control(bytes));
        }
        if self.format() != WireFormat::Sse {
            let frame = close_bytes(close.code.0, &close.reason);
            outbox.push(Segment::control(frame));
        }
        drop(outbox);
        self.mark();
    }

    /// Answers the peer's close frame with the same code and ends.
    pub fn answer_close(self: &Rc<Self>, frame: Bytes) {
        if !self.is_ending() {
            self.outbox.borrow_mut().push(Segment::control(frame));
        }
        self.set(flag::CLOSING);
        self.mark();
    }

    /// Ends the connection at once.
    pub fn kill(&self) {
        self.set(flag::GONE);
        self.wire.kill();
    }

    /// The wire takes bytes again.
    pub fn writable(self: &Rc<Self>) {
        self.mark();
    }

    /// The peer sends nothing more: writes what the kernel takes, for a peer that still reads.
    pub fn write_last(&self, now: Instant) {
        self.write_out(now);
    }

    /// Counts what never left as dropped. Called when the session has ended.
    pub fn abandon(&self) {
        self.set(flag::GONE);
        let left = self.outbox.borrow_mut().discard();
        if left > 0 {
            self.turn.metrics.dropped(DropReason::Closed, left as u64);
        }
        self.report(0, None);
        // What was counted is handed in by a turn, and maybe nothing else asks for one.
        self.turn.wake();
    }

    /// Whether messages may be written to the wire at once, `alone` saying that no other topic
    /// falls due in this turn.
    pub(super) fn is_direct(&self, alone: bool) -> bool {
        let flags = self.flags.get();
        let hindrance = flag::CORKED
            | flag::QUEUED
            | flag::SELECTIVE
            | flag::CLOSING
            | flag::GONE
            | flag::MARKED;
        flags & hindrance == 0 && (alone || flags & flag::SEVERAL == 0)
    }

    /// Whether some topics are not to be delivered as they come.
    pub(super) fn is_selective(&self) -> bool {
        self.has(flag::SELECTIVE)
    }

    /// How many bytes a piece of a replay may have, and for how many pieces the outbox has room
    /// now: none while it is drained too little.
    pub(super) fn replay_room(&self) -> (usize, usize) {
        let outbox = self.outbox.borrow();
        let fraction = 4 * self.turn.share();
        let share = outbox.share(fraction);
        let piece = replay::PIECE.bytes.min(share).max(1);
        if self.is_ending() || outbox.is_above(fraction) {
            return (piece, 0);
        }
        let pieces = (share - outbox.queued()) / piece;
        (piece, pieces.clamp(1, replay::AT_ONCE))
    }

    /// What of that topic is for this subscriber, which stands in an audience of it with those
    /// options; `exact` says that the audience is that of the name.
    pub(super) fn wanted(&self, topic: &TopicName, echo: bool, exact: bool) -> Wanted {
        if !self.has(flag::SELECTIVE) {
            return Wanted::live(echo);
        }
        let book = self.book.borrow();
        if book.replays(topic) {
            return Wanted::Presence;
        }
        Wanted::live(if exact { echo } else { book.echoes(topic) })
    }

    /// Whether it may read a topic that is for those.
    pub(super) fn may_read(&self, who: Who, topic: &TopicName) -> bool {
        let access = self.rights.access();
        access.may_read(who, topic) || self.book.borrow().lends(topic, &access, who)
    }

    /// Notes a visit by a delivery job; false if that job has been here already.
    pub(super) fn visit(&self, job: u64) -> bool {
        self.visited.replace(job) != job
    }

    /// Sets the flags that follow from the book.
    pub(super) fn settle_book(&self, book: &Book) {
        let selective = book.is_selective() || self.is_catching_up();
        self.put(flag::SELECTIVE, selective);
        self.put(flag::SEVERAL, book.len() > 1);
    }

    fn mark(self: &Rc<Self>) {
        self.set(flag::QUEUED);
        if !self.has(flag::MARKED) {
            self.set(flag::MARKED);
            self.turn.mark(self);
        }
    }

    fn has(&self, flags: u8) -> bool {
        self.flags.get() & flags != 0
    }

    fn set(&self, flags: u8) {
        self.flags.set(self.flags.get() | flags);
    }

    fn clear(&self, flags: u8) {
        self.flags.set(self.flags.get() & !flags);
    }

    fn put(&self, flags: u8, on: bool) {
        if on {
            self.set(flags);
        } else {
            self.clear(flags);
        }
    }
}

impl Debt {
    /// Whose it is.
    pub fn session(&self) -> &Rc<Subscriber> {
        &self.0
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        let left = self.0.owed.get().saturating_sub(1);
        self.0.owed.set(left);
        if left == 0 {
            self.0.wire.drained();
        }
    }
}
