//! Workers that go, while sessions of others listen to their topics, and theirs to others' topics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::*;
use crate::broker::testing::{rules, store};
use crate::broker::worker::Errand;
use crate::broker::{Rules, Settings};
use crate::metrics::Metrics;

/// Another worker, until it is dropped; what its session has is left to others to take back.
struct Other {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Other {
    fn start(broker: &Broker, subscribes: &'static [&'static str]) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let is_ready = Arc::new(AtomicBool::new(false));
        let (broker, over, ready) = (broker.clone(), is_over.clone(), is_ready.clone());
        let thread = std::thread::spawn(move || {
            on_worker(&broker, async |worker| {
                let client = Client::new(&worker, 99, WireFormat::Json);
                for text in subscribes {
                    client.subscribe(text).await;
                }
                ready.store(true, Ordering::Relaxed);
                until("the end", || over.load(Ordering::Relaxed)).await;
            });
        });
        while !is_ready.load(Ordering::Relaxed) && !subscribes.is_empty() {
            std::thread::yield_now();
        }
        Self {
            is_over,
            thread: Some(thread),
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

/// The first of `p/0`, `p/1` and so on that is at home on that worker, or on another.
fn name_at(broker: &Broker, shard: usize, is_there: bool) -> String {
    let names = (0..100).map(|n| format!("p/{n}"));
    let is_at = |name: &String| (broker.node.shards.home(&topic(name)) == shard) == is_there;
    names.into_iter().find(is_at).unwrap()
}

#[test]
fn what_a_session_took_from_a_home_that_went_is_not_taken_from_the_one_in_its_place() {
    let broker = broker(2, 1 << 20);
    let before = Other::start(&broker, &[]);
    on_worker(&broker, async |worker| {
        until("both workers", || broker.workers().0 == 2).await;
        let name = name_at(&broker, worker.shard(), false);
        let first = Client::new(&worker, 1, WireFormat::Json);
        for text in [&name, "p/+"] {
            first.subscribe(text).await;
        }
        drop(before);
        let _after = Other::start(&broker, &[]);
        until("both workers", || broker.workers().0 == 2).await;
        until("the close", || first.wire.is_shut.get()).await;
        let second = Client::new(&worker, 2, WireFormat::Json);
        for text in [&name, "p/+"] {
            second.subscribe(text).await;
        }
        // Its socket lingered until now.
        first.detach();
        let receipt = broker.publish(publication(&topic(&name), "x", None)).await;
        assert_eq!(receipt.unwrap().subscribers, 2);
        let there = broker.presence(topic(&name)).await.unwrap();
        let there: Vec<_> = there.iter().map(|member| member.session).collect();
        assert_eq!(there, [second.subscriber.id()]);
        second.detach();
    });
}

#[test]
fn sessions_that_go_with_their_worker_leave_the_topics_of_others() {
    let broker = broker(2, 1 << 20);
    on_worker(&broker, async |worker| {
        let names: &'static [&'static str] = &["p/0", "p/1", "p/2", "p/3", "p/4", "p/5", "p/#"];
        let name = name_at(&broker, worker.shard(), true);
        let other = std::thread::spawn({
            let broker = broker.clone();
            move || Other::start(&broker, names)
        });
        until("the other", || other.is_finished()).await;
        let client = Client::new(&worker, 1, WireFormat::Json);
        client.subscribe(&name).await;
        let there = async || broker.presence(topic(&name)).await.unwrap().len();
        assert_eq!(there().await, 2);
        drop(other.join().unwrap());
        let left = || {
            let frames = client.wire.objects();
            frames.iter().any(|frame| frame["type"] == "leave")
        };
        // It is looked for once a second.
        until("the leave", left).await;
        assert_eq!(there().await, 1);
        let receipt = broker.publish(publication(&topic(&name), "x", None)).await;
        assert_eq!(receipt.unwrap().subscribers, 1);
        client.detach();
        settle().await;
        // Those that were at home on the other went with it.
        assert_eq!(broker.topics(None, None, 100).len(), 0);
        assert_eq!(broker.node.common.topics.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn who_is_let_in_by_the_rules_before_is_there_by_those_after() {
    let settings = Settings {
        workers: 2,
        rules: Rules::default(),
        store: store(),
        max_topics: 100,
        max_replay: 10,
        max_subscriptions: 100,
        flush_interval: Duration::ZERO,
        compression: crate::protocol::Effort::default(),
        queue: usize::MAX,
        idempotency_window: Duration::from_secs(60),
        max_answers: 1000,
    };
    let broker = Broker::new(settings, Metrics::new("0", "test").unwrap());
    let other = Other::start(&broker, &[]);
    on_worker(&broker, async |worker| {
        until("both workers", || broker.workers().0 == 2).await;
        let name = name_at(&broker, worker.shard(), false);
        let common = &broker.node.common;
        let client = Client::new(&worker, 1, WireFormat::Json);
        let answer = client.ask(plain(&name, &client.member));
        tokio::task::yield_now().await;
        // The home has it, and its answer has not been looked at here.
        let is_in = || {
            let view = common.directory.get(&topic(&name));
            view.is_some_and(|view| view.subscribers == 1)
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_in() {
            assert!(Instant::now() < deadline, "the home was not asked");
            std::thread::yield_now();
        }
        let before = common.rules.now().clone();
        common.rules.replace(rules());
        worker.amend(&before);
        let home = broker.node.shards.home(&topic(&name));
        let amend = move |worker: &Worker| worker.amend(&before);
        let address = broker.node.shards.address(home).unwrap();
        address.do_send(Errand(Box::new(amend)));
        answer.await.unwrap().unwrap();
        let there = broker.presence(topic(&name)).await.unwrap();
        assert_eq!(there.len(), 1);
        client.detach();
    });
    drop(other);
}
