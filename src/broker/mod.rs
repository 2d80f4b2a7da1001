//! The broker: topics, their homes and their audiences, behind one handle.
//!
//! Nothing here knows of transports, HTTP or tokens; bytes leave by the [`Wire`] trait.

mod audience;
mod batch;
mod book;
mod direct;
mod direct_delivery;
mod directory;
mod fanout;
pub mod filters;
mod home;
mod job;
mod lost;
mod message;
mod outbox;
mod pace;
mod peers;
mod rate;
mod reading;
mod recheck;
mod registry;
mod replay;
mod reply;
mod retained;
mod roster;
mod rules;
mod scans;
mod serving;
mod session_directory;
mod session_query;
mod settings;
mod settling;
mod shards;
mod subscriber;
mod subscribing;
mod subscribing_filter;
mod sys;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod turn;
mod unsubscribing;
mod waiting;
mod wire;
mod worker;

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use thiserror::Error;
use tokio::sync::{Semaphore, oneshot};

use crate::history::Limit;
use crate::metrics::Metrics;
use crate::model::{Filter, Member, TopicName};
use crate::protocol::{Close, CloseCode, Cursor, ErrorCode, Refusal, WireFormat};

pub use direct::Whom;
pub use directory::{TopicView, no_such_topic};
pub use message::{Cleared, HistoryAsk, HistoryPage, Publication, Receipt};
pub use registry::TopicRegistry;
pub use reply::{Reply, ReplyTo, refuse};
pub use roster::Opening;
pub use rules::{LiveRules, Rule, Rules, TopicRule};
pub use session_directory::SessionCard;
pub use session_query::{SessionPage, SessionQuery, SessionView};
pub use settings::Settings;
pub use subscriber::{Ending, SessionCounts, Subscriber, spoken};
pub use subscribing::Subscription;
pub use sys::SysTopic;
pub use wire::Wire;
pub use worker::Worker;

use directory::TopicDirectory;
use home::{AnswerBound, Common};
use session_directory::SessionDirectory;
use shards::Shards;

/// The one handle through which everything publishes, subscribes and asks. Cheap to clone.
#[derive(Clone)]
pub struct Broker {
    node: Arc<Node>,
}

/// A [`Broker`] that may be gone.
pub struct WeakBroker(Weak<Node>);

impl WeakBroker {
    /// The broker, while anything keeps it.
    pub fn upgrade(&self) -> Option<Broker> {
        self.0.upgrade().map(|node| Broker { node })
    }
}

struct Node {
    /// Tells this broker from others in the process: a thread works for one of them.
    number: u64,
    common: Arc<Common>,
    shards: Arc<Shards>,
    sessions: SessionDirectory,
    /// Room for what is under way to sessions themselves, in bytes.
    direct: Arc<Semaphore>,
    /// Whether outboxes hold a quarter of their bound.
    squeezed: Arc<AtomicBool>,
    metrics: Metrics,
    settings: Settings,
}

/// Why a thread cannot become a worker.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WorkerError {
    /// More threads ask than the broker was built for.
    #[error("the broker was built for {0} workers and all of them run")]
    NoFreeShard(usize),
}

