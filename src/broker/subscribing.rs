//! How subscriptions begin and end: asked of their homes, joined to an audience, taken back.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::metrics::SubscriptionKind;
use crate::model::{Filter, Member, Timestamp, TopicName};
use crate::protocol::{Cursor, ErrorCode, Refusal, SubscribeOk};

use super::book::{Place, Replay};
use super::fanout::Role;
use super::message::{ExactAsk, HomeAnswer, HomeOf, Stand, ToHome, WildAsk, WildSince, WildStand};
use super::registry::{Registry, Waiting};
use super::reply::{Reply, ReplyTo};
use super::subscriber::Subscriber;

/// What a session asks when it subscribes.
pub struct Subscription {
    /// The name or filter.
    pub filter: Filter,
    /// Whether its own messages come back to it.
    pub echo: bool,
    /// Replay at most so many.
    pub last: Option<u64>,
    /// Recover from here, for a name.
    pub since: Option<Cursor>,
    /// Recover from here, for a filter.
    pub since_filter: Option<(Arc<Vec<(TopicName, Cursor)>>, Option<Timestamp>)>,
    /// Where a position is of no use, recover by time: everything published since then.
    pub from: Option<Timestamp>,
    /// What others are told of the session.
    pub member: Member,
}

/// A filter that does not stand at every home yet.
pub(super) struct Opening {
    subscriber: Rc<Subscriber>,
    filter: Filter,
    reply: ReplyTo,
    pub(super) homes_left: usize,
    stand: WildStand,
    has_since: bool,
    has_replay: bool,
    max_replay: u64,
    failed: Option<Refusal>,
}

impl Registry {
    /// Subscribes a session; answered once the subscription stands at every home it needs.
    pub(super) fn subscribe(
        &mut self,
        subscriber: &Rc<Subscriber>,
        ask: Subscription,
        max_replay: u64,
        reply: ReplyTo,
    ) {
        let mut book = subscriber.book.borrow_mut();
        if book.find(&ask.filter).is_some() {
            drop(book);
            return reply.send(Err(Refusal::new(
                ErrorCode::AlreadySubscribed,
                format!(
                    "'{}' is subscribed to already; unsubscribe first to change its options",
                    ask.filter
                ),
            )));
        }
        if book.len() >= self.max_subscriptions {
            drop(book);
            return reply.send(Err(Refusal::new(
                ErrorCode::LimitExceeded,
                format!("a session has at most {} subscriptions; unsubscribe from some, or use a filter", self.max_subscriptions),
            )));
        }
        book.add(ask.filter.clone(), ask.echo);
        drop(book);
        match ask.filter.as_name() {
            Some(topic) => {
                let token = self.waiting.insert(Waiting::Exact {
                    subscriber: Rc::clone(subscriber),
                    filter: ask.filter,
                    member: ask.member.clone(),
                    reply,
                });
                let home = self.shards.home(&topic);
                let ask = ExactAsk {
                    topic,
                    member: ask.member,
                    last: ask.last,
                    since: ask.since,
                    from: ask.from,
                };
                self.to_home(home, ToHome::Subscribe(Box::new(ask), token));
            }
            None => self.subscribe_filter(subscriber, ask, max_replay, reply),
        }
    }

    fn subscribe_filter(
        &mut self,
        subscriber: &Rc<Subscriber>,
        ask: Subscription,
        max_replay: u64,
        reply: ReplyTo,
    ) {
        let has_replay = ask.last.is_some() || ask.since_filter.is_some();
        if has_replay {
            // From now on the session notes what passes, so that nothing is missed between the
            // homes' answers.
            let member = self.fanout.join(&ask.filter, subscriber, Role::Catching);
            if let Some(entry) = subscriber.book.borrow_mut().find_mut(&ask.filter) {
                entry.place = Place::Opening {
                    catching: Some(member),
                    end: None,
                };
            }
        }
        let token = self.waiting.insert(Waiting::Wild(Box::new(Opening {
            subscriber: Rc::clone(subscriber),
            filter: ask.filter.clone(),
            reply,
            homes_left: self.shards.len(),
            stand: WildStand {
                recovered: true,
                ..WildStand::default()
            },
            has_since: ask.since_filter.is_some(),
            has_replay,
            max_replay,
            failed: None,
        })));
        for shard in 0..self.shards.len() {
            let since = ask
                .since_filter
                .as_ref()
                .map(|(positions, from)| WildSince {
                    positions: Arc::clone(positions),
                    from: *from,
                });
            let ask = WildAsk {
                filter: ask.filter.clone(),
                last: ask.last,
                since,
                homes: HomeOf {
                    shards: Arc::clone(&self.shards),
                    shard,
                },
            };
            self.to_home(shard, ToHome::SubscribeFilter(Box::new(ask), token));
        }
    }

