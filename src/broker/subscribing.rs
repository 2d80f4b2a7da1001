//! How subscriptions begin and end: asked of their homes, joined to an audience, taken back.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::metrics::SubscriptionKind;
use crate::model::{Filter, Member, Overflow, Timestamp, TopicName};
use crate::protocol::{Cursor, ErrorCode, Refusal, Since, Subscribe, SubscribeOk};

use super::audience::Role;
use super::book::{Place, Then};
use super::message::{ExactAsk, Stand, ToHome};
use super::registry::Registry;
use super::reply::{Reply, ReplyTo};
use super::subscriber::Subscriber;
use super::waiting::Waiting;

/// How much may be asked of a subscription that is still opening. A session is not read while
/// something that it asked waits for that; those who manage it may ask more.
const MAX_THEN: usize = 8;

/// Where a client is in a filter's topics, and when it last had everything.
pub type SinceFilter = (Positions, Option<Timestamp>);

/// The topics that a client knows, and where it is in each.
pub type Positions = Arc<Vec<(TopicName, Cursor)>>;

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
    pub since_filter: Option<SinceFilter>,
    /// Where a position is of no use, recover by time: everything published since then.
    pub from: Option<Timestamp>,
    /// What becomes of messages that the session does not take in time; where it does not say, what the
    /// topic's rule says.
    pub overflow: Option<Overflow>,
    /// At most one message of a key in that time, always the newest.
    pub min_interval: Option<Duration>,
    /// Whether the server's side asks: what is asked for need not be granted to the session.
    pub is_lent: bool,
    /// What others are told of the session.
    pub member: Member,
}

impl Subscription {
    /// What that frame asks, for that session.
    pub fn new(ask: Subscribe, member: Member) -> Self {
        let (since, since_filter) = match ask.since {
            None => (None, None),
            Some(Since::Position(cursor)) => (Some(cursor), None),
            Some(Since::Positions { positions, from }) => (None, Some((Arc::new(positions), from))),
        };
        Self {
            filter: ask.filter,
            echo: ask.echo,
            last: ask.last,
            since,
            since_filter,
            from: None,
            overflow: ask.overflow,
            min_interval: ask.min_interval,
            is_lent: false,
            member,
        }
    }

    /// Whether it asks for the past of many topics.
    pub fn is_long(&self) -> bool {
        self.filter.has_wildcard() && (self.last.is_some() || self.since_filter.is_some())
    }
}

