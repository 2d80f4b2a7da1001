//! Raw sessions, and the endpoints that are bound to a topic.

use fanfare::config::{Anonymous, Auth, Config, Endpoint};
use fanfare::model::{Filter, TopicName};
use serde_json::json;
use tungstenite::Message;

use crate::support::{Edit, Server, config, kept};

fn chat() -> Config {
    config().with(|c| {
        c.topics = vec![kept("chat", 50)];
        c.endpoints = vec![Endpoint {
            path: "/chat".into(),
            topic: TopicName::new("chat").unwrap(),
            last: 30,
            on_join: Some("someone came".into()),
            on_leave: Some("someone left".into()),
            max_chars: Some(5),
        }];
    })
}

#[test]
fn a_raw_session_takes_and_gives_payloads() {
    let server = Server::start(config());
    let mut raw = server.raw("/ws?topic=r/a");
    let mut other = server.raw("/ws?topic=r/a&echo=false");
    let mut json = server.connect();
    json.subscribe("r/a").await_ok();
    raw.send("hällo");
    raw.expect("hällo");
    other.expect("hällo");
    let message = json.expect_message("r/a");
    assert_eq!(
        (&message["data"], &message["encoding"]),
        (&json!("hällo"), &json!("text"))
    );
    raw.send_binary(&[0, 255]);
    assert_eq!(other.frame(), Message::binary(vec![0, 255]));
    let message = json.expect_message("r/a");
    assert_eq!(
        (&message["data"], &message["encoding"]),
        (&json!("AP8="), &json!("base64"))
    );
    assert_eq!(raw.frame(), Message::binary(vec![0, 255]));
    // JSON arrives as its text, unchanged but for white space.
    json.publish("r/a", json!({"a": [1, "x"]})).await_ok();
    raw.expect(r#"{"a":[1,"x"]}"#);
    // Its own do not come back where echo is off.
    other.send("own");
    raw.expect("own");
    json.publish("r/a", 1).await_ok();
    other.expect(r#"{"a":[1,"x"]}"#);
    other.expect("1");
    raw.expect("1");
}

#[test]
fn a_raw_session_publishes_where_the_query_says() {
    let server = Server::start(config());
    let mut json = server.connect();
    json.subscribe("out/x").await_ok();
    let mut raw = server.raw("/ws?topic=in/%23&publish=out%2Fx");
    raw.send("there");
    assert_eq!(json.expect_message("out/x")["data"], "there");
    json.publish("in/y", "here").await_ok();
    raw.expect(r#""here""#);
}

#[test]
fn a_raw_session_with_nowhere_to_publish_is_closed_for_sending() {
    let server = Server::start(config());
    for query in ["", "?topic=a/%23", "?topic=a&topic=b"] {
        let mut raw = server.raw(&format!("/ws{query}"));
        raw.send("where to?");
        raw.expect_close(1003);
    }
    server.await_metric(r#"fanfare_disconnects_total{code="1003"}"#, 3);
}

#[test]
fn a_raw_session_is_closed_for_what_would_be_an_error() {
    let server = Server::start(config().with(|c| {
        c.limits.message_bytes = 10;
        c.limits.topics = 1;
    }));
    let mut raw = server.raw("/ws?topic=a");
    raw.send("12345678901");
    raw.expect_close(1009);
    let server = Server::start(config().with(|c| {
        c.auth = Some(Auth {
            anonymous: Some(Anonymous {
                subscribe: vec![Filter::new("a").unwrap()],
                publish: Vec::new(),
            }),
            ..Auth::default()
        });
    }));
    let mut raw = server.raw("/ws?topic=a");
    raw.send("x");
    raw.expect_close(1008);
}

#[test]
fn an_endpoint_replays_then_tells_of_who_comes_and_goes() {
    let server = Server::start(chat());
    for n in 0..40 {
        server.publish("chat", &json!(n));
    }
    let mut anna = server.raw("/chat");
    for n in 10..40 {
        anna.expect(&n.to_string());
    }
    anna.expect("someone came");
    let mut berta = server.raw("/chat");
    for n in 11..40 {
        berta.expect(&n.to_string());
    }
    berta.expect("someone came");
    berta.expect("someone came");
    anna.expect("someone came");
    berta.send("hello");
    anna.expect("hello");
    berta.expect("hello");
    drop(berta);
    anna.expect("someone left");
    // All of it is in the history, as texts.
    let history = server.get("/v1/topics/chat/messages?last=4").json();
    let texts: Vec<_> = history["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["data"].as_str().unwrap())
        .collect();
    assert_eq!(
        texts,
        ["someone came", "someone came", "hello", "someone left"]
    );
    let internal = r#"fanfare_messages_published_total{protocol="internal"}"#;
    server.await_metric(internal, 3);
}

#[test]
fn an_endpoint_speaks_raw_whatever_is_offered_and_takes_no_other() {
    let server = Server::start(chat());
    let open = |offer| {
        crate::support::base(
            server.address,
            "/chat",
            &[("Sec-WebSocket-Protocol", offer)],
        )
    };
    assert!(open("fanfare.v1.raw").is_ok());
    assert_eq!(open("fanfare.v1.json").unwrap_err().status(), 400);
}

#[test]
fn a_text_with_too_many_characters_closes_with_1009_and_is_not_published() {
    let server = Server::start(chat());
    let mut anna = server.raw("/chat");
    anna.expect("someone came");
    let mut berta = server.raw("/chat");
    berta.expect("someone came");
    berta.expect("someone came");
    anna.expect("someone came");
    // Characters are counted, not bytes.
    berta.send("ééééé");
    anna.expect("ééééé");
    berta.expect("ééééé");
    berta.send("éééééé");
    assert!(berta.expect_close(1009).contains('5'));
    anna.expect("someone left");
}
