//! Rates and counts: what exceeds them is refused and told, and who keeps to them never notices.

use std::time::{Duration, Instant};

use fanfare::config::{Config, Rate};
use serde_json::{Value, json};
use tungstenite::Message;

use crate::support::{
    Edit, PING, PONG, Server, TEXT, Wire, base, config, eventually, frame, header,
};
use crate::throttle::proxied;

pub(crate) fn limited(server: &Server, limit: &str) -> u64 {
    server.metric(&format!(r#"fanfare_rate_limited_total{{limit="{limit}"}}"#))
}

/// How long an error says to wait, which is no longer than that.
#[track_caller]
pub(crate) fn wait_of(error: &Value, at_most: u64) -> Duration {
    let wait = error["retry_after_ms"].as_u64().expect("a time to wait");
    assert!((1..=at_most).contains(&wait), "{error}");
    Duration::from_millis(wait)
}

pub(crate) fn with(change: impl FnOnce(&mut fanfare::config::Rates)) -> Config {
    config().with(|c| change(&mut c.limits.rates))
}

#[test]
fn a_publish_too_many_is_an_error_and_is_not_published() {
    let server = Server::start(with(|r| r.publishes = Rate::with_burst(4, 3)));
    let mut reader = server.connect();
    reader.subscribe("a").await_ok();
    let mut writer = server.connect();
    for n in 0..3 {
        writer.publish("a", n).await_ok();
    }
    let error = writer.publish("a", "too many").await_error("rate_limited");
    let wait = wait_of(&error, 250);
    // Without an id the error is told as well.
    writer.cast("a", "too many");
    wait_of(&writer.expect_error("rate_limited"), 250);
    // Nothing else is held back, and no other session.
    writer.expect_nothing();
    server.connect().publish("a", 3).await_ok();
    std::thread::sleep(wait);
    writer.publish("a", 4).await_ok();
    assert_eq!(reader.expect_data(5), [0, 1, 2, 3, 4]);
    reader.expect_nothing();
    assert_eq!(limited(&server, "publishes"), 2);
    let errors = r#"fanfare_publish_errors_total{code="rate_limited"}"#;
    assert_eq!(server.metric(errors), 2);
    assert_eq!(server.metric("fanfare_messages_published_total"), 5);
}

#[test]
fn a_frame_too_many_is_answered_by_an_error_and_none_is_dropped_in_silence() {
    let server = Server::start(with(|r| r.frames = Rate::with_burst(1, 10)));
    let mut wire = server.wire().welcomed();
    for id in 0..100 {
        wire.send_json(&json!({"type": "ping", "id": id}));
    }
    let mut refused = 0;
    for id in 0..100 {
        let answer = wire.json();
        assert_eq!(answer["id"], id, "{answer}");
        if answer["type"] == "error" {
            assert_eq!(answer["code"], "rate_limited");
            wait_of(&answer, 1000);
            refused += 1;
        } else {
            assert_eq!(answer["type"], "ok");
        }
    }
    assert!((80..=90).contains(&refused), "{refused}");
    // Control frames are frames; each is answered by a pong or an error.
    for _ in 0..20 {
        wire.send(frame(PING, "x"));
    }
    for _ in 0..20 {
        let (opcode, payload) = wire.frame().unwrap();
        if opcode == TEXT {
            let error: Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!(error["code"], "rate_limited");
            refused += 1;
        } else {
            assert_eq!((opcode, &payload[..]), (PONG, &b"x"[..]));
        }
    }
    assert_eq!(limited(&server, "frames"), refused);
    // A close is none too many.
    wire.send(frame(
        crate::support::CLOSE,
        crate::support::close_payload(1000, ""),
    ));
    wire.expect_close(1000);
}

#[test]
fn bytes_are_counted_over_fragments_and_the_message_is_refused_whole() {
    let server = Server::start(with(|r| r.bytes = Rate::with_burst(1000, 70_000)));
    let mut wire = server.wire().welcomed();
    let publish = |id: u64, length: usize| {
        let data = "x".repeat(length);
        json!({"type": "publish", "topic": "a", "id": id, "data": data}).to_string()
    };
    let in_fragments = |text: &str| {
        let (first, rest) = text.split_at(text.len() / 2);
        let mut bytes = header(TEXT, first.len() as u64);
        bytes.extend_from_slice(first.as_bytes());
        bytes.extend(header(0x80, rest.len() as u64));
        bytes.extend_from_slice(rest.as_bytes());
        bytes
    };
    wire.send(in_fragments(&publish(1, 40_000)));
    assert_eq!(wire.json()["type"], "ok");
    // The first fragment fits, the second does not.
    wire.send(in_fragments(&publish(2, 50_000)));
    let error = wire.json();
    assert_eq!(
        (&error["id"], &error["code"]),
        (&json!(2), &json!("rate_limited"))
    );
    wait_of(&error, 30_000);
    wire.send(frame(TEXT, publish(3, 10)));
    assert_eq!(wire.json()["type"], "ok");
    assert_eq!(limited(&server, "bytes"), 1);
    assert_eq!(server.metric("fanfare_messages_published_total"), 2);
}

#[test]
fn a_session_that_goes_on_and_on_is_closed_with_4029() {
    let server = Server::start(with(|r| r.publishes = Rate::with_burst(50, 50)));
    let mut client = server.connect();
    let started = Instant::now();
    // Twice the rate, in step with the answers.
    let error = loop {
        client.cast("a", 1);
        std::thread::sleep(Duration::from_millis(10));
        if server.metric(r#"fanfare_disconnects_total{code="4029"}"#) > 0 {
            break client.expect_close(4029);
        }
        assert!(started.elapsed() < Duration::from_secs(20));
    };
    let (closing, before) = error;
    assert!(started.elapsed() > Duration::from_secs(5));
    assert_eq!(closing["reconnect"], true);
    assert!(closing["after_ms"].as_u64().unwrap() >= 5000, "{closing}");
    assert!(before.iter().all(|frame| frame["code"] == "rate_limited"));
    assert_eq!(before.len() as u64, limited(&server, "publishes"));
}

#[test]
fn a_raw_session_is_closed_with_4029_at_the_first_excess() {
    let server = Server::start(with(|r| r.publishes = Rate::with_burst(1, 2)));
    let mut raw = server.raw("/ws?topic=a");
    for text in ["one", "two"] {
        raw.send(text);
        raw.expect(text);
    }
    raw.send("three");
    raw.expect_close(4029);
    server.await_metric("fanfare_connections", 0);
    let server = Server::start(with(|r| r.frames = Rate::with_burst(1, 2)));
    let mut raw = server.raw("/ws?topic=a");
    for text in ["one", "two"] {
        raw.send(text);
        raw.expect(text);
    }
    raw.send("three");
    raw.expect_close(4029);
}

#[test]
fn a_flood_of_pings_is_refused_and_harms_nobody() {
    let server = Server::start(with(|r| r.frames = Rate::with_burst(100, 100)));
    let mut wire = Wire::open(server.address, "/ws", "").welcomed();
    let flood: Vec<u8> = frame(PING, "").repeat(1000);
    let mut reader = server.connect();
    reader.subscribe("a").await_ok();
    for round in 0..5 {
        wire.send(&flood);
        wire.send_json(&json!({"type": "ping", "id": round}));
        loop {
            let (opcode, payload) = wire.frame().expect("an answer");
            if opcode == PONG {
                continue;
            }
            let answer: Value = serde_json::from_slice(&payload).unwrap();
            if answer["id"] == round {
                break;
            }
            assert_eq!(answer["code"], "rate_limited", "{answer}");
        }
        server.publish("a", &json!(round));
        assert_eq!(reader.expect_message("a")["data"], round);
    }
    assert!(limited(&server, "frames") > 3000);
}

#[test]
fn new_limits_change_nothing_for_who_keeps_to_them() {
    let server = Server::start(with(|r| {
        r.frames = Rate::with_burst(1000, 1000);
        r.bytes = Rate::with_burst(1 << 20, 1 << 20);
        r.publishes = Rate::with_burst(500, 500);
        r.handshakes = Rate::with_burst(100, 100);
        r.connections_per_ip = 100;
        r.connections_per_user = 100;
    }));
    let mut clients: Vec<_> = (0..10).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.subscribe("a").await_ok();
    }
    for n in 0..20 {
        clients[n % 10].publish("a", n).await_ok();
    }
    for client in &mut clients {
        assert_eq!(client.expect_data(20), (0..20).collect::<Vec<_>>());
        client.send_message(Message::Ping("x".into()));
        client.expect_nothing();
    }
    assert_eq!(server.metric("fanfare_rate_limited_total"), 0);
}

#[test]
fn new_limits_hold_for_open_sessions_and_for_who_comes_next() {
    let server = Server::start(proxied(|r| r.frames = None));
    let from = |named: &str| base(server.address, "/ws", &[("X-Forwarded-For", named)]);
    let mut open = server.connect();
    for _ in 0..20 {
        open.ask(json!({"type": "ping"})).await_ok();
    }
    server.reconfigure(|c| {
        c.limits.rates.frames = Rate::with_burst(1, 3);
        c.limits.rates.connections_per_ip = 1;
        c.server.trusted_proxies.clear();
    });
    let mut limited = false;
    eventually("the open session is held to it", || {
        limited |= open.ask(json!({"type": "ping"})).answer()["code"] == "rate_limited";
        limited
    });
    // Nobody names the client any more: all of them are one, who was not counted so far.
    let mut first = None;
    eventually("the first comes in", || {
        first = from("203.0.113.1").ok();
        first.is_some()
    });
    eventually("the second does not", || {
        from("203.0.113.2").is_err_and(|refused| refused.status() == 429)
    });
    server.reconfigure(|c| c.limits.rates = fanfare::config::Rates::default());
    eventually("all of it is over", || {
        open.ask(json!({"type": "ping"})).answer()["type"] == "ok" && from("203.0.113.2").is_ok()
    });
    for _ in 0..20 {
        open.ask(json!({"type": "ping"})).await_ok();
    }
    drop(first);
}
