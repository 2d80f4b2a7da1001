//! Subscribing and recovering while others publish at full speed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::model::Timestamp;
use crate::protocol::ErrorCode;

const TOPICS: usize = 6;
const MESSAGES: u64 = 2_000;

fn name(n: usize) -> String {
    format!("h/{n}")
}

/// Where the workers of a test are.
#[derive(Default)]
struct Phase {
    /// Publishers that have all but the last messages behind them.
    published: AtomicUsize,
    /// Workers that subscribe no more.
    subscribed: AtomicUsize,
    /// Workers that have checked everything.
    checked: AtomicUsize,
}

fn reached(count: &AtomicUsize, workers: usize) -> bool {
    count.load(Ordering::Relaxed) == workers
}

/// Publishes to a part of the topics at full speed; the last messages once all have subscribed.
async fn publisher(worker: Rc<Worker>, part: usize, parts: usize, phase: Arc<Phase>) {
    let publish_all = |n: u64| {
        for t in (part..TOPICS).step_by(parts) {
            publish(&worker, &name(t), &n.to_string(), None);
        }
    };
    for n in 1..MESSAGES {
        publish_all(n);
        if n % 16 == 0 {
            tokio::task::yield_now().await;
        }
    }
    phase.published.fetch_add(1, Ordering::Relaxed);
    until("the end of subscribing", || {
        reached(&phase.subscribed, parts)
    })
    .await;
    publish_all(MESSAGES);
}

/// What a subscription was given, and what it must have seen in the end.
struct Expected {
    client: Client,
    /// The first offset of each topic, where it is known.
    first: HashMap<String, u64>,
    topics: Vec<String>,
}

impl Expected {
    async fn check(&self) {
        let is_whole = || {
            let seen = self.client.offsets();
            let at_end = |t: &String| seen.get(t).and_then(|o| o.last()) == Some(&MESSAGES);
            self.topics.iter().all(at_end)
        };
        until("the end", is_whole).await;
        settle().await;
        let seen = self.client.offsets();
        for topic in &self.topics {
            let offsets = seen.get(topic).map_or(&[][..], Vec::as_slice);
            let first = self.first.get(topic).copied();
            let first = first.or(offsets.first().copied()).unwrap_or(MESSAGES + 1);
            let all: Vec<u64> = (first..=MESSAGES).collect();
            assert_eq!(offsets, all, "{topic}");
        }
    }
}

/// Subscribes in every way, again and again, until all is published.
async fn subscriber(worker: Rc<Worker>, from: Timestamp, parts: usize, phase: &Phase) {
    let mut expected = Vec::new();
    let mut id = 1000 * (worker.shard() as u64 + 1);
    while !reached(&phase.published, parts) || expected.is_empty() {
        for t in 0..TOPICS {
            id += 1;
            let client = Client::new(&worker, id, WireFormat::Json);
            let mut ask = plain(&name(t), &client.member);
            let mut topics = vec![name(t)];
            let mut first = HashMap::new();
            match (id + t as u64) % 6 {
                0 => {}
                1 => ask.last = Some(10),
                2 => {
                    let probe = client.subscribe(&name(t)).await;
                    client.unsubscribe(&name(t)).await.unwrap().unwrap();
                    client.wire.taken.borrow_mut().clear();
                    settle().await;
                    let position = probe.position.unwrap();
                    let offset = position.offset / 2;
                    ask.since = Some(Cursor {
                        epoch: Some(position.epoch),
                        offset,
                    });
                    first.insert(name(t), offset + 1);
                }
                kind => {
                    topics = (0..TOPICS).map(name).collect();
                    ask.filter = filter(if kind == 3 { "h/+" } else { "#" });
                    if kind == 4 {
                        ask.since_filter = Some((Arc::default(), Some(from)));
                        first.extend(topics.iter().map(|t| (t.clone(), 1)));
                    }
                    if kind == 5 {
                        ask.last = Some(40);
                    }
                }
            }
            let wants = (ask.last, ask.since, ask.filter.has_wildcard());
            let ok = client.subscribe_with(ask).await;
            if let (last, None, Some(position)) = (wants.0, wants.1, ok.position) {
                let before = last.unwrap_or(0).min(position.offset);
                first.insert(name(t), position.offset - before + 1);
            }
            assert_ne!(ok.recovered, Some(false), "{ok:?}");
            expected.push(Expected {
                client,
                first,
                topics,
            });
        }
        for _ in 0..40 {
            tokio::task::yield_now().await;
        }
        if expected.len() > 120 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if expected.len() > 240 {
            break;
        }
    }
    phase.subscribed.fetch_add(1, Ordering::Relaxed);
    for one in &expected {
        one.check().await;
    }
    for one in &expected {
        one.client.detach();
    }
}

