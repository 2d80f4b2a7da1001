//! The topic registry of one worker: home of the topics that fall to it, and fan-out to the
//! sessions of its worker.
//!
//! [`Registry`] is the state and its rules; [`TopicRegistry`] is the actor by which the registries
//! of other workers reach it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use slab::Slab;
use tokio::sync::oneshot;

use crate::history::Limit;
use crate::model::{Filter, Member, Timestamp, TopicName};
use crate::protocol::{
    Answer, Close, CloseCode, ErrorCode, Published, Refusal, ServerFrame, SubscribeOk, WireFormat,
};

use super::book::{Place, Replay};
use super::fanout::{Fanout, Role};
use super::home::{Delivery, Home};
use super::message::{
    ExactAsk, HistoryPage, HomeAnswer, HomeOf, PeerMessage, Publication, ReadAsk, Receipt, Since,
    Stand, ToHome, Token, WildAsk, WildSince, WildStand,
};
use super::peers::Peers;
use super::replay;
use super::shards::Shards;
use super::subscriber::{Ending, Subscriber};
use super::turn::Turn;

/// One worker's part of the broker.
pub struct Registry {
    pub(super) shard: usize,
    pub(super) shards: Arc<Shards>,
    pub(super) home: Home,
    pub(super) fanout: Fanout,
    pub(super) peers: Peers,
    pub(super) turn: Rc<Turn>,
    /// Subscribers whose replay can go on.
    pub(super) replaying: Vec<Rc<Subscriber>>,
    waiting: Slab<Waiting>,
    max_subscriptions: usize,
}

/// Whom an answer is for.
pub enum ReplyTo {
    /// Nobody asked for one.
    Nobody,
    /// A session; with an `id` it gets an `ok`, errors it always gets.
    Session {
        /// The session.
        to: Rc<Subscriber>,
        /// The `id` of its frame.
        id: Option<u64>,
    },
    /// Someone who awaits it.
    Caller(oneshot::Sender<Result<Reply, Refusal>>),
}

/// An answer.
#[derive(Debug)]
pub enum Reply {
    /// Published.
    Published(Receipt),
    /// Subscribed.
    Subscribed(SubscribeOk),
    /// Unsubscribed.
    Unsubscribed(Option<Filter>),
    /// History.
    History(HistoryPage),
    /// Who is there.
    Presence(Vec<Member>),
}

/// What a session asks when it subscribes.
pub struct Subscription {
    /// The name or filter.
    pub filter: Filter,
    /// Whether its own messages come back to it.
    pub echo: bool,
    /// Replay at most so many.
    pub last: Option<u64>,
    /// Recover from here, for a name.
    pub since: Option<Since>,
    /// Recover from here, for a filter.
    pub since_filter: Option<(Arc<Vec<(TopicName, Since)>>, Timestamp)>,
    /// What others are told of the session.
    pub member: Member,
}

/// What waits for the answer of a home.
enum Waiting {
    Reply(ReplyTo),
    Exact { subscriber: Rc<Subscriber>, filter: Filter, member: Member, reply: ReplyTo },
    Wild(Box<Opening>),
    Replay { subscriber: Rc<Subscriber>, topic: TopicName },
}

/// A filter that does not stand at every home yet.
struct Opening {
    subscriber: Rc<Subscriber>,
    filter: Filter,
    reply: ReplyTo,
    homes_left: usize,
    stand: WildStand,
    has_since: bool,
    has_replay: bool,
    max_replay: u64,
    failed: Option<Refusal>,
}

impl Registry {
    /// A registry without topics or sessions.
    pub(super) fn new(shard: usize, shards: Arc<Shards>, home: Home, turn: Rc<Turn>, max_subscriptions: usize) -> Self {
        Self {
            shard,
            home,
            fanout: Fanout::new(shards.hasher()),
            peers: Peers::new(shard, Arc::clone(&shards)),
            shards,
            turn,
            replaying: Vec::new(),
            waiting: Slab::new(),
            max_subscriptions,
        }
    }