    /// Ends one subscription, or all.
    pub(super) fn unsubscribe(
        &mut self,
        subscriber: &Rc<Subscriber>,
        filter: Option<&Filter>,
        member: &Member,
        now: Instant,
        reply: ReplyTo,
    ) {
        let Some(filter) = filter else {
            let all: Vec<Filter> = subscriber
                .book
                .borrow()
                .entries()
                .iter()
                .map(|e| e.filter.clone())
                .collect();
            for filter in &all {
                self.unsubscribe(subscriber, Some(filter), member, now, ReplyTo::Nobody);
            }
            return reply.send(Ok(Reply::Unsubscribed(None)));
        };
        let mut book = subscriber.book.borrow_mut();
        match book.find_mut(filter).map(|entry| &mut entry.place) {
            None => {
                drop(book);
                reply.send(Err(Refusal::new(
                    ErrorCode::NotSubscribed,
                    format!(
                        "there is no subscription to '{filter}'; it must be the identical string"
                    ),
                )));
            }
            Some(Place::Opening { end, .. }) => *end = Some(reply),
            Some(Place::Standing(..)) => {
                drop(book);
                // What was published before this is still delivered.
                let is_due = filter
                    .as_name()
                    .map_or(!self.fanout.is_idle(), |t| self.fanout.is_due(&t));
                if is_due {
                    self.flush_all(now);
                }
                self.end_subscription(subscriber, filter, member);
                reply.send(Ok(Reply::Unsubscribed(Some(filter.clone()))));
            }
        }
    }

    fn end_subscription(&mut self, subscriber: &Rc<Subscriber>, filter: &Filter, member: &Member) {
        let mut book = subscriber.book.borrow_mut();
        let Some(entry) = book.remove(filter) else {
            return;
        };
        book.end_orphaned_replays();
        subscriber.settle_book(&book);
        drop(book);
        self.release(entry.place, filter, member);
    }

    /// Takes a subscription out of the audience and away from its homes.
    fn release(&mut self, place: Place, filter: &Filter, member: &Member) {
        match place {
            Place::Standing(audience, key) => {
                self.fanout.leave(&audience, key);
                self.turn.subscriptions_changed(kind(filter), -1);
                self.release_at_homes(filter, member);
            }
            // The homes' answers find it gone and take it back.
            Place::Opening {
                catching: Some((audience, key)),
                ..
            } => self.fanout.leave(&audience, key),
            Place::Opening { catching: None, .. } => {}
        }
    }

    fn release_at_homes(&mut self, filter: &Filter, member: &Member) {
        match filter.as_name() {
            Some(topic) => {
                let home = self.shards.home(&topic);
                self.to_home(home, ToHome::Unsubscribe(topic, member.clone()));
            }
            None => {
                for shard in 0..self.shards.len() {
                    self.to_home(shard, ToHome::UnsubscribeFilter(filter.clone()));
                }
            }
        }
    }

    /// Takes a session out of everything. What ended it does not matter.
    pub(super) fn detach(&mut self, subscriber: &Rc<Subscriber>, member: &Member) {
        let entries = subscriber.book.borrow_mut().drain();
        for entry in entries {
            self.release(entry.place, &entry.filter, member);
        }
        subscriber.abandon();
    }

