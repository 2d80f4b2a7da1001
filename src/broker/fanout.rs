//! Gets what a worker was handed to the sessions of that worker: once per turn, in shared bytes.
//!
//! Messages that fall due in a turn are gathered per topic ([`Batch`]), then written to every
//! member of its audiences by a job. A job that is long yields between slices of members.

use std::collections::{HashMap, VecDeque};
use std::hash::RandomState;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

use crate::model::{Filter, TopicName};
use crate::protocol::{Deflaters, EncodingSet, Published};

use super::audience::{Audience, Role};
use super::batch::Batch;
use super::filters::FilterTrie;
use super::job::Job;
use super::pace::Pace;
use super::rules::LiveRules;
use super::subscriber::Subscriber;

/// Of so many jobs at once what they touch first is brought to the processor.
const AHEAD: usize = 8;

/// The most empty batches that are kept.
const MAX_SPARE: usize = 256;

/// All audiences of one worker, and what is due to them.
pub struct Fanout {
    topics: HashMap<TopicName, Rc<Audience>, RandomState>,
    filters: FilterTrie<Rc<Audience>>,
    rules: Arc<LiveRules>,
    due: Vec<(TopicName, Rc<Audience>)>,
    jobs: VecDeque<Job>,
    /// Empty batches, for topics that fall due next.
    #[allow(
        clippy::vec_box,
        reason = "they go from here to audiences and back as they are"
    )]
    spare: Vec<Box<Batch>>,
    sequence: u64,
    last_job: u64,
    backlog: usize,
    pace: Pace,
    deflaters: Deflaters,
}

/// How a flush ended.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Something is still due: the budget ran out.
    pub unfinished: bool,
    /// From a publish's acceptance to the last write of its batch, of the last batch that was done.
    pub latency: Option<Duration>,
}

