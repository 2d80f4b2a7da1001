//! What waits to be written to one client: a queue of shared bytes, bounded in bytes.

mod missing;
mod newest;
mod overflow;
mod pace;
mod segment;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Instant;

use bytes::Bytes;

use super::wire::Wire;
use crate::protocol::WireFormat;

use newest::Index;
pub use overflow::Taken;
use pace::Pace;
use segment::Frames;
pub use segment::{Fact, FrameEnd, Handling, Kind, Run, Segment};

/// Pieces handed to the kernel in one call; more gain nothing.
const MAX_PIECES: usize = 64;

/// Control frames that wait at once; of more, the latest takes the place of the one before it, as
/// RFC 6455 §5.5.3 allows for pongs.
const MAX_URGENT: usize = 64;

/// The queue of one session. It holds nothing while the kernel takes what is written.
#[derive(Debug)]
pub struct Outbox {
    segments: VecDeque<Segment>,
    bytes: usize,
    limit: usize,
    format: WireFormat,
    /// Whether bytes of the front segment have been written already.
    front_started: bool,
    /// Whether messages were queued that are to be conflated should they have to wait.
    has_loose: bool,
    /// Since when the kernel has not taken all there is.
    waiting_since: Option<Instant>,
    /// What conflation needs, while there is something to conflate.
    aside: Option<Box<Aside>>,
}

/// What conflation needs beside the queue.
#[derive(Debug, Default)]
struct Aside {
    index: Index,
    pace: Pace,
}

/// What a flush did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Messages whose last byte the kernel took.
    pub messages: usize,
    /// Bytes that the kernel took.
    pub bytes: usize,
    /// Messages that a newer one of their key has replaced, since they had to wait.
    pub conflated: usize,
    /// How it ended.
    pub end: FlushEnd,
}

/// How a flush ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlushEnd {
    /// All is written.
    #[default]
    Empty,
    /// The kernel takes no more now.
    Blocked,
    /// The connection is gone.
    Broken,
}

impl Outbox {
    /// An empty queue that holds at most `limit` bytes of messages of that format.
    pub fn new(limit: usize, format: WireFormat) -> Self {
        Self {
            segments: VecDeque::new(),
            bytes: 0,
            limit,
            format,
            front_started: false,
            has_loose: false,
            waiting_since: None,
            aside: None,
        }
    }

    /// Bytes waiting, those that are held back until they are due included.
    pub fn queued(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Since when the queue has not been emptied; `None` while it is empty.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.waiting_since
    }

    /// Whether more than that part of the bound is taken.
    pub fn is_above(&self, fraction_of: usize) -> bool {
        self.bytes > self.share(fraction_of)
    }

    /// Whether what waits, or what it takes to hold it, is more than the bound: tiny frames take
    /// more than they have. Messages that make room for others do not count.
    pub fn is_congested(&self) -> bool {
        let held = |segment: &Segment| segment.len() + size_of::<Segment>();
        let is_over = |bytes: usize| bytes > self.limit;
        let stays = |segment: &&Segment| segment.is_kept();
        is_over(self.bytes + self.segments.len() * size_of::<Segment>())
            && is_over(self.segments.iter().filter(stays).map(held).sum())
    }

    /// That part of the bound, in bytes.
    pub fn share(&self, fraction_of: usize) -> usize {
        self.limit / fraction_of.max(1)
    }

    /// Whether messages of so many bytes may be queued where that part of the bound holds; a queue that
    /// is empty takes any.
    pub fn has_room(&self, bytes: usize, fraction_of: usize) -> bool {
        self.segments.is_empty() || self.bytes + bytes <= self.share(fraction_of)
    }

    /// Queues messages whatever the bound, an answer, or another frame that is never dropped. Whoever
    /// makes answers bounds them: a session whose queue is full is not read.
    pub fn push(&mut self, mut segment: Segment) {
        if segment.bytes.is_empty() {
            return;
        }
        self.bytes += segment.bytes.len();
        segment.place = self.segments.back().map_or(0, |last| last.place + 1);
        self.segments.push_back(segment);
    }

    /// The place of what is to be inserted there.
    fn place_at(&self, at: usize) -> u64 {
        let next = self.segments.get(at).or_else(|| self.segments.back());
        next.map_or(0, |next| next.place)
    }

    /// Puts what opens the stream before everything, once, while nothing has been written yet.
    pub fn push_first(&mut self, bytes: Bytes) {
        // The answer that opens an event stream was written before its socket was the session's.
        if bytes.is_empty() {
            return;
        }
        self.bytes += bytes.len();
        let mut first = Segment::one(bytes, Frames::First);
        first.place = self.place_at(0);
        self.segments.push_front(first);
    }

