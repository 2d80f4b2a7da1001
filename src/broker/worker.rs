//! One worker thread's part of the broker: its registry, its turn, and the task that ends a turn.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Handler, Message};

use crate::metrics::Place;
use crate::model::{Filter, Member, Timestamp, TopicName};

use super::direct_delivery::DirectQueue;
use super::home::Home;
use super::message::{HistoryAsk, Publication};
use super::peers::PeerBatch;
use super::registry::{Registry, TopicRegistry};
use super::reply::ReplyTo;
use super::roster::Roster;
use super::rules::Rules;
use super::shards::Shards;
use super::subscriber::Subscriber;
use super::subscribing::Subscription;
use super::turn::Turn;
use super::{Broker, WorkerError};

/// Members that one slice of a flush visits before other tasks have their turn.
const SLICE: usize = 256;

/// Bytes that are due to sessions of this worker before publishers are no longer read.
const BACKLOG: usize = 32 * 1024 * 1024;

/// From so many on, a reader that waits is looked for before it is noted once more.
const MAX_HELD: usize = 1024;

/// How often what has grown too old is dropped.
const SWEEP: Duration = Duration::from_secs(1);

thread_local! {
    /// The worker that this thread is, and the number of its broker.
    static HERE: RefCell<Option<(u64, Rc<Worker>)>> = const { RefCell::new(None) };
}

/// One worker thread's part of the broker.
pub struct Worker {
    registry: RefCell<Registry>,
    pub(super) turn: Rc<Turn>,
    shard: usize,
    /// Tells it from others that had its place before.
    life: u64,
    shards: Arc<Shards>,
    broker: Broker,
    /// The sessions of this worker.
    pub(super) roster: Roster,
    /// What is for sessions themselves.
    pub(super) direct: DirectQueue,
    /// Those whose outboxes are being written, so that a fault in the middle forgets none of them.
    flushing: RefCell<Vec<Rc<Subscriber>>>,
    /// Readers that wait until what was published has got on.
    held: RefCell<Vec<Waker>>,
}

/// Something to be done on a worker's thread.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Errand(pub Act);

type Act = Box<dyn FnOnce(&Worker) + Send>;

/// The worker that this thread is for that broker.
pub fn here(broker: &Broker) -> Option<Rc<Worker>> {
    HERE.try_with(|here| match &*here.borrow() {
        Some((number, worker)) if *number == broker.node.number => Some(Rc::clone(worker)),
        _ => None,
    })
    .ok()
    .flatten()
}

/// Makes this thread a worker.
pub fn enter(broker: &Broker) -> Result<Rc<Worker>, WorkerError> {
    if let Some(worker) = here(broker) {
        return Ok(worker);
    }
    let node = &broker.node;
    let mut started = None;
    node.shards
        .claim(|shard, life| {
            let turn = Rc::new(Turn::new(
                node.metrics.clone(),
                shard,
                Arc::clone(&node.squeezed),
            ));
            let mut home = Home::new(Arc::clone(&node.common), node.shards.hasher());
            home.begin(
                |topic| node.shards.home(topic) == shard,
                Timestamp::now(),
                Instant::now(),
            );
            let registry = Registry::new(
                (shard, life),
                Arc::clone(&node.shards),
                home,
                Rc::clone(&turn),
                &node.settings,
                Arc::clone(&node.common),
            );
            let worker = Rc::new(Worker {
                registry: RefCell::new(registry),
                turn,
                shard,
                life,
                shards: Arc::clone(&node.shards),
                broker: broker.clone(),
                roster: Roster::default(),
                direct: DirectQueue::default(),
                flushing: RefCell::default(),
                held: RefCell::default(),
            });
            let address = TopicRegistry {
                worker: Rc::downgrade(&worker),
            }
            .start();
            worker.registry.borrow().home.news().have_turns();
            actix_rt::spawn(turns(Rc::downgrade(&worker)));
            started = Some(worker);
            address
        })
        .ok_or(WorkerError::NoFreeShard(node.shards.count()))?;
    let worker = started.ok_or(WorkerError::NoFreeShard(node.shards.count()))?;
    let before = HERE.replace(Some((node.number, Rc::clone(&worker))));
    // Outside of the borrow: what goes with it may ask where it is.
    drop(before);
    Ok(worker)
}