impl Registry {
    /// Subscribes a session; answered once the subscription stands at every home it needs.
    pub(super) fn subscribe(
        &mut self,
        subscriber: &Rc<Subscriber>,
        ask: Subscription,
        reply: ReplyTo,
    ) {
        if subscriber.is_ending() {
            return reply.send(Err(ending()));
        }
        if let Err(refusal) = ask.check_overflow(subscriber.format(), &self.common.rules.now()) {
            return reply.send(Err(refusal));
        }
        let mut book = subscriber.book.borrow_mut();
        match book.find_mut(&ask.filter).map(|entry| &mut entry.place) {
            None => {}
            // Whether it is subscribed to already is known once it stands, or has been refused.
            Some(Place::Opening(pending)) if pending.then.len() < MAX_THEN => {
                let then = &mut pending.then;
                return then.push(Then::Subscribe(Box::new(ask), reply.before_more()));
            }
            Some(Place::Opening(_)) => {
                drop(book);
                return reply.send(Err(too_much_meanwhile(&ask.filter)));
            }
            Some(Place::Standing(..)) => {
                drop(book);
                return reply.send(Err(Refusal::new(
                    ErrorCode::AlreadySubscribed,
                    format!(
                        "'{}' is subscribed to already; unsubscribe first to change its options",
                        ask.filter
                    ),
                )));
            }
        }
        if book.len() >= self.max_subscriptions {
            drop(book);
            return reply.send(Err(Refusal::new(
                ErrorCode::LimitExceeded,
                format!(
                    "a session has at most {} subscriptions; unsubscribe from some, or use a filter",
                    self.max_subscriptions
                ),
            )));
        }
        book.add(&ask);
        drop(book);
        match ask.filter.as_name() {
            Some(topic) => {
                let home = self.shards.home(&topic);
                let waiting = Waiting::Exact {
                    subscriber: Rc::clone(subscriber),
                    filter: ask.filter,
                    member: ask.member.clone(),
                    reply,
                };
                let token = self.waiting.add(home, waiting);
                let ask = ExactAsk {
                    topic,
                    member: ask.member,
                    last: ask.last,
                    since: ask.since,
                    from: ask.from,
                };
                self.ask_home(home, ToHome::Subscribe(Box::new(ask), token));
            }
            None => self.subscribe_filter(subscriber, &ask, reply),
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
            return self.unsubscribe_all(subscriber, member, now, reply);
        };
        let mut book = subscriber.book.borrow_mut();
        match book.find_mut(filter).map(|entry| &mut entry.place) {
            // Nobody asked for it, so it always has room, once.
            Some(Place::Opening(pending))
                if matches!(reply, ReplyTo::Nobody | ReplyTo::Lost(_)) =>
            {
                let then = &mut pending.then;
                if !matches!(then.last(), Some(Then::Unsubscribe(..))) {
                    then.push(Then::Unsubscribe(member.clone(), reply));
                }
            }
            // Of the end of all there is one at a time: the session is not read before it is answered.
            Some(Place::Opening(pending))
                if pending.then.len() < MAX_THEN || matches!(reply, ReplyTo::Part(_)) =>
            {
                let then = &mut pending.then;
                then.push(Then::Unsubscribe(member.clone(), reply.before_more()));
            }
            Some(Place::Opening(_)) => {
                drop(book);
                reply.send(Err(too_much_meanwhile(filter)));
            }
            None => {
                drop(book);
                reply.send(Err(Refusal::new(
                    ErrorCode::NotSubscribed,
                    format!(
                        "there is no subscription to '{filter}'; it must be the identical string"
                    ),
                )));
            }
            Some(Place::Standing(..)) => {
                drop(book);
                // What was published before this is still delivered.
                let is_due = filter
                    .as_name()
                    .map_or(!self.fanout.is_idle(), |t| self.fanout.is_due(&t));
                if is_due {
                    self.flush_all(now);
                }
                subscriber.release_of(|topic| filter.matches(topic), now);
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
        book.end_orphaned_replays(&self.reading(subscriber));
        subscriber.settle_book(&book);
        drop(book);
        self.release(entry.place, filter, member);
    }

    /// Takes a subscription out of the audience and away from its homes.
    pub(super) fn release(&mut self, place: Place, filter: &Filter, member: &Member) {
        self.release_but_at(place, filter, member, &[]);
    }

    /// As [`Registry::release`], but for those homes, which have nothing of it.
    pub(super) fn release_but_at(
        &mut self,
        place: Place,
        filter: &Filter,
        member: &Member,
        without: &[usize],
    ) {
        match place {
            Place::Standing(audience, key) => {
                self.fanout.leave(&audience, key);
                self.count_subscription(filter, -1);
                self.release_at_homes(filter, member, without);
            }
            // The homes' answers find it gone and take it back.
            Place::Opening(pending) => {
                if let Some((audience, key)) = pending.catching {
                    self.fanout.leave(&audience, key);
                }
            }
        }
    }

    pub(super) fn release_at_homes(&mut self, filter: &Filter, member: &Member, without: &[usize]) {
        match filter.as_name() {
            Some(topic) => {
                let home = self.shards.home(&topic);
                if !without.contains(&home) {
                    self.ask_home(home, ToHome::Unsubscribe(topic, member.clone()));
                }
            }
            None => {
                for shard in (0..self.shards.count()).filter(|shard| !without.contains(shard)) {
                    self.ask_home(shard, ToHome::UnsubscribeFilter(filter.clone()));
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
                return self.release_at_homes(filter, member, &[]);
            }
            book.has_filters()
        };
        if has_filters && !self.fanout.is_idle() {
            // What a filter of the session's is still due would else be taken for this name's past.
            self.flush_all(Instant::now());
        }
        subscriber.release_of(|topic| filter.matches(topic), Instant::now());
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
        self.count_subscription(filter, 1);
        reply.send(Ok(Reply::Subscribed(ok)));
        let echo = subscriber
            .book
            .borrow()
            .find(filter)
            .is_none_or(|entry| entry.echo);
        let (audience, key) = self.fanout.join(filter, subscriber, Role::standing(echo));
        let reading = self.reading(subscriber);
        let mut book = subscriber.book.borrow_mut();
        if let (Some(span), Some(topic)) =
            (stand.span.filter(|span| span.count() > 0), filter.as_name())
        {
            book.start_replay(topic, span.replay());
            self.replaying.push(Rc::clone(subscriber));
            self.turn.wake();
        }
        if stand.has_retained {
            book.owe_retained(filter, &self.shards, reading, []);
            self.replaying.push(Rc::clone(subscriber));
            self.turn.wake();
        }
        let then = book.stand(filter, audience, key);
        subscriber.settle_book(&book);
        drop(book);
        self.go_on_with(subscriber, filter, then);
    }

    /// A subscription was refused: it is as if it had never been asked for.
    pub(super) fn not_opened(
        &mut self,
        subscriber: &Rc<Subscriber>,
        filter: &Filter,
        refusal: Refusal,
        reply: ReplyTo,
    ) {
        let mut book = subscriber.book.borrow_mut();
        let entry = book.remove(filter);
        subscriber.settle_book(&book);
        drop(book);
        reply.send(Err(refusal));
        if let Some(Place::Opening(pending)) = entry.map(|entry| entry.place) {
            if let Some((audience, key)) = pending.catching {
                self.fanout.leave(&audience, key);
            }
            self.go_on_with(subscriber, filter, pending.then);
        }
    }

    /// Does what a session asked of a filter while it opened.
    pub(super) fn go_on_with(
        &mut self,
        subscriber: &Rc<Subscriber>,
        filter: &Filter,
        then: Vec<Then>,
    ) {
        for ask in then {
            match ask {
                Then::Unsubscribe(member, reply) => {
                    self.unsubscribe(subscriber, Some(filter), &member, Instant::now(), reply);
                }
                Then::Subscribe(ask, reply) => self.subscribe(subscriber, *ask, reply),
            }
        }
    }
}

pub(super) fn kind(filter: &Filter) -> SubscriptionKind {
    if filter.has_wildcard() {
        SubscriptionKind::Filter
    } else {
        SubscriptionKind::Exact
    }
}

fn too_much_meanwhile(filter: &Filter) -> Refusal {
    let refusal = Refusal::new(
        ErrorCode::Unavailable,
        format!(
            "too much waits for the subscription to '{filter}', which is still opening; try again"
        ),
    );
    refusal.retry_after(Duration::from_secs(1))
}

fn ending() -> Refusal {
    Refusal::new(
        ErrorCode::Unavailable,
        "the session is ending; connect again",
    )
}
