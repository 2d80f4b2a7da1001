//! The messages of one topic that fall due in one turn, in each encoding as ready bytes.

use std::cell::OnceCell;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use crate::model::{Epoch, Message, Overflows, Position, SessionId, TopicName};
use crate::protocol::{Deflaters, Encoding, Event, Published, Removed};

use super::outbox::{Fact, FrameEnd, Kind, Run, Segment};

/// A frame larger than this is shared rather than copied into the turn's buffer.
const COPIED: usize = 4 * 1024;

/// A turn's buffer holds at most this: a slice that waits in one slow outbox pins all of it.
const CHUNK: usize = 64 * 1024;

/// A batch's first message: the worker's count, and its place in the history.
type First = (u64, Option<(Epoch, u64)>);

/// An event of a batch, by the worker's count, and the retained message as it stood before it.
type Before = (u64, Arc<Message>);

/// An event of a batch that tells that what the topic kept was removed, by the worker's count.
pub type Clearing = (u64, Removed);

/// What falls due for one topic, encoding by encoding.
#[derive(Default)]
pub struct Batch {
    /// Those that anybody needs; mostly it is one.
    encodings: SmallVec<[(Encoding, EncodedBatch); 1]>,
    /// When the oldest message in it was accepted.
    accepted: Option<Instant>,
    first: Option<First>,
    authors: SmallVec<[SessionId; 4]>,
    subjects: SmallVec<[SessionId; 4]>,
    before: Vec<Before>,
    clearings: Vec<Clearing>,
    bytes: usize,
}

#[derive(Default)]
struct EncodedBatch {
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
    /// What the frames are, once somebody has to be told which are missing.
    run: OnceCell<Rc<Run>>,
}

/// What decides whether a frame is for a certain session, and what is known of it.
#[derive(Clone)]
struct Mark {
    /// The worker's count of messages: a member sees those from its own joining on.
    sequence: u64,
    /// Who published it, or whom it tells of.
    author: Option<SessionId>,
    kind: Kind,
    position: Option<Position>,
    /// The message's key.
    key: Option<Arc<str>>,
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
    /// What its subscriptions may ask for, should their sessions be too slow.
    pub overflows: Overflows,
    encodings: SmallVec<[(Encoding, Vec<Chunk>); 1]>,
    /// The worker's count at the first frame.
    pub first_sequence: u64,
    /// The first frame's place in history.
    pub first_position: Option<(Epoch, u64)>,
    /// Sessions that published some of it, in order.
    authors: SmallVec<[SessionId; 4]>,
    /// Sessions whose coming or going some of it tells, in order.
    subjects: SmallVec<[SessionId; 4]>,
    /// Of the events of a topic that had a retained message.
    before: Vec<Before>,
    /// Where what the topic kept was removed.
    pub clearings: Vec<Clearing>,
    /// When the oldest message in it was accepted.
    pub accepted: Instant,
    /// Bytes in all encodings.
    pub bytes: usize,
}

impl Batch {
    /// Adds an event in the encodings that `wanted` names; returns the bytes it added.
    pub fn add(
        &mut self,
        published: &Published,
        sequence: u64,
        accepted: Instant,
        wanted: impl Fn(Encoding) -> bool,
        deflaters: &mut Deflaters,
    ) -> usize {
        let (subject, publisher) = (published.subject(), published.publisher());
        let author = subject.or(publisher);
        let kind = match published.event() {
            Event::Message(_) => Kind::Message,
            Event::Join { .. } | Event::Leave { .. } => Kind::Presence,
            Event::Cleared { removed, .. } => {
                self.clearings.push((sequence, *removed));
                Kind::Notice
            }
        };
        if let Some(retained) = published.retained() {
            self.before.push((sequence, Arc::clone(retained)));
        }
        let message = published.message();
        let position = message.and_then(|message| message.position);
        let mark = Mark {
            sequence,
            author,
            kind,
            position,
            key: message.and_then(|message| message.key.clone()),
        };
        let position = position.map(|at| (at.epoch, at.offset));
        let mut added = 0;
        for encoding in Encoding::ALL {
            if !wanted(encoding) {
                continue;
            }
            let Some(frame) = published.encoded(encoding, deflaters) else {
                continue;
            };
            added += frame.len();
            let mut known = self.encodings.iter_mut();
            if let Some((_, batch)) = known.find(|(known, _)| *known == encoding) {
                batch.add(frame, mark.clone());
            } else {
                let mut batch = EncodedBatch::default();
                batch.add(frame, mark.clone());
                self.encodings.push((encoding, batch));
            }
        }
        self.accepted.get_or_insert(accepted);
        match &mut self.first {
            None => self.first = Some((sequence, position)),
            Some((_, first)) => *first = first.or(position),
        }
        let named = if kind == Kind::Presence {
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
    pub fn seal(&mut self, topic: TopicName, overflows: Overflows) -> Sealed {
        let mut batch = std::mem::take(self);
        for named in [&mut batch.authors, &mut batch.subjects] {
            named.sort_unstable();
            named.dedup();
        }
        let (first_sequence, first_position) = batch.first.unwrap_or_default();
        Sealed {
            topic,
            overflows,
            encodings: (batch.encodings.into_iter())
                .map(|(encoding, batch)| (encoding, batch.seal()))
                .collect(),
            first_sequence,
            first_position,
            authors: batch.authors,
            subjects: batch.subjects,
            before: batch.before,
            clearings: batch.clearings,
            accepted: batch.accepted.unwrap_or_else(Instant::now),
            bytes: batch.bytes,
        }
    }
}

impl EncodedBatch {
    fn add(&mut self, frame: &Bytes, mark: Mark) {
        if frame.len() > COPIED {
            self.seal_open();
            self.sealed.push(Chunk {
                bytes: frame.clone(),
                ends: Rc::new([FrameEnd(frame.len() as u32)]),
                marks: vec![mark],
                run: OnceCell::new(),
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
            run: OnceCell::new(),
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

    /// The first message since `from` that is for this session, by the worker's count.
    pub fn first_for(
        &self,
        session: SessionId,
        encoding: Encoding,
        from: u64,
        wanted: Wanted,
    ) -> Option<u64> {
        let marks = self.chunks(encoding).iter().flat_map(|chunk| &chunk.marks);
        let mut messages = marks.filter(|mark| mark.kind == Kind::Message);
        let first = messages.find(|mark| mark.is_for(session, from..=u64::MAX, wanted))?;
        Some(first.sequence)
    }

    /// The topic's retained message as it stood before that event.
    pub fn retained_before(&self, sequence: u64) -> Option<&Arc<Message>> {
        let at = |(sequence, _): &Before| *sequence;
        let found = self.before.binary_search_by_key(&sequence, at).ok()?;
        self.before.get(found).map(|(_, retained)| retained)
    }

    /// The chunks of one encoding.
    pub fn chunks(&self, encoding: Encoding) -> &[Chunk] {
        let mut all = self.encodings();
        all.find(|(known, _)| *known == encoding)
            .map_or(&[], |(_, chunks)| chunks)
    }

    /// The encodings that there are chunks of.
    pub fn encodings(&self) -> impl Iterator<Item = (Encoding, &[Chunk])> {
        let all = self.encodings.iter();
        all.map(|(encoding, chunks)| (*encoding, chunks.as_slice()))
    }
}

impl Mark {
    fn is_for(&self, session: SessionId, part: RangeInclusive<u64>, wanted: Wanted) -> bool {
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
        Segment::messages(&self.bytes, &self.ends, from, self.bytes.len())
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
            Some(Segment::messages(&self.bytes, &self.ends, from, to))
        })
    }
}
