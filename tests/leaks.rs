//! Ten thousand sessions of every kind come and go, and leave nothing behind.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::{Client, Events, Http, Packed, Process, Raw, Rest, Wire, raise_descriptors};

const WAVES: usize = 5;
const WAVE: usize = 2000;
const THREADS: usize = 4;

/// Rooms of one wave; each wave has others, so that what a room leaves behind adds up.
const ROOMS: usize = 100;

/// What each session that came after the first wave may leave in memory. A topic, a subscription, an
/// entry of the presence, a buffer: each takes more. The allocator's own holes are less.
const LEFT_BY_EACH: usize = 512;

const CONFIG: &str = r#"
server.workers = 2
topic = [
    { filter = "room/#", presence = true, join_leave = true },
    { filter = "kept/#", history = { messages = 50 } },
]
"#;

/// A session that stays until it is ended, in one of the ways there are.
enum Visitor {
    Json(Client),
    Packed(Packed),
    Raw(Raw),
    Events(Events),
    Wire(Wire),
}

impl Visitor {
    /// Comes to a room, does what its kind does there, and stays.
    fn come(address: SocketAddr, room: &str, number: usize) -> Self {
        let group = room.rsplit_once('/').unwrap().0;
        match number % 10 {
            0..4 => {
                let mut client = Client::open(address, "/ws");
                client.subscribe(room).await_ok();
                if number.is_multiple_of(2) {
                    client.subscribe(&format!("{group}/+/below")).await_ok();
                    client.subscribe("kept/#").await_ok();
                }
                client.publish(room, number).await_ok();
                let there = client.presence(room);
                assert!(there.contains(&client.session()), "{there:?}");
                client
                    .publish(&format!("kept/{}", number % 7), 1)
                    .await_ok();
                Self::Json(client)
            }
            4 | 5 => {
                let mut client = Packed::open(address, "/ws");
                client.subscribe(&format!("{group}/+/packed"));
                // What comes of the room may come before its answer.
                client.send(&json!({"type": "subscribe", "topic": room}), None);
                client.send(&json!({"type": "publish", "topic": room}), Some(1.into()));
                while client.frame()["type"] != "message".into() {}
                Self::Packed(client)
            }
            6 => {
                let mut client = Raw::open(address, &format!("/ws?topic={room}"));
                client.send("raw");
                client.frame();
                Self::Raw(client)
            }
            7 => Self::Events(Events::open(address, &format!("topic={room}&last=3"), &[])),
            8 => Self::Events(Events::open(address, &format!("topic={group}/%23"), &[])),
            _ => Self::Wire(
                Wire::open(
                    address,
                    &format!("/ws?topic={room}&topic=kept/1&last=9"),
                    "",
                )
                .welcomed(),
            ),
        }
    }

    /// Goes: by a close, by a reset, in the middle of a frame, or by hanging up.
    fn go(self, number: usize) {
        match self {
            Self::Json(client) if number.is_multiple_of(3) => client.close(1000),
            Self::Wire(wire) if number.is_multiple_of(3) => wire.reset(),
            Self::Wire(mut wire) => wire.send([0x81, 0xfe, 0x01]),
            Self::Json(client) => drop(client),
            Self::Packed(client) => drop(client),
            Self::Raw(client) => drop(client),
            Self::Events(events) => drop(events),
        }
    }
}

/// So many sessions at a time, and none afterwards.
fn wave(broker: &Process, number: usize) {
    let address = broker.address;
    let room = |n: usize| format!("room/{number}x{}/{}", n % 10, n % ROOMS);
    let visitors: Vec<Vec<_>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let numbers = (thread..WAVE).step_by(THREADS);
                    numbers
                        .map(|n| (n, Visitor::come(address, &room(n / 10), n)))
                        .collect()
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(broker.metric("fanfare_connections"), WAVE as u64);
    assert!(broker.metric("fanfare_topics") >= ROOMS as u64);
    std::thread::scope(|scope| {
        for some in visitors {
            scope.spawn(|| some.into_iter().for_each(|(n, visitor)| visitor.go(n / 10)));
        }
    });
}

fn get(broker: &Process, path: &str) -> Value {
    Http::new(broker.address, "GET", path).send().json()
}

#[test]
fn ten_thousand_sessions_come_and_go_and_leave_nothing_behind() {
    raise_descriptors();
    let broker = Process::start(CONFIG, &[]);
    for n in 0..7 * 50 {
        let topic = format!("/v1/topics/kept/{}/messages", n % 7);
        let published = Http::new(broker.address, "POST", &topic).json(&n.into());
        assert_eq!(published.send().status, 200);
    }
    let before = Rest::of(&broker);
    assert_eq!(before.topics, 7);
    let mut memory = Vec::new();
    for number in 0..WAVES {
        wave(&broker, number);
        before.await_again(&broker);
        let rooms = get(&broker, "/v1/topics?filter=room/%23");
        assert_eq!(rooms["topics"], json!([]), "{rooms}");
        let there = get(&broker, &format!("/v1/topics/room/{number}x0/0/presence"));
        assert_eq!(there["count"], 0, "{there}");
        memory.push(broker.resident());
    }
    println!("memory after each wave: {memory:?}");
    let grown = memory[WAVES - 1].saturating_sub(memory[0]);
    let allowed = (WAVES - 1) * WAVE * LEFT_BY_EACH;
    assert!(grown < allowed, "{grown} bytes more: {memory:?}");
    let came = broker.metric("fanfare_connections_total");
    assert_eq!(came, (WAVES * WAVE) as u64);
    assert_eq!(broker.metric("fanfare_history_messages"), 7 * 50);
}
