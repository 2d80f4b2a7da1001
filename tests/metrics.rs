//! The metrics, through the lives of sessions.

use serde_json::json;

use crate::promtool;
use crate::support::{Edit, Events, Server, config, eventually};

#[test]
fn gauges_have_changed_before_the_frame_that_tells_of_it_is_sent() {
    let server = Server::start(config());
    let json = r#"fanfare_connections{transport="websocket",protocol="json"}"#;
    let raw = r#"fanfare_connections{transport="websocket",protocol="raw"}"#;
    let sse = r#"fanfare_connections{transport="sse",protocol="sse"}"#;
    let values = |names: &[&str]| -> Vec<u64> { names.iter().map(|n| server.metric(n)).collect() };
    assert_eq!(values(&[json, raw, sse]), [0, 0, 0]);
    // The welcome tells of the connection, the ok of the subscription: no waiting in this test.
    let mut client = server.connect();
    assert_eq!(values(&[json, raw, sse]), [1, 0, 0]);
    let stream = Events::open(server.address, "topic=a", &[]);
    assert_eq!(values(&[json, raw, sse]), [1, 0, 1]);
    let raw_client = server.raw("/ws?topic=a&topic=b%2F%23");
    assert_eq!(values(&[json, raw, sse]), [1, 1, 1]);
    let exact = r#"fanfare_subscriptions{kind="exact"}"#;
    let filter = r#"fanfare_subscriptions{kind="filter"}"#;
    assert_eq!(values(&[exact, filter]), [2, 1]);
    client.subscribe("c").await_ok();
    client.subscribe("d/#").await_ok();
    assert_eq!(values(&[exact, filter]), [3, 2]);
    assert_eq!(values(&["fanfare_topics"]), [2]);
    client.unsubscribe("c").await_ok();
    client.unsubscribe("d/#").await_ok();
    assert_eq!(values(&[exact, filter]), [2, 1]);
    drop(stream);
    drop(raw_client);
    server.await_metric("fanfare_connections", 1);
    server.await_metric("fanfare_subscriptions", 0);
    server.await_metric("fanfare_topics", 0);
    client.close(1000);
    server.await_metric("fanfare_connections", 0);
    assert_eq!(
        values(&["fanfare_disconnects_total", "fanfare_connections_total"]),
        [3, 3]
    );
    server.await_metric("fanfare_session_queued_bytes", 0);
}

#[test]
fn messages_are_counted_by_who_published_and_by_who_got_them() {
    let server = Server::start(config());
    let mut json = server.connect();
    json.subscribe("kept/a").await_ok();
    let mut raw = server.raw("/ws?topic=kept%2Fa");
    let mut events = Events::open(server.address, "topic=kept%2Fa", &[]);
    for n in 0..3 {
        json.publish("kept/a", n).await_ok();
    }
    raw.send("four");
    server.publish("kept/a", &json!(5));
    assert_eq!(json.expect_data(5).len(), 5);
    for _ in 0..5 {
        raw.frame();
        events.expect("message");
    }
    let each = |name: &str| {
        ["json", "raw", "http", "sse"]
            .map(|p| server.metric(&format!("{name}{{protocol=\"{p}\"}}")))
    };
    assert_eq!(each("fanfare_messages_published_total"), [3, 1, 1, 0]);
    assert_eq!(each("fanfare_published_bytes_total"), [3, 4, 1, 0]);
    server.await_metric("fanfare_messages_delivered_total", 15);
    assert_eq!(each("fanfare_messages_delivered_total"), [5, 5, 0, 5]);
    assert!(each("fanfare_delivered_bytes_total")[1] >= 3 + 4 + 1 + 5 * 2);
    assert_eq!(server.metric("fanfare_messages_dropped_total"), 0);
    server.await_metric("fanfare_history_messages", 5);
    // Replays are deliveries too.
    let mut late = server.connect();
    late.subscribe_with("kept/a", json!({"last": 2})).await_ok();
    assert_eq!(late.expect_data(2).len(), 2);
    server.await_metric("fanfare_messages_delivered_total", 17);
}

#[test]
fn topics_become_labels_only_where_that_is_asked_for() {
    let server = Server::start(config().with(|c| {
        c.metrics.per_topic = vec![fanfare::model::Filter::new("shown/#").unwrap()];
    }));
    let mut client = server.connect();
    client.subscribe("shown/a").await_ok();
    client.subscribe("hidden/a").await_ok();
    let text = server.metrics();
    assert!(
        text.contains(r#"fanfare_topic_subscribers{topic="shown/a"} 1"#),
        "{text}"
    );
    assert!(!text.contains("hidden"), "{text}");
    client.unsubscribe("shown/a").await_ok();
    eventually("the label goes with its topic", || {
        !server.metrics().contains("shown")
    });
}

#[test]
fn what_is_exposed_is_as_prometheus_would_have_it() {
    let server = Server::start(config().with(|c| {
        c.metrics.per_topic = vec![fanfare::model::Filter::new("#").unwrap()];
    }));
    // Something in every kind of series, names that need escaping included.
    let mut client = server.connect();
    client.subscribe("kept/\"quoted\\\"").await_ok();
    client.publish("kept/\"quoted\\\"", 1).await_ok();
    client.expect_data(1);
    client.publish("$x", 1).await_error("forbidden");
    server.http("GET", "/nope").send();
    let answer = server.get("/metrics");
    let kind = answer.header("content-type");
    assert_eq!(kind, Some("text/plain; version=0.0.4; charset=utf-8"));
    promtool::check(&answer.text()).unwrap();
}

#[test]
fn requests_are_counted_by_pattern_and_never_by_path() {
    let server = Server::start(config());
    server.publish("kept/zebra%2Fx", &json!(1));
    server.get("/v1/topics/kept/giraffe/presence");
    server.get("/no/okapi");
    server.http("BREW", "/healthz").send();
    let text = server.metrics();
    for gone in ["zebra", "giraffe", "okapi", "BREW"] {
        assert!(!text.contains(gone), "{gone}");
    }
    let count = server.metric(
        r#"fanfare_http_requests_total{route="/v1/topics/{topic}/messages",method="POST",status="200"}"#,
    );
    assert_eq!(count, 1);
}
