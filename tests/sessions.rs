//! Sessions as operators and the application deal with them, through the public door.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tungstenite::Message;

use crate::support::{Client, Edit, Events, Packed, Server, config, eventually};

fn name(client: &Client) -> String {
    client.session().as_str().unwrap().to_owned()
}

/// What the API shows of that session.
fn shown(server: &Server, client: &Client) -> Value {
    server.get(&format!("/v1/sessions/{}", name(client))).json()
}

/// Names of the sessions that a query finds, all pages.
fn found(server: &Server, query: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut after = String::new();
    loop {
        let page = server.get(&format!("/v1/sessions?{query}{after}")).json();
        for session in page["sessions"].as_array().unwrap() {
            let name = session["session"].as_str().unwrap().to_owned();
            assert!(found.insert(name), "twice: {session}");
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return found,
        }
    }
}

#[track_caller]
fn post(server: &Server, path: &str, kind: &str, body: impl Into<Vec<u8>>) -> Value {
    let request = server.http("POST", path).header("Content-Type", kind);
    let answer = request.body(body).send();
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

#[track_caller]
fn subscribe(server: &Server, client: &Client, body: &Value) -> Value {
    let path = format!("/v1/sessions/{}/subscriptions", name(client));
    post(server, &path, "application/json", body.to_string())
}

#[test]
fn a_session_is_shown_with_what_it_is_and_did() {
    let server = Server::start(config());
    let mut client = server.connect();
    client.subscribe("kept/a").await_ok();
    client.subscribe("live/#").await_ok();
    client.publish("kept/a", 1).await_ok();
    client.cast("live/x", 2);
    assert_eq!(client.expect_data(2), [1, 2]);
    let session = shown(&server, &client);
    assert_eq!(session["session"], client.session());
    assert_eq!(session["user"], Value::Null);
    assert_eq!(session["address"], "127.0.0.1");
    assert_eq!(session["transport"], "websocket");
    assert_eq!(session["protocol"], client.welcome["protocol"]);
    assert_eq!(session["subscriptions"], json!(["kept/a", "live/#"]));
    assert_eq!(session["published"], 2);
    assert_eq!(session["delivered"], 2);
    assert_eq!(session["queued_bytes"], 0);
    assert!(session["since"].as_u64().unwrap() > 1_700_000_000_000);
    assert!(session["age_seconds"].as_u64().unwrap() < 60);
    // Nothing was silent for long enough to be pinged.
    assert_eq!(session["rtt_ms"], Value::Null);
    let stream = Events::open(server.address, "topic=kept/a", &[]);
    let listed = server.get("/v1/sessions?topic=kept/a").json();
    let listed = listed["sessions"].as_array().unwrap();
    let sse = listed.iter().find(|s| s["transport"] == "sse").unwrap();
    assert_eq!(sse["protocol"], "fanfare.v1.json");
    assert_eq!(sse["rtt_ms"], Value::Null);
    drop(stream);
    let gone = client.session();
    client.close(1000);
    let gone = format!("/v1/sessions/{}", gone.as_str().unwrap());
    eventually("a session that ended is not shown", || {
        server.get(&gone).status == 404
    });
    assert_eq!(server.get(&gone).expect_problem(404), "not_found");
}

#[test]
fn sessions_of_all_workers_are_listed_page_by_page_and_found_by_topic() {
    let server = Server::start(config());
    let mut clients: Vec<_> = (0..9).map(|_| server.connect()).collect();
    let everyone: BTreeSet<_> = clients.iter().map(name).collect();
    for limit in [1, 2, 8, 9, 10, 1000] {
        assert_eq!(
            found(&server, &format!("limit={limit}")),
            everyone,
            "{limit}"
        );
    }
    clients[0].subscribe("a/b").await_ok();
    clients[1].subscribe("a/+").await_ok();
    clients[2].subscribe("a/c").await_ok();
    clients[3].subscribe("#").await_ok();
    let of = |of: &[usize]| {
        of.iter()
            .map(|n| name(&clients[*n]))
            .collect::<BTreeSet<_>>()
    };
    // A name finds those who get what is published to it, a filter those who have that very filter.
    assert_eq!(found(&server, "limit=1&topic=a/b"), of(&[0, 1, 3]));
    assert_eq!(found(&server, "topic=a/%2B"), of(&[1]));
    assert_eq!(found(&server, "topic=none/%23"), of(&[]));
    assert_eq!(found(&server, "user=nobody"), of(&[]));
}

#[test]
fn a_message_to_one_session_comes_to_it_alone_and_stays_of_its_kind() {
    let server = Server::start(config());
    let mut client = server.connect();
    let mut other = server.connect();
    other.subscribe("#").await_ok();
    let path = format!("/v1/sessions/{}/messages", name(&client));
    for (kind, body, data, encoding) in [
        (
            "application/json",
            r#" {"a": 1.50} "#,
            json!({"a": 1.5}),
            None,
        ),
        ("text/plain", "é", json!("é"), Some("text")),
        (
            "application/octet-stream",
            "\0",
            json!("AA=="),
            Some("base64"),
        ),
    ] {
        let answer = post(&server, &path, kind, body);
        assert_eq!(answer, json!({"sessions": 1}));
        let message = client.expect_message("$direct");
        assert_eq!(message["data"], data);
        assert_eq!(message.get("encoding").and_then(Value::as_str), encoding);
        assert!(message["time"].as_u64().unwrap() > 1_700_000_000_000);
        assert!(message.get("offset").is_none() && message.get("epoch").is_none());
    }
    other.expect_nothing();
    server.await_metric(r#"fanfare_messages_published_total{protocol="http"}"#, 3);
    server.await_metric(r#"fanfare_messages_delivered_total{protocol="json"}"#, 3);
    client.close(1000);
    eventually("a session that ended gets nothing", || {
        let request = server.http("POST", &path).body("x");
        request.send().status == 404
    });
}

#[test]
fn a_broadcast_comes_to_every_session_on_every_worker_in_what_it_speaks() {
    let server = Server::start(config());
    let mut clients: Vec<_> = (0..6).map(|_| server.connect()).collect();
    let mut packed: Vec<_> = (0..2)
        .map(|_| Packed::open(server.address, "/ws"))
        .collect();
    let mut raw: Vec<_> = (0..4).map(|_| server.raw("/ws?topic=a")).collect();
    let mut streams: Vec<_> = (0..4)
        .map(|_| Events::open(server.address, "topic=kept/a", &[]))
        .collect();
    let kept = server.publish("kept/a", &json!("kept"));
    let last = format!("{}:{}:", kept["epoch"].as_str().unwrap(), kept["offset"]);
    let ids: Vec<_> = streams
        .iter_mut()
        .map(|stream| stream.expect("message").id)
        .collect();
    for (kind, body, as_raw) in [
        (
            "application/json",
            br#"{"n":1}"#.to_vec(),
            Message::text(r#"{"n":1}"#),
        ),
        ("text/plain", b"to all".to_vec(), Message::text("to all")),
        ("image/png", vec![0, 255], Message::binary(vec![0, 255])),
    ] {
        let answer = post(&server, "/v1/broadcast", kind, body);
        assert_eq!(answer, json!({"sessions": 16}));
        for client in &mut clients {
            client.expect_message("$broadcast");
        }
        for client in &mut packed {
            assert_eq!(
                client.expect("message")["topic"].as_str(),
                Some("$broadcast")
            );
        }
        for session in &mut raw {
            assert_eq!(session.frame(), as_raw);
        }
        for stream in &mut streams {
            let event = stream.expect("message");
            assert_eq!(event.data["topic"], "$broadcast");
            // An EventSource goes on from the last id that it had.
            assert_eq!(event.id, None);
        }
    }
    assert!(
        ids.iter().flatten().all(|id| id.starts_with(&last)),
        "{ids:?}"
    );
    server.await_metric(r#"fanfare_messages_published_total{protocol="http"}"#, 4);
    server.await_metric("fanfare_messages_delivered_total", 3 * 16 + 4);
}

#[test]
fn the_servers_side_subscribes_a_session_and_ends_its_subscriptions() {
    let server = Server::start(config().with(|c| c.session.subscriptions = 3));
    for n in 1..=3 {
        server.publish("kept/a", &json!(n));
    }
    let mut client = server.connect();
    let ok = subscribe(&server, &client, &json!({"topic": "kept/a", "last": 2}));
    assert_eq!(ok["session"], client.session());
    assert_eq!((&ok["topic"], &ok["offset"]), (&json!("kept/a"), &json!(3)));
    assert_eq!((&ok["replayed"], &ok["time"].is_u64()), (&json!(2), &true));
    assert_eq!(client.expect_data(2), [2, 3]);
    subscribe(&server, &client, &json!({"topic": "room/1", "echo": false}));
    assert_eq!(client.presence("room/1"), [client.session()]);
    client.publish("room/1", "own").await_ok();
    subscribe(&server, &client, &json!({"topic": "live/#"}));
    server.publish("live/x", &json!("live"));
    assert_eq!(client.expect_data(1), ["live"]);

    let path = format!("/v1/sessions/{}/subscriptions", name(&client));
    for (topic, status, code) in [
        ("kept/a", 409, "already_subscribed"),
        ("one/more", 429, "limit_exceeded"),
    ] {
        let again = server
            .http("POST", &path)
            .json(&json!({"topic": topic}))
            .send();
        assert_eq!(again.expect_problem(status), code);
    }

    server.publish("kept/a", &json!("before"));
    assert_eq!(client.expect_data(1), ["before"]);
    let ended = server
        .http("DELETE", &format!("{path}?topic=kept/a"))
        .send();
    assert_eq!(
        ended.json(),
        json!({"session": client.session(), "topics": ["kept/a"]})
    );
    server.publish("kept/a", &json!("after"));
    let told = client.frame();
    assert_eq!(told["type"], "unsubscribed");
    assert_eq!(
        (&told["topic"], &told["code"]),
        (&json!("kept/a"), &json!("not_subscribed"))
    );
    assert!(
        told["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    let ended = server.http("DELETE", &path).send().json();
    assert_eq!(ended["topics"], json!(["room/1", "live/#"]));
    for topic in ["room/1", "live/#"] {
        assert_eq!(client.frame()["topic"], topic);
    }
    server.publish("live/x", &json!("after"));
    client.expect_nothing();
    // The client may subscribe again: only an end was told, not that it is forbidden.
    client.subscribe("kept/a").await_ok();
    server.await_metric("fanfare_subscriptions", 1);
}

#[test]
fn raw_sessions_and_event_streams_are_subscribed_too() {
    let server = Server::start(config());
    let mut raw = server.raw("/ws?topic=a");
    let mut stream = Events::open(server.address, "topic=b", &[]);
    for query in ["topic=a", "topic=b"] {
        let session = found(&server, query).pop_first().unwrap();
        let path = format!("/v1/sessions/{session}/subscriptions");
        post(&server, &path, "application/json", r#"{"topic":"kept/c"}"#);
    }
    server.publish("kept/c", &json!(1));
    raw.expect("1");
    let event = stream.expect("message");
    assert_eq!(
        (&event.data["topic"], event.id.is_some()),
        (&json!("kept/c"), true)
    );
    for session in found(&server, "topic=kept/c") {
        let path = format!("/v1/sessions/{session}/subscriptions?topic=kept/c");
        assert_eq!(server.http("DELETE", &path).send().status, 200);
    }
    assert_eq!(stream.expect("unsubscribed").data["topic"], "kept/c");
    server.publish("kept/c", &json!(2));
    server.publish("a", &json!("of its own"));
    raw.expect(r#""of its own""#);
}

#[test]
fn a_session_is_ended_with_the_code_and_the_reason_that_were_asked_for() {
    let server = Server::start(config());
    for (query, code, reason, reconnect, label) in [
        (
            "",
            4500,
            "disconnected by an operator or the application",
            false,
            "4500",
        ),
        ("?code=4100&reason=", 4100, "", true, "4100"),
        ("?code=4250&reason=%C3%A9+b%20c", 4250, "é+b c", true, "app"),
        ("?code=4700&reason=banned", 4700, "banned", false, "app"),
    ] {
        let mut client = server.connect();
        client.subscribe("room/1").await_ok();
        let before = server.metric(&format!(r#"fanfare_disconnects_total{{code="{label}"}}"#));
        let path = format!("/v1/sessions/{}{query}", name(&client));
        let answer = server.http("DELETE", &path).send();
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"sessions": 1}))
        );
        let again = server.http("DELETE", &path).send();
        assert_eq!(again.expect_problem(404), "not_found");
        let (closing, before_it) = client.expect_close(code);
        assert_eq!(closing["reason"], reason);
        assert_eq!(closing["reconnect"], reconnect);
        assert_eq!(closing["after_ms"], 0);
        assert!(before_it.is_empty(), "{before_it:?}");
        server.await_metric(
            &format!(r#"fanfare_disconnects_total{{code="{label}"}}"#),
            before + 1,
        );
    }
    server.await_metric("fanfare_connections", 0);
    server.await_metric("fanfare_subscriptions", 0);
}

#[test]
fn raw_sessions_and_event_streams_are_ended_too() {
    let server = Server::start(config());
    let mut raw = server.raw("/ws?topic=a");
    let mut stream = Events::open(server.address, "topic=a", &[]);
    for session in found(&server, "") {
        let path = format!("/v1/sessions/{session}?code=4300&reason=over");
        assert_eq!(server.http("DELETE", &path).send().status, 200);
    }
    assert_eq!(raw.expect_close(4300), "over");
    let closing = stream.expect("closing").data;
    assert_eq!(
        (&closing["code"], &closing["reason"]),
        (&json!(4300), &json!("over"))
    );
    assert!(stream.next().is_none());
    server.await_metric(r#"fanfare_disconnects_total{code="app"}"#, 2);
    server.await_metric("fanfare_connections", 0);
}