    /// Publishes: at once where the topic is at home here.
    pub(super) fn publish(&mut self, publication: Publication, accepted: Instant, reply: ReplyTo) {
        let home = self.shards.home(&publication.topic);
        if self.peers.is_full(home) {
            let refusal = Refusal::new(
                ErrorCode::Unavailable,
                "the topic's home cannot take more at present; publish again after a moment",
            )
            .retry_after(std::time::Duration::from_secs(1));
            return self.refuse_publish(reply, refusal);
        }
        let token = self.wait_for(reply);
        self.to_home(home, ToHome::Publish(publication, accepted, token));
    }

    /// Subscribes a session; answered once the subscription stands at every home it needs.
    pub(super) fn subscribe(&mut self, subscriber: &Rc<Subscriber>, ask: Subscription, max_replay: u64, reply: ReplyTo) {
        let mut book = subscriber.book.borrow_mut();
        if book.find(&ask.filter).is_some() {
            drop(book);
            return reply.send(Err(Refusal::new(
                ErrorCode::AlreadySubscribed,
                format!("'{}' is subscribed to already; unsubscribe first to change its options", ask.filter),
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
                let ask = ExactAsk { topic, member: ask.member, last: ask.last, since: ask.since };
                self.to_home(home, ToHome::Subscribe(Box::new(ask), token));
            }
            None => self.subscribe_filter(subscriber, ask, max_replay, reply),
        }
    }

    fn subscribe_filter(&mut self, subscriber: &Rc<Subscriber>, ask: Subscription, max_replay: u64, reply: ReplyTo) {
        let has_replay = ask.last.is_some() || ask.since_filter.is_some();
        if has_replay {
            // From now on the session notes what passes, so that nothing is missed between the
            // homes' answers.
            let member = self.fanout.join(&ask.filter, subscriber, Role::Catching);
            if let Some(entry) = subscriber.book.borrow_mut().find_mut(&ask.filter) {
                entry.place = Place::Opening { catching: Some(member), end: None };
            }
        }
        let token = self.waiting.insert(Waiting::Wild(Box::new(Opening {
            subscriber: Rc::clone(subscriber),
            filter: ask.filter.clone(),
            reply,
            homes_left: self.shards.len(),
            stand: WildStand { recovered: true, ..WildStand::default() },
            has_since: ask.since_filter.is_some(),
            has_replay,
            max_replay,
            failed: None,
        })));
        for shard in 0..self.shards.len() {
            let since = ask.since_filter.as_ref().map(|(positions, from)| WildSince {
                positions: Arc::clone(positions),
                from: *from,
            });
            let ask = WildAsk {
                filter: ask.filter.clone(),
                last: ask.last,
                since,
                homes: HomeOf { shards: Arc::clone(&self.shards), shard },
            };
            self.to_home(shard, ToHome::SubscribeFilter(Box::new(ask), token));
        }
    }

    /// Ends one subscription, or all.
    pub(super) fn unsubscribe(&mut self, subscriber: &Rc<Subscriber>, filter: Option<&Filter>, member: &Member, now: Instant, reply: ReplyTo) {
        let Some(filter) = filter else {
            let all: Vec<Filter> = subscriber.book.borrow().entries().iter().map(|e| e.filter.clone()).collect();
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
                    format!("there is no subscription to '{filter}'; it must be the identical string"),
                )));
            }
            Some(Place::Opening { end, .. }) => *end = Some(reply),
            Some(Place::Standing(..)) => {
                drop(book);
                // What was published before this is still delivered.
                let is_due = filter.as_name().map_or(!self.fanout.is_idle(), |t| self.fanout.is_due(&t));
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
        let Some(entry) = book.remove(filter) else { return };
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
                self.turn.metrics.subscriptions(kind(filter), -1);
                self.release_at_homes(filter, member);
            }
            // The homes' answers find it gone and take it back.
            Place::Opening { catching: Some((audience, key)), .. } => self.fanout.leave(&audience, key),
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

    /// Reads history for a session or caller.
    pub(super) fn history(&mut self, topic: TopicName, since: Option<Since>, last: Option<u64>, limit: Limit, reply: ReplyTo) {
        let home = self.shards.home(&topic);
        let token = self.waiting.insert(Waiting::Reply(reply));
        self.to_home(home, ToHome::History(topic, since, last, limit, token));
    }

