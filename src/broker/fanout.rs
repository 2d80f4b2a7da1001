//! Gets what a worker was handed to the sessions of that worker: once per turn, in shared bytes.
//!
//! Messages that fall due in a turn are gathered per topic ([`Batch`]), then written to every
//! member of its audiences by a job. A job that is long yields between slices of members.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::hash::RandomState;
use std::io::IoSlice;
use std::rc::Rc;
use std::time::Instant;

use slab::Slab;
use smallvec::SmallVec;

use crate::model::{Filter, TopicName};
use crate::protocol::{Published, WireFormat};

use super::batch::{Batch, Chunk, Sealed};
use super::filters::FilterTrie;
use super::subscriber::{Subscriber, Unwritten};

/// Pieces of one vectored write; a batch of more chunks goes through the outboxes.
const MAX_PIECES: usize = 16;

/// Those of this worker's sessions that subscribed to one name, or to one filter.
pub struct Audience {
    filter: Filter,
    members: RefCell<Slab<Membership>>,
    /// Members per wire format: what nobody speaks is not encoded.
    speaking: [Cell<u32>; WireFormat::COUNT],
    batch: RefCell<Option<Box<Batch>>>,
    /// The audiences of the filters that match this topic, and the trie's generation they are of.
    matched: RefCell<(u64, SmallVec<[Rc<Audience>; 1]>)>,
}

struct Membership {
    subscriber: Rc<Subscriber>,
    /// The worker's count of messages when it joined: nothing earlier is for it.
    from: u64,
    role: Role,
}

/// What a member gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Live,
    /// Everything but what it published itself.
    LiveWithoutEcho,
    /// Nothing yet: the filter opens. What passes is noted in the session's book.
    Catching,
}

impl Role {
    /// The role of a subscription that stands.
    pub fn standing(echo: bool) -> Self {
        if echo {
            Self::Live
        } else {
            Self::LiveWithoutEcho
        }
    }
}

impl Audience {
    fn new(filter: Filter) -> Rc<Self> {
        Rc::new(Self {
            filter,
            members: RefCell::default(),
            speaking: Default::default(),
            batch: RefCell::default(),
            matched: RefCell::new((0, SmallVec::new())),
        })
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.borrow().len()
    }

    fn speaks(&self, format: WireFormat) -> bool {
        self.speaking
            .get(format.index())
            .is_some_and(|count| count.get() > 0)
    }

    fn count(&self, format: WireFormat, by: i32) {
        if let Some(count) = self.speaking.get(format.index()) {
            count.set(count.get().saturating_add_signed(by));
        }
    }
}

/// All audiences of one worker, and what is due to them.
pub struct Fanout {
    topics: HashMap<TopicName, Rc<Audience>, RandomState>,
    filters: FilterTrie<Rc<Audience>>,
    due: Vec<(TopicName, Rc<Audience>)>,
    jobs: VecDeque<Job>,
    sequence: u64,
    last_job: u64,
    backlog: usize,
}

/// One batch on its way to the members of its audiences.
struct Job {
    number: u64,
    audiences: SmallVec<[Rc<Audience>; 2]>,
    batch: Sealed,
    audience: usize,
    member: usize,
}

/// How a flush ended.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Something is still due: the budget ran out.
    pub unfinished: bool,
    /// From a publish's acceptance to the last write of its batch, of the last batch that was done.
    pub latency: Option<std::time::Duration>,
}

impl Fanout {
    /// No audiences.
    pub fn new(hasher: RandomState) -> Self {
        Self {
            topics: HashMap::with_hasher(hasher),
            filters: FilterTrie::new(),
            due: Vec::new(),
            jobs: VecDeque::new(),
            sequence: 1,
            last_job: 0,
            backlog: 0,
        }
    }

    /// Bytes that are due and not yet handed to all members.
    pub fn backlog(&self) -> usize {
        self.backlog
    }

    /// Whether something is due.
    pub fn is_idle(&self) -> bool {
        self.due.is_empty() && self.jobs.is_empty()
    }

    /// Members by name and by filter, for one topic.
    pub fn audience_len(&self, topic: &TopicName) -> usize {
        self.topics.get(topic).map_or(0, |audience| audience.len())
    }

