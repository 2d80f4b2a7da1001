//! Presence: who is there, and who is told of it.

use fanfare::config::TopicRule;
use serde_json::json;

use crate::support::{Edit, Server, config, eventually, live};

#[test]
fn coming_and_going_is_told_to_the_others_and_not_to_oneself() {
    for workers in [1, 2] {
        let server = Server::start(config().workers(workers));
        let mut anna = server.connect();
        let mut berta = server.connect();
        let mut by_filter = server.connect();
        by_filter.subscribe("room/#").await_ok();
        anna.subscribe("room/1").await_ok();
        berta.subscribe("room/1").await_ok();
        let berta_id = berta.session();
        let join = anna.frame();
        assert_eq!(join["type"], "join", "{join}");
        assert_eq!(join["topic"], "room/1");
        assert_eq!(join["session"], berta_id);
        assert_eq!(join["user"], json!(null));
        let mut both = [anna.session(), berta_id.clone()];
        both.sort_by_key(ToString::to_string);
        let mut there = by_filter.presence("room/1");
        there.sort_by_key(ToString::to_string);
        assert_eq!(there, both);
        berta.expect_nothing();
        berta.unsubscribe("room/1").await_ok();
        let leave = anna.frame();
        assert_eq!(leave["type"], "leave", "{leave}");
        assert_eq!(leave["session"], berta_id);
        assert_eq!(anna.presence("room/1"), [anna.session()]);
        berta.expect_nothing();
        // Subscribers by filter are told, and are not listed.
        let told = [0; 3].map(|_| by_filter.frame());
        assert_eq!(told[0]["type"], "join");
        assert_eq!(told[0]["session"], anna.session());
        assert_eq!(told[1]["session"], berta_id);
        assert_eq!(
            (&told[2]["type"], &told[2]["session"]),
            (&json!("leave"), &berta_id)
        );
        anna.expect_nothing();
    }
}

#[test]
fn every_end_of_a_session_is_a_leave() {
    let server = Server::start(config());
    let mut watcher = server.connect();
    watcher.subscribe("room/1").await_ok();
    for end in 0..3 {
        let mut guest = server.wire().welcomed();
        guest.send_json(&json!({"type": "subscribe", "topic": "room/1", "id": 1}));
        assert_eq!(guest.json()["type"], "ok");
        let join = watcher.frame();
        assert_eq!(join["type"], "join");
        match end {
            0 => guest.send(crate::support::frame(
                crate::support::CLOSE,
                crate::support::close_payload(1000, ""),
            )),
            1 => guest.finish(),
            _ => guest.reset(),
        }
        let leave = watcher.frame();
        assert_eq!(leave["type"], "leave", "{leave}");
        assert_eq!(leave["session"], join["session"]);
        assert_eq!(watcher.presence("room/1"), [watcher.session()]);
    }
}

#[test]
fn a_topic_without_presence_is_not_asked() {
    let server = Server::start(config());
    let mut one = server.connect();
    one.subscribe("kept/a").await_ok();
    one.ask(json!({"type": "presence", "topic": "kept/a"}))
        .await_error("presence_disabled");
    one.ask(json!({"type": "presence", "topic": "room/#"}))
        .await_error("invalid_topic");
    assert!(one.presence("room/nobody").is_empty());
}

#[test]
fn joins_and_leaves_come_in_the_order_of_the_topic() {
    let server = Server::start(config());
    let mut watcher = server.connect();
    watcher.subscribe("room/1").await_ok();
    let mut guest = server.connect();
    for n in 0..20 {
        guest.subscribe("room/1").await_ok();
        guest.publish("room/1", n).await_ok();
        assert_eq!(guest.expect_message("room/1")["data"], n);
        guest.unsubscribe("room/1").await_ok();
    }
    for n in 0..20 {
        assert_eq!(watcher.frame()["type"], "join");
        assert_eq!(watcher.expect_message("room/1")["data"], n);
        assert_eq!(watcher.frame()["type"], "leave");
    }
}

#[test]
fn a_crowd_that_leaves_at_once_leaves_nobody_behind() {
    let server = Server::start(config());
    let mut watcher = server.connect();
    let mut guests: Vec<_> = (0..40).map(|_| server.connect()).collect();
    for guest in &mut guests {
        guest.subscribe("room/1").await_ok();
    }
    assert_eq!(watcher.presence("room/1").len(), 40);
    drop(guests);
    eventually("the room is empty", || {
        watcher.presence("room/1").is_empty()
    });
    server.await_metric("fanfare_subscriptions", 0);
    server.await_metric("fanfare_connections", 1);
}

#[test]
fn a_filter_of_ones_own_tells_of_the_others_only() {
    for workers in [1, 2] {
        let server = Server::start(config().workers(workers));
        let mut anna = server.connect();
        let mut berta = server.connect();
        for client in [&mut anna, &mut berta] {
            client.subscribe("room/#").await_ok();
        }
        for _ in 0..3 {
            anna.subscribe("room/1").await_ok();
            anna.unsubscribe("room/1").await_ok();
        }
        anna.publish("room/1", "end").await_ok();
        assert_eq!(anna.expect_message("room/1")["data"], "end");
        for kind in ["join", "leave"].repeat(3) {
            let told = berta.frame();
            assert_eq!(told["type"], kind, "{told}");
            assert_eq!(told["session"], anna.session());
        }
        assert_eq!(berta.expect_message("room/1")["data"], "end");
    }
}

#[test]
fn presence_and_join_leave_are_had_one_without_the_other() {
    let server = Server::start(config().with(|c| {
        c.topics = vec![
            TopicRule {
                presence: true,
                ..live("asked/#")
            },
            TopicRule {
                join_leave: true,
                ..live("told/#")
            },
        ];
    }));
    let mut anna = server.connect();
    let mut berta = server.connect();
    for topic in ["asked/1", "told/1"] {
        anna.subscribe(topic).await_ok();
        berta.subscribe(topic).await_ok();
    }
    let there = anna
        .ask(json!({"type": "presence", "topic": "asked/1"}))
        .await_ok();
    assert_eq!(there["count"], 2, "{there}");
    let entries = there["sessions"].as_array().unwrap();
    for who in [&anna, &berta] {
        let mut of_it = entries.iter().filter(|e| e["session"] == who.session());
        let entry = of_it.next().expect("one entry for each");
        assert_eq!(
            (&entry["user"], &entry["info"]),
            (&json!(null), &json!(null))
        );
        assert!(entry["since"].as_u64().unwrap() > 1_700_000_000_000);
    }
    let join = anna.frame();
    assert_eq!(
        (&join["type"], &join["topic"]),
        (&json!("join"), &json!("told/1"))
    );
    anna.ask(json!({"type": "presence", "topic": "told/1"}))
        .await_error("presence_disabled");
    anna.expect_nothing();
}
