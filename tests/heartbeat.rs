//! Signs of life, and peers that give none.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Edit, PING, PONG, Server, Wire, config, frame};

const INTERVAL: Duration = Duration::from_millis(400);
const TIMEOUT: Duration = Duration::from_millis(300);

fn beating() -> Server {
    Server::start(config().with(|c| {
        c.heartbeat.interval = INTERVAL;
        c.heartbeat.timeout = TIMEOUT;
    }))
}

/// Reads until a ping comes; gives its payload.
#[track_caller]
fn await_ping(wire: &mut Wire) -> Vec<u8> {
    loop {
        let (opcode, payload) = wire.frame().expect("a ping");
        if opcode == PING {
            return payload;
        }
    }
}

#[test]
fn a_silent_session_is_pinged_and_its_answers_round_trip_is_measured() {
    let server = beating();
    let mut wire = server.wire();
    let welcome = wire.json();
    assert_eq!(welcome["heartbeat"].as_f64(), Some(0.4));
    for round in 1..=3 {
        let silent = Instant::now();
        let payload = await_ping(&mut wire);
        // Brought forward by up to a quarter.
        assert!(silent.elapsed() > INTERVAL / 2, "{:?}", silent.elapsed());
        wire.send(frame(PONG, payload));
        server.await_metric("fanfare_heartbeat_rtt_seconds_count", round);
    }
    let session = welcome["session"].as_str().unwrap();
    let shown = server.get(&format!("/v1/sessions/{session}")).json();
    let took = shown["rtt_ms"].as_f64().unwrap();
    assert!(
        took > 0.0 && took < TIMEOUT.as_secs_f64() * 1000.0,
        "{shown}"
    );
    assert_eq!(server.metric("fanfare_heartbeat_timeouts_total"), 0);
    assert_eq!(server.metric("fanfare_connections"), 1);
}

#[test]
fn whatever_arrives_is_a_sign_of_life() {
    let server = beating();
    let mut wire = server.wire().welcomed();
    // Never a pong, but something else after each ping.
    for _ in 0..3 {
        await_ping(&mut wire);
        wire.send_json(&json!({"type": "ping", "id": 1}));
        assert_eq!(wire.json()["id"], 1);
    }
    // Even half a frame.
    await_ping(&mut wire);
    wire.send([0x81]);
    await_ping(&mut wire);
    assert_eq!(server.metric("fanfare_heartbeat_timeouts_total"), 0);
}

#[test]
fn who_talks_is_not_pinged() {
    let server = beating();
    let mut wire = server.wire().welcomed();
    let until = Instant::now() + 2 * INTERVAL;
    while Instant::now() < until {
        wire.send_json(&json!({"type": "ping", "id": 1}));
        let (opcode, _) = wire.frame().unwrap();
        assert_ne!(opcode, PING);
        std::thread::sleep(INTERVAL / 10);
    }
}

#[test]
fn a_peer_that_gives_no_sign_of_life_is_gone_in_time_with_all_it_had() {
    let server = beating();
    let mut watcher = server.connect();
    watcher.subscribe("room/1").await_ok();
    let mut dead = server.wire().welcomed();
    dead.send_json(&json!({"type": "subscribe", "topic": "room/1", "id": 1}));
    assert_eq!(dead.json()["type"], "ok");
    let silent = Instant::now();
    let join = watcher.frame();
    assert_eq!(join["type"], "join");
    // The library answers pings only while it is read.
    let leave = watcher.frame();
    let took = silent.elapsed();
    assert_eq!(leave["type"], "leave", "{leave}");
    assert_eq!(leave["session"], join["session"]);
    assert!(took > TIMEOUT, "{took:?}");
    assert!(
        took < INTERVAL + TIMEOUT + Duration::from_millis(500),
        "{took:?}"
    );
    assert_eq!(watcher.presence("room/1"), [watcher.session()]);
    assert_eq!(server.metric("fanfare_heartbeat_timeouts_total"), 1);
    server.await_metric(r#"fanfare_disconnects_total{code="4009"}"#, 1);
    server.await_metric("fanfare_connections", 1);
    assert_eq!(server.metric("fanfare_subscriptions"), 1);
    // It was told, as far as that was possible.
    dead.expect_close(4009);
    dead.expect_gone();
}

#[test]
fn a_dead_peer_that_is_published_to_is_no_more_alive_for_it() {
    let server = beating();
    let mut writer = server.connect();
    let mut dead = server.wire().welcomed();
    dead.send_json(&json!({"type": "subscribe", "topic": "a", "id": 1}));
    assert_eq!(dead.json()["type"], "ok");
    let started = Instant::now();
    // What the kernel takes for sending says nothing of the peer.
    while server.metric("fanfare_subscriptions") > 0 {
        writer.publish("a", 1).await_ok();
        assert!(started.elapsed() < 3 * (INTERVAL + TIMEOUT));
    }
    server.await_metric(r#"fanfare_disconnects_total{code="4009"}"#, 1);
}

#[test]
fn without_a_heartbeat_nobody_is_pinged() {
    let server = Server::start(config().with(|c| {
        c.heartbeat.interval = Duration::ZERO;
        c.heartbeat.timeout = TIMEOUT;
    }));
    let mut wire = server.wire();
    assert_eq!(wire.json()["heartbeat"].as_f64(), Some(0.0));
    wire.stream
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let silence = std::io::Read::read(&mut wire.stream, &mut [0; 8]);
    assert_eq!(silence.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}
