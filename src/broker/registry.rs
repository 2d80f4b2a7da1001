//! The topic registry of one worker: home of the topics that fall to it, and fan-out to the
//! sessions of its worker.
//!
//! [`Registry`] is the state and its rules; [`TopicRegistry`] is the actor by which the registries
//! of other workers reach it.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::history::Lookup;
use crate::metrics::Source;
use crate::model::{Origin, Timestamp, TopicName};
use crate::protocol::{Deflaters, ErrorCode, Refusal};

use super::Settings;
use super::fanout::Fanout;
use super::home::{Asker, Common, Delivery, Home};
use super::lost::Lives;
use super::message::{HistoryAsk, HomeAnswer, PeerMessage, Publication, ToHome, Token};
use super::peers::Peers;
use super::reply::{Reply, ReplyTo, close_for};
use super::scans;
use super::shards::Shards;
use super::subscriber::{Ending, Subscriber};
use super::turn::Turn;
use super::waiting::{Waiting, WaitingList};

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
    pub(super) lives: Vec<Lives>,
    pub(super) waiting: WaitingList,
    /// Filters that this home looks through its topics for.
    pub(super) scans: VecDeque<scans::Waiting>,
    /// Filters that wait until the store has found out.
    pub(super) unsure: HashMap<Lookup, scans::Waiting>,
    /// Who waits for what is looked through now.
    pub(super) scanning: Option<(usize, Token)>,
    pub(super) max_subscriptions: usize,
    pub(super) common: Arc<Common>,
}

impl Registry {
    /// A registry without topics or sessions.
    pub(super) fn new(
        (shard, life): (usize, u64),
        shards: Arc<Shards>,
        home: Home,
        turn: Rc<Turn>,
        settings: &Settings,
        common: Arc<Common>,
    ) -> Self {
        Self {
            shard,
            home,
            fanout: Fanout::new(
                shards.hasher(),
                Arc::clone(&common.rules),
                settings.flush_interval,
                Deflaters::new(settings.compression, {
                    let turn = Rc::clone(&turn);
                    move |plain, deflated| turn.metrics.compressed(plain, deflated)
                }),
            ),
            peers: Peers::new(shard, life, Arc::clone(&shards)),
            lives: vec![Lives::default(); shards.count()],
            shards,
            turn,
            replaying: Vec::new(),
            waiting: WaitingList::default(),
            scans: VecDeque::new(),
            unsure: HashMap::new(),
            scanning: None,
            max_subscriptions: settings.max_subscriptions,
            common,
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
            .retry_after(Duration::from_secs(1));
            return self.refuse_publish(reply, refusal);
        }
        let token = self.wait_for(home, reply);
        self.ask_home(home, ToHome::Publish(publication, accepted, token));
    }

    /// Reads history for a session or caller.
    pub(super) fn history(&mut self, ask: Box<HistoryAsk>, reply: ReplyTo) {
        let home = self.shards.home(&ask.topic);
        let token = self.waiting.add(home, Waiting::Reply(reply));
        self.ask_home(home, ToHome::History(ask, token));
    }

    /// Removes what a topic keeps.
    pub(super) fn clear(&mut self, topic: TopicName, reply: ReplyTo) {
        let home = self.shards.home(&topic);
        let token = self.waiting.add(home, Waiting::Reply(reply));
        self.ask_home(home, ToHome::Clear(topic, token));
    }

    /// Asks who is there.
    pub(super) fn presence(&mut self, topic: TopicName, reply: ReplyTo) {
        let home = self.shards.home(&topic);
        let token = self.waiting.add(home, Waiting::Reply(reply));
        self.ask_home(home, ToHome::Presence(topic, token));
    }

    /// Takes a message of another worker's registry.
    pub(super) fn receive(&mut self, (from, life): (usize, u64), message: PeerMessage) {
        if !self.meet(from, life) {
            return;
        }
        match message {
            PeerMessage::ToHome(ask) => self.at_home(from, ask),
            PeerMessage::Deliver(published, accepted) => {
                self.fanout.accept(&published, accepted);
                self.turn.wake();
            }
            PeerMessage::Answer(token, answer) => self.answered(from, token, answer),
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

    /// What another worker asked of this home ended in a panic.
    pub(super) fn failed(&mut self, from: usize, token: Token) {
        self.answer(from, token, Err(fault()));
    }

    /// Something of this worker's ended in a panic. What it asked of this very home would have been
    /// answered at once, so whatever waits for that still waits for good.
    pub(super) fn refuse_unanswered(&mut self) {
        for token in self.waiting.of_home(self.shard) {
            self.answered(self.shard, token, Err(fault()));
        }
    }

    pub(super) fn ask_home(&mut self, home: usize, ask: ToHome) {
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
                let asker = Asker::new(from, token);
                match self.home.publish_once(publication, asker, now, accepted) {
                    Ok(Some(taken)) => self.published(asker, &taken),
                    // It waits for the disk.
                    Ok(None) => {}
                    Err(refusal) => self.refused(asker, refusal),
                }
            }
            ToHome::Subscribe(ask, token) => {
                let asker = Asker::new(from, Some(token));
                match self.home.subscribe(ask, asker, now) {
                    Ok(Some((stand, told))) => {
                        self.answer(from, token, Ok(HomeAnswer::Subscribed(stand)));
                        self.tell(told);
                    }
                    Ok(None) => {}
                    Err(refusal) => self.answer(from, token, Err(refusal)),
                }
            }
            ToHome::Present(topic, member) => self.home.present(from, &topic, member),
            ToHome::Unsubscribe(topic, member) => {
                let told = self.home.unsubscribe(from, &topic, &member, now);
                self.tell(told);
            }
            ToHome::SubscribeFilter(ask, token) => self.scan_for(from, ask, token, now),
            ToHome::UnsubscribeFilter(filter) => self.home.unsubscribe_filter(from, &filter),
            ToHome::Read(ask, token) => {
                let asker = Asker::new(from, Some(token));
                if let Some(piece) = self.home.read(ask, asker, now) {
                    self.answer(from, token, Ok(HomeAnswer::Piece(piece)));
                }
            }
            ToHome::ReadRetained(ask, token) => {
                let piece = self.home.read_retained(&ask);
                self.answer(from, token, Ok(HomeAnswer::Retained(piece)));
            }
            ToHome::Clear(topic, token) => {
                let asker = Asker::new(from, Some(token));
                match self.home.clear(&topic, Some(asker), now) {
                    Ok(Some((cleared, told))) => {
                        self.answer(from, token, Ok(HomeAnswer::Cleared(cleared)));
                        self.tell(told);
                    }
                    Ok(None) => {}
                    Err(refusal) => self.answer(from, token, Err(refusal)),
                }
            }
            ToHome::History(ask, token) => {
                let asker = Asker::new(from, Some(token));
                match self.home.history(ask, asker, now) {
                    Ok(None) => {}
                    Ok(Some(page)) => self.answer(from, token, Ok(HomeAnswer::History(page))),
                    Err(refusal) => self.answer(from, token, Err(refusal)),
                }
            }
            ToHome::Presence(topic, token) => {
                let members = self.home.presence(&topic);
                self.answer(from, token, members.map(HomeAnswer::Presence));
            }
        }
    }

