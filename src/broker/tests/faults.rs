//! Panics inside: each ends as little as can be known to be touched, is counted by its place, and what
//! waited for it is answered.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::broker::testing::{everything, rules, store};
use crate::broker::{Settings, Wire};
use crate::history::trapped::Trapped;
use crate::metrics::Metrics;
use crate::protocol::ErrorCode;

/// A wire whose writes panic once it is told to.
#[derive(Default)]
struct Trap {
    is_set: Cell<bool>,
    is_killed: Cell<bool>,
}

impl Wire for Trap {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!self.is_set.get(), "on purpose");
        Ok(bytes.len())
    }

    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        pieces.iter().map(|piece| self.try_write(piece)).sum()
    }

    fn want_writable(&self) {}

    fn shut_writing(&self) {}

    fn kill(&self) {
        self.is_killed.set(true);
    }
}

fn trapped(workers: usize) -> Broker {
    let settings = Settings {
        workers,
        rules: rules(),
        store: Arc::new(Trapped((*store()).clone())),
        max_topics: 1000,
        max_replay: 1000,
        max_subscriptions: 100,
        flush_interval: Duration::ZERO,
        compression: crate::protocol::Effort::default(),
        queue: usize::MAX,
        idempotency_window: Duration::from_secs(60),
        max_answers: 1000,
    };
    Broker::new(settings, Metrics::new("0", "test").unwrap())
}

fn panics(broker: &Broker, place: &str) -> bool {
    let text = broker.metrics().render().unwrap();
    text.contains(&format!("fanfare_panics_total{{place=\"{place}\"}} 1\n"))
}

