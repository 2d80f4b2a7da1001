//! How a session's bytes get to its wire, and how that is counted.

use std::hint::black_box;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::time::Instant;

use super::{Ending, Subscriber, flag};
use crate::broker::outbox::{FlushEnd, Segment};
use crate::metrics::{DropReason, Protocol};
use crate::protocol::WireFormat;

/// Why a direct write did not take everything.
pub enum Unwritten {
    /// The kernel took only so many bytes.
    From(usize),
    /// The connection is gone.
    Gone,
}

impl Subscriber {
    /// Writes what waits. Called at the end of a turn for those that were marked.
    pub(in crate::broker) fn flush(&self, now: Instant) {
        self.clear(flag::MARKED);
        self.write_out(now);
    }

    pub(super) fn write_out(&self, now: Instant) {
        if self.has(flag::CORKED | flag::GONE) {
            return;
        }
        let mut outbox = self.outbox.borrow_mut();
        // Also one that is above its bound only for this turn: its session is not read meanwhile.
        let held_back = outbox.waiting_since().is_some() || outbox.is_congested();
        let flushed = outbox.flush(&*self.wire, now);
        let (len, waiting) = (outbox.queued(), outbox.waiting_since());
        drop(outbox);
        self.count_conflated(flushed.conflated);
        self.count_delivered(flushed.messages as u64, flushed.bytes as u64);
        match flushed.end {
            FlushEnd::Empty => {
                self.clear(flag::QUEUED);
                if held_back {
                    self.wire.drained();
                }
                if self.has(flag::CLOSING) {
                    self.wire.shut_writing();
                }
            }
            FlushEnd::Blocked => {
                self.set(flag::QUEUED);
                self.wire.want_writable();
            }
            FlushEnd::Broken => self.kill(),
        }
        self.report(len, waiting);
    }

    /// Queues messages behind what waits. Where there is no room, what may be dropped is; where that
    /// makes none, the session is closed.
    pub(in crate::broker) fn push(self: &Rc<Self>, segment: Segment, now: Instant) {
        let segment = self.as_queued(segment);
        let share = self.turn.share();
        if !self.is_ending() && !self.outbox.borrow().has_room(segment.len(), share) {
            // Much may fall due in one turn: only what the kernel does not take is too much.
            self.write_out(now);
        }
        if self.is_ending() {
            // What is left of a batch in whose middle the session was closed.
            let reason = if self.has(flag::GONE) {
                DropReason::Closed
            } else {
                DropReason::Slow
            };
            let messages = segment.messages_held() as u64;
            return self.turn.metrics.dropped(reason, messages);
        }
        let is_paced = segment.handling().min_interval.is_some();
        let mut outbox = self.outbox.borrow_mut();
        let taken = outbox.take(segment, share, now);
        let due = outbox.next_release().filter(|_| is_paced);
        drop(outbox);
        self.count_taken(taken);
        if taken.is_overfull {
            let close = crate::broker::slow("the outbound queue is full");
            return self.close(&close, Ending::Abrupt, now);
        }
        if let Some(due) = due {
            self.wire.wake_at(due);
        }
        self.mark();
    }

    /// Ends a session that holds more than its outbox may hold now, once what may be dropped is.
    pub(in crate::broker) fn end_if_beyond_bound(self: &Rc<Self>, now: Instant) {
        let share = self.turn.share();
        let taken = self.outbox.borrow_mut().shrink(share);
        self.count_taken(taken);
        if taken.is_overfull {
            let close = crate::broker::slow("memory is short and the outbound queue too long");
            self.close(&close, Ending::Abrupt, now);
        }
    }

    /// Queues a piece of a replay. What is read ahead is bounded by [`Subscriber::replay_room`], so
    /// it never makes a session too slow.
    pub(in crate::broker) fn push_replayed(self: &Rc<Self>, segment: Segment) {
        if !self.is_ending() {
            let segment = self.as_queued(segment);
            self.outbox.borrow_mut().push(segment);
            self.mark();
        }
    }

    /// Touches what [`Subscriber::write`] will: it is near when it is needed.
    pub(in crate::broker) fn fetch(&self) {
        black_box(self.flags.get());
        self.wire.fetch();
    }

    /// Writes chunks of messages straight to the wire; what the kernel does not take is queued.
    /// Only for a subscriber that [`Subscriber::is_direct`].
    pub(in crate::broker) fn write(
        self: &Rc<Self>,
        pieces: &[IoSlice<'_>],
        total: usize,
    ) -> Result<usize, Unwritten> {
        let written = match pieces {
            [only] => self.wire.try_write(only),
            several => self.wire.try_write_vectored(several),
        };
        match written {
            Ok(n) if n == total => Ok(n),
            Ok(n) => Err(Unwritten::From(n)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(Unwritten::From(0)),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(Unwritten::From(0)),
            Err(_) => {
                self.kill();
                Err(Unwritten::Gone)
            }
        }
    }

    /// Counts messages whose last byte the kernel took.
    pub(in crate::broker) fn count_delivered(&self, messages: u64, bytes: u64) {
        self.note_delivered(messages);
        self.count_delivered_as(self.format(), messages, bytes);
    }

    /// Counts what a job delivered to several sessions of one format.
    pub(in crate::broker) fn count_delivered_as(
        &self,
        format: WireFormat,
        messages: u64,
        bytes: u64,
    ) {
        if bytes > 0 {
            self.turn.metrics.delivered(spoken(format), messages, bytes);
        }
    }

    pub(super) fn report(&self, len: usize, waiting: Option<Instant>) {
        let before = self.reported_bytes.replace(len);
        if before != len {
            self.turn
                .metrics
                .queued_bytes(len.cast_signed() as i64 - before.cast_signed() as i64);
        }
        let mut slow = self.slow.borrow_mut();
        if waiting.is_some() != slow.is_some() {
            *slow = waiting.map(|_| self.turn.all_metrics().slow_session());
        }
    }
}

/// What a session speaks, as the metrics name it.
pub fn spoken(format: WireFormat) -> Protocol {
    match format {
        WireFormat::Json => Protocol::Json,
        WireFormat::Msgpack => Protocol::Msgpack,
        WireFormat::Raw => Protocol::Raw,
        WireFormat::Sse => Protocol::Sse,
    }
}
