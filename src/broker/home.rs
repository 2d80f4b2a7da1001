//! The home of topics: the one party that numbers their messages, keeps their history, and knows
//! which workers have subscribers.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::history::{History, HistoryStore};
use crate::model::{Member, Message, Position, SessionId, Timestamp, TopicName};
use crate::protocol::{Cursor, ErrorCode, Event, Published, Refusal};

use super::directory::{TopicCard, TopicDirectory};
use super::filters::FilterTrie;
use super::message::{ExactAsk, Publication, Receipt, Span, Stand};
use super::rules::{LiveRules, TopicRule};

mod expiry;
mod interest;
mod recover;

use expiry::later;

pub use interest::Interest;
use interest::matching_interest;

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
    /// How many there may be.
    pub max_topics: usize,
    /// The most messages that one subscribe replays.
    pub max_replay: u64,
}

/// The topics whose hash falls to one worker.
pub struct Home {
    common: Arc<Common>,
    topics: HashMap<TopicName, Topic, RandomState>,
    filters: FilterTrie<Interest>,
    /// When the oldest message of a topic grows too old.
    expiries: BinaryHeap<Reverse<(Timestamp, TopicName)>>,
}

struct Topic {
    card: Arc<TopicCard>,
    rule: TopicRule,
    history: Option<Box<dyn History>>,
    interest: Interest,
    members: HashMap<SessionId, Member>,
    last_time: Timestamp,
    /// The interest of matching filters, and the trie's generation it was computed at.
    matched: (u64, Interest),
    /// When it is looked at for messages that are too old.
    expiry: Option<Timestamp>,
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

impl Home {
    /// A home without topics.
    pub fn new(common: Arc<Common>, hasher: RandomState) -> Self {
        Self {
            common,
            topics: HashMap::with_hasher(hasher),
            filters: FilterTrie::new(),
            expiries: BinaryHeap::new(),
        }
    }

    /// Numbers and keeps a message; says to whom it goes.
    ///
    /// # Errors
    /// `too_large` where the topic bounds its messages further, `unavailable` where the history
    /// cannot take it, `limit_exceeded` where there are too many topics: nothing was published.
    pub fn publish(
        &mut self,
        publication: Publication,
        now: Timestamp,
        accepted: Instant,
    ) -> Result<(Receipt, Delivery), Refusal> {
        let topic = publication.topic.clone();
        let known = self.topics.get(&topic).map(|entry| entry.rule);
        let rule = known.unwrap_or_else(|| self.common.rules.now().of(&topic));
        rule.check_size(publication.payload.data.len())?;
        if known.is_none() && rule.history.is_some() {
            self.create(&topic)?;
        }
        let mut message = Message {
            topic: publication.topic,
            payload: publication.payload,
            time: now,
            position: None,
            user: publication.user.filter(|_| rule.expose_user),
            key: publication.key,
            publisher: publication.publisher,
        };
        let Some(entry) = self.topics.get_mut(&topic) else {
            // Nobody subscribed by name and nothing is kept: only filters may match.
            let to = matching_interest(&self.filters, &topic);
            let receipt = Receipt {
                position: None,
                subscribers: to.total(),
            };
            let published = Arc::new(Published::new(Event::Message(Arc::new(message))));
            return Ok((
                receipt,
                Delivery {
                    published,
                    accepted,
                    to,
                },
            ));
        };
        message.time = message.time.max(entry.last_time);
        entry.last_time = message.time;
        let message = match &mut entry.history {
            None => Arc::new(message),
            Some(history) => {
                let appended = history.append(message, now).map_err(|e| unavailable(&e))?;
                entry.card.set_history(history.len(), history.newest());
                if let (None, Some(age)) = (entry.expiry, entry.rule.history.and_then(|h| h.age)) {
                    let due = later(appended.message.time, age);
                    entry.expiry = Some(due);
                    self.expiries.push(Reverse((due, topic.clone())));
                }
                appended.message
            }
        };
        let to = entry.audience(&self.filters, &topic);
        let receipt = Receipt {
            position: message.position,
            subscribers: to.total(),
        };
        let published = Arc::new(Published::new(Event::Message(message)));
        Ok((
            receipt,
            Delivery {
                published,
                accepted,
                to,
            },
        ))
    }

