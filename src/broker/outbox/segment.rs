//! A run of whole frames that waits in an outbox, or what is left of it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};

use super::missing::Missing;
use super::newest::Newest;
use crate::model::{Overflow, Position, TopicName};

/// Where a frame ends within the chunk of bytes that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameEnd(pub u32);

/// What the frames of a chunk are: shared by all who may have to be told which they miss.
#[derive(Debug)]
pub struct Run {
    /// Whose they are.
    pub topic: TopicName,
    /// What each is, in their order.
    pub facts: Box<[Fact]>,
}

/// What is known of a frame.
#[derive(Clone, Debug)]
pub struct Fact {
    /// What it is.
    pub kind: Kind,
    /// Its place in the topic's history, where it is a message and the topic keeps one.
    pub position: Option<Position>,
    /// The key that its publisher gave it.
    pub key: Option<Arc<str>>,
}

/// What a frame of a topic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message.
    Message,
    /// A join or a leave. Whom it tells of never sees it, whatever its subscription says of echoes.
    Presence,
    /// A notice that stands among the messages.
    Notice,
}

/// What becomes of a subscription's messages that are not taken in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handling {
    /// What.
    pub overflow: Overflow,
    /// Tells the session's subscriptions from each other: its own messages go before others'.
    pub subscription: u32,
    /// At most one message of a key in that time.
    pub min_interval: Option<Duration>,
}

/// A run of whole frames, or what is left of it: the first frame may be partly written.
#[derive(Clone, Debug)]
pub struct Segment {
    /// What is still to be written.
    pub(super) bytes: Bytes,
    /// How far into its chunk `bytes` begins.
    base: u32,
    pub(super) frames: Frames,
    /// Rises along the queue: what stands there is found by it.
    pub(super) place: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Frames {
    /// What opens the stream: nothing overtakes it, and it is never dropped.
    First,
    /// A frame that has overtaken messages; those that overtake later stay behind it.
    Urgent,
    /// One frame that is an answer or another frame that is no message.
    Control,
    /// Tells which messages were dropped here.
    Gap(Box<Missing>),
    /// The one message of its key that waits.
    Newest(Box<Newest>),
    /// Tells something of a topic among its messages, and counts as one.
    Notice(TopicName),
    /// Messages that are never dropped on their own; where each ends in the chunk.
    Kept(Rc<[FrameEnd]>),
    /// Messages that may be.
    Live(Rc<[FrameEnd]>, Rc<Run>, Handling),
}

impl Segment {
    /// One frame that is no message: an answer, a gap, a closing.
    pub fn control(bytes: Bytes) -> Self {
        Self::one(bytes, Frames::Control)
    }

    /// Bytes `from..to` of a chunk of messages that end at `ends`.
    pub fn messages(chunk: &Bytes, ends: &Rc<[FrameEnd]>, from: usize, to: usize) -> Self {
        Self {
            bytes: chunk.slice(from..to),
            base: from as u32,
            frames: Frames::Kept(Rc::clone(ends)),
            place: 0,
        }
    }

    /// One message, or what counts as one.
    pub fn frame(bytes: Bytes) -> Self {
        let end = FrameEnd(bytes.len() as u32);
        Self::one(bytes, Frames::Kept(Rc::new([end])))
    }

    /// One frame.
    pub(super) fn one(bytes: Bytes, frames: Frames) -> Self {
        Self {
            bytes,
            base: 0,
            frames,
            place: 0,
        }
    }

    /// The same messages, to be handled so; `run` says what the frames of their chunk are.
    #[must_use]
    pub fn handled(mut self, handling: Handling, run: impl FnOnce() -> Rc<Run>) -> Self {
        if handling.overflow != Overflow::Disconnect
            && let Frames::Kept(ends) = self.frames
        {
            self.frames = Frames::Live(ends, run(), handling);
        }
        self
    }

    /// How they are handled while they are not taken.
    pub fn handling(&self) -> Handling {
        match &self.frames {
            Frames::Live(_, _, handling) => *handling,
            _ => Handling::default(),
        }
    }