async fn run(worker: Rc<Worker>, from: Timestamp, part: usize, parts: usize, phase: Arc<Phase>) {
    until("all workers", || worker.broker().workers().0 == parts).await;
    let publisher = publisher(Rc::clone(&worker), part, parts, Arc::clone(&phase));
    actix_rt::spawn(publisher);
    subscriber(worker, from, parts, &phase).await;
    phase.checked.fetch_add(1, Ordering::Relaxed);
    until("the others' end", || reached(&phase.checked, parts)).await;
    settle().await;
}

#[test]
fn on_one_worker_nothing_is_missed_or_doubled() {
    let broker = broker(1, 1 << 26);
    let from = Timestamp::now();
    on_worker(&broker, async |worker| {
        run(worker, from, 0, 1, Arc::default()).await;
    });
}

#[test]
fn on_two_workers_nothing_is_missed_or_doubled() {
    let broker = broker(2, 1 << 26);
    let from = Timestamp::now();
    let phase = Arc::<Phase>::default();
    let threads: Vec<_> = (0..2)
        .map(|part| {
            let (broker, phase) = (broker.clone(), Arc::clone(&phase));
            std::thread::spawn(move || {
                on_worker(&broker, async |worker| {
                    run(worker, from, part, 2, phase).await;
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn what_is_asked_of_a_subscription_that_opens_is_done_in_order() {
    let broker = broker(2, 1 << 20);
    let over = Arc::new(AtomicUsize::new(0));
    let other = {
        let (broker, over) = (broker.clone(), Arc::clone(&over));
        std::thread::spawn(move || {
            on_worker(&broker, async |_| {
                until("the end", || over.load(Ordering::Relaxed) == 1).await;
            });
        })
    };
    on_worker(&broker, async |worker| {
        until("both workers", || broker.workers().0 == 2).await;
        for text in ["hp/a", "hp/b", "hp/c", "hp/d", "hp/#"] {
            let client = Client::new(&worker, 1, WireFormat::Raw);
            let answers = [
                client.ask(plain(text, &client.member)),
                client.unsubscribe(text),
                client.ask(plain(text, &client.member)),
                client.unsubscribe(text),
                client.ask(plain(text, &client.member)),
            ];
            for answer in answers {
                answer.await.unwrap().unwrap();
            }
            let published = || broker.publish(publication(&topic("hp/a"), "x", None));
            if text == "hp/a" {
                assert_eq!(published().await.unwrap().subscribers, 1);
                assert_eq!(broker.presence(topic(text)).await.unwrap().len(), 1);
            }
            // One that opens when its session ends is taken back.
            drop(client.unsubscribe(text));
            drop(client.ask(plain(text, &client.member)));
            client.detach();
            until("the end of all interest", || {
                broker
                    .topic(&topic(text.trim_end_matches("/#")))
                    .is_none_or(|v| v.subscribers == 0)
            })
            .await;
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert_eq!(published().await.unwrap().subscribers, 0, "{text}");
        }
        over.store(1, Ordering::Relaxed);
    });
    other.join().unwrap();
}

#[test]
fn when_a_worker_goes_who_waits_for_it_is_refused_and_who_listened_starts_over() {
    let broker = broker(2, 1 << 20);
    let stop = Arc::new(AtomicUsize::new(0));
    let other = {
        let (broker, stop) = (broker.clone(), Arc::clone(&stop));
        std::thread::spawn(move || {
            on_worker(&broker, async |_| {
                until("the stop", || reached(&stop, 1)).await;
            });
        })
    };
    on_worker(&broker, async |worker| {
        until("both workers", || broker.workers().0 == 2).await;
        let home = |n: usize| broker.node.shards.home(&topic(&name(n)));
        let (there, here) = (0..50).partition::<Vec<_>, _>(|n| home(*n) != worker.shard());
        let clients = [name(there[0]), name(here[0]), "#".to_owned()].map(|text| {
            let client = Client::new(&worker, 1, WireFormat::Json);
            let answer = client.ask(plain(&text, &client.member));
            (client, answer)
        });
        let mut left = Vec::new();
        for (client, answer) in clients {
            answer.await.unwrap().unwrap();
            left.push(client);
        }
        stop.store(1, Ordering::Relaxed);
        other.join().unwrap();
        let publication = publication(&topic(&name(there[0])), "x", None);
        let refused = broker.publish(publication).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Unavailable);
        let late = Client::new(&worker, 2, WireFormat::Json);
        for text in [&name(there[0]), "h/+"] {
            let refused = late.ask(plain(text, &late.member)).await.unwrap();
            assert_eq!(refused.unwrap_err().code, ErrorCode::Unavailable, "{text}");
        }
        settle().await;
        let closed: Vec<_> = left
            .iter()
            .map(|client| client.subscriber.closed_with().is_some())
            .collect();
        assert_eq!(closed, [true, false, true]);
        assert_eq!(late.subscriber.closed_with(), None);
    });
}
