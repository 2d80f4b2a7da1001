//! Peers that do not read, or hardly: what becomes of them, and that nobody else notices.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    CLOSE, Client, Edit, Http, PONG, Process, Server, TEXT, Wire, config, deaf, eventually, filled,
    frame, kept, raise_descriptors, sessions,
};

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
    let (mut slow, mut writer, mut published) = filled(&server, 32_000, || {
        server.metric("fanfare_sessions_slow") == 1
    });
    // A message of which a part was written is not dropped as slow: it is never split.
    for n in 0..10 {
        writer.publish("a", n).await_ok();
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
    let (mut slow, _writer, _) = filled(&server, 32_000, || {
        server.metric("fanfare_sessions_slow") == 1
    });
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
    let (mut slow, _writer, published) = filled(&server, 32_000, || {
        server.metric("fanfare_sessions_slow") == 1
    });
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
    let ping = frame(TEXT, json!({"type": "ping", "id": 1}).to_string());
    let many = ping.repeat(1000);
    wire.stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    // It is not read on, so in the end sending stops.
    let mut sent = 0;
    while wire.stream.write_all(&many).is_ok() {
        sent += 1000;
        assert!(sent < 10_000_000, "whoever never reads is read without end");
    }
    assert!(server.metric("fanfare_session_queued_bytes") < 1024 * 1024);
    server.connect().expect_nothing();
}

#[test]
fn a_queue_that_a_session_leaves_behind_is_counted_as_dropped() {
    let server = Server::start(config().with(|c| c.session.queue = 64 * 1024 * 1024));
    let (slow, _writer, published) = filled(&server, 32_000, || {
        server.metric("fanfare_session_queued_bytes") >= 500_000
    });
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
    let (mut slow, _writer, published) = filled(&server, 8000, || {
        server.metric("fanfare_subscriptions") == 0
    });
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
fn who_is_not_read_because_its_answers_wait_is_not_taken_for_dead() {
    let server = Server::start(config().with(|c| {
        c.session.queue = 64 * 1024;
        c.session.write_timeout = Duration::from_secs(60);
        c.heartbeat.interval = Duration::from_millis(200);
        c.heartbeat.timeout = Duration::from_millis(100);
    }));
    let mut wire = Wire::narrow(server.address, "/ws").welcomed();
    let ping = frame(TEXT, json!({"type": "ping", "id": 1}).to_string());
    wire.stream
        .set_write_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    // It talks until nobody listens, and reads nothing: what it says afterwards is not heard.
    let mut sent = 0;
    while let Ok(bytes) = wire.stream.write(&ping[sent % ping.len()..]) {
        sent += bytes;
    }
    // Three that could be heard and say nothing are taken for dead meanwhile, one after the other.
    let dead = "fanfare_heartbeat_timeouts_total";
    for count in 1..=3 {
        let _silent = server.wire().welcomed();
        server.await_metric(dead, count);
    }
    // While it reads it goes on talking, and gets every answer.
    let mut talking = wire.stream.try_clone().unwrap();
    talking.set_write_timeout(None).unwrap();
    let rest = ping[sent % ping.len()..].to_vec();
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let talk = std::thread::spawn(move || {
        talking.write_all(&rest).unwrap();
        while is_done.recv_timeout(Duration::from_millis(20)).is_err() {
            talking.write_all(&frame(PONG, "")).unwrap();
        }
    });
    let mut answers = 0;
    while answers < sent.div_ceil(ping.len()) {
        let (opcode, _) = wire.frame().expect("an answer");
        answers += usize::from(opcode == TEXT);
    }
    assert_eq!(server.metric(dead), 3);
    done.send(()).unwrap();
    talk.join().unwrap();
    // From here on it is silent.
    server.await_metric(dead, 4);
}

#[test]
fn a_message_of_a_mebibyte_to_a_crowd_is_held_once() {
    const BYTES: usize = 1 << 20;
    let all = sessions(1000);
    raise_descriptors();
    // Whoever waits to be read answers no ping.
    let broker = Process::start(
        "server.workers = 2\nheartbeat.interval = '0'\nlimits.message_bytes = '2MiB'\n\
         [session]\nqueue = '4MiB'\nwrite_timeout = '10m'",
        &[],
    );
    let mut readers: Vec<Wire> = (0..all)
        .map(|_| Wire::narrow(broker.address, "/ws?topic=a").welcomed())
        .collect();
    // What was delivered is told once something was.
    let mut other = Wire::narrow(broker.address, "/ws?topic=b").welcomed();
    let first = Http::new(broker.address, "POST", "/v1/topics/b/messages");
    assert_eq!(first.json(&json!("first")).send().status, 200);
    assert_eq!(other.json()["data"], "first");
    broker.await_metric("fanfare_messages_delivered_total", 1);
    let before = broker.resident();
    let publish = Http::new(broker.address, "POST", "/v1/topics/a/messages");
    let answer = publish.json(&json!("x".repeat(BYTES))).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    // Nobody has read: it is in the kernel's buffers whole, or in part and the rest waits.
    eventually("it is under way to all", || {
        let delivered = broker.metric("fanfare_messages_delivered_total");
        delivered - 1 + broker.metric("fanfare_sessions_slow") >= all as u64
    });
    // The others' way through the kernel would take minutes: the most is held by now.
    for reader in &mut readers[..20] {
        assert_eq!(reader.json()["data"].as_str().unwrap().len(), BYTES);
    }
    // Once as it came and once as a frame; and an entry in each queue.
    let most = broker.peak().saturating_sub(before);
    let allowed = 3 * BYTES + all * 1024;
    assert!(most < allowed, "{most} bytes more");
}

#[test]
fn a_large_message_that_waits_for_many_is_held_once() {
    // More than the kernel takes for a socket.
    const BYTES: usize = 8 << 20;
    const READERS: u64 = 20;
    let broker = Process::start(
        "[limits]\nmessage_bytes = '9MiB'\n[session]\nqueue = '18MiB'\nwrite_timeout = '1m'",
        &[],
    );
    let mut readers: Vec<Wire> = (0..READERS)
        .map(|_| Wire::narrow(broker.address, "/ws?topic=a").welcomed())
        .collect();
    let before = broker.resident();
    let publish = Http::new(broker.address, "POST", "/v1/topics/a/messages");
    let answer = publish.json(&json!("x".repeat(BYTES))).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    eventually("it waits for all", || {
        broker.metric("fanfare_sessions_slow") == READERS
    });
    assert!(broker.metric("fanfare_session_queued_bytes") > READERS * BYTES as u64 / 4);
    let grown = broker.resident().saturating_sub(before);
    assert!(grown < 4 * BYTES, "{grown} bytes more");
    for reader in &mut readers {
        assert_eq!(reader.json()["data"].as_str().unwrap().len(), BYTES);
    }
}
