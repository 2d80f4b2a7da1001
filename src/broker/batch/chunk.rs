//! Frames of one encoding on their way into ready bytes, and what is known of each.

use std::cell::OnceCell;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use smallvec::{SmallVec, smallvec};

use super::Wanted;
use crate::broker::outbox::{Fact, FrameEnd, Kind, Run, Segment};
use crate::model::{Position, SessionId, TopicName};

/// A frame larger than this is shared rather than copied into the turn's buffer.
const COPIED: usize = 4 * 1024;

/// A turn's buffer holds at most this: a slice that waits in one slow outbox pins all of it.
const CHUNK: usize = 64 * 1024;

/// The frames of one encoding, in as few chunks as are good for them.
#[derive(Default)]
pub(super) struct Gathered {
    chunks: SmallVec<[Chunk; 1]>,
    /// What becomes the last chunk's bytes, where it has several frames: one alone stays as it is.
    buffer: BytesMut,
    /// Whether the last chunk takes more frames.
    is_open: bool,
}

/// A run of frames, ready to be written, shared by all who get them.
pub struct Chunk {
    /// The frames.
    pub bytes: Bytes,
    /// Where each ends.
    ends: SmallVec<[FrameEnd; 1]>,
    /// The same, once somebody has to be given a part.
    shared_ends: OnceCell<Rc<[FrameEnd]>>,
    pub(super) marks: SmallVec<[Mark; 1]>,
    /// What the frames are, once somebody has to be told which are missing.
    run: OnceCell<Rc<Run>>,
}

/// What decides whether a frame is for a certain session, and what is known of it.
#[derive(Clone)]
pub(super) struct Mark {
    /// The worker's count of messages: a member sees those from its own joining on.
    pub(super) sequence: u64,
    /// Who published it, or whom it tells of.
    pub(super) author: Option<SessionId>,
    pub(super) kind: Kind,
    pub(super) position: Option<Position>,
    /// The message's key.
    pub(super) key: Option<Arc<str>>,
}

impl Gathered {
    pub(super) fn add(&mut self, frame: &Bytes, mark: Mark) {
        let is_copied = frame.len() <= COPIED;
        if let Some(open) = self.chunks.last_mut()
            && self.is_open
            && is_copied
            && open.len() + frame.len() <= CHUNK
        {
            if self.buffer.is_empty() {
                self.buffer.reserve(2 * (open.len() + frame.len()));
                self.buffer.extend_from_slice(&open.bytes);
            }
            self.buffer.extend_from_slice(frame);
            open.ends.push(FrameEnd(self.buffer.len() as u32));
            open.marks.push(mark);
            return;
        }
        self.close();
        self.chunks.push(Chunk {
            bytes: frame.clone(),
            ends: smallvec![FrameEnd(frame.len() as u32)],
            shared_ends: OnceCell::new(),
            marks: smallvec![mark],
            run: OnceCell::new(),
        });
        self.is_open = is_copied;
    }

    /// Nothing is added to the last chunk any more.
    pub(super) fn close(&mut self) {
        self.is_open = false;
        if let Some(last) = self.chunks.last_mut()
            && !self.buffer.is_empty()
        {
            last.bytes = std::mem::take(&mut self.buffer).freeze();
        }
    }

    /// The chunks, once closed.
    pub(super) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }
}

impl Mark {
    pub(super) fn is_for(
        &self,
        session: SessionId,
        part: RangeInclusive<u64>,
        wanted: Wanted,
    ) -> bool {
        let is_own = self.author == Some(session);
        part.contains(&self.sequence)
            && match wanted {
                _ if self.kind == Kind::Presence => !is_own,
                Wanted::All => true,
                Wanted::OfOthers => !is_own,
                Wanted::Presence => false,
            }
    }
}

impl Chunk {
    /// How many bytes its frames have.
    fn len(&self) -> usize {
        self.ends.last().map_or(0, |end| end.0 as usize)
    }

    /// Where each of its frames ends, to be shared.
    fn ends(&self) -> &Rc<[FrameEnd]> {
        self.shared_ends.get_or_init(|| Rc::from(&*self.ends))
    }

    /// How many messages it holds.
    pub fn messages(&self) -> usize {
        self.ends.len()
    }