    /// Whether nothing that comes later can take its room.
    pub(super) fn is_kept(&self) -> bool {
        let is_newest = matches!(self.frames, Frames::Newest(_));
        !is_newest && self.handling().overflow == Overflow::Disconnect
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The topic, where that may matter to what is dropped of it.
    pub(super) fn topic(&self) -> Option<&TopicName> {
        match &self.frames {
            Frames::Gap(missing) => Some(&missing.topic),
            Frames::Newest(newest) => Some(&newest.slot.topic),
            Frames::Notice(topic) => Some(topic),
            Frames::Live(_, run, _) => Some(&run.topic),
            Frames::First | Frames::Urgent | Frames::Control | Frames::Kept(_) => None,
        }
    }

    /// Whole messages that are held here, the one that is partly written included.
    pub fn messages_held(&self) -> usize {
        self.ends_within(self.bytes.len())
    }

    /// Where its messages end in their chunk, where it has some of a chunk.
    fn ends(&self) -> Option<&Rc<[FrameEnd]>> {
        match &self.frames {
            Frames::Kept(ends) | Frames::Live(ends, ..) => Some(ends),
            _ => None,
        }
    }

    /// How many messages end within the next `len` bytes.
    pub(super) fn ends_within(&self, len: usize) -> usize {
        let Some(ends) = self.ends() else {
            let is_message = matches!(self.frames, Frames::Newest(_) | Frames::Notice(_));
            return usize::from(is_message && len > 0 && len == self.bytes.len());
        };
        let (from, to) = (self.base, self.base + len as u32);
        let before = ends.partition_point(|end| end.0 <= from);
        let until = ends.partition_point(|end| end.0 <= to);
        until - before
    }

    /// The frame that the bytes begin with, by its number in the chunk.
    fn first_frame(&self) -> usize {
        let ends = self.ends().map_or(&[][..], |ends| ends);
        ends.partition_point(|end| end.0 <= self.base)
    }

    /// How many of the next bytes belong to the frame that they begin in the middle of, or begin.
    pub(super) fn first_frame_len(&self) -> usize {
        let Some(ends) = self.ends() else {
            return self.bytes.len();
        };
        let end = ends.get(self.first_frame());
        let end = end.map_or(u32::MAX, |end| end.0);
        ((end - self.base) as usize).min(self.bytes.len())
    }

    /// What the frame is that the bytes begin with.
    pub(super) fn first_fact(&self) -> Option<&Fact> {
        match &self.frames {
            Frames::Live(_, run, _) => run.facts.get(self.first_frame()),
            _ => None,
        }
    }

    /// Whether the bytes begin in the middle of a frame. A frame's start is another's end, or 0.
    pub(super) fn is_partial(&self, started: bool) -> bool {
        match self.ends() {
            None => started,
            Some(ends) => self.base != 0 && ends.binary_search(&FrameEnd(self.base)).is_err(),
        }
    }

    /// Takes bytes off the front.
    pub(super) fn advance(&mut self, len: usize) {
        self.bytes.advance(len);
        self.base += len as u32;
    }

    /// Cuts so many bytes off the front, as a segment of their own.
    pub(super) fn split_to(&mut self, len: usize) -> Self {
        let mut head = self.clone();
        head.bytes.truncate(len);
        self.advance(len);
        head
    }

    /// Its messages are not dropped on their own any more.
    pub(super) fn keep(&mut self) {
        if let Frames::Live(_, _, handling) = &mut self.frames {
            *handling = Handling::default();
        }
    }

    /// Its frames one by one, each with what it is. The first must not be partly written.
    ///
    /// Each has bytes of its own where it would else hold much more than it has.
    pub(super) fn singles(mut self) -> impl Iterator<Item = (Option<Fact>, Bytes)> {
        let chunk = self
            .ends()
            .and_then(|ends| ends.last())
            .map_or(0, |end| end.0);
        std::iter::from_fn(move || {
            if self.bytes.is_empty() {
                return None;
            }
            let fact = self.first_fact().cloned();
            let len = self.first_frame_len();
            let frame = self.bytes.slice(..len);
            self.advance(len);
            let is_most = len * 2 >= chunk as usize;
            let own = if is_most {
                frame
            } else {
                Bytes::copy_from_slice(&frame)
            };
            Some((fact, own))
        })
    }

    /// The same with other bytes for each frame. The first must not be partly written.
    #[must_use]
    pub fn rewritten(mut self, mut rewrite: impl FnMut(&[u8], &mut BytesMut)) -> Self {
        let (mut bytes, mut ends, mut facts) = (BytesMut::new(), Vec::new(), Vec::new());
        while !self.bytes.is_empty() {
            let len = self.first_frame_len();
            rewrite(self.bytes.get(..len).unwrap_or_default(), &mut bytes);
            ends.push(FrameEnd(bytes.len() as u32));
            facts.extend(self.first_fact().cloned());
            self.advance(len);
        }
        let frames = match self.frames {
            Frames::Live(_, run, handling) => {
                let run = Run {
                    topic: run.topic.clone(),
                    facts: facts.into(),
                };
                Frames::Live(ends.into(), Rc::new(run), handling)
            }
            _ => Frames::Kept(ends.into()),
        };
        Self::one(bytes.freeze(), frames)
    }
}
