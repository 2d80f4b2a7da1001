//! Retained messages, and the removal of what topics keep, through every door.

use serde_json::{Value, json};

use fanfare::config::{Config, TopicRule};

use crate::support::{Answer, Client, Edit, Events, Server, config, kept, live};

/// As [`config`]; besides, `state/#` retains and `both/#` keeps a history of 5 and retains.
fn retaining() -> Config {
    let retain = |rule: TopicRule| TopicRule {
        retain: true,
        ..rule
    };
    config().with(|config| {
        config.topics.push(retain(live("state/#")));
        config.topics.push(retain(kept("both/#", 5)));
    })
}

fn retain(client: &mut Client, topic: &str, data: impl Into<Value>) -> Value {
    let data = data.into();
    client
        .ask(json!({"type": "publish", "topic": topic, "data": data, "retain": true}))
        .await_ok()
}

/// The next frame, which is that topic's retained message.
#[track_caller]
fn expect_retained(client: &mut Client, topic: &str, data: impl Into<Value>) -> Value {
    let message = client.expect_message(topic);
    assert_eq!(message["data"], data.into(), "{message}");
    assert_eq!(message["retain"], true, "{message}");
    assert!(message.get("replay").is_none(), "{message}");
    message
}

fn remove(server: &Server, topic: &str) -> Answer {
    server
        .http("DELETE", &format!("/v1/topics/{topic}/messages"))
        .send()
}

#[test]
fn a_retained_message_waits_for_those_who_subscribe() {
    for workers in [1, 2] {
        let server = Server::start(retaining().workers(workers));
        let mut writer = server.connect();
        let mut there = server.connect();
        there.subscribe("#").await_ok();
        for n in 0..10 {
            let ok = retain(&mut writer, &format!("state/{n}"), n);
            assert!(ok.get("offset").is_none(), "{ok}");
            let live = there.expect_message(&format!("state/{n}"));
            assert!(live.get("retain").is_none(), "{live}");
        }
        retain(&mut writer, "state/3", json!({"is": "new"}));
        let mut reader = server.connect();
        let ok = reader.subscribe("state/3").await_ok();
        assert_eq!(ok["replayed"].as_u64().unwrap_or(0), 0, "{ok}");
        let message = expect_retained(&mut reader, "state/3", json!({"is": "new"}));
        assert!(message["time"].is_u64());
        reader.expect_nothing();
        // What another subscription delivers already, a filter does not bring again.
        reader.subscribe("state/+").await_ok();
        let mut got: Vec<_> = (0..9).map(|_| reader.frame()).collect();
        got.sort_by_key(|m| m["topic"].as_str().unwrap().to_owned());
        for (message, n) in got.iter().zip([0, 1, 2, 4, 5, 6, 7, 8, 9]) {
            assert_eq!(
                (&message["data"], &message["retain"]),
                (&json!(n), &json!(true))
            );
        }
        reader.expect_nothing();
        // In the handshake too, behind the welcome.
        let mut early = server.connect_with("topic=state/1&topic=state/2");
        let mut got: Vec<_> = (0..2).map(|_| early.frame()["data"].clone()).collect();
        got.sort_by_key(Value::as_u64);
        assert_eq!(got, [1, 2]);
        server.await_metric("fanfare_retained_messages", 10);
        assert_eq!(server.metric("fanfare_history_messages"), 0);
    }
}

#[test]
fn null_and_the_empty_clear_it_and_are_delivered() {
    let server = Server::start(retaining());
    let mut writer = server.connect();
    let mut there = server.connect();
    there.subscribe("state/a").await_ok();
    for (fields, clears) in [
        (json!({"data": null}), true),
        (json!({"data": ""}), true),
        (json!({"data": "", "encoding": "text"}), true),
        (json!({"data": "", "encoding": "base64"}), true),
        (json!({"data": []}), false),
        (json!({"data": 0}), false),
        (json!({"data": "null", "encoding": "text"}), false),
    ] {
        retain(&mut writer, "state/a", "before");
        assert_eq!(there.expect_message("state/a")["data"], "before");
        let mut publish = fields.clone();
        publish["type"] = "publish".into();
        publish["topic"] = "state/a".into();
        publish["retain"] = true.into();
        writer.ask(publish).await_ok();
        let live = there.expect_message("state/a");
        assert_eq!(live["data"], fields["data"]);
        let mut late = server.connect();
        late.subscribe("state/a").await_ok();
        if !clears {
            expect_retained(&mut late, "state/a", fields["data"].clone());
        }
        late.expect_nothing();
    }
}

