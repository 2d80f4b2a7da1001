//! Subscriptions: by name and by filter, together, and their ends.

use serde_json::json;

use crate::support::{Edit, Server, config};

#[test]
fn a_message_reaches_who_subscribed_to_its_name_and_nobody_else() {
    let server = Server::start(config());
    let mut reader = server.connect();
    let mut other = server.connect();
    let ok = reader.subscribe("news/today").await_ok();
    assert_eq!(ok["topic"], "news/today");
    assert!(ok["time"].as_u64().unwrap() > 1_600_000_000_000);
    // A topic without history has no position.
    assert!(
        ok.get("epoch").is_none() && ok.get("offset").is_none(),
        "{ok}"
    );
    other.subscribe("news/tomorrow").await_ok();
    let mut writer = server.connect();
    let data = json!({"a": [1, 2.50, null], "é": "ü\n"});
    writer.publish("news/today", data.clone()).await_ok();
    writer.publish("news/tomorrow", 2).await_ok();
    let message = reader.expect_message("news/today");
    assert_eq!(message["data"], data);
    assert!(message.get("replay").is_none(), "{message}");
    assert_eq!(other.expect_message("news/tomorrow")["data"], 2);
    reader.expect_nothing();
    other.expect_nothing();
}

#[test]
fn numbers_come_as_they_were_written() {
    let server = Server::start(config());
    let mut wire = server.wire().welcomed();
    wire.send_json(&json!({"type": "subscribe", "topic": "n", "id": 1}));
    assert_eq!(wire.json()["type"], "ok");
    let data = "[1.0, 1e400, 12345678901234567890123, -0, 0.1000]";
    wire.send(crate::support::frame(
        crate::support::TEXT,
        format!(r#"{{"type":"publish","topic":"n","data":{data}}}"#),
    ));
    let (_, payload) = wire.frame().unwrap();
    let text = String::from_utf8(payload).unwrap();
    assert!(text.contains(&data.replace(' ', "")), "{text}");
}

#[test]
fn a_filter_matches_as_mqtt_says() {
    let server = Server::start(config());
    let mut writer = server.connect();
    for (filter, yes, no) in [
        ("f/+", &["f/a", "f/"][..], &["f", "f/a/b", "g/a"][..]),
        ("f/#", &["f", "f/a", "f/a/b"], &["g", "ff/a"]),
        ("+/x", &["f/x", "/x"], &["x", "f/x/x"]),
        ("#", &["f", "f/a", "/"], &[]),
        ("f/+/x", &["f/a/x", "f//x"], &["f/a", "f/a/b/x"]),
    ] {
        let mut reader = server.connect();
        let ok = reader.subscribe(filter).await_ok();
        assert_eq!(ok["topic"], filter);
        for topic in no.iter().chain(yes) {
            writer.publish(topic, json!(topic)).await_ok();
        }
        // Between topics no order is promised.
        let mut got: Vec<_> = reader
            .expect_data(yes.len() + if filter == "#" { no.len() } else { 0 })
            .iter()
            .map(|data| data.as_str().unwrap().to_owned())
            .collect();
        got.sort();
        let mut expected = yes.to_vec();
        expected.sort_unstable();
        assert_eq!(got, expected, "{filter}");
        reader.expect_nothing();
    }
}

#[test]
fn a_session_gets_a_message_once_however_many_subscriptions_match() {
    for workers in [1, 2] {
        let server = Server::start(config().workers(workers));
        let mut reader = server.connect();
        for topic in ["o/a", "o/+", "o/#", "#", "+/a"] {
            reader.subscribe(topic).await_ok();
        }
        let mut writer = server.connect();
        for n in 0..20 {
            writer.publish("o/a", n).await_ok();
        }
        let expected: Vec<_> = (0..20).map(|n| json!(n)).collect();
        assert_eq!(reader.expect_data(20), expected);
        reader.unsubscribe("o/a").await_ok();
        writer.publish("o/a", "through filters").await_ok();
        assert_eq!(reader.expect_data(1), [json!("through filters")]);
        reader.expect_nothing();
    }
}

#[test]
fn the_echo_of_the_exact_name_counts_else_that_of_the_earliest_filter() {
    let server = Server::start(config());
    let off = json!({"echo": false});
    let on = json!({"echo": true});
    for (subscriptions, echoes) in [
        (&[("e/a", &off)][..], false),
        (&[("e/a", &on)], true),
        (&[("e/+", &off)], false),
        (&[("e/+", &on), ("e/a", &off)], false),
        (&[("e/+", &off), ("e/a", &on)], true),
        (&[("e/+", &off), ("e/#", &on)], false),
        (&[("e/#", &on), ("e/+", &off)], true),
    ] {
        let mut one = server.connect();
        let mut other = server.connect();
        for (topic, options) in subscriptions {
            one.subscribe_with(topic, (*options).clone()).await_ok();
        }
        other.subscribe("e/a").await_ok();
        one.publish("e/a", "own").await_ok();
        // Its own come before what comes after them.
        other.expect_message("e/a");
        other.publish("e/a", "other's").await_ok();
        let first = one.expect_message("e/a")["data"].clone();
        let expected = if echoes { "own" } else { "other's" };
        assert_eq!(first, expected, "{subscriptions:?}");
    }
}

#[test]
fn subscribing_twice_is_refused_and_the_first_stands() {
    let server = Server::start(config());
    let mut reader = server.connect();
    for topic in ["t/a", "t/#"] {
        reader.subscribe(topic).await_ok();
        reader.subscribe(topic).await_error("already_subscribed");
    }
    reader.publish("t/a", 1).await_ok();
    assert_eq!(reader.expect_data(1), [json!(1)]);
    reader.expect_nothing();
    // Two that are on their way at once are two as well.
    let ask = |id| json!({"type": "subscribe", "topic": "t/b", "id": id});
    reader.send(&ask(901));
    reader.send(&ask(902));
    let mut kinds = [reader.frame(), reader.frame()].map(|f| (f["id"].clone(), f["code"].clone()));
    kinds.sort_by_key(|(id, _)| id.as_u64());
    assert_eq!(kinds[0], (json!(901), json!(null)));
    assert_eq!(kinds[1], (json!(902), json!("already_subscribed")));
}

#[test]
fn after_the_ok_of_unsubscribing_nothing_more_comes() {
    for workers in [1, 2] {
        let server = Server::start(config().workers(workers));
        let mut reader = server.connect();
        let mut writer = server.connect();
        reader.unsubscribe("u/a").await_error("not_subscribed");
        for topic in ["u/a", "u/+"] {
            reader.subscribe(topic).await_ok();
            for n in 0..200 {
                writer.cast("u/a", n);
            }
            reader.unsubscribe(topic).await_ok();
            // What came before it is there, in order and without a gap; then it is quiet.
            let mut before = 0;
            let sentinel = json!({"type": "publish", "topic": "u/z", "data": "end", "id": 7777});
            reader.subscribe("u/z").await_ok();
            writer.publish("u/a", "late").await_ok();
            writer.send(&sentinel);
            loop {
                let message = reader.frame();
                if message["topic"] == "u/z" {
                    break;
                }
                assert_eq!(message["data"], before, "{message}");
                before += 1;
            }
            reader.unsubscribe("u/z").await_ok();
            reader.unsubscribe(topic).await_error("not_subscribed");
        }
    }
}

#[test]
fn unsubscribing_from_all_ends_every_subscription() {
    let server = Server::start(config());
    let mut reader = server.connect();
    for topic in ["a/1", "a/2", "b/#"] {
        reader.subscribe(topic).await_ok();
    }
    server.await_metric("fanfare_subscriptions", 3);
    let ok = reader.ask(json!({"type": "unsubscribe"})).await_ok();
    assert!(ok.get("topic").is_none(), "{ok}");
    server.await_metric("fanfare_subscriptions", 0);
    for topic in ["a/1", "a/2", "b/1"] {
        reader.publish(topic, 0).await_ok();
    }
    reader.subscribe("a/1").await_ok();
    reader.publish("a/1", 1).await_ok();
    assert_eq!(reader.expect_data(1), [json!(1)]);
    reader.expect_nothing();
}

#[test]
fn a_session_has_at_most_so_many_subscriptions() {
    let server = Server::start(config().with(|c| c.session.subscriptions = 3));
    let mut reader = server.connect();
    for topic in ["a", "b/#", "c"] {
        reader.subscribe(topic).await_ok();
    }
    let error = reader.subscribe("d").await_error("limit_exceeded");
    assert!(error["message"].as_str().unwrap().contains('3'), "{error}");
    // One that it has already is not one too many.
    reader.subscribe("a").await_error("already_subscribed");
    reader.unsubscribe("b/#").await_ok();
    reader.subscribe("d").await_ok();
    reader.subscribe("e").await_error("limit_exceeded");
    reader.publish("d", 1).await_ok();
    assert_eq!(reader.expect_message("d")["data"], 1);
}

#[test]
fn there_are_at_most_so_many_topics() {
    let server = Server::start(config().with(|c| c.limits.topics = 2));
    let mut one = server.connect();
    one.subscribe("a").await_ok();
    one.publish("kept/b", 1).await_ok();
    one.subscribe("c").await_error("limit_exceeded");
    one.publish("kept/d", 1).await_error("limit_exceeded");
    one.unsubscribe("a").await_ok();
    server.await_metric("fanfare_topics", 1);
    one.subscribe("c").await_ok();
}

#[test]
fn nobody_publishes_below_dollar_and_wildcards_do_not_cover_it() {
    let server = Server::start(config());
    let mut one = server.connect();
    for topic in ["$sys/x", "$direct", "$broadcast", "$"] {
        one.publish(topic, 1).await_error("forbidden");
    }
    one.subscribe("#").await_ok();
    one.subscribe("+/x").await_ok();
    one.publish("a/x", 1).await_ok();
    assert_eq!(one.expect_message("a/x")["data"], 1);
    one.expect_nothing();
}

#[test]
fn the_query_subscribes_before_the_welcome() {
    let server = Server::start(config());
    let mut writer = server.connect();
    for n in 1..=5 {
        writer.publish("kept/q", n).await_ok();
    }
    let mut reader = server.connect_with("topic=kept/q&topic=other%2F%23&last=2&echo=false");
    let subscriptions = reader.welcome["subscriptions"].as_array().unwrap().clone();
    assert_eq!(subscriptions.len(), 2);
    assert_eq!(subscriptions[0]["topic"], "kept/q");
    assert_eq!(subscriptions[0]["offset"], 5);
    assert_eq!(subscriptions[0]["replayed"], 2);
    assert_eq!(subscriptions[1]["topic"], "other/#");
    assert_eq!(reader.expect_data(2), [json!(4), json!(5)]);
    reader.publish("kept/q", "own").await_ok();
    reader.publish("other/x", "own").await_ok();
    writer.publish("kept/q", "other's").await_ok();
    assert_eq!(reader.expect_data(1), [json!("other's")]);
    reader.expect_nothing();
}

#[test]
fn the_welcome_says_what_the_session_is() {
    let server = Server::start(config().with(|c| c.limits.message_bytes = 1234));
    let client = server.connect();
    let welcome = &client.welcome;
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(welcome["server"], format!("fanfare/{version}"));
    assert_eq!(welcome["protocol"], "fanfare.v1.json");
    assert_eq!(welcome["user"], json!(null));
    assert_eq!(welcome["heartbeat"].as_f64(), Some(25.0));
    assert_eq!(welcome["max_message_bytes"], 1234);
    assert_eq!(welcome["subscriptions"], json!([]));
    assert_ne!(client.session(), server.connect().session());
}

#[test]
fn every_kind_of_payload_comes_as_it_was_sent() {
    let server = Server::start(config());
    let mut one = server.connect();
    one.subscribe("k").await_ok();
    one.ask(
        json!({"type": "publish", "topic": "k", "data": "AP8=", "encoding": "base64", "key": "a"}),
    )
    .await_ok();
    one.ask(json!({"type": "publish", "topic": "k", "data": "hi", "encoding": "text"}))
        .await_ok();
    one.publish("k", "hi").await_ok();
    one.publish("k", json!(null)).await_ok();
    let frames = [0; 4].map(|_| one.expect_message("k"));
    let told = |i: usize, name: &str| frames[i].get(name).cloned();
    assert_eq!(told(0, "data"), Some(json!("AP8=")));
    assert_eq!(told(0, "encoding"), Some(json!("base64")));
    assert_eq!(told(0, "key"), Some(json!("a")));
    assert_eq!(told(1, "encoding"), Some(json!("text")));
    assert_eq!(told(1, "key"), None);
    assert_eq!(
        (told(2, "data"), told(2, "encoding")),
        (Some(json!("hi")), None)
    );
    assert_eq!(told(3, "data"), Some(json!(null)));
    one.ask(json!({"type": "publish", "topic": "k", "data": "*", "encoding": "base64"}))
        .await_error("bad_request");
}

#[test]
fn a_forgotten_topic_takes_its_epoch_with_it() {
    let server = Server::start(config());
    let mut one = server.connect();
    let before = one.subscribe("kept/a").await_ok();
    assert_eq!(before["offset"], 0);
    one.unsubscribe("kept/a").await_ok();
    // Nobody is there, and nothing is kept.
    server.await_metric("fanfare_topics", 0);
    assert_eq!(server.get("/v1/topics/kept/a").status, 404);
    one.publish("kept/a", 1).await_ok();
    let since = json!({"since": {"epoch": before["epoch"], "offset": 0}});
    let after = one.subscribe_with("kept/a", since).await_ok();
    assert_eq!(
        (&after["recovered"], &after["offset"]),
        (&json!(false), &json!(1))
    );
    assert_ne!(after["epoch"], before["epoch"]);
    one.expect_nothing();
}

#[test]
fn what_is_asked_at_once_is_answered_as_if_each_had_waited_for_the_one_before() {
    let server = Server::start(config());
    let mut client = server.connect();
    // At home on either worker, by name and by filter, asked more often than anything may wait.
    for topic in [
        "kept/a", "kept/b", "kept/c", "kept/d", "room/a", "room/b", "kept/#",
    ] {
        let mut expected = Vec::new();
        for _ in 0..20 {
            for (ask, code) in [
                ("unsubscribe", Some("not_subscribed")),
                ("subscribe", None),
                ("subscribe", Some("already_subscribed")),
                ("unsubscribe", None),
            ] {
                let id = expected.len();
                client.send(&json!({"type": ask, "topic": topic, "id": id}));
                expected.push((id, code));
            }
        }
        for (id, code) in expected {
            let answer = client.frame();
            assert_eq!(answer["id"], id, "{topic} {answer}");
            assert_eq!(answer["code"].as_str(), code, "{topic} {answer}");
        }
    }
    client.expect_nothing();
    assert_eq!(server.metric("fanfare_subscriptions"), 0);
}
