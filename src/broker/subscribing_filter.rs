//! How subscriptions by filter begin: they stand once they stand at every home.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::model::{Filter, Member, Timestamp, TopicName};
use crate::protocol::{Refusal, SubscribeOk};

use super::audience::Role;
use super::book::{Book, Replay};
use super::message::{HomeAnswer, HomeOf, Span, ToHome, WildAsk, WildSince, WildStand};
use super::registry::Registry;
use super::reply::{Reply, ReplyTo};
use super::subscriber::Subscriber;
use super::subscribing::Subscription;
use super::waiting::Waiting;

/// A filter that does not stand at every home yet.
pub struct Opening {
    subscriber: Rc<Subscriber>,
    filter: Filter,
    reply: ReplyTo,
    /// Homes that have not answered.
    homes_left: Vec<usize>,
    stand: WildStand,
    has_since: bool,
    has_replay: bool,
    failed: Option<Refusal>,
}

impl Registry {
    pub(super) fn subscribe_filter(
        &mut self,
        subscriber: &Rc<Subscriber>,
        ask: &Subscription,
        reply: ReplyTo,
    ) {
        let has_replay = ask.last.is_some() || ask.since_filter.is_some();
        if has_replay {
            // From now on the session notes what passes, so that nothing is missed between the
            // homes' answers.
            let member = self.fanout.join(&ask.filter, subscriber, Role::Catching);
            let mut book = subscriber.book.borrow_mut();
            book.set_catching(&ask.filter, member);
        }
        let opening = Box::new(Opening {
            subscriber: Rc::clone(subscriber),
            filter: ask.filter.clone(),
            reply,
            homes_left: (0..self.shards.count()).collect(),
            stand: WildStand {
                recovered: true,
                ..WildStand::default()
            },
            has_since: ask.since_filter.is_some(),
            has_replay,
            failed: None,
        });
        let token = self.waiting.add(self.shard, Waiting::Wild(opening));
        let mut access = subscriber.rights().access();
        if ask.is_lent {
            access = Arc::new(access.lent(&ask.filter));
        }
        let now = Timestamp::now();
        for shard in 0..self.shards.count() {
            let since = ask
                .since_filter
                .as_ref()
                .map(|(positions, from)| WildSince {
                    positions: Arc::clone(positions),
                    // A time that is still to come is of another clock, or of one that was set back:
                    // nothing can be told by it.
                    from: from.filter(|from| *from <= now),
                });
            let ask = WildAsk {
                filter: ask.filter.clone(),
                last: ask.last,
                since,
                access: Arc::clone(&access),
                homes: HomeOf {
                    shards: Arc::clone(&self.shards),
                    shard,
                },
            };
            self.ask_home(shard, ToHome::SubscribeFilter(Box::new(ask), token));
        }
    }