#[test]
fn only_topics_whose_rule_says_so_retain() {
    let server = Server::start(retaining());
    let mut client = server.connect();
    for topic in ["live/a", "kept/a"] {
        let publish = json!({"type": "publish", "topic": topic, "data": 1, "retain": true});
        let error = client.ask(publish).await_error("forbidden");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("'retain'"), "{message}");
        let path = format!("/v1/topics/{topic}/messages?retain=true");
        let answer = server.http("POST", &path).json(&json!(1)).send();
        assert_eq!(answer.expect_problem(403), "forbidden");
    }
    let asked = server.http("POST", "/v1/topics/state/a/messages?retain=maybe");
    assert_eq!(
        asked.json(&json!(1)).send().expect_problem(400),
        "bad_request"
    );
    client
        .ask(json!({"type": "publish", "topic": "state/a", "data": 1, "retain": "yes"}))
        .await_error("bad_request");
    let envelopes = json!([
        {"topic": "state/a", "data": 1, "retain": true},
        {"topic": "live/a", "data": 1, "retain": true},
        {"topics": ["state/b", "live/a"], "data": 2, "retain": true},
    ]);
    let answer = server
        .http("POST", "/v1/publish")
        .json(&envelopes)
        .send()
        .json();
    assert_eq!(answer[0]["topic"], "state/a", "{answer}");
    assert_eq!(answer[1]["code"], "forbidden");
    assert_eq!(answer[2]["results"][0]["topic"], "state/b");
    assert_eq!(answer[2]["results"][1]["code"], "forbidden");
    client.subscribe("#").await_ok();
    let mut got: Vec<_> = (0..2).map(|_| client.frame()["data"].clone()).collect();
    got.sort_by_key(Value::as_u64);
    assert_eq!(got, [1, 2]);
    client.expect_nothing();
}

#[test]
fn beside_a_history_it_comes_first_and_only_where_the_replay_does_not_bring_it() {
    let server = Server::start(retaining());
    let mut writer = server.connect();
    let epoch = retain(&mut writer, "both/a", 1)["epoch"].clone();
    for n in 2..=9 {
        writer.publish("both/a", n).await_ok();
    }
    // 5 to 9 are held, and 1 is retained.
    let at = |offset: u64| json!({"since": {"epoch": epoch, "offset": offset}});
    for (fields, is_retained, replayed) in [
        (json!({}), true, 10..10),
        (json!({"last": 2}), true, 8..10),
        (at(7), false, 8..10),
        (at(2), true, 10..10),
    ] {
        let mut reader = server.connect();
        let ok = reader.subscribe_with("both/a", fields.clone()).await_ok();
        let count = replayed.clone().count();
        assert_eq!(
            ok["replayed"].as_u64().unwrap_or(0),
            count as u64,
            "{fields}"
        );
        if is_retained {
            let message = expect_retained(&mut reader, "both/a", 1);
            assert_eq!((&message["epoch"], &message["offset"]), (&epoch, &json!(1)));
        }
        for n in replayed {
            let message = reader.expect_message("both/a");
            assert_eq!(
                (&message["data"], &message["replay"]),
                (&json!(n), &json!(true))
            );
        }
        reader.expect_nothing();
    }
    retain(&mut writer, "both/a", 10);
    let mut reader = server.connect();
    reader
        .subscribe_with("both/a", json!({"last": 1}))
        .await_ok();
    let message = reader.expect_message("both/a");
    assert_eq!(
        (&message["data"], &message["replay"]),
        (&json!(10), &json!(true))
    );
    reader.expect_nothing();
}

#[test]
fn raw_sessions_and_event_streams_get_it_as_they_get_any_message() {
    let server = Server::start(retaining());
    let mut writer = server.connect();
    retain(&mut writer, "both/a", "kept");
    retain(&mut writer, "state/a", "on");
    let mut raw = server.raw("/ws?topic=state/a");
    raw.expect("\"on\"");
    raw.send("live");
    raw.expect("live");
    let mut events = Events::open(server.address, "topic=both/a", &[]);
    let first = events.expect("message");
    assert_eq!(
        (&first.data["data"], &first.data["retain"]),
        (&json!("kept"), &json!(true))
    );
    // It is older than the stream: where that goes on is told by the id that it opened with.
    assert_eq!(first.id, None);
    let id = events.first_id().to_owned();
    writer.publish("both/a", "next").await_ok();
    let mut again = Events::open(server.address, "topic=both/a", &[("Last-Event-ID", &id)]);
    let next = again.expect("message");
    assert_eq!(
        (&next.data["data"], &next.data["retain"]),
        (&json!("next"), &Value::Null)
    );
    let mut of_state = Events::open(server.address, "topic=state/a", &[]);
    assert_eq!(of_state.expect("message").data["data"], "on");
}

