//! Order, and that nothing is missing or there twice, whatever happens at the same time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::{Client, Edit, Server, config, kept};

const PUBLISHERS: u64 = 4;
const EACH: u64 = 250;

/// Several publishers at once, from both workers, with no answers asked for: each waits only for
/// its last message.
fn publish_at_once(server: &Server, topics: &[&str]) {
    std::thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let mut client = server.connect();
            scope.spawn(move || {
                for n in 0..EACH {
                    let topic = topics[n as usize % topics.len()];
                    client.cast(topic, json!([publisher, n]));
                }
                client
                    .ask(json!({"type": "publish", "topic": topics[0], "data": [publisher, EACH]}))
                    .await_ok();
            });
        }
    });
}

/// The data of so many messages.
fn read(client: &mut Client, count: u64) -> Vec<Value> {
    client.expect_data(usize::try_from(count).unwrap())
}

/// Each publisher's numbers rise.
fn assert_order_per_publisher(data: &[Value]) {
    let mut last = BTreeMap::<u64, u64>::new();
    for pair in data {
        let (publisher, n) = (pair[0].as_u64().unwrap(), pair[1].as_u64().unwrap());
        if let Some(before) = last.insert(publisher, n) {
            assert!(before < n, "{publisher}: {n} after {before}");
        }
    }
    assert_eq!(last.len() as u64, PUBLISHERS);
}

#[test]
fn all_subscribers_of_a_topic_see_one_order_and_each_publishers_own() {
    for (workers, topic) in [(1, "live/a"), (2, "live/a"), (2, "kept/a"), (2, "live/b")] {
        let server = Server::start(config().workers(workers));
        let mut readers: Vec<_> = (0..4).map(|_| server.connect()).collect();
        for (index, reader) in readers.iter_mut().enumerate() {
            // By name and by filter, on both workers.
            let filter = if index < 2 { topic } else { "+/+" };
            reader.subscribe(filter).await_ok();
        }
        publish_at_once(&server, &[topic]);
        let all = PUBLISHERS * (EACH + 1);
        let orders: Vec<_> = readers.iter_mut().map(|r| read(r, all)).collect();
        assert_order_per_publisher(&orders[0]);
        for order in &orders[1..] {
            assert_eq!(*order, orders[0], "{workers} workers, {topic}");
        }
        readers.iter_mut().for_each(Client::expect_nothing);
    }
}

#[test]
fn a_session_that_publishes_over_http_and_websocket_is_one_order_for_all() {
    let server = Server::start(config());
    let mut readers = [server.connect(), server.connect()];
    for reader in &mut readers {
        reader.subscribe("kept/a").await_ok();
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let batch: Vec<_> = (0..EACH)
                .map(|n| json!({"topic": "kept/a", "data": [9, n]}))
                .collect();
            let answer = server
                .http("POST", "/v1/publish")
                .json(&Value::from(batch))
                .send();
            assert_eq!(answer.status, 200);
        });
        publish_at_once(&server, &["kept/a"]);
    });
    let all = PUBLISHERS * (EACH + 1) + EACH;
    let offsets = |client: &mut Client| -> Vec<_> {
        (0..all)
            .map(|_| client.expect_message("kept/a"))
            .enumerate()
            .map(|(index, message)| {
                assert_eq!(message["offset"], index + 1);
                message["data"].clone()
            })
            .collect()
    };
    let [one, other] = &mut readers;
    assert_eq!(offsets(one), offsets(other));
}

/// Subscribes again and again while others publish, and checks each time that offsets go on
/// without a gap or a duplicate from where the answer says.
fn subscribe_while_publishing(workers: usize, filter: &str, options: impl Fn(&Position) -> Value) {
    let server = Server::start(
        config()
            .workers(workers)
            .with(|c| c.topics = vec![kept("kept/#", 100_000)]),
    );
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let mut client = server.connect();
            let done = &done;
            scope.spawn(move || {
                let mut n = 0;
                while !done.load(Ordering::Relaxed) {
                    for _ in 0..20 {
                        client.cast("kept/a", n);
                        client.cast("kept/b", n);
                        n += 1;
                    }
                    // No faster than the broker can.
                    client.ask(json!({"type": "ping"})).await_ok();
                }
            });
        }
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut positions = Position::default();
            for round in 0..30 {
                let mut reader = server.connect();
                let ok = reader
                    .subscribe_with(filter, options(&positions))
                    .await_ok();
                positions = follow(&mut reader, &ok, &positions, round);
            }
        }));
        done.store(true, Ordering::Relaxed);
        if let Err(failed) = checked {
            std::panic::resume_unwind(failed);
        }
    });
}

/// Where a reader was: by topic, and when its filter stood.
#[derive(Clone, Default)]
struct Position {
    epochs: BTreeMap<String, (String, u64)>,
    from: u64,
}