    /// A filter stands at every home.
    pub(super) fn filter_stands(&mut self, opening: Opening) {
        let Opening {
            subscriber,
            filter,
            reply,
            mut stand,
            ..
        } = opening;
        let member = Member {
            session: subscriber.id(),
            user: None,
            info: None,
            since: Timestamp::default(),
        };
        if subscriber.book.borrow().find(&filter).is_none() {
            return self.release_at_homes(&filter, &member);
        }
        if let Some(refusal) = opening.failed {
            self.release_at_homes(&filter, &member);
            return self.not_opened(&subscriber, &filter, refusal, reply);
        }
        if !self.fanout.is_idle() {
            self.flush_all(Instant::now());
        }
        let reading = self.reading(&subscriber);
        let is_lent = (subscriber.book.borrow().find(&filter)).is_some_and(|entry| entry.is_lent);
        // What it may read by this filter, and by no other that stands.
        let brings = |book: &Book, topic: &TopicName| {
            reading.may_read_by_filter(is_lent, topic) && !reading.is_brought(book, topic)
        };
        self.bound(&subscriber, &mut stand, opening.has_since, brings);
        let lost: HashSet<&TopicName> = stand.gaps.iter().collect();
        let recovered: Vec<TopicName> = if opening.has_since && stand.may_retain {
            let spans = stand.spans.iter().map(|(topic, _)| topic);
            let recovered = spans.filter(|topic| !lost.contains(topic));
            recovered.cloned().collect()
        } else {
            Vec::new()
        };
        let book = subscriber.book.borrow();
        let spans = stand.spans.into_iter();
        let spans: HashMap<TopicName, Span> =
            spans.filter(|(topic, _)| brings(&book, topic)).collect();
        drop(book);
        if opening.has_since {
            self.turn.recovery(stand.recovered);
        }
        let ok = SubscribeOk {
            topic: filter.clone(),
            time: Timestamp::now(),
            position: None,
            recovered: opening.has_since.then_some(stand.recovered),
            replayed: Some(spans.values().map(Span::count).sum()),
            gaps: stand.gaps,
        };
        self.count_subscription(&filter, 1);
        reply.send(Ok(Reply::Subscribed(ok)));
        let echo = subscriber
            .book
            .borrow()
            .find(&filter)
            .is_none_or(|entry| entry.echo);
        let catching = subscriber.book.borrow_mut().take_catching(&filter);
        let (audience, key) = match catching {
            Some((audience, key)) => {
                self.fanout.set_role(&audience, key, Role::standing(echo));
                (audience, key)
            }
            None => self.fanout.join(&filter, &subscriber, Role::standing(echo)),
        };
        let mut book = subscriber.book.borrow_mut();
        if opening.has_replay {
            for (topic, epoch, offset) in book.take_caught(&filter, brings) {
                let before = offset.saturating_sub(1);
                // What the home said of it counts, where it knew of it: also of another life, since a
                // replay finds out what has become of its own.
                let replay = spans.get(&topic).map(Span::replay);
                let replay = replay.unwrap_or_else(|| Replay::new(epoch, before, before));
                book.start_replay(topic, replay);
            }
            for (topic, span) in spans {
                if span.count() > 0 && !book.replays(&topic) {
                    book.start_replay(topic, span.replay());
                }
            }
            self.replaying.push(Rc::clone(&subscriber));
            self.turn.wake();
        }
        if stand.may_retain {
            book.owe_retained(&filter, &self.shards, reading, recovered);
            self.replaying.push(Rc::clone(&subscriber));
            self.turn.wake();
        }
        let then = book.stand(&filter, audience, key);
        subscriber.settle_book(&book);
        drop(book);
        self.go_on_with(&subscriber, &filter, then);
    }

    /// Bounds what is replayed to the limit in all: each home knows of its own topics only. A topic that is
    /// to recover does so whole or not at all. What the filter does not bring counts for nothing.
    fn bound(
        &self,
        subscriber: &Subscriber,
        stand: &mut WildStand,
        has_since: bool,
        brings: impl Fn(&Book, &TopicName) -> bool,
    ) {
        let book = subscriber.book.borrow();
        let lost: HashSet<TopicName> = stand.gaps.iter().cloned().collect();
        let mut left = self.common.max_replay();
        for (topic, span) in &mut stand.spans {
            if !brings(&book, topic) {
                continue;
            }
            if span.count() > left {
                if has_since && !lost.contains(topic) {
                    span.after = span.until;
                    stand.gaps.push(topic.clone());
                } else {
                    span.after = span.until - left;
                }
            }
            left -= span.count();
        }
        stand.recovered &= stand.gaps.is_empty();
    }
}

impl Opening {
    /// Whether that home has not answered.
    pub fn waits_for(&self, home: usize) -> bool {
        self.homes_left.contains(&home)
    }

    /// Takes note of one home's answer; true once all have answered.
    pub fn note(&mut self, from: usize, answer: &Result<HomeAnswer, Refusal>) -> bool {
        self.homes_left.retain(|home| *home != from);
        match answer {
            Ok(HomeAnswer::SubscribedFilter(stand)) => {
                self.stand.spans.extend(stand.spans.iter().cloned());
                self.stand.gaps.extend(stand.gaps.iter().cloned());
                self.stand.recovered &= stand.recovered;
                self.stand.may_retain |= stand.may_retain;
            }
            Ok(_) => {}
            Err(refusal) => self.failed = Some(refusal.clone()),
        }
        self.homes_left.is_empty()
    }
}
