//! The messages of one topic that fall due in one turn, in each wire format as ready bytes.

use std::rc::Rc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::model::{Epoch, SessionId, TopicName};
use crate::protocol::{Event, Published, WireFormat};

use super::outbox::{FrameEnd, Segment};

/// A frame larger than this is shared rather than copied into the turn's buffer.
const COPIED: usize = 4 * 1024;

/// A turn's buffer holds at most this: a slice that waits in one slow outbox pins all of it.
const CHUNK: usize = 64 * 1024;

/// What falls due for one topic, format by format.
#[derive(Default)]
pub struct Batch {
    formats: [FormatBatch; WireFormat::COUNT],
    /// When the oldest message in it was accepted.
    accepted: Option<Instant>,
    first: Option<(u64, Option<(Epoch, u64)>)>,
    concealed: bool,
    bytes: usize,
}

#[derive(Default)]
struct FormatBatch {
    sealed: Vec<Chunk>,
    open: BytesMut,
    ends: Vec<FrameEnd>,
    marks: Vec<Mark>,
}

/// A run of frames, ready to be written, shared by all who get them.
pub struct Chunk {
    /// The frames.
    pub bytes: Bytes,
    /// Where each ends.
    pub ends: Rc<[FrameEnd]>,
    marks: Vec<Mark>,
}

/// What decides whether a frame is for a certain session.
#[derive(Clone, Copy)]
struct Mark {
    /// The worker's count of messages: a member sees those from its own joining on.
    sequence: u64,
    /// Who published it, or whom it tells of.
    author: Option<SessionId>,
    /// The author never sees it (its own join), whatever its subscription says of echoes.
    concealed: bool,
}

/// A batch that is complete.
pub struct Sealed {
    /// The topic.
    pub topic: TopicName,
    formats: [Vec<Chunk>; WireFormat::COUNT],
    /// The worker's count at the first frame.
    pub first_sequence: u64,
    /// The first frame's place in history.
    pub first_position: Option<(Epoch, u64)>,
    /// Whether some frame is not for everyone.
    pub has_concealed: bool,
    /// When the oldest message in it was accepted.
    pub accepted: Instant,
    /// Bytes in all formats.
    pub bytes: usize,
}

impl Batch {
    /// Adds an event in the formats that `wanted` names; returns the bytes it added.
    pub fn add(
        &mut self,
        published: &Published,
        sequence: u64,
        accepted: Instant,
        wanted: impl Fn(WireFormat) -> bool,
    ) -> usize {
        let (author, concealed, position) = match published.event() {
            Event::Message(message) => (
                message.publisher,
                false,
                message.position.map(|p| (p.epoch, p.offset)),
            ),
            Event::Join { member, .. } | Event::Leave { member, .. } => {
                (Some(member.session), true, None)
            }
        };
        let mark = Mark {
            sequence,
            author,
            concealed,
        };
        let mut added = 0;
        for format in WireFormat::ALL {
            if !wanted(format) {
                continue;
            }
            let Some(frame) = published.frame(format) else {
                continue;
            };
            if let Some(batch) = self.formats.get_mut(format.index()) {
                batch.add(frame, mark);
                added += frame.len();
            }
        }
        self.accepted.get_or_insert(accepted);
        match &mut self.first {
            None => self.first = Some((sequence, position)),
            Some((_, first)) => *first = first.or(position),
        }
        self.concealed |= concealed;
        self.bytes += added;
        added
    }

    /// Closes the batch; it is empty afterwards.
    pub fn seal(&mut self, topic: TopicName) -> Sealed {
        let batch = std::mem::take(self);
        let (first_sequence, first_position) = batch.first.unwrap_or_default();
        Sealed {
            topic,
            formats: batch.formats.map(FormatBatch::seal),
            first_sequence,
            first_position,
            has_concealed: batch.concealed,
            accepted: batch.accepted.unwrap_or_else(Instant::now),
            bytes: batch.bytes,
        }
    }
}

impl FormatBatch {
    fn add(&mut self, frame: &Bytes, mark: Mark) {
        if frame.len() > COPIED {
            self.seal_open();
            self.sealed.push(Chunk {
                bytes: frame.clone(),
                ends: Rc::new([FrameEnd(frame.len() as u32)]),
                marks: vec![mark],
            });
            return;
        }
        if self.open.len() + frame.len() > CHUNK {
            self.seal_open();
        }
        self.open.extend_from_slice(frame);
        self.ends.push(FrameEnd(self.open.len() as u32));
        self.marks.push(mark);
    }

    fn seal_open(&mut self) {
        if self.ends.is_empty() {
            return;
        }
        self.sealed.push(Chunk {
            bytes: self.open.split().freeze(),
            ends: std::mem::take(&mut self.ends).into(),
            marks: std::mem::take(&mut self.marks),
        });
    }

    fn seal(mut self) -> Vec<Chunk> {
        self.seal_open();
        self.sealed
    }
}

impl Sealed {
    /// The chunks of one format.
    pub fn chunks(&self, format: WireFormat) -> &[Chunk] {
        self.formats
            .get(format.index())
            .map_or(&[], |chunks| chunks.as_slice())
    }
}

impl Chunk {
    /// How many messages it holds.
    pub fn messages(&self) -> usize {
        self.ends.len()
    }

    /// The bytes from `from` on, as a segment of an outbox.
    pub fn tail(&self, from: usize) -> Segment {
        Segment::messages(&self.bytes, &self.ends, from, self.bytes.len())
    }

    /// How many messages end within the first `len` bytes.
    pub fn messages_within(&self, len: usize) -> usize {
        self.ends.partition_point(|end| end.0 as usize <= len)
    }

    /// The frames that are for this session, as few runs as hold them: those since `from` that it
    /// did not publish itself, where `echo` is false, and that are not about itself.
    pub fn runs_for(&self, session: SessionId, from: u64, echo: bool) -> Vec<Segment> {
        let mut runs = Vec::new();
        let mut run: Option<(usize, usize)> = None;
        let mut start = 0;
        for (end, mark) in self.ends.iter().zip(&self.marks) {
            let end = end.0 as usize;
            let own = mark.author == Some(session) && (mark.concealed || !echo);
            if mark.sequence >= from && !own {
                run = Some((run.map_or(start, |(from, _)| from), end));
            } else if let Some((from, to)) = run.take() {
                runs.push(Segment::messages(&self.bytes, &self.ends, from, to));
            }
            start = end;
        }
        if let Some((from, to)) = run {
            runs.push(Segment::messages(&self.bytes, &self.ends, from, to));
        }
        runs
    }
}