impl Broker {
    /// A broker whose workers have not started.
    pub fn new(settings: Settings, metrics: Metrics) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let common = Common {
            rules: Arc::new(LiveRules::new(settings.rules.clone())),
            store: Arc::clone(&settings.store),
            directory: TopicDirectory::default(),
            topics: AtomicUsize::new(0),
            sys_listeners: AtomicUsize::new(0),
            max_topics: AtomicUsize::new(settings.max_topics),
            max_replay: AtomicU64::new(settings.max_replay),
            answers: Arc::new(AnswerBound::new(
                settings.idempotency_window,
                settings.max_answers,
            )),
        };
        let common = Arc::new(common);
        let shards = Arc::new(Shards::new(settings.workers));
        let seen = (Arc::downgrade(&common), Arc::downgrade(&shards));
        metrics.on_scrape(Box::new(move |metrics| {
            if let (Some(common), Some(shards)) = (seen.0.upgrade(), seen.1.upgrade()) {
                metrics.set_topics(common.directory.count());
                metrics.set_idempotency_keys(common.answers.held());
                for shard in 0..shards.count() {
                    let queued = usize::try_from(shards.queued(shard)).unwrap_or(0);
                    metrics.set_mailbox(shard, queued);
                }
            }
        }));
        Self {
            node: Arc::new(Node {
                number: NEXT.fetch_add(1, Ordering::Relaxed),
                common,
                shards,
                sessions: SessionDirectory::default(),
                direct: Arc::new(Semaphore::new(direct::UNDER_WAY)),
                squeezed: Arc::default(),
                metrics,
                settings,
            }),
        }
    }

    /// A handle that does not keep the broker alive.
    pub fn downgrade(&self) -> WeakBroker {
        WeakBroker(Arc::downgrade(&self.node))
    }

    /// Puts other rules and bounds in the place of those that hold: for what is published and asked
    /// from now on, and for the topics there are. Sessions are looked at by [`Worker::recheck`].
    pub fn reconfigure(&self, rules: Rules, max_topics: usize, max_replay: u64) {
        let common = &self.node.common;
        common.max_topics.store(max_topics, Ordering::Relaxed);
        common.max_replay.store(max_replay, Ordering::Relaxed);
        let before = common.rules.now().clone();
        common.rules.replace(rules);
        for shard in 0..self.node.shards.count() {
            // A worker that starts later begins with the new rules.
            let Some(registry) = self.node.shards.address(shard) else {
                continue;
            };
            let before = Arc::clone(&before);
            let amend = move |worker: &Worker| worker.amend(&before);
            registry.do_send(worker::Errand(Box::new(amend)));
        }
    }

    /// Lets sessions hold a quarter of their bound in their outboxes, or all of it again.
    pub fn squeeze(&self, on: bool) {
        self.node.squeezed.store(on, Ordering::Relaxed);
        for shard in (0..self.node.shards.count()).filter(|_| on) {
            if let Some(registry) = self.node.shards.address(shard) {
                registry.do_send(worker::Errand(Box::new(Worker::end_what_is_too_much)));
            }
        }
    }

    /// Makes the current thread, which must run an actix system, one of the broker's workers. A
    /// thread that is one already gets the same again.
    ///
    /// # Errors
    /// [`WorkerError::NoFreeShard`] where all workers run.
    pub fn enter(&self) -> Result<Rc<Worker>, WorkerError> {
        worker::enter(self)
    }

    /// Publishes a message, from any thread.
    ///
    /// # Errors
    /// What the topic's home refuses: `unavailable`, `limit_exceeded`. Nothing was published then.
    pub async fn publish(&self, publication: Publication) -> Result<Receipt, Refusal> {
        let accepted = Instant::now();
        let home = self.node.shards.home(&publication.topic);
        let answer = self.ask(home, move |worker, reply| {
            worker.publish(publication, accepted, reply);
        });
        match answer.await? {
            Reply::Published(receipt) => Ok(receipt),
            _ => Err(internal()),
        }
    }

    /// Reads a topic's history.
    ///
    /// # Errors
    /// `history_disabled` where the topic keeps none.
    pub async fn history(
        &self,
        topic: TopicName,
        since: Option<Cursor>,
        last: Option<u64>,
        limit: Limit,
    ) -> Result<HistoryPage, Refusal> {
        let home = self.node.shards.home(&topic);
        let ask = Box::new(HistoryAsk {
            topic,
            since,
            last,
            limit,
        });
        let answer = self.ask(home, move |worker, reply| worker.history(ask, reply));
        match answer.await? {
            Reply::History(page) => Ok(page),
            _ => Err(internal()),
        }
    }

    /// Why what is to outlive the process cannot be kept at present, if it cannot.
    pub fn store_fault(&self) -> Option<String> {
        self.node.common.store.fault()
    }

    /// Removes a topic's history and its retained message. The history begins anew, in another epoch;
    /// subscribers are told by a `gap` in order with the messages.
    ///
    /// # Errors
    /// `not_found` where there is no such topic, `unavailable` where its history cannot be removed.
    pub async fn clear(&self, topic: TopicName) -> Result<Cleared, Refusal> {
        let home = self.node.shards.home(&topic);
        let answer = self.ask(home, move |worker, reply| worker.clear(topic, reply));
        match answer.await? {
            Reply::Cleared(cleared) => Ok(cleared),
            _ => Err(internal()),
        }
    }

    /// Who is in a topic.
    ///
    /// # Errors
    /// `presence_disabled` where the topic does not tell.
    pub async fn presence(&self, topic: TopicName) -> Result<Vec<Member>, Refusal> {
        let home = self.node.shards.home(&topic);
        let answer = self.ask(home, move |worker, reply| worker.presence(topic, reply));
        match answer.await? {
            Reply::Presence(members) => Ok(members),
            _ => Err(internal()),
        }
    }

    /// One topic, if it has sessions, history or a retained message.
    pub fn topic(&self, topic: &TopicName) -> Option<TopicView> {
        self.node.common.directory.get(topic)
    }

    /// A page of topics by name, those after `after`.
    pub fn topics(
        &self,
        filter: Option<&Filter>,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<TopicView> {
        self.node.common.directory.page(filter, after, limit)
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.node.common.directory.count()
    }

    /// How many sessions there are.
    pub fn session_count(&self) -> usize {
        self.node.sessions.count()
    }

    /// Whether there is any session that is no event stream.
    pub fn has_sockets(&self) -> bool {
        self.node.sessions.any(|format| format != WireFormat::Sse)
    }

    /// How many workers run, of how many.
    pub fn workers(&self) -> (usize, usize) {
        (self.node.shards.running(), self.node.shards.count())
    }

    /// What topics keep and tell, and who may use them.
    pub fn rules(&self) -> &Arc<LiveRules> {
        &self.node.common.rules
    }

    /// The metrics everything of this broker counts in.
    pub fn metrics(&self) -> &Metrics {
        &self.node.metrics
    }

    /// What the broker was built with.
    pub fn settings(&self) -> &Settings {
        &self.node.settings
    }

    /// Does something on that worker's thread; `None` where the worker is gone.
    async fn on<T: Send + 'static>(
        &self,
        worker: usize,
        act: impl FnOnce(&Worker) -> T + Send + 'static,
    ) -> Option<T> {
        if let Some(here) = worker::here(self)
            && here.shard() == worker
        {
            return Some(act(&here));
        }
        let registry = self.node.shards.address(worker)?;
        let (sender, answer) = oneshot::channel();
        let errand = worker::Errand(Box::new(move |worker: &Worker| {
            // A caller that went away does not want it any more.
            let _gone = sender.send(act(worker));
        }));
        registry.send(errand).await.ok()?;
        answer.await.ok()
    }

    /// Asks on this thread where it is a worker, else on the home's.
    async fn ask(
        &self,
        home: usize,
        ask: impl FnOnce(&Worker, ReplyTo) + Send + 'static,
    ) -> Result<Reply, Refusal> {
        let (sender, answer) = oneshot::channel();
        let gone = || {
            Refusal::new(
                ErrorCode::Unavailable,
                "the broker is starting or stopping; try again",
            )
        };
        if let Some(worker) = worker::here(self) {
            ask(&worker, ReplyTo::Caller(sender));
        } else {
            let registry = self.node.shards.address(home).ok_or_else(gone)?;
            let act = |worker: &Worker| ask(worker, ReplyTo::Caller(sender));
            let errand = worker::Errand(Box::new(act));
            registry.send(errand).await.map_err(|_| gone())?;
        }
        answer.await.unwrap_or_else(|_| {
            Err(Refusal::new(
                ErrorCode::Unavailable,
                "the topic's home went away; try again",
            ))
        })
    }
}

fn internal() -> Refusal {
    Refusal::new(
        ErrorCode::Internal,
        "the broker answered another question; please report this",
    )
}

/// The close of a session that does not take what is sent.
fn slow(reason: &'static str) -> Close {
    Close {
        code: CloseCode::SLOW,
        reason: reason.into(),
        after: None,
    }
}