/// Reads until enough live messages came; gives where the reader is then.
fn follow(reader: &mut Client, ok: &Value, before: &Position, round: usize) -> Position {
    let mut now = Position {
        from: ok["time"].as_u64().unwrap(),
        ..before.clone()
    };
    let recovered = ok.get("recovered").map(|r| r == true);
    assert_ne!(recovered, Some(false), "round {round}: {ok}");
    let mut seen = BTreeMap::<String, u64>::new();
    if recovered == Some(true) {
        // What it had is what it goes on from.
        seen.extend(
            before
                .epochs
                .iter()
                .map(|(t, (_, offset))| (t.clone(), *offset)),
        );
    }
    let due = ok["replayed"].as_u64().unwrap_or(0);
    let mut replayed = 0;
    let mut live = 0;
    while live < 30 || replayed < due {
        let message = reader.frame();
        assert_eq!(message["type"], "message", "{message}");
        let topic = message["topic"].as_str().unwrap().to_owned();
        let offset = message["offset"].as_u64().unwrap();
        match seen.insert(topic.clone(), offset) {
            Some(before) => assert_eq!(offset, before + 1, "round {round}: {ok} {message}"),
            // The first of a name that replays nothing is the one after the answer's.
            None if ok["replayed"] == 0 && ok.get("offset").is_some() => {
                assert_eq!(offset, ok["offset"].as_u64().unwrap() + 1, "{ok} {message}");
            }
            None => {}
        }
        if message.get("replay").is_some() {
            replayed += 1;
        } else {
            live += 1;
        }
        let epoch = message["epoch"].as_str().unwrap().to_owned();
        now.epochs.insert(topic, (epoch, offset));
    }
    now
}

fn since_name(position: &Position) -> Value {
    match position.epochs.get("kept/a") {
        None => json!({"last": 3}),
        Some((epoch, offset)) => json!({"since": {"epoch": epoch, "offset": offset}}),
    }
}

fn since_filter(position: &Position) -> Value {
    if position.epochs.len() < 2 {
        return json!({"last": 3});
    }
    let positions: serde_json::Map<_, _> = position
        .epochs
        .iter()
        .map(|(topic, (epoch, offset))| (topic.clone(), json!({"epoch": epoch, "offset": offset})))
        .collect();
    json!({"since": {"positions": positions, "from": position.from}})
}

#[test]
fn a_name_is_subscribed_to_without_a_gap_or_a_duplicate_while_others_publish() {
    for workers in [1, 2] {
        subscribe_while_publishing(workers, "kept/a", |_| json!({}));
        subscribe_while_publishing(workers, "kept/a", |_| json!({"last": 50}));
        subscribe_while_publishing(workers, "kept/a", since_name);
    }
}

#[test]
fn a_filter_is_subscribed_to_without_a_gap_or_a_duplicate_while_others_publish() {
    for workers in [1, 2] {
        subscribe_while_publishing(workers, "kept/#", |_| json!({}));
        subscribe_while_publishing(workers, "kept/#", |_| json!({"last": 50}));
        subscribe_while_publishing(workers, "kept/+", since_filter);
    }
}

#[test]
fn overlapping_subscriptions_that_come_and_go_leave_no_gap_and_no_duplicate() {
    for workers in [1, 2] {
        let server = Server::start(
            config()
                .workers(workers)
                .with(|c| c.topics = vec![kept("kept/#", 100_000)]),
        );
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let mut client = server.connect();
            let done = &done;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    for n in 0..10 {
                        client.cast("kept/a", n);
                    }
                    client.ask(json!({"type": "ping"})).await_ok();
                }
            });
            let mut reader = server.connect();
            reader.subscribe("kept/a").await_ok();
            for round in 0..60 {
                let filter = ["kept/+", "kept/#", "#"][round % 3];
                let options = [json!({}), json!({"last": 5})][round % 2].clone();
                reader.subscribe_with(filter, options).await_ok();
                reader.unsubscribe(filter).await_ok();
            }
            done.store(true, Ordering::Relaxed);
            reader.ask(json!({"type": "ping"})).await_ok();
            reader.unsubscribe("kept/a").await_ok();
            server.publish("kept/z", &json!(0));
            reader
                .subscribe_with("kept/z", json!({"last": 1}))
                .await_ok();
            // Live messages are those of one unbroken run; replays may come again.
            let mut last = None;
            let mut count = 0;
            loop {
                let message = reader.frame();
                if message["topic"] == "kept/z" {
                    break;
                }
                if message.get("replay").is_some() {
                    continue;
                }
                let offset = message["offset"].as_u64().unwrap();
                if let Some(last) = last {
                    assert_eq!(offset, last + 1, "{message}");
                }
                last = Some(offset);
                count += 1;
            }
            assert!(count > 100, "{count}");
        });
    }
}