    /// What its frames are, `topic` being theirs.
    pub fn run(&self, topic: &TopicName) -> Rc<Run> {
        let facts = self.marks.iter().map(|mark| Fact {
            kind: mark.kind,
            position: mark.position,
            key: mark.key.clone(),
        });
        let made = || {
            Rc::new(Run {
                topic: topic.clone(),
                facts: facts.collect(),
            })
        };
        Rc::clone(self.run.get_or_init(made))
    }

    /// The bytes from `from` on, as a segment of an outbox.
    pub fn tail(&self, from: usize) -> Segment {
        Segment::messages(&self.bytes, self.ends(), from, self.bytes.len())
    }

    /// How many messages end within the first `len` bytes.
    pub fn messages_within(&self, len: usize) -> usize {
        self.ends.partition_point(|end| end.0 as usize <= len)
    }

    /// The frames that are for this session, in as few runs as hold them: those of that part of
    /// the worker's count that it wants and that are not about itself.
    pub fn runs_for(
        &self,
        session: SessionId,
        part: RangeInclusive<u64>,
        wanted: Wanted,
    ) -> impl Iterator<Item = Segment> + '_ {
        let mut start = 0;
        let mut frames = self.ends.iter().zip(&self.marks).map(move |(end, mark)| {
            let from = std::mem::replace(&mut start, end.0 as usize);
            let is_for = mark.is_for(session, part.clone(), wanted);
            (from, end.0 as usize, is_for)
        });
        std::iter::from_fn(move || {
            let (from, mut to, _) = frames.find(|(_, _, is_for)| *is_for)?;
            // The frame that ends the run is not for this session, so it may be passed over.
            for (_, end, _) in frames.by_ref().take_while(|(_, _, is_for)| *is_for) {
                to = end;
            }
            Some(Segment::messages(&self.bytes, self.ends(), from, to))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mark(sequence: u64) -> Mark {
        Mark {
            sequence,
            author: None,
            kind: Kind::Message,
            position: None,
            key: None,
        }
    }

    fn gathered(frames: &[Bytes]) -> Gathered {
        let mut gathered = Gathered::default();
        for (frame, sequence) in frames.iter().zip(1..) {
            gathered.add(frame, mark(sequence));
        }
        gathered.close();
        gathered
    }

    proptest! {
        #[test]
        fn what_was_gathered_is_in_the_chunks_frame_by_frame(
            lengths in prop::collection::vec(
                prop_oneof![4 => 1..300usize, 2 => 3000..COPIED + 2, 1 => COPIED..2 * CHUNK],
                0..60,
            ),
        ) {
            let frames: Vec<_> = lengths
                .iter()
                .zip(0u8..)
                .map(|(len, byte)| Bytes::from(vec![byte; *len]))
                .collect();
            let gathered = gathered(&frames);
            let mut found = Vec::new();
            for chunk in gathered.chunks() {
                prop_assert!(chunk.bytes.len() <= CHUNK || chunk.messages() == 1);
                prop_assert_eq!(chunk.ends.len(), chunk.marks.len());
                prop_assert_eq!(chunk.len(), chunk.bytes.len());
                let mut start = 0;
                for (end, mark) in chunk.ends.iter().zip(&chunk.marks) {
                    let end = end.0 as usize;
                    found.push((mark.sequence, chunk.bytes.slice(start..end)));
                    start = end;
                }
            }
            let expected: Vec<_> = (1..).zip(frames).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_frame_that_is_alone_or_large_is_shared_and_small_ones_are_joined() {
        let small = Bytes::from(vec![1; 100]);
        let large = Bytes::from(vec![2; COPIED + 1]);
        let shares = |chunk: &Chunk, frame: &Bytes| chunk.bytes.as_ptr() == frame.as_ptr();
        let alone = gathered(std::slice::from_ref(&small));
        assert!(shares(&alone.chunks()[0], &small));
        let mixed = gathered(&[&small, &small, &large, &small, &large].map(Clone::clone));
        let [joined, first, between, last] = mixed.chunks() else {
            panic!("{} chunks", mixed.chunks().len());
        };
        assert_eq!(joined.messages(), 2);
        assert!(shares(first, &large) && shares(between, &small) && shares(last, &large));
    }
}
