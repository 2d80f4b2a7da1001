//! A broker of one worker, with sessions whose connections take all that they are given, or nothing.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_rt::SystemRunner;
use bytes::Bytes;
use fanfare::auth::{Access, Caller, Identity, Rights};
use fanfare::broker::{
    Broker, Opening, Publication, ReplyTo, Rule, Rules, Settings, Subscriber, Subscription,
    TopicRule, Wire, Worker,
};
use fanfare::history::MemoryStore;
use fanfare::metrics::Metrics;
use fanfare::model::{
    Filter, Member, Overflow, Overflows, Payload, SessionId, Timestamp, TopicName,
};
use fanfare::protocol::{Effort, Window, WireFormat};

/// The bound of a session's outbox, in bytes.
pub const QUEUE: usize = 64 * 1024;

/// A worker, on this thread, and its sessions.
pub struct Stage {
    system: SystemRunner,
    worker: Rc<Worker>,
    sink: Rc<Sink>,
    rights: Rc<Rights>,
    sessions: Vec<Rc<Subscriber>>,
}

/// The connection of all sessions.
#[derive(Default)]
struct Sink {
    /// Whether the kernel takes nothing.
    is_full: Cell<bool>,
    /// Calls that wrote something.
    writes: Cell<u64>,
}

impl Wire for Sink {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes.len())
    }

    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.take(pieces.iter().map(|piece| piece.len()).sum())
    }

    fn want_writable(&self) {}

    fn shut_writing(&self) {}

    fn kill(&self) {}
}

impl Sink {
    fn take(&self, bytes: usize) -> io::Result<usize> {
        if self.is_full.get() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.writes.set(self.writes.get() + 1);
        Ok(bytes)
    }
}

impl Stage {
    /// A broker without sessions. Readers of `slow/…` lose the oldest that they do not take.
    pub fn new() -> Self {
        let system = actix_rt::System::new();
        let random = AtomicU64::new(1);
        let random = move || random.fetch_add(1, Ordering::Relaxed);
        let store = MemoryStore::new(usize::MAX, random, Timestamp(0));
        let slow = Rule {
            filter: Filter::new("slow/#").unwrap(),
            topic: TopicRule {
                overflow: Overflows::only(Overflow::DropOldest),
                ..TopicRule::default()
            },
        };
        let settings = Settings {
            workers: 1,
            rules: Rules::new(vec![slow]),
            store: Arc::new(store),
            max_topics: 100_000,
            max_replay: 1000,
            max_subscriptions: 1000,
            queue: QUEUE,
            flush_interval: Duration::ZERO,
            compression: Effort::default(),
            idempotency_window: Duration::from_secs(60),
            max_answers: 1000,
        };
        let broker = Broker::new(settings, Metrics::new("0", "bench").unwrap());
        let worker = system.block_on(async {
            // What comes now and then must not come into what is counted.
            tokio::time::pause();
            broker.enter().unwrap()
        });
        let caller = Caller {
            access: Arc::new(Access::everything()),
            identity: Identity::Anonymous,
            user: None,
            key: None,
            scopes: Vec::new(),
            must_authenticate: false,
        };
        Self {
            system,
            worker,
            sink: Rc::default(),
            rights: Rc::new(Rights::of(&caller)),
            sessions: Vec::new(),
        }
    }

    /// More sessions, subscribed to that.
    pub fn join(
        &mut self,
        sessions: usize,
        filter: &str,
        format: WireFormat,
        window: Option<Window>,
    ) {
        let before = self.sessions.len();
        for place in before..before + sessions {
            let id = SessionId(place as u64 + 1);
            let opening = Opening {
                id,
                format,
                window,
                address: None,
                rights: Rc::clone(&self.rights),
            };
            let sink = Rc::<Sink>::clone(&self.sink);
            let subscriber = self.worker.attach(opening, sink);
            subscriber.open(Bytes::from_static(b"welcome"));
            let ask = Subscription {
                filter: Filter::new(filter).unwrap(),
                echo: true,
                last: None,
                since: None,
                since_filter: None,
                from: None,
                overflow: None,
                min_interval: None,
                is_lent: false,
                member: Member {
                    session: id,
                    user: None,
                    info: None,
                    since: Timestamp::default(),
                },
            };
            self.worker.subscribe(&subscriber, ask, ReplyTo::Nobody);
            self.sessions.push(subscriber);
        }
        self.settle();
    }

    /// Publishes; what is due is written at the end of the turn.
    pub fn publish(&self, topic: &TopicName, payload: &Payload) {
        let publication = Publication::new(topic.clone(), payload.clone());
        self.worker
            .publish(publication, Instant::now(), ReplyTo::Nobody);
    }

    /// Lets the turn end: until there were so many writes in all.
    pub fn run_until(&self, writes: u64) {
        self.system.block_on(async {
            for _ in 0..10_000 {
                if self.writes() >= writes {
                    return;
                }
                tokio::task::yield_now().await;
            }
            panic!("{} writes, not {writes}", self.writes());
        });
    }

    /// Lets the turns end that are due, whatever they bring.
    pub fn settle(&self) {
        self.system.block_on(async {
            for _ in 0..30 {
                tokio::task::yield_now().await;
            }
        });
    }

    /// How many writes there were.
    pub fn writes(&self) -> u64 {
        self.sink.writes.get()
    }

    /// The connections take nothing more.
    pub fn fill(&self) {
        self.sink.is_full.set(true);
    }

    /// The connections take everything again.
    pub fn drain(&self) {
        self.sink.is_full.set(false);
        for session in &self.sessions {
            session.writable();
        }
    }
}