/// Another worker, until it is dropped.
pub(super) struct Other {
    is_over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Other {
    pub(super) fn start(broker: &Broker) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (broker, over) = (broker.clone(), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            on_worker(&broker, async |_| {
                until("the end", || over.load(Ordering::Relaxed)).await;
            });
        });
        Self {
            is_over,
            thread: Some(thread),
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

#[test]
fn a_panic_while_writing_ends_the_workers_sessions_and_new_ones_are_served() {
    let broker = broker(1, usize::MAX);
    on_worker(&broker, async |worker| {
        let trap = Rc::new(Trap::default());
        let opening = Opening {
            rights: everything(),
            ..opening(1, WireFormat::Json)
        };
        let victim = worker.attach(opening, Rc::<Trap>::clone(&trap));
        victim.open(Bytes::new());
        let (reply, answer) = caller();
        worker.subscribe(&victim, plain("h/a", &member(SessionId(1))), reply);
        answer.await.unwrap().unwrap();
        let beside = Client::new(&worker, 2, WireFormat::Json);
        beside.subscribe("h/a").await;
        settle().await;
        trap.is_set.set(true);
        publish(&worker, "h/a", "1", None);
        settle().await;
        assert!(panics(&broker, "flush"));
        // Nobody knows what of the batch was written to whom: they come again, and recover.
        assert!(trap.is_killed.get() && beside.wire.is_killed.get());
        worker.detach(&victim, &member(SessionId(1)));
        beside.detach();
        let again = Client::new(&worker, 3, WireFormat::Json);
        let ask = Subscription {
            last: Some(1),
            ..plain("h/a", &again.member)
        };
        assert_eq!(again.subscribe_with(ask).await.replayed, Some(1));
        publish(&worker, "h/a", "2", None);
        settle().await;
        assert_eq!(again.offsets()["h/a"], [1, 2]);
        assert!(panics(&broker, "flush"), "and no more of them");
    });
}

#[test]
fn a_panic_of_a_home_fails_what_was_asked_and_nothing_else() {
    let broker = trapped(2);
    let other = Other::start(&broker);
    on_worker(&broker, async |worker| {
        until("both workers", || broker.workers().0 == 2).await;
        let there = |n: &usize| {
            let home = broker.node.shards.home(&topic(&format!("h/{n}/trap")));
            home != worker.shard()
        };
        let name = format!("h/{}/trap", (0..50).find(there).unwrap());
        let beside = Client::new(&worker, 1, WireFormat::Json);
        for text in ["h/#", "h/a"] {
            beside.subscribe(text).await;
        }
        let refused = broker.publish(publication(&topic(&name), "x", None)).await;
        assert_eq!(refused.unwrap_err().code, ErrorCode::Internal);
        assert!(panics(&broker, "registry"));
        // Raw sessions have no error frames: theirs is the close.
        let raw = Client::new(&worker, 2, WireFormat::Raw);
        let reply = ReplyTo::Session {
            to: Rc::clone(&raw.subscriber),
            id: None,
        };
        worker.publish(publication(&topic(&name), "x", None), Instant::now(), reply);
        until("the close", || raw.wire.is_shut.get()).await;
        assert_eq!(raw.wire.taken.borrow()[2..4], 1011_u16.to_be_bytes());
        let asked = beside.ask(plain(&name, &beside.member));
        assert_eq!(asked.await.unwrap().unwrap_err().code, ErrorCode::Internal);
        broker
            .publish(publication(&topic("h/a"), "1", None))
            .await
            .unwrap();
        until("the message", || !beside.offsets().is_empty()).await;
        assert_eq!(broker.workers().0, 2);
    });
    drop(other);
}

#[test]
fn whoever_waits_for_what_panics_on_a_workers_own_thread_is_answered() {
    let broker = trapped(1);
    let worker = Other::start(&broker);
    actix_rt::System::new().block_on(async {
        until("the worker", || broker.workers().0 == 1).await;
        let publish = |text| broker.publish(publication(&topic(text), "x", None));
        let refused = publish("h/trap").await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Internal);
        assert!(panics(&broker, "registry"));
        assert_eq!(publish("h/a").await.unwrap().position.unwrap().offset, 1);
    });
    drop(worker);
}

#[test]
fn a_home_that_can_take_no_more_refuses_and_closes_raw_sessions_with_1013() {
    let broker = broker(2, usize::MAX);
    let (go_on, waits) = std::sync::mpsc::channel::<()>();
    let stuck = {
        let broker = broker.clone();
        std::thread::spawn(move || {
            on_worker(&broker, async |_| {
                until("both workers", || broker.workers().0 == 2).await;
                // It does not get on, as one that has far too much to do.
                let _ = waits.recv_timeout(Duration::from_secs(20));
            });
        })
    };
    on_worker(&broker, async |worker| {
        until("both workers", || broker.workers().0 == 2).await;
        let home = |n: &usize| broker.node.shards.home(&topic(&format!("h/{n}")));
        let there = (0..50).find(|n| home(n) != worker.shard()).unwrap();
        let name = format!("h/{there}");
        let text = "x".repeat(1 << 20);
        let client = Client::new(&worker, 1, WireFormat::Json);
        let raw = Client::new(&worker, 2, WireFormat::Raw);
        let publish = |client: &Client| {
            let to = Rc::clone(&client.subscriber);
            let reply = ReplyTo::Session { to, id: None };
            worker.publish(
                publication(&topic(&name), &text, None),
                Instant::now(),
                reply,
            );
        };
        // The first may be under way; then 16 MiB wait.
        for _ in 0..20 {
            publish(&client);
            tokio::task::yield_now().await;
        }
        settle().await;
        let errors = client.wire.objects();
        assert!((1..20).contains(&errors.len()), "{}", errors.len());
        for error in errors {
            assert_eq!(error["code"], "unavailable", "{error}");
            assert_eq!(error["retry_after_ms"], 1000, "{error}");
        }
        publish(&raw);
        settle().await;
        assert_eq!(raw.wire.taken.borrow()[2..4], 1013_u16.to_be_bytes());
    });
    drop(go_on);
    stuck.join().unwrap();
}