    /// A subscription by name stands at its home: from here on the session is delivered to.
    pub(super) fn stands(
        &mut self,
        subscriber: &Rc<Subscriber>,
        filter: &Filter,
        member: &Member,
        stand: &Stand,
        reply: ReplyTo,
    ) {
        let has_filters = {
            let book = subscriber.book.borrow();
            if book.find(filter).is_none() {
                drop(book);
                return self.release_at_homes(filter, member);
            }
            book.has_filters()
        };
        if has_filters && !self.fanout.is_idle() {
            // What a filter of the session's is still due would else be taken for this name's past.
            self.flush_all(Instant::now());
        }
        if let Some(recovered) = stand.recovered {
            self.turn.recovery(recovered);
        }
        let ok = SubscribeOk {
            topic: filter.clone(),
            time: stand.time,
            position: stand.position,
            recovered: stand.recovered,
            replayed: Some(stand.span.map_or(0, |span| span.count())),
            gaps: Vec::new(),
        };
        self.turn.subscriptions_changed(kind(filter), 1);
        reply.send(Ok(Reply::Subscribed(ok)));
        let echo = subscriber
            .book
            .borrow()
            .find(filter)
            .is_none_or(|entry| entry.echo);
        let (audience, key) = self.fanout.join(filter, subscriber, Role::standing(echo));
        let mut book = subscriber.book.borrow_mut();
        if let (Some(span), Some(topic)) =
            (stand.span.filter(|span| span.count() > 0), filter.as_name())
        {
            book.start_replay(
                topic,
                Replay {
                    epoch: span.epoch,
                    after: span.after,
                    until: span.until,
                    asked: false,
                },
            );
            self.replaying.push(Rc::clone(subscriber));
            self.turn.wake();
        }
        let end = book.stand(filter, audience, key);
        subscriber.settle_book(&book);
        drop(book);
        if let Some(reply) = end {
            self.unsubscribe(subscriber, Some(filter), member, Instant::now(), reply);
        }
    }

    /// A filter stands at every home.
    pub(super) fn filter_stands(&mut self, opening: Opening) {
        let Opening {
            subscriber,
            filter,
            reply,
            stand,
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
            if let Some(entry) = subscriber.book.borrow_mut().remove(&filter) {
                self.release(entry.place, &filter, &member);
            }
            self.release_at_homes(&filter, &member);
            return reply.send(Err(refusal));
        }
        if !self.fanout.is_idle() {
            self.flush_all(Instant::now());
        }
        let mut left = opening.max_replay;
        let spans: Vec<_> = stand
            .spans
            .into_iter()
            .map(|(topic, mut span)| {
                if span.count() > left && !opening.has_since {
                    span.after = span.until - left;
                }
                left = left.saturating_sub(span.count());
                (topic, span)
            })
            .collect();
        if opening.has_since {
            self.turn.recovery(stand.recovered);
        }
        let ok = SubscribeOk {
            topic: filter.clone(),
            time: Timestamp::now(),
            position: None,
            recovered: opening.has_since.then_some(stand.recovered),
            replayed: Some(spans.iter().map(|(_, span)| span.count()).sum()),
            gaps: stand.gaps,
        };
        self.turn.subscriptions_changed(kind(&filter), 1);
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
            for (topic, epoch, offset) in book.take_caught(&filter) {
                let before = offset.saturating_sub(1);
                book.start_replay(
                    topic,
                    Replay {
                        epoch,
                        after: before,
                        until: before,
                        asked: false,
                    },
                );
            }
            for (topic, span) in spans {
                if span.count() > 0 || book.replays(&topic) {
                    let replay = Replay {
                        epoch: span.epoch,
                        after: span.after,
                        until: span.until,
                        asked: false,
                    };
                    book.start_replay(topic, replay);
                }
            }
            self.replaying.push(Rc::clone(&subscriber));
            self.turn.wake();
        }
        let end = book.stand(&filter, audience, key);
        subscriber.settle_book(&book);
        drop(book);
        if let Some(reply) = end {
            self.unsubscribe(&subscriber, Some(&filter), &member, Instant::now(), reply);
        }
    }
}

impl Opening {
    /// Takes note of one home's answer.
    pub(super) fn note(&mut self, answer: &Result<HomeAnswer, Refusal>) {
        self.homes_left -= 1;
        match answer {
            Ok(HomeAnswer::SubscribedFilter(stand)) => {
                self.stand.spans.extend(stand.spans.iter().cloned());
                self.stand.gaps.extend(stand.gaps.iter().cloned());
                self.stand.recovered &= stand.recovered;
            }
            Ok(_) => {}
            Err(refusal) => self.failed = Some(refusal.clone()),
        }
    }
}

fn kind(filter: &Filter) -> SubscriptionKind {
    if filter.has_wildcard() {
        SubscriptionKind::Filter
    } else {
        SubscriptionKind::Exact
    }
}
