//! One batch on its way to those it is for.

use std::io::IoSlice;
use std::rc::Rc;
use std::time::Instant;

use slab::Slab;
use smallvec::SmallVec;

use crate::config::Who;
use crate::model::TopicName;
use crate::protocol::{Encoding, GapReason, Sent, ServerFrame, message_bytes};

use super::audience::{Audience, Membership, Role};
use super::batch::{Chunk, Sealed, Wanted};
use super::outbox::Segment;
use super::subscriber::{Subscriber, Unwritten};

/// Pieces of one vectored write; a batch of more chunks goes through the outboxes.
const MAX_PIECES: usize = 16;

/// Of so many members at once what a delivery touches is brought to the processor.
const AHEAD: usize = 8;

/// One batch on its way to the members of its audiences.
pub struct Job {
    number: u64,
    _serving: Serving,
    audiences: SmallVec<[Rc<Audience>; 2]>,
    /// Who may read the topic: those of a filter that may not are passed over.
    reader: Who,
    batch: Sealed,
    audience: usize,
    member: usize,
}

impl Job {
    /// A job that has visited nobody.
    pub fn new(number: u64, audience: &Rc<Audience>, batch: Sealed) -> Self {
        let mut audiences: SmallVec<[Rc<Audience>; 2]> = SmallVec::new();
        audiences.push(Rc::clone(audience));
        audiences.extend(audience.matched.borrow().1.iter().cloned());
        Self {
            number,
            _serving: Serving::begin(audience),
            audiences,
            reader: audience.reader(),
            batch,
            audience: 0,
            member: 0,
        }
    }

    /// Whose messages it delivers.
    pub fn topic(&self) -> &TopicName {
        &self.batch.topic
    }

    /// Whether somebody may stand in several of its audiences. Who was visited is known of one such job only, so
    /// it has to end before the next begins.
    pub fn is_overlapping(&self) -> bool {
        self.audiences.len() > 1
    }

    /// When the oldest of them was accepted.
    pub fn accepted(&self) -> Instant {
        self.batch.accepted
    }

    /// What they weigh.
    pub fn bytes(&self) -> usize {
        self.batch.bytes()
    }

    /// What it delivered, which nobody needs any more.
    pub fn into_batch(self) -> Sealed {
        self.batch
    }

    /// The audience of the topic's name.
    pub fn audience(&self) -> Option<&Rc<Audience>> {
        self.audiences.first()
    }

    /// Touches what the delivery will touch first.
    pub fn fetch(&self) {
        if let Some(audience) = self.audiences.first() {
            fetch(&audience.members.borrow(), self.member);
        }
    }

    /// Goes on with the delivery; true once every member has been visited.
    pub fn run(&mut self, budget: &mut usize, alone: bool, now: Instant) -> bool {
        let mut pieces: SmallVec<[Pieces<'_>; 1]> =
            self.batch.encodings().map(Pieces::of).collect();
        let overlapping = self.is_overlapping();
        let mut spoken: Option<Rc<Subscriber>> = None;
        let mut finished = true;
        'audiences: while let Some(audience) = self.audiences.get(self.audience) {
            let exact = self.audience == 0;
            let members = audience.members.borrow();
            let slots = members.capacity();
            while self.member < slots {
                let key = self.member;
                if key > 0 && key.is_multiple_of(AHEAD) {
                    fetch(&members, key);
                }
                self.member += 1;
                let Some(member) = members.get(key) else {
                    continue;
                };
                if *budget == 0 {
                    self.member = key;
                    finished = false;
                    break 'audiences;
                }
                *budget -= 1;
                let subscriber = &member.subscriber;
                if member.role == Role::Catching {
                    // Whether it may have this is asked once the filter stands.
                    self.batch.note_for(subscriber);
                    continue;
                }
                let is_cleared = exact || (member.is_granted && self.reader == Who::Granted);
                if !is_cleared && !subscriber.may_read(self.reader, &self.batch.topic) {
                    continue;
                }
                if overlapping && !subscriber.visit(self.number) {
                    continue;
                }
                let encoding = subscriber.encoding();
                let ready = pieces.iter_mut().find(|ready| ready.encoding == encoding);
                let clears = !self.batch.clearings().is_empty() && subscriber.is_selective();
                if ready.is_none() && !clears {
                    continue;
                }
                let echo = member.role == Role::Live;
                let whole = member.from <= self.batch.first_sequence
                    && self.batch.is_whole_for(subscriber.id(), Wanted::live(echo));
                let ready = ready.filter(|ready| ready.fits);
                if whole
                    && subscriber.is_direct(alone)
                    && let Some(ready) = ready
                {
                    match subscriber.write(&ready.slices, ready.total) {
                        Ok(bytes) => {
                            subscriber.note_delivered(ready.messages);
                            ready.delivered.0 += ready.messages;
                            ready.delivered.1 += bytes as u64;
                            if spoken.is_none() {
                                spoken = Some(Rc::clone(subscriber));
                            }
                        }
                        Err(Unwritten::From(written)) => {
                            self.batch.queue_rest(subscriber, written, now);
                        }
                        Err(Unwritten::Gone) => {}
                    }
                } else if !subscriber.is_ending() {
                    self.batch
                        .queue_for(subscriber, member.from, echo, exact, now);
                }
            }
            drop(members);
            self.audience += 1;
            self.member = 0;
        }
        if let Some(subscriber) = spoken {
            for Pieces {
                encoding,
                delivered: (messages, bytes),
                ..
            } in pieces
            {
                subscriber.count_delivered_as(encoding.format, messages, bytes);
            }
        }
        finished
    }
}

/// That messages of an audience's topic are delivered.
struct Serving(Rc<Audience>);

