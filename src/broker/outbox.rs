//! What waits to be written to one client: a queue of shared bytes, bounded in bytes.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::time::Instant;

use bytes::{Buf, Bytes};

use super::wire::Wire;

/// Pieces handed to the kernel in one call; more gain nothing.
const MAX_PIECES: usize = 64;

/// Control frames that wait at once; of more, the latest takes the place of the one before it, as
/// RFC 6455 §5.5.3 allows for pongs.
const MAX_URGENT: usize = 64;

/// Where a frame ends within the chunk of bytes that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameEnd(pub u32);

/// A run of whole frames, or what is left of it: the first frame may be partly written.
#[derive(Clone, Debug)]
pub struct Segment {
    /// What is still to be written.
    bytes: Bytes,
    /// How far into its chunk `bytes` begins.
    base: u32,
    frames: Frames,
}

#[derive(Clone, Debug)]
enum Frames {
    /// What opens the stream: nothing overtakes it, and it is never dropped.
    First,
    /// A frame that has overtaken messages; those that overtake later stay behind it.
    Urgent,
    /// One frame that is an answer or another frame that is no message.
    Control,
    /// Messages; where each ends in the chunk.
    Messages(Rc<[FrameEnd]>),
}

impl Segment {
    /// One frame that is no message: an answer, a gap, a closing.
    pub fn control(bytes: Bytes) -> Self {
        Self {
            bytes,
            base: 0,
            frames: Frames::Control,
        }
    }

    /// Bytes `from..to` of a chunk of messages that end at `ends`.
    pub fn messages(chunk: &Bytes, ends: &Rc<[FrameEnd]>, from: usize, to: usize) -> Self {
        Self {
            bytes: chunk.slice(from..to),
            base: from as u32,
            frames: Frames::Messages(Rc::clone(ends)),
        }
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whole messages that are held here, the one that is partly written included.
    pub fn messages_held(&self) -> usize {
        self.ends_within(self.bytes.len())
    }

    /// How many messages end within the next `len` bytes.
    fn ends_within(&self, len: usize) -> usize {
        match &self.frames {
            Frames::First | Frames::Urgent | Frames::Control => 0,
            Frames::Messages(ends) => {
                let (from, to) = (self.base, self.base + len as u32);
                let before = ends.partition_point(|end| end.0 <= from);
                let until = ends.partition_point(|end| end.0 <= to);
                until - before
            }
        }
    }

    /// Its messages, one by one. The first must not be partly written.
    pub fn frames(&self) -> impl Iterator<Item = &[u8]> {
        let ends = match &self.frames {
            Frames::First | Frames::Urgent | Frames::Control => &[][..],
            Frames::Messages(ends) => ends,
        };
        let mut rest = &*self.bytes;
        let mut from = self.base;
        let next = ends.partition_point(move |end| end.0 <= from);
        ends.iter().skip(next).map_while(move |end| {
            let frame = rest.split_off(..(end.0 - from) as usize);
            from = end.0;
            frame
        })
    }

    /// How many of the next bytes belong to the frame that they begin in the middle of, or begin.
    fn first_frame_len(&self) -> usize {
        match &self.frames {
            Frames::First | Frames::Urgent | Frames::Control => self.bytes.len(),
            Frames::Messages(ends) => {
                let next = ends.partition_point(|end| end.0 <= self.base);
                let end = ends.get(next).map_or(u32::MAX, |end| end.0);
                ((end - self.base) as usize).min(self.bytes.len())
            }
        }
    }

    /// Whether the bytes begin in the middle of a frame. A frame's start is another's end, or 0.
    fn is_partial(&self, started: bool) -> bool {
        match &self.frames {
            Frames::First | Frames::Urgent | Frames::Control => started,
            Frames::Messages(ends) => {
                self.base != 0 && ends.binary_search(&FrameEnd(self.base)).is_err()
            }
        }
    }
}

impl PartialOrd for FrameEnd {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for FrameEnd {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

/// The queue of one session. It holds nothing while the kernel takes what is written.
#[derive(Debug)]
pub struct Outbox {
    segments: VecDeque<Segment>,
    bytes: usize,
    limit: usize,
    /// Whether bytes of the front segment have been written already.
    front_started: bool,
    /// Since when the kernel has not taken all there is.
    waiting_since: Option<Instant>,
}

/// What a flush did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Messages whose last byte the kernel took.
    pub messages: usize,
    /// Bytes that the kernel took.
    pub bytes: usize,
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
    /// An empty queue that holds at most `limit` bytes of messages.
    pub fn new(limit: usize) -> Self {
        Self {
            segments: VecDeque::new(),
            bytes: 0,
            limit,
            front_started: false,
            waiting_since: None,
        }
    }

    /// Bytes waiting.
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
    /// more than they have.
    pub fn is_congested(&self) -> bool {
        self.bytes + self.segments.len() * size_of::<Segment>() > self.limit
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

    /// Queues messages, for which the caller has asked [`Outbox::has_room`], an answer, or another
    /// frame that is never dropped. Whoever makes answers bounds them: a session whose queue is
    /// full is not read.
    pub fn push(&mut self, segment: Segment) {
        if segment.bytes.is_empty() {
            return;
        }
        self.bytes += segment.bytes.len();
        self.segments.push_back(segment);
    }

    /// Puts what opens the stream before everything, once, while nothing has been written yet.
    pub fn push_first(&mut self, bytes: Bytes) {
        // The answer that opens an event stream was written before its socket was the session's.
        if bytes.is_empty() {
            return;
        }
        self.bytes += bytes.len();
        self.segments.push_front(Segment {
            bytes,
            base: 0,
            frames: Frames::First,
        });
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
        let urgent = Segment {
            bytes: frame,
            base: 0,
            frames: Frames::Urgent,
        };
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
            let mut head = front.clone();
            head.bytes.truncate(rest);
            front.bytes.advance(rest);
            front.base += rest as u32;
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
        self.bytes = self.segments.iter().map(|s| s.bytes.len()).sum();
        if self.segments.is_empty() {
            self.waiting_since = None;
        }
        held - self.messages()
    }

    /// Drops everything, since the connection is gone; returns how many messages were dropped.
    pub fn discard(&mut self) -> usize {
        let held = self.messages();
        *self = Self::new(self.limit);
        held
    }

    /// Messages waiting, the one that is partly written included.
    pub fn messages(&self) -> usize {
        self.segments.iter().map(Segment::messages_held).sum()
    }

    /// Writes until all is written or the kernel takes no more.
    pub fn flush(&mut self, wire: &dyn Wire, now: Instant) -> Flushed {
        let mut done = Flushed::default();
        while !self.segments.is_empty() {
            match self.write_some(wire) {
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
        // Most sessions are idle most of the time, and room for even a few segments is a tenth of what one
        // takes.
        self.segments = VecDeque::new();
        done
    }

    fn write_some(&self, wire: &dyn Wire) -> io::Result<usize> {
        if let (1, Some(only)) = (self.segments.len(), self.segments.front()) {
            return wire.try_write(&only.bytes);
        }
        let mut pieces = [IoSlice::new(&[]); MAX_PIECES];
        let mut used = 0;
        for (piece, segment) in pieces.iter_mut().zip(&self.segments) {
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
            if step == front.bytes.len() {
                self.segments.pop_front();
                self.front_started = false;
            } else {
                front.bytes.advance(step);
                front.base += step as u32;
                self.front_started = true;
            }
        }
        messages
    }
}

#[cfg(test)]
mod tests;
