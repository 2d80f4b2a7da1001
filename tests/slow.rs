//! Peers that do not read, or hardly: what becomes of them, and that nobody else notices.

use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{CLOSE, Client, Edit, Events, Server, TEXT, Wire, config, eventually, kept};

/// Queued = delivered + dropped + what still waits.
#[track_caller]
fn assert_all_accounted_for(server: &Server, queued: u64) {
    eventually("every message is delivered or dropped", || {
        server.metric("fanfare_session_queued_bytes") == 0
    });
    let delivered = server.metric("fanfare_messages_delivered_total");
    let dropped = server.metric("fanfare_messages_dropped_total");
    assert_eq!(delivered + dropped, queued, "{delivered} + {dropped}");
}

/// A session that subscribed to `a` and reads no more.
fn deaf(server: &Server) -> Wire {
    let mut wire = Wire::narrow(server.address, "/ws").welcomed();
    wire.send_json(&json!({"type": "subscribe", "topic": "a", "id": 1}));
    assert_eq!(wire.json()["type"], "ok");
    wire
}

#[test]
fn a_full_queue_ends_its_session_with_4008_and_nobody_else_notices() {
    let server = Server::start(config().with(|c| c.session.queue = 64 * 1024));
    let mut slow = deaf(&server);
    let mut readers: Vec<_> = (0..50).map(|_| server.connect()).collect();
    for reader in &mut readers {
        reader.subscribe("a").await_ok();
    }
    let mut writer = server.connect();
    let text = "x".repeat(4000);
    let mut published = 0;
    // As many as it takes to fill the kernel's buffers and the queue.
    while server.metric(r#"fanfare_disconnects_total{code="4008"}"#) == 0 {
        assert!(published < 20_000, "the slow session is still there");
        for _ in 0..100 {
            writer.publish("a", json!([published, text])).await_ok();
            published += 1;
        }
        for reader in &mut readers {
            for (n, data) in (published - 100..).zip(reader.expect_data(100)) {
                assert_eq!(data[0], n);
            }
        }
    }
    readers.iter_mut().for_each(Client::expect_nothing);
    assert_eq!(server.metric("fanfare_connections"), 51);
    let dropped = server.metric(r#"fanfare_messages_dropped_total{reason="slow"}"#);
    assert!(dropped > 0);
    // What the slow one got is whole frames in order, then, if there was room, the reason.
    let mut next = 0;
    while let Some((opcode, payload)) = slow.frame() {
        if opcode == CLOSE {
            assert_eq!(payload[..2], 4008u16.to_be_bytes());
            break;
        }
        assert_eq!(opcode, TEXT);
        let frame: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        if frame["type"] == "closing" {
            assert_eq!(
                (&frame["code"], &frame["reconnect"]),
                (&json!(4008), &json!(true))
            );
            continue;
        }
        assert_eq!(frame["data"][0], next);
        next += 1;
    }
    let delivered = server.metric("fanfare_messages_delivered_total");
    assert!(
        next <= delivered - 50 * published,
        "what was read was counted"
    );
    let to_slow = delivered + dropped - 50 * published;
    assert!(
        to_slow <= published,
        "no more was queued than was published"
    );
    server.await_metric("fanfare_sessions_slow", 0);
    server.await_metric("fanfare_session_queued_bytes", 0);
}

#[test]
fn a_queue_that_is_not_emptied_in_time_ends_its_session_with_4008() {
    let server = Server::start(config().with(|c| {
        c.session.queue = 64 * 1024 * 1024;
        c.session.write_timeout = Duration::from_millis(500);
    }));
    let mut slow = deaf(&server);
    let mut writer = server.connect();
    let text = "x".repeat(32_000);
    let mut published = 0;
    while server.metric("fanfare_sessions_slow") == 0 {
        writer.publish("a", text.clone()).await_ok();
        published += 1;
        assert!(published < 4000);
    }
    // A message of which a part was written is not dropped as slow: it is never split.
    for _ in 0..10 {
        writer.publish("a", text.clone()).await_ok();
        published += 1;
    }
    let waiting = Instant::now();
    server.await_metric(r#"fanfare_disconnects_total{code="4008"}"#, 1);
    let took = waiting.elapsed();
    // The look at the deadline may be half a second late; then a second to read why.
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_all_accounted_for(&server, published);
    assert!(server.metric(r#"fanfare_messages_dropped_total{reason="slow"}"#) > 0);
    slow.expect_end();
}

#[test]
fn a_peer_that_reads_a_byte_now_and_then_is_ended_by_the_write_timeout() {
    let server = Server::start(config().with(|c| {
        c.session.queue = 64 * 1024 * 1024;
        c.session.write_timeout = Duration::from_millis(500);
    }));
    let mut slow = deaf(&server);
    let mut writer = server.connect();
    let text = "x".repeat(32_000);
    while server.metric("fanfare_sessions_slow") == 0 {
        writer.publish("a", text.clone()).await_ok();
    }
    let gone = r#"fanfare_disconnects_total{code="4008"}"#;
    eventually("the slow session ends though it reads", || {
        slow.stream.read_exact(&mut [0]).unwrap();
        server.metric(gone) == 1
    });
}

#[test]
fn a_slow_session_that_catches_up_in_time_stays() {
    let server = Server::start(config().with(|c| {
        c.session.queue = 64 * 1024 * 1024;
        c.session.write_timeout = Duration::from_secs(30);
    }));
    let mut slow = deaf(&server);
    let mut writer = server.connect();
    let text = "x".repeat(32_000);
    let mut published = 0;
    while server.metric("fanfare_sessions_slow") == 0 {
        writer.publish("a", json!([published, text])).await_ok();
        published += 1;
    }
    for n in 0..published {
        assert_eq!(slow.json()["data"][0], n);
    }
    server.await_metric("fanfare_sessions_slow", 0);
    assert_all_accounted_for(&server, published);
    assert_eq!(server.metric("fanfare_messages_delivered_total"), published);
    slow.send_json(&json!({"type": "ping", "id": 9}));
    assert_eq!(slow.json()["id"], 9);
}

#[test]
fn a_session_that_asks_and_never_reads_holds_no_more_than_its_queue() {
    let server = Server::start(config().with(|c| {
        c.session.queue = 64 * 1024;
        c.session.write_timeout = Duration::from_secs(60);
    }));
    let mut wire = Wire::narrow(server.address, "/ws").welcomed();
    let ping = crate::support::frame(TEXT, json!({"type": "ping", "id": 1}).to_string());
    let many = ping.repeat(1000);
    wire.stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    // It is not read on, so in the end sending stops.
    let mut sent = 0;
    while std::io::Write::write_all(&mut wire.stream, &many).is_ok() {
        sent += 1000;
        assert!(sent < 10_000_000, "whoever never reads is read without end");
    }
    assert!(server.metric("fanfare_session_queued_bytes") < 1024 * 1024);
    server.connect().expect_nothing();
}

#[test]
fn a_queue_that_a_session_leaves_behind_is_counted_as_dropped() {
    let server = Server::start(config().with(|c| c.session.queue = 64 * 1024 * 1024));
    let slow = deaf(&server);
    let mut writer = server.connect();
    let text = "x".repeat(32_000);
    let mut published = 0;
    while server.metric("fanfare_session_queued_bytes") < 500_000 {
        writer.publish("a", text.clone()).await_ok();
        published += 1;
    }
    slow.reset();
    server.await_metric("fanfare_connections", 1);
    assert_all_accounted_for(&server, published);
    assert!(server.metric(r#"fanfare_messages_dropped_total{reason="closed"}"#) > 0);
    server.await_metric("fanfare_sessions_slow", 0);
}

#[test]
fn who_was_too_slow_recovers_with_since() {
    let server = Server::start(config().with(|c| {
        c.session.queue = 64 * 1024;
        c.topics = vec![kept("a", 100_000)];
    }));
    let mut slow = deaf(&server);
    let mut writer = server.connect();
    let text = "x".repeat(8000);
    let mut published = 0;
    while server.metric("fanfare_subscriptions") > 0 {
        writer.publish("a", text.clone()).await_ok();
        published += 1;
    }
    let mut epoch = json!(null);
    let mut last = 0;
    while let Some((TEXT, payload)) = slow.frame() {
        let frame: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        if frame["type"] == "message" {
            assert_eq!(frame["offset"], last + 1);
            last += 1;
            epoch = frame["epoch"].clone();
        }
    }
    assert!(last < published);
    // Back again, and reading.
    let mut back = server.connect();
    let ok = back
        .subscribe_with("a", json!({"since": {"epoch": epoch, "offset": last}}))
        .await_ok();
    assert_eq!(ok["recovered"], true, "{ok}");
    for offset in last + 1..=published {
        assert_eq!(back.expect_message("a")["offset"], offset);
    }
    back.expect_nothing();
}

#[test]
fn an_event_stream_that_is_not_read_is_ended() {
    let server = Server::start(config().with(|c| {
        c.session.queue = 64 * 1024 * 1024;
        c.session.write_timeout = Duration::from_millis(500);
    }));
    let mut events = Events::open(server.address, "topic=a", &[]);
    let mut other = Events::open(server.address, "topic=b", &[]);
    let mut writer = server.connect();
    let text = "x".repeat(32_000);
    let mut published = 0;
    while server.metric("fanfare_sessions_slow") == 0 {
        writer.publish("a", text.clone()).await_ok();
        published += 1;
        assert!(published < 4000);
    }
    server.await_metric(r#"fanfare_disconnects_total{code="4008"}"#, 1);
    server.await_metric(r#"fanfare_connections{protocol="sse"}"#, 1);
    assert_all_accounted_for(&server, published);
    while events.next().is_some() {}
    writer.publish("b", 1).await_ok();
    assert_eq!(other.expect("message").data["data"], 1);
}