impl Worker {
    /// Holds what is there to the rules that hold now, which were `before`.
    pub(super) fn amend(&self, before: &Rules) {
        self.registry.borrow_mut().amend(before);
        self.turn.wake();
    }

    /// Ends the sessions that hold more than they may now.
    pub(super) fn end_what_is_too_much(&self) {
        let now = Instant::now();
        for subscriber in self.sessions() {
            subscriber.end_if_beyond_bound(now);
        }
    }

    /// Looks again at what a session has subscribed to: its rights, or the rules, have changed.
    pub fn recheck(&self, subscriber: &Rc<Subscriber>) {
        let now = Instant::now();
        self.registry.borrow_mut().recheck(subscriber, now);
    }

    /// Takes a session out of everything, whatever ended it.
    pub fn detach(&self, subscriber: &Rc<Subscriber>, member: &Member) {
        self.registry.borrow_mut().detach(subscriber, member);
        self.roster.remove(subscriber);
        let user = subscriber.rights().user();
        let directory = &self.broker.node.sessions;
        directory.remove(subscriber.id(), user.as_deref());
    }

    /// Publishes a message.
    pub fn publish(&self, publication: Publication, accepted: Instant, reply: ReplyTo) {
        self.registry
            .borrow_mut()
            .publish(publication, accepted, reply);
    }

    /// Subscribes a session.
    pub fn subscribe(&self, subscriber: &Rc<Subscriber>, ask: Subscription, reply: ReplyTo) {
        self.registry.borrow_mut().subscribe(subscriber, ask, reply);
    }

    /// Ends one subscription of a session, or all.
    pub fn unsubscribe(
        &self,
        subscriber: &Rc<Subscriber>,
        filter: Option<&Filter>,
        member: &Member,
        reply: ReplyTo,
    ) {
        self.registry
            .borrow_mut()
            .unsubscribe(subscriber, filter, member, Instant::now(), reply);
    }

    /// Reads history.
    pub fn history(&self, ask: Box<HistoryAsk>, reply: ReplyTo) {
        self.registry.borrow_mut().history(ask, reply);
    }

    /// Removes what a topic keeps.
    pub fn clear(&self, topic: TopicName, reply: ReplyTo) {
        self.registry.borrow_mut().clear(topic, reply);
    }

    /// Asks who is in a topic.
    pub fn presence(&self, topic: TopicName, reply: ReplyTo) {
        self.registry.borrow_mut().presence(topic, reply);
    }

    /// The broker this worker is of.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// This worker's index.
    pub fn shard(&self) -> usize {
        self.shard
    }

    /// The worker's counters.
    pub fn turn(&self) -> &Turn {
        &self.turn
    }

    /// Whether publishers should not be read now: what they published has not got on. If so,
    /// `waker` is woken once it has.
    pub fn holds_back(&self, waker: &Waker) -> bool {
        let registry = self.registry.borrow();
        let congested = registry.peers.is_congested() || registry.fanout.backlog() > BACKLOG;
        if congested {
            let mut held = self.held.borrow_mut();
            // A session that is polled for another reason meanwhile asks again.
            if held.len() < MAX_HELD || !held.iter().any(|known| known.will_wake(waker)) {
                held.push(waker.clone());
            }
        }
        congested
    }

    /// What is done now and then.
    fn sweep(&self) {
        let mut registry = self.registry.borrow_mut();
        let now = Timestamp::now();
        registry.home.sweep(now);
        registry.home.forget_answers(now, Instant::now());
        registry.amend_what_is_left(now);
        for shard in registry.peers.replaced() {
            registry.lost(shard);
        }
    }