    /// Queues a WebSocket control frame before all that waits, but behind what opens the stream,
    /// behind the frame that is partly written, which it must not split (RFC 6455 §5.4), and behind
    /// those that overtook before.
    pub fn overtake(&mut self, frame: Bytes) {
        if frame.is_empty() {
            return;
        }
        self.bytes += frame.len();
        let is_partial = self.split_partial();
        let stays_before =
            |segment: &&Segment| matches!(segment.frames, Frames::First | Frames::Urgent);
        let begun = usize::from(is_partial);
        let others = self.segments.iter().skip(begun);
        let before = others.take_while(stays_before).count();
        let at = begun + before;
        let mut urgent = Segment::one(frame, Frames::Urgent);
        urgent.place = self.place_at(at);
        if before > MAX_URGENT
            && let Some(last) = self.segments.get_mut(at - 1)
        {
            self.bytes -= last.bytes.len();
            *last = urgent;
        } else {
            self.segments.insert(at, urgent);
        }
    }

    /// Cuts the rest of a frame that is partly written off the front; false where none is.
    fn split_partial(&mut self) -> bool {
        let Some(front) = self.segments.front_mut() else {
            return false;
        };
        if !front.is_partial(self.front_started) {
            // Written up to the end of a frame: what comes to stand here has not been begun.
            self.front_started = false;
            return false;
        }
        let rest = front.first_frame_len();
        if rest < front.bytes.len() {
            let head = front.split_to(rest);
            self.segments.push_front(head);
        }
        true
    }

    /// Drops all that waits but what opens the stream and the rest of a frame that is partly
    /// written; returns how many messages were dropped.
    pub fn clear(&mut self) -> usize {
        let held = self.messages();
        let is_partial = self.split_partial();
        let is_kept = is_partial
            || matches!(self.segments.front(), Some(s) if matches!(s.frames, Frames::First));
        self.segments.truncate(usize::from(is_kept));
        self.aside = None;
        self.has_loose = false;
        self.bytes = self.segments.iter().map(|s| s.bytes.len()).sum();
        if self.segments.is_empty() {
            self.waiting_since = None;
        }
        held - self.messages()
    }

    /// Drops everything, since the connection is gone; returns how many messages were dropped.
    pub fn discard(&mut self) -> usize {
        let held = self.messages();
        *self = Self::new(self.limit, self.format);
        held
    }

    /// Messages waiting, the one that is partly written and those that are held back included.
    pub fn messages(&self) -> usize {
        let held_back = self.aside.as_ref().map_or(0, |aside| aside.pace.messages());
        let queued = self.segments.iter().map(Segment::messages_held);
        queued.sum::<usize>() + held_back
    }

    /// Writes until all is written or the kernel takes no more.
    pub fn flush(&mut self, wire: &dyn Wire, now: Instant) -> Flushed {
        let mut done = Flushed::default();
        while !self.segments.is_empty() {
            let ready = self.tell_skipped();
            match self.write_some(wire, ready) {
                Ok(0) => {
                    done.end = FlushEnd::Broken;
                    return done;
                }
                Ok(written) => {
                    done.bytes += written;
                    done.messages += self.consume(written);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.waiting_since.get_or_insert(now);
                    done.conflated = self.gather();
                    done.end = FlushEnd::Blocked;
                    return done;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    done.end = FlushEnd::Broken;
                    return done;
                }
            }
        }
        self.waiting_since = None;
        self.has_loose = false;
        self.tidy_aside();
        // Most sessions are idle most of the time, and room for even a few segments is a tenth of what one
        // takes.
        self.segments = VecDeque::new();
        done
    }

    fn write_some(&self, wire: &dyn Wire, ready: usize) -> io::Result<usize> {
        if let (1, Some(only)) = (self.segments.len(), self.segments.front()) {
            return wire.try_write(&only.bytes);
        }
        let mut pieces = [IoSlice::new(&[]); MAX_PIECES];
        let mut used = 0;
        for (piece, segment) in pieces.iter_mut().zip(&self.segments).take(ready) {
            *piece = IoSlice::new(&segment.bytes);
            used += 1;
        }
        wire.try_write_vectored(pieces.get(..used).unwrap_or(&[]))
    }

    /// Takes written bytes off the front; returns how many messages ended in them.
    fn consume(&mut self, mut written: usize) -> usize {
        let mut messages = 0;
        self.bytes = self.bytes.saturating_sub(written);
        while written > 0 {
            let Some(front) = self.segments.front_mut() else {
                break;
            };
            let step = written.min(front.bytes.len());
            messages += front.ends_within(step);
            written -= step;
            if step < front.bytes.len() {
                front.advance(step);
                self.front_started = true;
            } else if let Some(gone) = self.segments.pop_front() {
                self.front_started = false;
                self.forget_newest(&gone);
            }
        }
        messages
    }
}

#[cfg(test)]
mod tests;