    /// Fixes the end of a replay and adds the interest, in one step; the delivery tells others of
    /// the newcomer.
    ///
    /// # Errors
    /// `limit_exceeded` where there are too many topics.
    pub fn subscribe(
        &mut self,
        shard: usize,
        ask: &ExactAsk,
        now: Timestamp,
    ) -> Result<(Stand, Option<Delivery>), Refusal> {
        if !self.topics.contains_key(&ask.topic) {
            self.create(&ask.topic)?;
        }
        let max_replay = self.common.max_replay;
        let Some(entry) = self.topics.get_mut(&ask.topic) else {
            return Err(Refusal::new(
                ErrorCode::Internal,
                "the topic could not be created",
            ));
        };
        let mut stand = Stand {
            time: now.max(entry.last_time),
            ..Stand::default()
        };
        stand.recovered = ask.since.map(|_| false);
        if let Some(history) = &mut entry.history {
            history.trim(now);
            let (epoch, until) = (history.epoch(), history.settled());
            stand.position = Some(Position {
                epoch,
                offset: until,
            });
            let mut span = None;
            if let Some(Cursor {
                epoch: Some(asked),
                offset,
            }) = ask.since
            {
                let cursor = Position {
                    epoch: asked,
                    offset,
                };
                let recovers =
                    history.recovers(cursor, now) && until.saturating_sub(offset) <= max_replay;
                stand.recovered = Some(recovers);
                if recovers {
                    span = Some(offset);
                }
            }
            if let (Some(_), None, Some(from)) = (ask.since, span, ask.from)
                && self.common.store.remembers(from)
            {
                span = recover::by_time(&**history, from, now)
                    .filter(|after| until.saturating_sub(*after) <= max_replay);
                stand.recovered = Some(span.is_some());
            }
            let after = span.or_else(|| {
                ask.last.map(|last| {
                    let oldest = history.oldest().saturating_sub(1);
                    until.saturating_sub(last.min(max_replay)).max(oldest)
                })
            });
            stand.span = after.map(|after| Span {
                epoch,
                after,
                until,
            });
        }
        entry.interest.add(shard);
        entry.card.set_subscribers(entry.interest.total());
        let newcomer = Member {
            since: now,
            ..ask.member.clone()
        };
        if entry.rule.presence {
            entry.members.insert(newcomer.session, newcomer.clone());
        }
        let told = entry.rule.join_leave.then(|| Delivery {
            published: Arc::new(Published::new(Event::Join {
                topic: ask.topic.clone(),
                member: newcomer,
            })),
            accepted: Instant::now(),
            to: entry.audience(&self.filters, &ask.topic),
        });
        Ok((stand, told))
    }

    /// Takes a subscription by name back; the delivery tells others.
    pub fn unsubscribe(
        &mut self,
        shard: usize,
        topic: &TopicName,
        gone: &Member,
        now: Timestamp,
    ) -> Option<Delivery> {
        let entry = self.topics.get_mut(topic)?;
        entry.interest.take(shard);
        entry.card.set_subscribers(entry.interest.total());
        let member = entry
            .members
            .remove(&gone.session)
            .unwrap_or_else(|| gone.clone());
        let told = entry.rule.join_leave.then(|| Delivery {
            published: Arc::new(Published::new(Event::Leave {
                topic: topic.clone(),
                member,
            })),
            accepted: Instant::now(),
            to: entry.audience(&self.filters, topic),
        });
        self.forget_if_idle(topic, now);
        told
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
            .map(|entry| entry.members.values().cloned().collect())
            .unwrap_or_default();
        members.sort_by_key(|member| (member.since, member.session));
        Ok(members)
    }

    fn create(&mut self, topic: &TopicName) -> Result<(), Refusal> {
        if self.common.topics.fetch_add(1, Ordering::Relaxed) >= self.common.max_topics {
            self.common.topics.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::new(
                ErrorCode::LimitExceeded,
                "there are as many topics as limits.topics allows; use one that exists, or raise the limit",
            ));
        }
        let rule = self.common.rules.now().of(topic);
        let history = match rule
            .history
            .map(|bounds| self.common.store.open(topic, bounds))
        {
            None => None,
            Some(Ok(history)) => Some(history),
            Some(Err(error)) => {
                self.common.topics.fetch_sub(1, Ordering::Relaxed);
                return Err(unavailable(&error));
            }
        };
        let card = TopicCard::new(topic.clone(), history.as_ref().map(|h| h.epoch()));
        self.common.directory.insert(Arc::clone(&card));
        self.topics.insert(
            topic.clone(),
            Topic {
                card,
                rule,
                history,
                interest: Interest::default(),
                members: HashMap::new(),
                last_time: Timestamp::default(),
                matched: (0, Interest::default()),
                expiry: None,
            },
        );
        Ok(())
    }

    fn forget_if_idle(&mut self, topic: &TopicName, now: Timestamp) {
        let Some(entry) = self.topics.get_mut(topic) else {
            return;
        };
        if let Some(history) = &mut entry.history {
            history.trim(now);
        }
        let is_kept = entry.history.as_ref().is_some_and(|h| !h.is_empty());
        if entry.interest.is_empty() && !is_kept {
            self.topics.remove(topic);
            self.common.directory.remove(topic);
            self.common.topics.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Topic {
    /// All workers with a subscriber, by name or by filter.
    fn audience(&mut self, filters: &FilterTrie<Interest>, topic: &TopicName) -> Interest {
        if self.matched.0 != filters.generation() {
            self.matched = (filters.generation(), matching_interest(filters, topic));
        }
        let mut all = self.interest.clone();
        all.merge(&self.matched.1);
        all
    }
}

fn unavailable(error: &crate::history::HistoryError) -> Refusal {
    Refusal::new(ErrorCode::Unavailable, error.to_string()).retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests;
