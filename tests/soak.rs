//! A soak: publishers and subscribers of every kind go on and on, are cut off and come again, and in
//! the end nothing is lost, doubled, out of order or left behind. It takes 20 seconds, or as many as
//! `FANFARE_SOAK_SECONDS` says.
//!
//! It goes in rounds. Within a round everybody works and is cut off; at its end all leave, and the
//! broker is looked at while it is at rest. What a subscriber knows it keeps for the next round.

mod ledger;
mod publishing;
mod subscribing;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Http, Process, Rest};
use ledger::{Ledger, TOPICS};
use publishing::{by_http, by_socket};
use subscribing::{Kind, Subscriber, by_socket_again_and_again, by_stream_again_and_again};

/// How long a round goes on publishing.
const ROUND: Duration = Duration::from_secs(5);

/// What the memory may have grown by between the rest after the second round, when all histories are
/// full, and the last. The allocator keeps more or less of what the queues of a round took.
const GROWN: usize = 32 << 20;

/// The histories are longer than what anybody may be behind.
const CONFIG: &str = r#"
server.workers = 2
session.queue = "256KiB"
api.idempotency_window = "5s"
"#;

const IN_MEMORY: &str = r#"
store.memory = "512MiB"
topic = [
    { filter = "soak/#", history = { messages = 4000, bytes = "64MiB" } },
    { filter = "room/#", presence = true, join_leave = true },
]
"#;

/// A part of the histories is in memory, the rest is read from the disk.
const ON_DISK: &str = r#"
store = { kind = "disk", memory = "2MiB" }
topic = [
    { filter = "soak/#", history = { messages = 4000, bytes = "64MiB" } },
    { filter = "room/#", presence = true, join_leave = true },
]
"#;

fn rounds() -> usize {
    let seconds = std::env::var("FANFARE_SOAK_SECONDS");
    let seconds = seconds.map_or(20, |seconds| seconds.parse().expect("a number"));
    (seconds / ROUND.as_secs()).max(3) as usize
}

/// The first message of each topic, which everybody has.
fn begin(broker: &Process) -> Vec<ledger::Position> {
    let publish = |topic: &&str| {
        let path = format!("/v1/topics/{topic}/messages");
        let first = Http::new(broker.address, "POST", &path).json(&json!("first"));
        assert_eq!(first.send().json()["offset"], 1);
        let held = Http::new(broker.address, "GET", &path).send().json();
        ledger::Position {
            epoch: held["epoch"].as_str().unwrap().to_owned(),
            offset: 1,
            time: held["messages"][0]["time"].as_u64().unwrap(),
        }
    };
    TOPICS.iter().map(publish).collect()
}

fn subscribers(first: &[ledger::Position], ledger: &Ledger) -> Vec<Subscriber> {
    let all: Vec<_> = (0..TOPICS.len()).collect();
    let calm = &all[ledger::CALM..];
    let kinds = [
        (Kind::Names, &all[..]),
        (Kind::Names, &all[..3]),
        (Kind::Names, &all[2..]),
        (Kind::Filter, &all[..]),
        (Kind::Slow, &all[..1]),
        (Kind::Slow, &all[..2]),
        (Kind::Stream, &all[..1]),
        (Kind::Stream, &all[2..3]),
        (Kind::Stream, calm),
    ];
    assert_eq!(kinds.len(), ledger::SUBSCRIBERS);
    let kinds = kinds.into_iter().enumerate();
    kinds
        .map(|(number, (kind, topics))| Subscriber::new(number, kind, topics, first, ledger))
        .collect()
}

/// All of them for a round.
fn round(broker: &Process, ledger: &Ledger, subscribers: &mut [Subscriber], number: usize) {
    let until = Instant::now() + ROUND;
    std::thread::scope(|scope| {
        for subscriber in subscribers {
            let again_and_again = match subscriber.kind {
                Kind::Stream => by_stream_again_and_again,
                _ => by_socket_again_and_again,
            };
            scope.spawn(move || again_and_again(broker.address, ledger, subscriber, number));
        }
        let publishers: Vec<_> = (0..ledger::PUBLISHERS)
            .map(|publisher| {
                scope.spawn(move || match publisher % 2 {
                    0 => by_socket(broker.address, ledger, publisher, until),
                    _ => by_http(broker.address, ledger, publisher, until),
                })
            })
            .collect();
        let visits = scope.spawn(move || publishing::visit(broker.address, until));
        for publisher in publishers {
            publisher.join().unwrap();
        }
        visits.join().unwrap();
        ledger.end_round();
        for (topic, name) in TOPICS.iter().enumerate() {
            let path = format!("/v1/topics/{name}/messages");
            let end = json!({"end": number});
            let answer = Http::new(broker.address, "POST", &path).json(&end).send();
            assert_eq!(answer.json()["offset"], ledger.published(topic), "{name}");
        }
    });
}

#[test]
fn whoever_is_cut_off_and_comes_again_gets_everything_once_and_in_order() {
    soak(IN_MEMORY);
}

#[test]
fn so_does_who_is_brought_up_to_date_from_the_disk() {
    soak(ON_DISK);
}

fn soak(store: &str) {
    let broker = Process::start(&format!("{CONFIG}{store}"), &[]);
    let first = begin(&broker);
    let mut before = Rest::of(&broker);
    let ledger = Ledger::new();
    let mut subscribers = subscribers(&first, &ledger);
    let mut memory = Vec::new();
    for number in 0..rounds() {
        round(&broker, &ledger, &mut subscribers, number);
        if number == 0 && store == ON_DISK {
            // The file is opened for reading when first something is read.
            before = Rest::of(&broker);
        }
        before.await_again(&broker);
        memory.push(broker.resident());
    }
    let newest = |topic: &str| -> Value {
        let path = format!("/v1/topics/{topic}");
        let shown = Http::new(broker.address, "GET", &path).send().json();
        shown["offset"].clone()
    };
    let mut comings = 0;
    for subscriber in &subscribers {
        for (topic, position) in subscriber.positions() {
            assert_eq!(newest(TOPICS[topic]), position.offset, "{}", TOPICS[topic]);
            assert_eq!(position.offset, ledger.published(topic));
        }
        assert!(subscriber.comings > rounds(), "it was never cut off");
        comings += subscriber.comings;
    }
    // Each kind of trouble was there, and no recovery failed.
    let metric = |name: &str| broker.metric(name);
    let slow = metric(r#"fanfare_disconnects_total{code="4008"}"#);
    assert!(slow >= 1, "nobody was too slow");
    assert!(metric("fanfare_publishes_repeated_total") >= 1);
    assert_eq!(metric(r#"fanfare_recoveries_total{result="gap"}"#), 0);
    let total: u64 = (0..TOPICS.len()).map(|topic| ledger.published(topic)).sum();
    println!(
        "{} rounds, {total} messages, {comings} comings, {slow} too slow, {} repeated, memory {memory:?}",
        rounds(),
        metric("fanfare_publishes_repeated_total"),
    );
    let grown = memory[memory.len() - 1].saturating_sub(memory[1]);
    assert!(grown < GROWN, "{grown} bytes more: {memory:?}");
}
