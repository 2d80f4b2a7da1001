//! The messages of one topic that fall due in one turn, in each encoding as ready bytes.

use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use crate::model::{Epoch, Message, Overflows, SessionId, TopicName};
use crate::protocol::{Deflaters, Encoding, EncodingSet, Event, Published, Removed};

use super::outbox::Kind;

mod chunk;

pub use chunk::Chunk;
use chunk::{Gathered, Mark};

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
    encodings: SmallVec<[(Encoding, Gathered); 1]>,
    /// When the oldest message in it was accepted.
    accepted: Option<Instant>,
    first: Option<First>,
    authors: SmallVec<[SessionId; 4]>,
    subjects: SmallVec<[SessionId; 4]>,
    before: Vec<Before>,
    clearings: Vec<Clearing>,
    bytes: usize,
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
    /// The worker's count at the first frame.
    pub first_sequence: u64,
    /// The first frame's place in history.
    pub first_position: Option<(Epoch, u64)>,
    /// When the oldest message in it was accepted.
    pub accepted: Instant,
    batch: Box<Batch>,
}

impl Batch {
    /// Adds an event in the encodings that `wanted` names; returns the bytes it added.
    pub fn add(
        &mut self,
        published: &Published,
        sequence: u64,
        accepted: Instant,
        wanted: EncodingSet,
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
        for encoding in wanted.iter() {
            let Some(frame) = published.encoded(encoding, deflaters) else {
                continue;
            };
            added += frame.len();
            let mut known = self.encodings.iter_mut();
            if let Some((_, gathered)) = known.find(|(known, _)| *known == encoding) {
                gathered.add(frame, mark.clone());
            } else {
                let mut gathered = Gathered::default();
                gathered.add(frame, mark.clone());
                self.encodings.push((encoding, gathered));
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

    /// Closes the batch.
    pub fn seal(mut self: Box<Self>, topic: TopicName, overflows: Overflows) -> Sealed {
        for named in [&mut self.authors, &mut self.subjects] {
            if named.len() > 1 {
                named.sort_unstable();
                named.dedup();
            }
        }
        for (_, gathered) in &mut self.encodings {
            gathered.close();
        }
        let (first_sequence, first_position) = self.first.unwrap_or_default();
        Sealed {
            topic,
            overflows,
            first_sequence,
            first_position,
            accepted: self.accepted.unwrap_or_else(Instant::now),
            batch: self,
        }
    }
}

impl Sealed {
    /// An empty batch in the memory of this one.
    pub fn recycle(mut self) -> Box<Batch> {
        *self.batch = Batch::default();
        self.batch
    }

    /// Whether all of it is for this session, given that it joined early enough.
    #[inline]
    pub fn is_whole_for(&self, session: SessionId, wanted: Wanted) -> bool {
        let wants_messages = match wanted {
            Wanted::All => true,
            Wanted::OfOthers => self.batch.authors.binary_search(&session).is_err(),
            Wanted::Presence => false,
        };
        wants_messages
            && (self.batch.subjects.is_empty()
                || self.batch.subjects.binary_search(&session).is_err())
    }

    /// Whether it tells of somebody's coming or going.
    pub fn has_presence(&self) -> bool {
        !self.batch.subjects.is_empty()
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
        let found = self.batch.before.binary_search_by_key(&sequence, at).ok()?;
        self.batch.before.get(found).map(|(_, retained)| retained)
    }

    /// The chunks of one encoding.
    pub fn chunks(&self, encoding: Encoding) -> &[Chunk] {
        let mut all = self.encodings();
        all.find(|(known, _)| *known == encoding)
            .map_or(&[], |(_, chunks)| chunks)
    }

    /// The encodings that there are chunks of.
    pub fn encodings(&self) -> impl Iterator<Item = (Encoding, &[Chunk])> {
        let all = self.batch.encodings.iter();
        all.map(|(encoding, gathered)| (*encoding, gathered.chunks()))
    }

    /// Where what the topic kept was removed.
    pub fn clearings(&self) -> &[Clearing] {
        &self.batch.clearings
    }

    /// Bytes in all encodings.
    pub fn bytes(&self) -> usize {
        self.batch.bytes
    }
}
