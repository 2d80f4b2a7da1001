//! The messages of one topic that fall due in one turn, in each wire format as ready bytes.

use std::rc::Rc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use crate::model::{Epoch, SessionId, TopicName};
use crate::protocol::{Published, WireFormat};

use super::outbox::{FrameEnd, Segment};

/// A frame larger than this is shared rather than copied into the turn's buffer.
const COPIED: usize = 4 * 1024;

/// A turn's buffer holds at most this: a slice that waits in one slow outbox pins all of it.
const CHUNK: usize = 64 * 1024;

/// A batch's first message: the worker's count, and its place in the history.
type First = (u64, Option<(Epoch, u64)>);

/// What falls due for one topic, format by format.
#[derive(Default)]
pub struct Batch {
    formats: [FormatBatch; WireFormat::COUNT],
    /// When the oldest message in it was accepted.
    accepted: Option<Instant>,
    first: Option<First>,
    authors: SmallVec<[SessionId; 4]>,
    subjects: SmallVec<[SessionId; 4]>,
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
    /// A join or a leave. Whom it tells of never sees it, whatever its subscription says of echoes.
    is_presence: bool,
}

/// Which frames of a batch are for a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All.
    All,
    /// All but the messages that it published itself.
    OfOthers,
    /// Joins and leaves alone: the messages are read from the history, by a cursor.
    Presence,
}

impl Wanted {
    /// What a live subscription wants.
    pub fn live(echo: bool) -> Self {
        if echo { Self::All } else { Self::OfOthers }
    }
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
    /// Sessions that published some of it, in order.
    authors: SmallVec<[SessionId; 4]>,
    /// Sessions whose coming or going some of it tells, in order.
    subjects: SmallVec<[SessionId; 4]>,
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
        let (subject, publisher) = (published.subject(), published.publisher());
        let is_presence = subject.is_some();
        let author = subject.or(publisher);
        let position = published
            .message()
            .and_then(|message| message.position)
            .map(|p| (p.epoch, p.offset));
        let mark = Mark {
            sequence,
            author,
            is_presence,
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
        let named = if is_presence {
            &mut self.subjects
        } else {
            &mut self.authors
        };
        if author.is_some() && named.last() != author.as_ref() {
            named.extend(author);
        }
        self.bytes += added;
        added
    }

    /// Closes the batch; it is empty afterwards.
    pub fn seal(&mut self, topic: TopicName) -> Sealed {
        let mut batch = std::mem::take(self);
        for named in [&mut batch.authors, &mut batch.subjects] {
            named.sort_unstable();
            named.dedup();
        }
        let (first_sequence, first_position) = batch.first.unwrap_or_default();
        Sealed {
            topic,
            formats: batch.formats.map(FormatBatch::seal),
            first_sequence,
            first_position,
            authors: batch.authors,
            subjects: batch.subjects,
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
    /// Whether all of it is for this session, given that it joined early enough.
    #[inline]
    pub fn is_whole_for(&self, session: SessionId, wanted: Wanted) -> bool {
        let wants_messages = match wanted {
            Wanted::All => true,
            Wanted::OfOthers => self.authors.binary_search(&session).is_err(),
            Wanted::Presence => false,
        };
        wants_messages
            && (self.subjects.is_empty() || self.subjects.binary_search(&session).is_err())
    }

    /// Whether it tells of somebody's coming or going.
    pub fn has_presence(&self) -> bool {
        !self.subjects.is_empty()
    }

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

    /// The frames that are for this session, in as few runs as hold them: those since `from` that
    /// it wants and that are not about itself.
    pub fn runs_for(
        &self,
        session: SessionId,
        from: u64,
        wanted: Wanted,
    ) -> impl Iterator<Item = Segment> + '_ {
        let is_for = move |mark: &Mark| {
            let is_own = mark.author == Some(session);
            mark.sequence >= from
                && match wanted {
                    _ if mark.is_presence => !is_own,
                    Wanted::All => true,
                    Wanted::OfOthers => !is_own,
                    Wanted::Presence => false,
                }
        };
        let mut start = 0;
        let mut frames = self.ends.iter().zip(&self.marks).map(move |(end, mark)| {
            let from = std::mem::replace(&mut start, end.0 as usize);
            (from, end.0 as usize, is_for(mark))
        });
        std::iter::from_fn(move || {
            let (from, mut to, _) = frames.find(|(_, _, is_for)| *is_for)?;
            // The frame that ends the run is not for this session, so it may be passed over.
            for (_, end, _) in frames.by_ref().take_while(|(_, _, is_for)| *is_for) {
                to = end;
            }
            Some(Segment::messages(&self.bytes, &self.ends, from, to))
        })
    }
}
