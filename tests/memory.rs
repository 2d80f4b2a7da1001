//! Memory that runs short: who is turned away, who goes, who notices nothing.

use serde_json::json;

use crate::support::{Client, Http, Process, Wire, base, eventually};

/// Sessions that do not read, each in a topic of its own: what waits for them is shared with nobody.
const DEAF: usize = 12;

const CONFIG: &str = r#"
server.workers = 1
session = { queue = "16MiB", write_timeout = "1h" }
limits.memory = "128MiB"
store.memory = "1MiB"
"#;

struct Deaf {
    broker: Process,
    text: String,
    /// Kept open.
    _wires: Vec<Wire>,
    published: usize,
}

impl Deaf {
    fn new(broker: Process) -> Self {
        let wires = (0..DEAF).map(|n| {
            let mut wire = Wire::narrow(broker.address, "/ws").welcomed();
            let topic = format!("deaf/{n}");
            wire.send_json(&json!({"type": "subscribe", "topic": topic, "id": 1}));
            assert_eq!(wire.json()["type"], "ok");
            wire
        });
        Self {
            _wires: wires.collect(),
            broker,
            text: "x".repeat(60_000),
            published: 0,
        }
    }

    /// Publishes to one topic after the other until `holds`.
    #[track_caller]
    fn publish_until(&mut self, mut holds: impl FnMut(&Process) -> bool) {
        while !holds(&self.broker) {
            assert!(self.published < 20_000, "no limit was reached");
            let path = format!("/v1/topics/deaf/{}/messages", self.published % DEAF);
            let answer = Http::new(self.broker.address, "POST", &path);
            assert_eq!(answer.body(self.text.as_str()).send().status, 200);
            self.published += 1;
        }
    }
}

#[test]
fn while_memory_is_short_nobody_new_comes_in_then_slow_sessions_go_and_the_others_notice_nothing() {
    let mut deaf = Deaf::new(Process::start(CONFIG, &[]));
    let address = deaf.broker.address;
    assert_eq!(deaf.broker.metric("fanfare_memory_limit_bytes"), 128 << 20);
    assert_eq!(deaf.broker.metric("fanfare_memory_pressure"), 0);
    let mut reader = Client::open(address, "/ws");
    reader.subscribe("live").await_ok();

    deaf.publish_until(|broker| broker.metric("fanfare_memory_pressure") > 0);
    let ready = || Http::new(address, "GET", "/readyz").send();
    let answer = ready();
    assert_eq!(answer.expect_problem(503), "unavailable");
    assert!(answer.text().contains("memory"), "{}", answer.text());
    let refused = base(address, "/ws", &[]).unwrap_err();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "5");
    let stream = Http::new(address, "GET", "/sse?topic=live").send();
    assert_eq!(stream.status, 503);
    let turned_away = r#"fanfare_handshakes_refused_total{reason="memory"}"#;
    assert_eq!(deaf.broker.metric(turned_away), 2);
    assert_eq!(deaf.broker.metric("fanfare_connections"), DEAF as u64 + 1);

    // What is there goes on, until it is too much.
    let slow = r#"fanfare_disconnects_total{code="4008"}"#;
    deaf.publish_until(|broker| broker.metric(slow) > 0);
    assert!(
        deaf.broker
            .metric(r#"fanfare_messages_dropped_total{reason="slow"}"#)
            > 0
    );
    reader.publish("live", json!("still there")).await_ok();
    assert_eq!(reader.expect_data(1), [json!("still there")]);

    eventually("there is memory again", || ready().status == 200);
    drop(base(address, "/ws", &[]).unwrap());
}