    /// Asks who is there.
    pub(super) fn presence(&mut self, topic: TopicName, reply: ReplyTo) {
        let home = self.shards.home(&topic);
        let token = self.waiting.insert(Waiting::Reply(reply));
        self.to_home(home, ToHome::Presence(topic, token));
    }

    /// Takes a message of another worker's registry.
    pub(super) fn receive(&mut self, from: usize, message: PeerMessage) {
        match message {
            PeerMessage::ToHome(ask) => self.at_home(from, ask),
            PeerMessage::Deliver(published, accepted) => {
                self.fanout.accept(&published, accepted);
                self.turn.wake();
            }
            PeerMessage::Answer(token, answer) => self.answered(token, answer),
        }
    }

    /// Writes everything that is due, however long it takes.
    pub(super) fn flush_all(&mut self, now: Instant) {
        self.fanout.flush(usize::MAX, now);
    }

    /// Ends every session of this worker at once: what was written to them is not known any more.
    pub(super) fn end_all_sessions(&mut self) {
        self.fanout.kill_members();
    }

    fn to_home(&mut self, home: usize, ask: ToHome) {
        if home == self.shard {
            self.at_home(home, ask);
        } else {
            self.peers.post(home, PeerMessage::ToHome(ask));
            self.turn.wake();
        }
    }

    fn at_home(&mut self, from: usize, ask: ToHome) {
        let now = Timestamp::now();
        match ask {
            ToHome::Publish(publication, accepted, token) => {
                let (origin, bytes) = (publication.origin, publication.payload.data.len());
                match self.home.publish(publication, now, accepted) {
                    Ok((receipt, delivery)) => {
                        self.turn.metrics.published(origin, bytes as u64);
                        self.turn.metrics.publish_seconds(accepted.elapsed());
                        if let Some(token) = token {
                            self.answer(from, token, Ok(HomeAnswer::Published(receipt)));
                        }
                        self.deliver(delivery);
                    }
                    Err(refusal) => {
                        self.turn.metrics.publish_error(refusal.code.as_str());
                        if let Some(token) = token {
                            self.answer(from, token, Err(refusal));
                        }
                    }
                }
            }
            ToHome::Subscribe(ask, token) => match self.home.subscribe(from, &ask, now) {
                Ok((stand, told)) => {
                    self.answer(from, token, Ok(HomeAnswer::Subscribed(stand)));
                    self.tell(told);
                }
                Err(refusal) => self.answer(from, token, Err(refusal)),
            },
            ToHome::Unsubscribe(topic, member) => {
                let told = self.home.unsubscribe(from, &topic, &member, now);
                self.tell(told);
            }
            ToHome::SubscribeFilter(ask, token) => {
                let stand = self.home.subscribe_filter(from, &ask, now);
                self.answer(from, token, Ok(HomeAnswer::SubscribedFilter(stand)));
            }
            ToHome::UnsubscribeFilter(filter) => self.home.unsubscribe_filter(from, &filter),
            ToHome::Read(ask, token) => {
                let piece = self.home.read(&ask, now);
                self.answer(from, token, Ok(HomeAnswer::Piece(piece)));
            }
            ToHome::History(topic, since, last, limit, token) => {
                let page = self.home.history(&topic, since, last, limit, now);
                self.answer(from, token, page.map(HomeAnswer::History));
            }
            ToHome::Presence(topic, token) => {
                let members = self.home.presence(&topic);
                self.answer(from, token, members.map(HomeAnswer::Presence));
            }
        }
    }