impl Fanout {
    /// No audiences.
    pub fn new(
        hasher: RandomState,
        rules: Arc<LiveRules>,
        flush_interval: Duration,
        deflaters: Deflaters,
    ) -> Self {
        Self {
            topics: HashMap::with_hasher(hasher),
            filters: FilterTrie::new(),
            rules,
            due: Vec::new(),
            jobs: VecDeque::new(),
            spare: Vec::new(),
            sequence: 1,
            last_job: 0,
            backlog: 0,
            pace: Pace::new(flush_interval),
            deflaters,
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

    /// Adds a member. What is due already is not for it.
    pub fn join(
        &mut self,
        filter: &Filter,
        subscriber: &Rc<Subscriber>,
        role: Role,
    ) -> (Rc<Audience>, usize) {
        let audience = if let Some(topic) = filter.as_name() {
            let known = self.topics.entry(topic);
            Rc::clone(known.or_insert_with(|| Audience::new(filter.clone())))
        } else {
            let known = self.filters.get(filter).map(Rc::clone);
            known.unwrap_or_else(|| {
                let audience = Audience::new(filter.clone());
                self.filters.insert(filter, Rc::clone(&audience));
                audience
            })
        };
        let key = audience.add(subscriber, self.sequence, role);
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
        audience.remove(key);
        self.forget_if_empty(audience);
    }

    /// Whether something of that topic is due, in a batch or in a job.
    pub fn is_due(&self, topic: &TopicName) -> bool {
        self.due.iter().any(|(due, _)| due == topic)
            || self.jobs.iter().any(|job| job.topic() == topic)
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
        audience.refresh_matches(&self.filters, topic);
        audience.refresh_rule(&self.rules, topic);
        let matched = audience.matched.borrow();
        let also = matched.1.iter().map(|audience| audience.spoken());
        let wanted = also.fold(audience.spoken(), EncodingSet::or);
        let sequence = self.sequence;
        self.sequence += 1;
        let mut batch = audience.batch.borrow_mut();
        if batch.is_none() {
            // First, so that a fault while it is encoded leaves no batch that nothing ever takes.
            self.due.push((topic.clone(), Rc::clone(&audience)));
        }
        let batch = batch.get_or_insert_with(|| self.spare.pop().unwrap_or_default());
        self.backlog += batch.add(published, sequence, accepted, wanted, &mut self.deflaters);
    }

    /// Writes what is due, visiting at most `budget` members.
    pub fn flush(&mut self, mut budget: usize, now: Instant) -> Progress {
        let (mut unfinished, mut last) = (false, None);
        while !unfinished && self.begin_due() {
            let alone = self.jobs.len() == 1;
            for done in 0usize.. {
                if done.is_multiple_of(AHEAD) {
                    self.jobs.iter().take(AHEAD).for_each(Job::fetch);
                }
                let Some(mut job) = self.jobs.pop_front() else {
                    break;
                };
                if !job.run(&mut budget, alone, now) {
                    // The topics take turns: a large audience does not keep the others waiting.
                    if job.is_overlapping() {
                        self.jobs.push_front(job);
                    } else {
                        self.jobs.push_back(job);
                    }
                    unfinished = true;
                    break;
                }
                last = Some(job.accepted());
                self.end(job);
            }
        }
        Progress {
            unfinished,
            latency: last.map(|accepted| accepted.elapsed()),
        }
    }

    /// Makes jobs of what is due, but for topics that have one already: their messages keep their order. Says
    /// whether there is any job.
    fn begin_due(&mut self) -> bool {
        let is_free = |(_, audience): &mut (_, Rc<Audience>)| !audience.is_served.get();
        for (topic, audience) in self.due.extract_if(.., is_free) {
            let Some(batch) = audience.batch.borrow_mut().take() else {
                continue;
            };
            self.last_job += 1;
            let batch = batch.seal(topic, audience.overflows());
            self.jobs
                .push_back(Job::new(self.last_job, &audience, batch));
        }
        !self.jobs.is_empty()
    }

    /// All members have been visited.
    fn end(&mut self, job: Job) {
        self.backlog = self.backlog.saturating_sub(job.bytes());
        if let Some(audience) = job.audience() {
            self.forget_if_empty(audience);
        }
        if self.spare.len() < MAX_SPARE {
            self.spare.push(job.into_batch().recycle());
        }
    }

    /// The same once it is time to write, or where more than `much` bytes are due. If it is not, the task
    /// is woken when it is.
    pub fn flush_in_time(
        &mut self,
        budget: usize,
        much: usize,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Progress {
        if self.is_idle() || (self.backlog <= much && !self.pace.is_time(cx)) {
            return Progress::default();
        }
        let progress = self.flush(budget, now);
        if !progress.unfinished {
            self.pace.wrote();
        }
        progress
    }

    /// Who subscribed by name to those topics.
    pub fn present(&self, wanted: impl Fn(&TopicName) -> bool) -> Vec<(TopicName, Rc<Subscriber>)> {
        let mut present = Vec::new();
        for (topic, audience) in self.topics.iter().filter(|(topic, _)| wanted(topic)) {
            let held = audience.members.borrow();
            let there = held.iter();
            present.extend(there.map(|(_, m)| (topic.clone(), Rc::clone(&m.subscriber))));
        }
        present
    }

    /// The members of those audiences.
    pub fn members_of(&self, wanted: impl Fn(&Filter) -> bool) -> Vec<Rc<Subscriber>> {
        let mut members = Vec::new();
        let audiences = self.topics.values().chain(self.filters.values());
        for audience in audiences.filter(|audience| wanted(&audience.filter)) {
            let held = audience.members.borrow();
            members.extend(held.iter().map(|(_, member)| Rc::clone(&member.subscriber)));
        }
        members
    }

    /// Ends the connections of all members, and drops what is due to them.
    pub fn kill_members(&mut self) {
        self.jobs.clear();
        self.due.clear();
        self.backlog = 0;
        let kill = |audience: &Rc<Audience>| {
            audience.batch.take();
            for (_, member) in audience.members.borrow().iter() {
                member.subscriber.kill();
            }
        };
        self.filters.values().for_each(kill);
        self.topics.values().for_each(kill);
        self.topics.retain(|_, audience| !audience.is_deserted());
    }

    /// An audience that nobody is in and nothing is due to goes.
    fn forget_if_empty(&mut self, audience: &Rc<Audience>) {
        if !audience.is_deserted() || audience.batch.borrow().is_some() {
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