#[test]
fn what_a_topic_keeps_is_removed_and_everyone_is_told() {
    let server = Server::start(retaining());
    let mut writer = server.connect();
    let mut reader = server.connect();
    reader.subscribe("both/a").await_ok();
    let mut raw = server.raw("/ws?topic=both/%23");
    let mut events = Events::open(server.address, "topic=both/a", &[]);
    let position = retain(&mut writer, "both/a", 1);
    writer.publish("both/a", 2).await_ok();
    let removed = remove(&server, "both/a").json();
    assert_eq!(
        removed,
        json!({"topic": "both/a", "messages": 2, "retained": true})
    );
    let next = writer.publish("both/a", 3).await_ok();
    assert_eq!(next["offset"], 1);
    assert_ne!(next["epoch"], position["epoch"]);
    assert_eq!(reader.expect_data(2), [1, 2]);
    let gap = reader.frame();
    let expected = json!({
        "type": "gap", "topic": "both/a", "reason": "cleared", "count": 2,
        "epoch": position["epoch"], "from": 1, "to": 2,
    });
    assert_eq!(gap, expected);
    assert_eq!(reader.expect_message("both/a")["epoch"], next["epoch"]);
    for text in ["1", "2", "3"] {
        raw.expect(text);
    }
    events.expect("message");
    events.expect("message");
    assert_eq!(events.expect("gap").data, expected);
    events.expect("message");
    // A position from before does not recover, and nothing is retained.
    let mut late = server.connect();
    let since = json!({"since": {"epoch": position["epoch"], "offset": 2}});
    assert_eq!(
        late.subscribe_with("both/a", since).await_ok()["recovered"],
        false
    );
    late.expect_nothing();
    for topic in ["state/none", "both/none", "live/none"] {
        assert_eq!(remove(&server, topic).expect_problem(404), "not_found");
    }
    // One that is kept by nothing else is gone.
    retain(&mut writer, "state/a", 1);
    assert_eq!(server.get("/v1/topics/state/a").json()["retained"], true);
    assert_eq!(remove(&server, "state/a").status, 200);
    assert_eq!(
        server.get("/v1/topics/state/a").expect_problem(404),
        "not_found"
    );
}

#[test]
fn a_removal_ends_a_replay_by_a_gap_that_says_what_is_missing() {
    let server = Server::start(retaining().with(|c| {
        c.session.queue = 256 * 1024;
        c.session.write_timeout = std::time::Duration::from_secs(60);
        c.topics = vec![kept("kept/#", 400)];
    }));
    let mut writer = server.connect();
    let text = "x".repeat(30_000);
    for _ in 0..400 {
        writer.publish("kept/a", text.clone()).await_ok();
    }
    let mut reader = crate::support::Wire::narrow(server.address, "/ws").welcomed();
    reader.send_json(&json!({"type": "subscribe", "topic": "kept/a", "last": 400, "id": 1}));
    let epoch = reader.json()["epoch"].clone();
    assert_eq!(remove(&server, "kept/a").json()["messages"], 400);
    for n in 1..=3 {
        writer.publish("kept/a", n).await_ok();
    }
    let mut next = 1;
    let gap = loop {
        let frame = reader.json();
        if frame["type"] == "gap" {
            break frame;
        }
        assert_eq!(frame["offset"], next);
        next += 1;
    };
    assert!((2..400).contains(&next), "{next}");
    let expected = json!({
        "type": "gap", "topic": "kept/a", "reason": "cleared", "count": 401 - next,
        "epoch": epoch, "from": next, "to": 400,
    });
    assert_eq!(gap, expected);
    for n in 1..=3 {
        let frame = reader.json();
        assert_eq!((&frame["offset"], &frame["data"]), (&json!(n), &json!(n)));
        assert!(frame.get("replay").is_none(), "{frame}");
    }
}

#[test]
fn what_does_not_fit_is_not_retained_and_counted() {
    let server = Server::start(retaining().with(|c| c.store.memory = 100_000));
    let mut client = server.connect();
    let text = "x".repeat(20_000);
    let mut stored = 0;
    let error = loop {
        let publish = json!({
            "type": "publish", "topic": format!("state/{stored}"), "data": text, "retain": true,
        });
        let answer = client.ask(publish).answer();
        if answer["type"] == "error" {
            break answer;
        }
        stored += 1;
        assert!(stored < 10);
    };
    assert_eq!(
        (&error["code"], stored),
        (&json!("unavailable"), 4),
        "{error}"
    );
    assert!(
        error["message"].as_str().unwrap().contains("store.memory"),
        "{error}"
    );
    assert!(error["retry_after_ms"].is_u64(), "{error}");
    server.await_metric(r#"fanfare_publish_errors_total{code="unavailable"}"#, 1);
    assert_eq!(server.metric("fanfare_topics"), 4);
    // Without being retained it goes, and there is room once another is cleared.
    client.publish("state/x", text.clone()).await_ok();
    retain(&mut client, "state/0", Value::Null);
    retain(&mut client, "state/x", text);
    server.await_metric("fanfare_retained_messages", 4);
}