    fn tell(&mut self, delivery: Option<Delivery>) {
        if let Some(delivery) = delivery {
            self.deliver(delivery);
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        for shard in delivery.to.shards() {
            if shard == self.shard {
                self.fanout.accept(&delivery.published, delivery.accepted);
            } else {
                let published = Arc::clone(&delivery.published);
                self.peers.post(shard, PeerMessage::Deliver(published, delivery.accepted));
            }
        }
        self.turn.wake();
    }

    fn answer(&mut self, to: usize, token: Token, answer: Result<HomeAnswer, Refusal>) {
        if to == self.shard {
            self.answered(token, answer);
        } else {
            self.peers.post(to, PeerMessage::Answer(token, answer));
            self.turn.wake();
        }
    }

    fn answered(&mut self, token: Token, answer: Result<HomeAnswer, Refusal>) {
        if let (Some(Waiting::Wild(opening)), answer) = (self.waiting.get_mut(token), &answer) {
            opening.note(answer);
            if opening.homes_left > 0 {
                return;
            }
        }
        match (self.waiting.try_remove(token), answer) {
            (Some(Waiting::Reply(reply)), answer) => {
                reply.send(answer.and_then(|answer| match answer {
                    HomeAnswer::Published(receipt) => Ok(Reply::Published(receipt)),
                    HomeAnswer::History(page) => Ok(Reply::History(page)),
                    HomeAnswer::Presence(members) => Ok(Reply::Presence(members)),
                    _ => Err(Refusal::new(ErrorCode::Internal, "the home gave an answer to another question")),
                }));
            }
            (Some(Waiting::Exact { subscriber, filter, member, reply }), Ok(HomeAnswer::Subscribed(stand))) => {
                self.stands(&subscriber, &filter, &member, &stand, reply);
            }
            (Some(Waiting::Exact { subscriber, filter, reply, .. }), Err(refusal)) => {
                subscriber.book.borrow_mut().remove(&filter);
                reply.send(Err(refusal));
            }
            (Some(Waiting::Wild(opening)), _) => self.filter_stands(*opening),
            (Some(Waiting::Replay { subscriber, topic }), Ok(HomeAnswer::Piece(piece))) => {
                self.replayed(&subscriber, &topic, &piece);
            }
            _ => tracing::error!(token, "an answer came that nobody waits for"),
        }
    }

    /// A subscription by name stands at its home: from here on the session is delivered to.
    fn stands(&mut self, subscriber: &Rc<Subscriber>, filter: &Filter, member: &Member, stand: &Stand, reply: ReplyTo) {
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
            self.turn.metrics.recovery(recovered);
        }
        let ok = SubscribeOk {
            topic: filter.clone(),
            time: stand.time,
            position: stand.position,
            recovered: stand.recovered,
            replayed: Some(stand.span.map_or(0, |span| span.count())),
            gaps: Vec::new(),
        };
        self.turn.metrics.subscriptions(kind(filter), 1);
        reply.send(Ok(Reply::Subscribed(ok)));
        let echo = subscriber.book.borrow().find(filter).is_none_or(|entry| entry.echo);
        let (audience, key) = self.fanout.join(filter, subscriber, Role::standing(echo));
        let mut book = subscriber.book.borrow_mut();
        if let (Some(span), Some(topic)) = (stand.span.filter(|span| span.count() > 0), filter.as_name()) {
            book.start_replay(topic, Replay { epoch: span.epoch, after: span.after, until: span.until, asked: false });
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
    fn filter_stands(&mut self, opening: Opening) {
        let Opening { subscriber, filter, reply, stand, .. } = opening;
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
            self.turn.metrics.recovery(stand.recovered);
        }
        let ok = SubscribeOk {
            topic: filter.clone(),
            time: Timestamp::now(),
            position: None,
            recovered: opening.has_since.then_some(stand.recovered),
            replayed: Some(spans.iter().map(|(_, span)| span.count()).sum()),
            gaps: stand.gaps,
        };
        self.turn.metrics.subscriptions(kind(&filter), 1);
        reply.send(Ok(Reply::Subscribed(ok)));
        let echo = subscriber.book.borrow().find(&filter).is_none_or(|entry| entry.echo);
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
                book.start_replay(topic, Replay { epoch, after: before, until: before, asked: false });
            }
            for (topic, span) in spans {
                if span.count() > 0 || book.replays(&topic) {
                    let replay = Replay { epoch: span.epoch, after: span.after, until: span.until, asked: false };
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

    /// Asks for the next pieces of a session's replays, where its outbox has room.
    pub(super) fn go_on_replaying(&mut self, subscriber: &Rc<Subscriber>) {
        if !subscriber.wants_replay() {
            return;
        }
        let asks: Vec<(TopicName, u64)> = subscriber
            .book
            .borrow_mut()
            .idle_replays()
            .take(replay::AT_ONCE)
            .map(|(topic, replay)| {
                replay.asked = true;
                (topic.clone(), replay.after)
            })
            .collect();
        for (topic, after) in asks {
            let home = self.shards.home(&topic);
            let token = self.waiting.insert(Waiting::Replay {
                subscriber: Rc::clone(subscriber),
                topic: topic.clone(),
            });
            self.to_home(home, ToHome::Read(ReadAsk { topic, after, limit: replay::PIECE }, token));
        }
    }

    fn replayed(&mut self, subscriber: &Rc<Subscriber>, topic: &TopicName, piece: &super::message::Piece) {
        if subscriber.is_ending() {
            return;
        }
        let is_done = replay::take_piece(subscriber, topic, piece, Instant::now());
        if is_done {
            if self.fanout.is_due(topic) {
                // Due messages were in the piece already: they pass while the replay still hides them.
                self.flush_all(Instant::now());
            }
            let mut book = subscriber.book.borrow_mut();
            book.end_replay(topic);
            subscriber.settle_book(&book);
        }
        if subscriber.is_selective() {
            self.replaying.push(Rc::clone(subscriber));
            self.turn.wake();
        }
    }

    fn wait_for(&mut self, reply: ReplyTo) -> Option<Token> {
        match reply {
            ReplyTo::Nobody => None,
            reply => Some(self.waiting.insert(Waiting::Reply(reply))),
        }
    }

    fn refuse_publish(&self, reply: ReplyTo, refusal: Refusal) {
        self.turn.metrics.publish_error(refusal.code.as_str());
        reply.send(Err(refusal));
    }
}

impl Opening {
    fn note(&mut self, answer: &Result<HomeAnswer, Refusal>) {
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

impl ReplyTo {
    /// Sends the answer on.
    pub(super) fn send(self, answer: Result<Reply, Refusal>) {
        match self {
            Self::Nobody => {}
            Self::Caller(caller) => {
                // A caller that went away does not want it any more.
                let _gone = caller.send(answer);
            }
            Self::Session { to, id } => match answer {
                Ok(reply) => {
                    if let Some(id) = id {
                        to.send_frame(&ServerFrame::Ok { id, answer: &reply.into_answer() });
                    }
                }
                Err(refusal) => refuse(&to, id, &refusal),
            },
        }
    }
}

impl Reply {
    fn into_answer(self) -> Answer {
        match self {
            Self::Published(receipt) => Answer::Published(receipt.position),
            Self::Subscribed(ok) => Answer::Subscribed(ok),
            Self::Unsubscribed(filter) => Answer::Unsubscribed(filter),
            Self::Presence(members) => Answer::Presence(members),
            Self::History(page) => Answer::History {
                epoch: page.position.map(|p| p.epoch),
                offset: page.position.map_or(0, |p| p.offset),
                messages: page
                    .messages
                    .into_iter()
                    .map(|message| Arc::new(Published::new(crate::protocol::Event::Message(message))))
                    .collect(),
            },
        }
    }
}

/// Tells a session that something it asked for was not done: by an error frame, or by closing where
/// its format has none (protocol section 6).
pub fn refuse(session: &Rc<Subscriber>, id: Option<u64>, refusal: &Refusal) {
    if session.format() != WireFormat::Raw {
        return session.send_frame(&ServerFrame::Error { id, refusal });
    }
    let code = match refusal.code {
        ErrorCode::TooLarge => CloseCode::TOO_LARGE,
        ErrorCode::RateLimited => CloseCode::RATE,
        ErrorCode::Unavailable => CloseCode::OVERLOADED,
        ErrorCode::Internal => CloseCode::INTERNAL,
        _ => CloseCode::POLICY,
    };
    let close = Close { code, reason: refusal.message.clone(), after: refusal.retry_after };
    session.close(&close, Ending::Orderly, Instant::now());
}

fn kind(filter: &Filter) -> &'static str {
    if filter.has_wildcard() { "filter" } else { "exact" }
}

/// The actor by which a worker's registry is reached from other threads. The state stands outside
/// of it, so that a fault of the actor loses nothing.
pub struct TopicRegistry {
    pub(super) worker: std::rc::Weak<super::worker::Worker>,
}
