//! How sessions end.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    BINARY, CLOSE, Edit, PING, Server, TEXT, bulky, close_payload, config, eventually, frame,
    publish_until,
};

/// An end that waits for nothing.
const AT_ONCE: Duration = Duration::from_millis(600);

#[test]
fn a_close_is_answered_with_its_code_and_the_connection_dropped_at_once() {
    let server = Server::start(config());
    for code in [1000, 1001, 3000, 4999] {
        let mut wire = server.wire().welcomed();
        wire.send(frame(CLOSE, close_payload(code, "bye")));
        wire.expect_close(code);
        assert!(wire.expect_end() < AT_ONCE);
        assert!(wire.expect_gone() < AT_ONCE, "{code}");
    }
    let mut wire = server.wire().welcomed();
    wire.send(frame(CLOSE, ""));
    assert_eq!(wire.frame(), Some((CLOSE, vec![])));
    assert!(wire.expect_gone() < AT_ONCE);
    for (code, count) in [("1000", 1), ("1001", 1), ("other", 2), ("1005", 1)] {
        server.await_metric(
            &format!(r#"fanfare_disconnects_total{{code="{code}"}}"#),
            count,
        );
    }
    server.await_metric("fanfare_connections", 0);
}

#[test]
fn what_was_asked_before_a_close_is_answered_before_it() {
    let server = Server::start(config());
    let mut wire = server.wire().welcomed();
    wire.send_json(&json!({"type": "subscribe", "topic": "kept/a", "id": 1}));
    assert_eq!(wire.json()["id"], 1);
    let publish = json!({"type": "ping", "id": 2}).to_string();
    wire.send([frame(1, publish), frame(CLOSE, close_payload(1000, ""))].concat());
    assert_eq!(wire.json()["id"], 2);
    wire.expect_close(1000);
    wire.expect_end();
}

#[test]
fn a_peer_that_never_answers_a_close_is_dropped_after_a_second() {
    let server = Server::start(config());
    let mut wire = server.wire().welcomed();
    wire.send(frame(BINARY, "x"));
    wire.expect_close(1003);
    // The server's side has ended; what still comes is read and thrown away.
    assert!(wire.expect_end() < AT_ONCE);
    let took = wire.expect_gone();
    let expected = Duration::from_millis(500)..Duration::from_secs(3);
    assert!(expected.contains(&took), "{took:?}");
    server.await_metric("fanfare_connections", 0);
    server.await_metric(r#"fanfare_disconnects_total{code="1003"}"#, 1);
}

#[test]
fn a_peer_that_answers_the_close_is_let_go_at_once() {
    let server = Server::start(config());
    let mut wire = server.wire().welcomed();
    wire.send(frame(BINARY, "x"));
    wire.expect_close(1003);
    wire.send(frame(CLOSE, close_payload(1003, "")));
    assert!(wire.expect_gone() < AT_ONCE);
    server.await_metric(r#"fanfare_disconnects_total{code="1003"}"#, 1);
}

#[test]
fn a_half_closed_connection_is_closed() {
    let server = Server::start(config());
    let mut wire = server.wire().welcomed();
    wire.send_json(&json!({"type": "subscribe", "topic": "a", "id": 1}));
    wire.json();
    wire.finish();
    assert!(wire.expect_end() < AT_ONCE);
    server.await_metric("fanfare_connections", 0);
    server.await_metric("fanfare_subscriptions", 0);
    server.await_metric(r#"fanfare_disconnects_total{code="1006"}"#, 1);
}

#[test]
fn a_reset_in_the_middle_of_a_frame_takes_everything_with_it() {
    let server = Server::start(config());
    let mut watcher = server.connect();
    watcher.subscribe("room/1").await_ok();
    for cut in [1, 2, 5, 20] {
        let mut wire = server.wire().welcomed();
        wire.send_json(&json!({"type": "subscribe", "topic": "room/1", "id": 1}));
        assert_eq!(wire.json()["type"], "ok");
        assert_eq!(watcher.frame()["type"], "join");
        let half = frame(
            1,
            json!({"type": "publish", "topic": "room/1", "data": 1}).to_string(),
        );
        wire.send(&half[..cut]);
        wire.reset();
        assert_eq!(watcher.frame()["type"], "leave", "{cut}");
    }
    server.await_metric("fanfare_connections", 1);
    server.await_metric("fanfare_subscriptions", 1);
    server.await_metric(r#"fanfare_disconnects_total{code="1006"}"#, 4);
    watcher.expect_nothing();
}

#[test]
fn a_publish_that_was_whole_before_the_end_counts() {
    let server = Server::start(config());
    let mut watcher = server.connect();
    watcher.subscribe("a").await_ok();
    let mut wire = server.wire().welcomed();
    let publish = |n: u32| {
        frame(
            1,
            json!({"type": "publish", "topic": "a", "data": n}).to_string(),
        )
    };
    wire.send([publish(1), publish(2), frame(PING, "")].concat());
    wire.finish();
    assert_eq!(watcher.expect_data(2), [json!(1), json!(2)]);
    watcher.expect_nothing();
}

#[test]
fn a_peer_that_closes_and_reads_nothing_does_not_hold_its_worker() {
    let server = Server::start(
        config()
            .workers(1)
            .with(|c| c.session.write_timeout = Duration::from_secs(1)),
    );
    let mut deaf = crate::support::Wire::narrow(server.address, "/ws?topic=a").welcomed();
    let mut writer = server.connect();
    // More than the kernel takes, less than the queue.
    publish_until(&mut writer, bulky(60_000), || {
        server.metric("fanfare_session_queued_bytes") > 0
    });
    deaf.send(frame(CLOSE, close_payload(1000, "")));
    server.await_metric("fanfare_connections", 1);
    // Its deadline comes and goes while the worker does what others ask, and at once.
    eventually("its socket is dropped", || {
        let asked = Instant::now();
        writer.publish("b", "still there").await_ok();
        assert!(asked.elapsed() < Duration::from_millis(500));
        server.metric("fanfare_session_queued_bytes") == 0
    });
}

#[test]
fn a_peer_that_ends_its_side_behind_its_close_is_answered() {
    let server = Server::start(config());
    let mut wire = server.wire().welcomed();
    let ping = json!({"type": "ping", "id": 7}).to_string();
    wire.send([frame(1, ping), frame(CLOSE, close_payload(1000, ""))].concat());
    wire.finish();
    assert_eq!(wire.json()["id"], 7);
    wire.expect_close(1000);
}

#[test]
fn a_stream_that_is_refused_late_is_told_why() {
    let server = Server::start(config().with(|c| c.limits.topics = 1));
    let mut one = server.connect();
    one.subscribe("a").await_ok();
    server.get("/sse?topic=b").expect_problem(429);
}

#[test]
fn a_session_whose_answers_were_above_its_bound_for_one_turn_is_read_again() {
    let server = Server::start(config().workers(1).with(|c| c.session.queue = 64 * 1024));
    let mut writer = server.connect();
    let text = "x".repeat(60_000);
    for _ in 0..2 {
        writer.publish("kept/a", text.as_str()).await_ok();
    }
    let mut wire = server.wire().welcomed();
    for id in [1, 2, 3] {
        wire.send_json(&json!({"type": "history", "topic": "kept/a", "limit": 2, "id": id}));
        assert_eq!(wire.json()["id"], id);
    }
}

#[test]
fn what_comes_behind_a_close_is_ignored() {
    let server = Server::start(config());
    let mut watcher = server.connect();
    watcher.subscribe("kept/a").await_ok();
    let publish = |n: u32| {
        let publish = json!({"type": "publish", "topic": "kept/a", "data": n});
        frame(TEXT, publish.to_string())
    };
    for behind in [
        publish(2),
        vec![0xff; 64],
        frame(CLOSE, close_payload(1000, "")),
    ] {
        let mut wire = server.wire().welcomed();
        let close = frame(CLOSE, close_payload(1000, "bye"));
        wire.send([publish(1), close, behind, publish(3)].concat());
        wire.expect_close(1000);
        wire.expect_end();
        assert_eq!(watcher.expect_message("kept/a")["data"], 1);
    }
    server.await_metric("fanfare_connections", 1);
    watcher.expect_nothing();
}