impl Serving {
    fn begin(audience: &Rc<Audience>) -> Self {
        audience.is_served.set(true);
        Self(Rc::clone(audience))
    }
}

impl Drop for Serving {
    /// Whatever ended it: what has come for the topic meanwhile is due.
    fn drop(&mut self) {
        self.0.is_served.set(false);
    }
}

/// Touches what a delivery to the next members will. Of many sessions none of that is in the processor's
/// cache: so all of it is on its way at once, instead of being waited for at one member after the other.
fn fetch(members: &Slab<Membership>, from: usize) {
    for key in from..from + AHEAD {
        if let Some(member) = members.get(key) {
            member.subscriber.fetch();
        }
    }
}

/// The chunks of one encoding as the kernel wants them.
struct Pieces<'a> {
    encoding: Encoding,
    slices: SmallVec<[IoSlice<'a>; 2]>,
    total: usize,
    messages: u64,
    /// Whether they go in one call.
    fits: bool,
    /// Messages and bytes that were written.
    delivered: (u64, u64),
}

impl<'a> Pieces<'a> {
    fn of((encoding, chunks): (Encoding, &'a [Chunk])) -> Self {
        Self {
            encoding,
            delivered: (0, 0),
            slices: chunks.iter().map(|c| IoSlice::new(&c.bytes)).collect(),
            total: chunks.iter().map(|c| c.bytes.len()).sum(),
            messages: chunks.iter().map(|c| c.messages() as u64).sum(),
            fits: chunks.len() <= MAX_PIECES,
        }
    }
}

impl Sealed {
    /// Queues what a direct write left.
    fn queue_rest(&self, subscriber: &Rc<Subscriber>, mut written: usize, now: Instant) {
        let (bytes, mut messages) = (written as u64, 0);
        let handling = subscriber.handling(&self.topic, self.overflows);
        for chunk in self.chunks(subscriber.encoding()) {
            let taken = written.min(chunk.bytes.len());
            written -= taken;
            messages += chunk.messages_within(taken) as u64;
            if taken < chunk.bytes.len() {
                let rest = chunk.tail(taken);
                subscriber.push(rest.handled(handling, || chunk.run(&self.topic)), now);
            }
        }
        subscriber.count_delivered(messages, bytes);
    }

    /// Queues what is for this member, frame by frame where not all is.
    fn queue_for(
        &self,
        subscriber: &Rc<Subscriber>,
        from: u64,
        echo: bool,
        exact: bool,
        now: Instant,
    ) {
        let from = self.end_replay(subscriber, from, now);
        let wanted = subscriber.wanted(&self.topic, echo, exact);
        if wanted == Wanted::Presence && !self.has_presence() {
            return;
        }
        if subscriber.is_selective() {
            self.put_retained(subscriber, from, wanted, now);
        }
        let whole = from <= self.first_sequence && self.is_whole_for(subscriber.id(), wanted);
        let handling = subscriber.handling(&self.topic, self.overflows);
        if subscriber.is_selective() && handling.min_interval.is_none() {
            // Another rule may apply than when it was held back.
            subscriber.release_of(|held| *held == self.topic, now);
        }
        for chunk in self.chunks(subscriber.encoding()) {
            let put = |segment: Segment| {
                subscriber.push(segment.handled(handling, || chunk.run(&self.topic)), now);
            };
            if whole {
                put(chunk.tail(0));
            } else {
                let runs = chunk.runs_for(subscriber.id(), from..=u64::MAX, wanted);
                runs.for_each(put);
            }
        }
    }

    /// Ends a replay of what was removed, by telling what is missing of it; the count from which on
    /// the topic is live for this member.
    fn end_replay(&self, subscriber: &Rc<Subscriber>, from: u64, now: Instant) -> u64 {
        for (sequence, removed) in self.clearings().iter().filter(|(s, _)| *s >= from) {
            let replay = subscriber.book.borrow().replay(&self.topic);
            let (Some(replay), Some((epoch, newest))) = (replay, removed.end) else {
                continue;
            };
            if replay.epoch != epoch {
                continue;
            }
            for chunk in self.chunks(subscriber.encoding()) {
                let part = from..=*sequence;
                for run in chunk.runs_for(subscriber.id(), part, Wanted::Presence) {
                    subscriber.push(run, now);
                }
            }
            subscriber.send_frame(&ServerFrame::Gap {
                topic: self.topic.as_str(),
                reason: GapReason::Cleared,
                count: newest.saturating_sub(replay.after),
                epoch: Some(epoch),
                from: replay.after + 1,
                to: newest,
            });
            let mut book = subscriber.book.borrow_mut();
            book.end_replay(&self.topic);
            subscriber.settle_book(&book);
            return sequence + 1;
        }
        from
    }

    /// Puts the topic's retained message before what is live, for a member that has not come to it
    /// yet.
    fn put_retained(&self, subscriber: &Rc<Subscriber>, from: u64, wanted: Wanted, now: Instant) {
        let (format, encoding) = (subscriber.format(), subscriber.encoding());
        let Some(first) = self.first_for(subscriber.id(), encoding, from, wanted) else {
            return;
        };
        let mut book = subscriber.book.borrow_mut();
        let is_owed = book.take_owed(&self.topic);
        subscriber.settle_book(&book);
        drop(book);
        if let Some(retained) = self.retained_before(first).filter(|_| is_owed) {
            let frame = message_bytes(format, retained, Sent::Retained);
            subscriber.push(Segment::frame(frame), now);
        }
    }

    /// Notes in an opening subscriber's book that this topic went on while it opened.
    fn note_for(&self, subscriber: &Rc<Subscriber>) {
        if let Some((epoch, offset)) = self.first_position {
            subscriber
                .book
                .borrow_mut()
                .catch(self.topic.clone(), epoch, offset);
        }
    }
}