    /// Adds a member. What is due already is not for it.
    pub fn join(
        &mut self,
        filter: &Filter,
        subscriber: &Rc<Subscriber>,
        role: Role,
    ) -> (Rc<Audience>, usize) {
        let audience = match filter.as_name() {
            Some(topic) => Rc::clone(
                self.topics
                    .entry(topic)
                    .or_insert_with(|| Audience::new(filter.clone())),
            ),
            None => match self.filters.get(filter) {
                Some(audience) => Rc::clone(audience),
                None => {
                    let audience = Audience::new(filter.clone());
                    self.filters.insert(filter, Rc::clone(&audience));
                    audience
                }
            },
        };
        audience.count(subscriber.format(), 1);
        let key = audience.members.borrow_mut().insert(Membership {
            subscriber: Rc::clone(subscriber),
            from: self.sequence,
            role,
        });
        (audience, key)
    }

    /// Changes what a member gets, from now on.
    pub fn set_role(&mut self, audience: &Audience, key: usize, role: Role) {
        if let Some(member) = audience.members.borrow_mut().get_mut(key) {
            member.role = role;
            member.from = self.sequence;
        }
    }

    /// Takes a member out: nothing more is delivered to it from this audience.
    pub fn leave(&mut self, audience: &Rc<Audience>, key: usize) {
        let removed = audience.members.borrow_mut().try_remove(key);
        if let Some(member) = removed {
            audience.count(member.subscriber.format(), -1);
        }
        self.forget_if_empty(audience);
    }

    /// Whether something of that topic is due, in a batch or in a job.
    pub fn is_due(&self, topic: &TopicName) -> bool {
        self.due.iter().any(|(due, _)| due == topic)
            || self.jobs.iter().any(|job| job.batch.topic == *topic)
    }

    /// Takes an event for the sessions of this worker.
    pub fn accept(&mut self, published: &Published, accepted: Instant) {
        let topic = published.topic();
        let audience = match self.topics.get(topic) {
            Some(audience) => Rc::clone(audience),
            None if self.filters.is_empty() => return,
            None => {
                // Only filters may match: the audience stands for as long as something is due.
                let audience = Audience::new(Filter::from(topic.clone()));
                self.topics.insert(topic.clone(), Rc::clone(&audience));
                audience
            }
        };
        self.refresh_matches(&audience, topic);
        let matched = audience.matched.borrow();
        let wanted = |format| audience.speaks(format) || matched.1.iter().any(|m| m.speaks(format));
        let sequence = self.sequence;
        self.sequence += 1;
        let mut batch = audience.batch.borrow_mut();
        let first = batch.is_none();
        self.backlog += batch
            .get_or_insert_default()
            .add(published, sequence, accepted, wanted);
        if first {
            self.due.push((topic.clone(), Rc::clone(&audience)));
        }
    }

    /// Writes what is due, visiting at most `budget` members.
    pub fn flush(&mut self, mut budget: usize, now: Instant) -> Progress {
        for (topic, audience) in std::mem::take(&mut self.due) {
            let Some(mut batch) = audience.batch.borrow_mut().take() else {
                continue;
            };
            let mut audiences: SmallVec<[Rc<Audience>; 2]> = SmallVec::new();
            audiences.push(Rc::clone(&audience));
            audiences.extend(audience.matched.borrow().1.iter().cloned());
            self.last_job += 1;
            self.jobs.push_back(Job {
                number: self.last_job,
                audiences,
                batch: batch.seal(topic),
                audience: 0,
                member: 0,
            });
        }
        let alone = self.jobs.len() == 1;
        let mut progress = Progress::default();
        while let Some(mut job) = self.jobs.pop_front() {
            if !job.run(&mut budget, alone, now) {
                self.jobs.push_front(job);
                progress.unfinished = true;
                return progress;
            }
            progress.latency = Some(job.batch.accepted.elapsed());
            self.backlog = self.backlog.saturating_sub(job.batch.bytes);
            if let Some(audience) = job.audiences.first() {
                self.forget_if_empty(audience);
            }
        }
        progress
    }

    /// Ends the connections of all members.
    pub fn kill_members(&mut self) {
        self.jobs.clear();
        self.backlog = 0;
        let kill = |audience: &Rc<Audience>| {
            for (_, member) in audience.members.borrow().iter() {
                member.subscriber.kill();
            }
        };
        self.topics.values().for_each(kill);
        self.filters.values().for_each(kill);
    }

