//! Server-sent events.

use std::time::Duration;

use serde_json::json;

use crate::support::{Edit, Events, Server, config, kept};

#[test]
fn a_message_is_an_event_with_its_id() {
    let server = Server::start(config());
    let mut events = Events::open(server.address, "topic=kept%2Fa&topic=live%2F%23", &[]);
    for header in ["content-type: text/event-stream", "cache-control: no-store"] {
        assert!(events.head.contains(header), "{}", events.head);
    }
    server.publish("kept/a", &json!({"text": "two\nlines\r\n: and a colon"}));
    let event = events.expect("message");
    let message = event.data;
    assert_eq!(message["type"], "message");
    assert_eq!(message["topic"], "kept/a");
    assert_eq!(message["data"]["text"], "two\nlines\r\n: and a colon");
    let id = |m: &serde_json::Value| {
        format!(
            "{}:{}:{}",
            m["epoch"].as_str().unwrap(),
            m["offset"],
            m["time"]
        )
    };
    assert_eq!(event.id, Some(id(&message)));
    // The same for every stream.
    let mut again = Events::open(server.address, "topic=kept%2F%2B&last=1", &[]);
    assert_eq!(again.expect("message").id, Some(id(&message)));
    server.publish("live/x", &json!(1));
    let live = events.expect("message");
    assert_eq!(live.data["data"], 1);
    assert!(live.id.is_some());
}

#[test]
fn the_last_event_id_recovers_one_topic_exactly() {
    let server = Server::start(config());
    for n in 1..=3 {
        server.publish("kept/a", &json!(n));
    }
    let mut events = Events::open(server.address, "topic=kept/a&last=2", &[]);
    assert_eq!(events.expect("message").data["data"], 2);
    let last = events.expect("message").id.unwrap();
    drop(events);
    for n in 4..=8 {
        server.publish("kept/a", &json!(n));
    }
    let encoded = last.replace(':', "%3A");
    let by_header = Events::open(server.address, "topic=kept/a", &[("Last-Event-ID", &last)]);
    let by_query = Events::open(
        server.address,
        &format!("topic=kept/a&last_event_id={encoded}"),
        &[],
    );
    for mut events in [by_header, by_query] {
        for n in 4..=8 {
            let event = events.expect("message");
            assert_eq!(event.data["data"], n);
            assert_eq!(event.data["offset"], n);
        }
    }
    server.await_metric(r#"fanfare_recoveries_total{result="recovered"}"#, 2);
}

#[test]
fn what_cannot_be_recovered_is_told_by_a_gap() {
    let server = Server::start(config().with(|c| c.topics = vec![kept("kept/#", 3)]));
    for n in 1..=9 {
        server.publish("kept/a", &json!(n));
    }
    let history = server.get("/v1/topics/kept/a/messages").json();
    let epoch = history["epoch"].as_str().unwrap();
    for id in [
        format!("{epoch}:2:1000"),
        "other:9:1000".into(),
        format!("{epoch}:99:1000"),
    ] {
        let mut events = Events::open(server.address, "topic=kept/a", &[("Last-Event-ID", &id)]);
        assert_eq!(events.gaps().len(), 1, "{id}");
        assert_eq!(events.gaps()[0]["topic"], "kept/a", "{id}");
        server.publish("kept/b", &json!(0));
        server.publish("kept/a", &json!("next"));
        assert_eq!(events.expect("message").data["data"], "next", "{id}");
    }
}

#[test]
fn several_topics_and_filters_recover_at_least_once_by_time() {
    let server = Server::start(config());
    for topic in ["kept/a", "kept/b"] {
        for n in 1..=2 {
            server.publish(topic, &json!(n));
        }
    }
    for query in ["topic=kept/a&topic=kept/b", "topic=kept/%23"] {
        let mut events = Events::open(server.address, &format!("{query}&last=1"), &[]);
        let mut had: Vec<_> = (0..2).map(|_| events.expect("message")).collect();
        let last = had.pop().unwrap().id.unwrap();
        drop(events);
        let fresh = [
            server.publish("kept/a", &json!("fresh")),
            server.publish("kept/b", &json!("fresh")),
        ];
        let mut events = Events::open(server.address, query, &[("Last-Event-ID", &last)]);
        let mut missing: Vec<_> = fresh
            .iter()
            .map(|ok| (ok["topic"].clone(), ok["offset"].clone()))
            .collect();
        // More may come than was missed, but nothing less, and nothing twice in one stream.
        let mut seen = std::collections::BTreeSet::new();
        while !missing.is_empty() {
            let data = events.expect("message").data;
            let key = (data["topic"].clone(), data["offset"].clone());
            assert!(seen.insert(format!("{key:?}")), "{key:?} twice");
            missing.retain(|m| *m != key);
        }
    }
}

#[test]
fn a_silent_stream_has_comments_for_a_heartbeat() {
    let server = Server::start(config().with(|c| {
        c.heartbeat.interval = Duration::from_millis(200);
        c.heartbeat.timeout = Duration::from_millis(100);
    }));
    let mut events = Events::open(server.address, "topic=a", &[]);
    for _ in 0..3 {
        let comment = events.next().unwrap();
        assert_eq!(comment.other, [":"], "{comment:?}");
        assert!(comment.name.is_none() && comment.id.is_none());
    }
    server.publish("a", &json!(1));
    assert_eq!(events.expect("message").data["data"], 1);
    assert_eq!(server.metric("fanfare_heartbeat_timeouts_total"), 0);
}

#[test]
fn a_stream_that_leaves_takes_everything_with_it() {
    let server = Server::start(config());
    let mut watcher = server.connect();
    watcher.subscribe("room/1").await_ok();
    let events = Events::open(server.address, "topic=room/1&topic=live/%23", &[]);
    assert_eq!(watcher.frame()["type"], "join");
    assert_eq!(watcher.presence("room/1").len(), 2);
    assert_eq!(server.metric("fanfare_subscriptions"), 3);
    drop(events);
    assert_eq!(watcher.frame()["type"], "leave");
    server.await_metric("fanfare_subscriptions", 1);
    server.await_metric(r#"fanfare_connections{transport="sse"}"#, 0);
    server.await_metric(r#"fanfare_disconnects_total{code="1006"}"#, 1);
}

#[test]
fn a_stream_is_refused_for_what_a_websocket_is_refused() {
    let server = Server::start(config());
    let get = |query: &str| server.http("GET", &format!("/sse{query}"));
    assert_eq!(get("").send().expect_problem(400), "bad_request");
    assert_eq!(
        get("?topic=a%23").send().expect_problem(400),
        "invalid_topic"
    );
    assert_eq!(
        get("?topic=a&last=x").send().expect_problem(400),
        "bad_request"
    );
    assert_eq!(
        get("?topic=a&token=x").send().expect_problem(401),
        "unauthorized"
    );
    let foreign = get("?topic=a")
        .header("Origin", "http://evil.example")
        .send();
    assert_eq!(foreign.expect_problem(403), "forbidden");
    let forwarded = get("?topic=a").header("X-Forwarded-For", "10.0.0.1").send();
    assert_eq!(forwarded.expect_problem(403), "forbidden");
    assert_eq!(
        server.http("POST", "/sse?topic=a").body("x").send().status,
        405
    );
    assert_eq!(server.metric("fanfare_connections_total"), 0);
    server.await_metric("fanfare_subscriptions", 0);
}