    pub(super) fn tell(&mut self, delivery: Option<Delivery>) {
        if let Some(delivery) = delivery {
            self.deliver(&delivery);
        }
    }

    pub(super) fn deliver(&mut self, delivery: &Delivery) {
        for shard in delivery.to.shards() {
            if shard == self.shard {
                self.fanout.accept(&delivery.published, delivery.accepted);
            } else {
                let published = Arc::clone(&delivery.published);
                self.peers
                    .post(shard, PeerMessage::Deliver(published, delivery.accepted));
            }
        }
        self.turn.wake();
    }

    pub(super) fn answer(&mut self, to: usize, token: Token, answer: Result<HomeAnswer, Refusal>) {
        if to == self.shard {
            self.answered(to, token, answer);
        } else {
            self.peers.post(to, PeerMessage::Answer(token, answer));
            self.turn.wake();
        }
    }

    pub(super) fn answered(
        &mut self,
        from: usize,
        token: Token,
        answer: Result<HomeAnswer, Refusal>,
    ) {
        if let Some(opening) = self.waiting.opening(token)
            && !opening.note(from, &answer)
        {
            return;
        }
        match (self.waiting.take(token), answer) {
            (Some(Waiting::Reply(reply)), answer) => {
                reply.send(answer.and_then(|answer| match answer {
                    HomeAnswer::Published(receipt) => Ok(Reply::Published(receipt)),
                    HomeAnswer::History(page) => Ok(Reply::History(page)),
                    HomeAnswer::Presence(members) => Ok(Reply::Presence(members)),
                    HomeAnswer::Cleared(cleared) => Ok(Reply::Cleared(cleared)),
                    _ => Err(Refusal::new(
                        ErrorCode::Internal,
                        "the home gave an answer to another question",
                    )),
                }));
            }
            (
                Some(Waiting::Exact {
                    subscriber,
                    filter,
                    member,
                    reply,
                }),
                Ok(HomeAnswer::Subscribed(stand)),
            ) => {
                self.stands(&subscriber, &filter, &member, &stand, reply);
            }
            (
                Some(Waiting::Exact {
                    subscriber,
                    filter,
                    reply,
                    ..
                }),
                Err(refusal),
            ) => {
                self.not_opened(&subscriber, &filter, refusal, reply);
            }
            (Some(Waiting::Wild(opening)), _) => self.filter_stands(*opening),
            (
                Some(Waiting::Replay {
                    subscriber,
                    topic,
                    after,
                }),
                Ok(HomeAnswer::Piece(piece)),
            ) => self.replayed(&subscriber, &topic, after, &piece),
            (Some(Waiting::Retained { subscriber, number }), Ok(HomeAnswer::Retained(piece))) => {
                self.retained_came(&subscriber, number, piece);
            }
            // What it was to get cannot be had, and it would wait for it for good.
            (
                Some(Waiting::Replay { subscriber, .. } | Waiting::Retained { subscriber, .. }),
                Err(refusal),
            ) => subscriber.close(&close_for(&refusal), Ending::Orderly, Instant::now()),
            _ => tracing::error!("an answer came that nobody waits for"),
        }
    }

    fn wait_for(&mut self, home: usize, reply: ReplyTo) -> Option<Token> {
        match reply {
            ReplyTo::Nobody => None,
            reply => Some(self.waiting.add(home, Waiting::Reply(reply))),
        }
    }

    fn refuse_publish(&self, reply: ReplyTo, refusal: Refusal) {
        self.turn.publish_failed(refusal.code);
        reply.send(Err(refusal));
    }
}

fn fault() -> Refusal {
    Refusal::new(
        ErrorCode::Internal,
        "the broker failed at this; it may have been done in part",
    )
}

/// By which door a message came, as the metrics name it.
pub(super) fn label(origin: Origin) -> Source {
    match origin {
        Origin::Json => Source::Json,
        Origin::Msgpack => Source::Msgpack,
        Origin::Raw => Source::Raw,
        Origin::Http => Source::Http,
        Origin::Internal => Source::Internal,
    }
}

/// The actor by which a worker's registry is reached from other threads. The state stands outside
/// of it, so that a fault of the actor loses nothing.
pub struct TopicRegistry {
    pub(super) worker: std::rc::Weak<super::worker::Worker>,
}