    /// Ends a turn: writes what is due and sends on what is for other workers.
    fn end_turn(&self, cx: &mut Context<'_>) {
        self.turn.sleep(cx.waker());
        let now = Instant::now();
        let mut registry = self.registry.borrow_mut();
        registry.heed_news(cx.waker());
        let progress = registry.fanout.flush_in_time(SLICE, BACKLOG / 2, now, cx);
        if let Some(latency) = progress.latency {
            self.turn.metrics.delivery_latency(latency);
        }
        let undelivered = self.direct.run(&self.roster, SLICE, now);
        self.flushing.replace(self.turn.take_dirty(SLICE));
        for subscriber in self.flushing.borrow().iter() {
            subscriber.flush(now);
            if subscriber.is_selective() {
                registry.replaying.push(Rc::clone(subscriber));
            }
        }
        self.turn.recycle(self.flushing.take());
        for subscriber in std::mem::take(&mut registry.replaying) {
            registry.go_on_replaying(&subscriber);
        }
        let unscanned = registry.go_on_scanning();
        let gone = registry.peers.pump(cx);
        let is_free = !registry.peers.is_congested() && registry.fanout.backlog() <= BACKLOG;
        for shard in gone {
            registry.lost(shard);
        }
        let unstored = registry.home.begin_storing();
        drop(registry);
        if is_free {
            for waker in self.held.borrow_mut().drain(..) {
                waker.wake();
            }
        }
        self.turn.metrics.flush();
        if unstored || unscanned || progress.unfinished || undelivered || self.turn.is_dirty() {
            // Woken once sockets have been looked at: what comes by them is not to wait for all of it.
            let _pending = std::pin::pin!(tokio::task::yield_now()).poll(cx);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shards.release(self.shard, self.life);
    }
}

impl Drop for TopicRegistry {
    /// Its system has stopped: no turn of this worker will end any more, so the thread is free for
    /// another one. Sessions that are left keep the worker, and it goes with the last of them.
    fn drop(&mut self) {
        let is_mine = |(_, worker): &mut (u64, Rc<Worker>)| {
            Weak::ptr_eq(&self.worker, &Rc::downgrade(worker))
        };
        let gone = HERE
            .try_with(|here| here.borrow_mut().take_if(is_mine))
            .ok()
            .flatten();
        if let Some((_, worker)) = &gone {
            worker.shards.release(worker.shard, worker.life);
        }
    }
}

/// Runs for as long as the worker does: woken by whatever makes something due, it runs after the
/// tasks that were ready then, so that bursts gather by themselves.
async fn turns(worker: Weak<Worker>) {
    poll_fn(move |cx| {
        let Some(worker) = worker.upgrade() else {
            return Poll::Ready(());
        };
        let ended = catch_unwind(AssertUnwindSafe(|| worker.end_turn(cx)));
        if ended.is_err() {
            worker.broker.node.metrics.panicked(Place::Flush);
            // What was being written may be lost to some: they reconnect and recover.
            worker.registry.borrow_mut().end_all_sessions();
            worker.registry.borrow_mut().end_broken_scan();
            for subscriber in worker.flushing.take() {
                subscriber.kill();
            }
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
}

impl Actor for TopicRegistry {
    type Context = actix::Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(SWEEP, |registry, _| {
            registry.with(|worker| {
                worker.sweep();
            });
        });
    }
}

impl Handler<PeerBatch> for TopicRegistry {
    type Result = ();

    fn handle(&mut self, batch: PeerBatch, _: &mut Self::Context) {
        let started = Instant::now();
        for message in batch.messages {
            let asked = message.token();
            let is_done = self.with(|worker| {
                let from = (batch.from, batch.life);
                worker.registry.borrow_mut().receive(from, message);
            });
            if let (false, Some(token)) = (is_done, asked) {
                self.with(|worker| worker.registry.borrow_mut().failed(batch.from, token));
            }
        }
        self.with(|worker| worker.turn.metrics.turn(started.elapsed()));
    }
}

impl Handler<Errand> for TopicRegistry {
    type Result = ();

    fn handle(&mut self, errand: Errand, _: &mut Self::Context) {
        self.with(|worker| (errand.0)(worker));
    }
}

impl TopicRegistry {
    /// Does something with the worker's state. A panic ends this one thing and is counted; then this
    /// is false.
    fn with(&self, act: impl FnOnce(&Worker)) -> bool {
        let Some(worker) = self.worker.upgrade() else {
            return false;
        };
        let done = catch_unwind(AssertUnwindSafe(|| act(&worker)));
        if done.is_err() {
            worker.broker.node.metrics.panicked(Place::Registry);
            worker.registry.borrow_mut().refuse_unanswered();
        }
        done.is_ok()
    }
}