    fn refresh_matches(&self, audience: &Audience, topic: &TopicName) {
        let generation = self.filters.generation();
        let mut matched = audience.matched.borrow_mut();
        if matched.0 != generation {
            matched.1 = self
                .filters
                .matching(topic)
                .into_iter()
                .map(|(_, a)| Rc::clone(a))
                .collect();
            matched.0 = generation;
        }
    }

    /// An audience that nobody is in and nothing is due to goes.
    fn forget_if_empty(&mut self, audience: &Rc<Audience>) {
        if audience.len() > 0 || audience.batch.borrow().is_some() {
            return;
        }
        match audience.filter.as_name() {
            Some(topic) => {
                // Another of the same name may have taken its place.
                if self
                    .topics
                    .get(&topic)
                    .is_some_and(|a| Rc::ptr_eq(a, audience))
                {
                    self.topics.remove(&topic);
                }
            }
            None => {
                if self
                    .filters
                    .get(&audience.filter)
                    .is_some_and(|a| Rc::ptr_eq(a, audience))
                {
                    self.filters.remove(&audience.filter);
                }
            }
        }
    }
}

impl Job {
    /// Goes on with the delivery; true once every member has been visited.
    fn run(&mut self, budget: &mut usize, alone: bool, now: Instant) -> bool {
        let pieces: [Pieces<'_>; WireFormat::COUNT] =
            WireFormat::ALL.map(|format| Pieces::of(self.batch.chunks(format)));
        let overlapping = self.audiences.len() > 1;
        let mut tally = [(0_u64, 0_u64); WireFormat::COUNT];
        let mut spoken: Option<Rc<Subscriber>> = None;
        let mut finished = true;
        'audiences: while let Some(audience) = self.audiences.get(self.audience) {
            let exact = self.audience == 0;
            let members = audience.members.borrow();
            let slots = members.capacity();
            while self.member < slots {
                let key = self.member;
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
                    self.batch.note_for(subscriber);
                    continue;
                }
                if overlapping && !subscriber.visit(self.number) {
                    continue;
                }
                let index = subscriber.format().index();
                let Some(ready) = pieces.get(index) else {
                    continue;
                };
                if ready.total == 0 {
                    continue;
                }
                let whole = member.role == Role::Live
                    && member.from <= self.batch.first_sequence
                    && !self.batch.has_concealed;
                if whole && ready.fits && subscriber.is_direct(alone) {
                    match subscriber.write(&ready.slices, ready.total) {
                        Ok(bytes) => {
                            if let Some(sum) = tally.get_mut(index) {
                                sum.0 += ready.messages;
                                sum.1 += bytes as u64;
                            }
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
                        .queue_for(subscriber, member.from, member.role, exact, now);
                }
            }
            drop(members);
            self.audience += 1;
            self.member = 0;
        }
        if let Some(subscriber) = spoken {
            for (format, (messages, bytes)) in WireFormat::ALL.into_iter().zip(tally) {
                subscriber.count_delivered_as(format, messages, bytes);
            }
        }
        finished
    }
}

/// The chunks of one format as the kernel wants them.
struct Pieces<'a> {
    slices: SmallVec<[IoSlice<'a>; 4]>,
    total: usize,
    messages: u64,
    /// Whether they go in one call.
    fits: bool,
}

impl<'a> Pieces<'a> {
    fn of(chunks: &'a [Chunk]) -> Self {
        Self {
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
        for chunk in self.chunks(subscriber.format()) {
            let taken = written.min(chunk.bytes.len());
            written -= taken;
            messages += chunk.messages_within(taken) as u64;
            if taken < chunk.bytes.len() {
                subscriber.push(chunk.tail(taken), now);
            }
        }
        subscriber.count_delivered(messages, bytes);
    }

    /// Queues what is for this member, frame by frame where not all is.
    fn queue_for(
        &self,
        subscriber: &Rc<Subscriber>,
        from: u64,
        role: Role,
        exact: bool,
        now: Instant,
    ) {
        let mut echo = role == Role::Live;
        if subscriber.is_selective() {
            let book = subscriber.book.borrow();
            if book.replays(&self.topic) {
                // It will be read from the history, by the cursor.
                return;
            }
            if !exact {
                echo = book.echoes(&self.topic);
            }
        }
        let whole = from <= self.first_sequence && echo && !self.has_concealed;
        for chunk in self.chunks(subscriber.format()) {
            if whole {
                subscriber.push(chunk.tail(0), now);
                continue;
            }
            for run in chunk.runs_for(subscriber.id(), from, echo) {
                subscriber.push(run, now);
            }
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
