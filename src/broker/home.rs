//! The home of topics: the one party that numbers their messages, keeps their history, and knows
//! which workers have subscribers.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::history::{History, HistoryStore, News};
use crate::model::{Member, Timestamp, TopicName};
use crate::protocol::{ErrorCode, Published, Refusal};

use super::directory::{TopicCard, TopicDirectory};
use super::filters::FilterTrie;
use super::rules::LiveRules;

mod amend;
mod clear;
mod expiry;
mod forget;
mod give_way;
mod idempotency;
mod interest;
mod kept;
mod parked;
mod publish;
mod question;
mod recover;
mod retained;
mod scan;
mod subscribe;
mod topic;

use idempotency::Answers;

pub use idempotency::AnswerBound;
pub use interest::Interest;
use kept::Kept;
use parked::Queues;
pub use parked::{Asker, Outcome, Taken};
use question::Questions;
pub use scan::{Looked, Scan};
use topic::Topic;

/// For as many turns in a row what the store is given is put off, while each gives more.
const PUT_OFF: u32 = 8;

/// What all homes of a node share.
pub struct Common {
    /// What topics keep and tell.
    pub rules: Arc<LiveRules>,
    /// Where histories are.
    pub store: Arc<dyn HistoryStore>,
    /// The node's topics.
    pub directory: TopicDirectory,
    /// Topics there are, over all homes.
    pub topics: AtomicUsize,
    /// Subscriptions to the broker's own topics.
    pub sys_listeners: AtomicUsize,
    /// How many there may be.
    pub max_topics: AtomicUsize,
    /// The most messages that one subscribe replays.
    pub max_replay: AtomicU64,
    /// What publishers are still to be told that they were told.
    pub answers: Arc<AnswerBound>,
}

/// The topics whose hash falls to one worker.
pub struct Home {
    common: Arc<Common>,
    topics: HashMap<TopicName, Topic, RandomState>,
    filters: FilterTrie<Interest>,
    /// The topics that have a retained message, in the order in which a filter's are read.
    retained: BTreeSet<TopicName>,
    /// The topics that have a history, in that order.
    histories: BTreeSet<TopicName>,
    /// The topic that last made room for others.
    gave_way: Option<TopicName>,
    /// When the oldest message of a topic grows too old.
    expiries: BinaryHeap<Reverse<(Timestamp, TopicName)>>,
    answers: Answers,
    /// What the store tells this home.
    news: Arc<News>,
    /// For how many turns what the store was given has been put off.
    put_off: u32,
    /// What is not yet as durable as it should be.
    parked: Queues,
    /// What waits until the store has found out.
    questions: Questions,
    /// Topics whose rule has changed, and that cannot be held to it before what waits is settled.
    unamended: BTreeSet<TopicName>,
}

/// An event and the workers it goes to.
#[derive(Debug)]
pub struct Delivery {
    /// The event.
    pub published: Arc<Published>,
    /// When it was accepted.
    pub accepted: Instant,
    /// The workers with subscribers.
    pub to: Interest,
}

impl Common {
    /// The most messages that one subscribe replays.
    pub fn max_replay(&self) -> u64 {
        self.max_replay.load(Ordering::Relaxed)
    }
}

impl Home {
    /// A home without topics.
    pub fn new(common: Arc<Common>, hasher: RandomState) -> Self {
        Self {
            answers: Answers::new(Arc::clone(&common.answers)),
            common,
            topics: HashMap::with_hasher(hasher),
            filters: FilterTrie::new(),
            retained: BTreeSet::new(),
            histories: BTreeSet::new(),
            gave_way: None,
            expiries: BinaryHeap::new(),
            news: News::new(),
            put_off: 0,
            parked: Queues::default(),
            questions: Questions::default(),
            unamended: BTreeSet::new(),
        }
    }

    /// What the store tells this home.
    pub fn news(&self) -> &Arc<News> {
        &self.news
    }

    /// A turn has ended. Has the store begin with what this home has given it, unless this turn gave
    /// more: then what else has come meanwhile is looked at first, so that it goes along. Whether it is to be
    /// asked again.
    pub fn begin_storing(&mut self) -> bool {
        if self.news.has_given() && self.put_off < PUT_OFF {
            self.put_off += 1;
            return true;
        }
        if std::mem::take(&mut self.put_off) > 0 {
            self.common.store.begin();
        }
        false
    }

    /// Opens the topics of which something was left by the process before this, as far as they are at
    /// home here and their rules still keep it, and remembers what is not to be published again.
    pub fn begin(&mut self, is_home: impl Fn(&TopicName) -> bool, now: Timestamp, at: Instant) {
        let store = Arc::clone(&self.common.store);
        let rules = Arc::clone(&self.common.rules);
        let mut unkept = 0;
        for left in store.topics() {
            if !is_home(&left.topic) {
                continue;
            }
            let rule = rules.now().of(&left.topic);
            if rule.history.is_none() && !(rule.retain && left.has_retained) {
                unkept += 1;
                continue;
            }
            if let Err(refusal) = self.create(&left.topic) {
                tracing::error!(topic = %left.topic, %refusal, "a topic that was kept is not opened");
            }
            self.note_retained(&left.topic);
            self.watch_age(&left.topic, now);
        }
        if unkept > 0 {
            tracing::warn!(
                topics = unkept,
                "the store holds topics that no rule keeps any more: they stay where they are, unread"
            );
        }
        for remembered in store.once() {
            if is_home(&remembered.topic) {
                self.answers.recall(remembered, now, at);
            }
        }
    }

    /// Who is in a topic, the earliest first.
    ///
    /// # Errors
    /// `presence_disabled` where the topic does not tell.
    pub fn presence(&self, topic: &TopicName) -> Result<Vec<Member>, Refusal> {
        if !self.common.rules.now().of(topic).presence {
            return Err(Refusal::new(
                ErrorCode::PresenceDisabled,
                format!(
                    "the topic '{topic}' does not tell who is there: no rule with 'presence' matches it"
                ),
            ));
        }
        let mut members: Vec<Member> = self
            .topics
            .get(topic)
            .map(|entry| entry.members.values().map(|(_, m)| m.clone()).collect())
            .unwrap_or_default();
        members.sort_by_key(|member| (member.since, member.session));
        Ok(members)
    }

    fn create(&mut self, topic: &TopicName) -> Result<(), Refusal> {
        let max_topics = self.common.max_topics.load(Ordering::Relaxed);
        if self.common.topics.fetch_add(1, Ordering::Relaxed) >= max_topics {
            self.common.topics.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::new(
                ErrorCode::LimitExceeded,
                "there are as many topics as limits.topics allows; use one that exists, or raise the limit",
            ));
        }
        let rule = self.common.rules.now().of(topic);
        let kept = match Kept::open(&*self.common.store, topic, rule, &self.news) {
            Ok(kept) => kept,
            Err(error) => {
                self.common.topics.fetch_sub(1, Ordering::Relaxed);
                return Err(unavailable(&error));
            }
        };
        let card = TopicCard::new(topic.clone(), kept.history().map(History::epoch));
        if let Some(history) = kept.history() {
            // What the process before this one left is there from the start.
            card.set_history(history.len(), history.newest());
        }
        self.common.directory.insert(Arc::clone(&card));
        self.topics.insert(
            topic.clone(),
            Topic {
                card,
                rule,
                kept,
                interest: Interest::default(),
                members: HashMap::new(),
                last_time: Timestamp::default(),
                matched: (0, Interest::default()),
                expiry: None,
                due: None,
                is_emptied: false,
            },
        );
        self.note_history(topic);
        Ok(())
    }

    fn forget_if_idle(&mut self, topic: &TopicName, now: Timestamp) {
        let Some(entry) = self.topics.get_mut(topic) else {
            return;
        };
        if let Some(history) = entry.kept.history_mut() {
            history.trim(now);
        }
        let is_held = !entry.kept.is_empty() || entry.due.is_some() || self.answers.has(topic);
        if entry.interest.is_empty() && !is_held {
            self.topics.remove(topic);
            self.histories.remove(topic);
            self.common.directory.remove(topic);
            self.common.topics.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Home {
    /// Its topics go with it; another home may have some of that name already.
    fn drop(&mut self) {
        for (topic, entry) in &self.topics {
            self.common.directory.remove_card(topic, &entry.card);
        }
        let topics = &self.common.topics;
        topics.fetch_sub(self.topics.len(), Ordering::Relaxed);
    }
}

fn unavailable(error: &crate::history::HistoryError) -> Refusal {
    Refusal::new(ErrorCode::Unavailable, error.to_string()).retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests;
