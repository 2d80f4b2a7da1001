//! Histories: replaying, recovering, and what cannot be recovered.

use serde_json::{Value, json};

use crate::support::{Client, Edit, Server, config, kept};

/// Publishes the numbers from 1 on; gives the epoch.
pub(crate) fn publish(writer: &mut Client, topic: &str, count: u64) -> String {
    let mut epoch = Value::Null;
    for n in 1..=count {
        let ok = writer.publish(topic, n).await_ok();
        assert_eq!(ok["offset"], n);
        epoch = ok["epoch"].clone();
    }
    epoch.as_str().unwrap().to_owned()
}

/// Expects the replayed messages with these offsets, whose data is the same number.
#[track_caller]
pub(crate) fn expect_replay(client: &mut Client, offsets: std::ops::RangeInclusive<u64>) {
    for offset in offsets {
        let message = client.frame();
        assert_eq!(message["type"], "message", "{message}");
        assert_eq!(message["offset"], offset, "{message}");
        assert_eq!(message["data"], offset, "{message}");
        assert_eq!(message["replay"], true, "{message}");
    }
}

#[test]
fn the_last_messages_are_replayed_before_live_ones() {
    let server = Server::start(config());
    let mut writer = server.connect();
    let epoch = publish(&mut writer, "kept/a", 5);
    assert!((1..=8).contains(&epoch.len()), "{epoch}");
    for (last, first) in [(0, 6), (1, 5), (3, 3), (5, 1), (9, 1), (u64::MAX, 1)] {
        let mut reader = server.connect();
        let ok = reader
            .subscribe_with("kept/a", json!({"last": last}))
            .await_ok();
        assert_eq!(ok["epoch"], epoch);
        assert_eq!(ok["offset"], 5);
        assert_eq!(ok["replayed"], 6 - first, "last {last}");
        assert!(ok.get("recovered").is_none(), "{ok}");
        expect_replay(&mut reader, first..=5);
        reader.expect_nothing();
    }
    let mut reader = server.connect();
    reader
        .subscribe_with("kept/a", json!({"last": 2}))
        .await_ok();
    writer.publish("kept/a", "live").await_ok();
    expect_replay(&mut reader, 4..=5);
    let live = reader.expect_message("kept/a");
    assert_eq!(live["offset"], 6);
    assert_eq!(live["epoch"], epoch);
    assert!(live.get("replay").is_none(), "{live}");
}

#[test]
fn a_topic_without_history_has_no_last_to_replay() {
    let server = Server::start(config());
    let mut one = server.connect();
    one.publish("live/a", 1).await_ok();
    let ok = one.subscribe_with("live/a", json!({"last": 5})).await_ok();
    assert_eq!(ok["replayed"].as_u64().unwrap_or(0), 0);
    one.expect_nothing();
    one.ask(json!({"type": "history", "topic": "live/a"}))
        .await_error("history_disabled");
}

#[test]
fn a_replay_contains_ones_own_messages_whatever_echo_says() {
    let server = Server::start(config());
    let mut one = server.connect();
    publish(&mut one, "kept/a", 2);
    one.subscribe_with("kept/a", json!({"last": 9, "echo": false}))
        .await_ok();
    expect_replay(&mut one, 1..=2);
    one.publish("kept/a", 3).await_ok();
    server.publish("kept/a", &json!(4));
    assert_eq!(one.expect_message("kept/a")["data"], 4);
}

#[test]
fn since_brings_exactly_what_was_missed() {
    for workers in [1, 2] {
        let server = Server::start(config().workers(workers));
        let mut writer = server.connect();
        let epoch = publish(&mut writer, "kept/a", 10);
        for offset in [0, 1, 7, 9, 10] {
            let mut reader = server.connect();
            let since = json!({"since": {"epoch": epoch, "offset": offset}});
            let ok = reader.subscribe_with("kept/a", since).await_ok();
            assert_eq!(ok["recovered"], true, "{ok}");
            assert_eq!(ok["replayed"], 10 - offset);
            expect_replay(&mut reader, offset + 1..=10);
            reader.expect_nothing();
        }
    }
}

#[test]
fn since_that_cannot_be_recovered_says_so_and_replays_only_what_last_asks() {
    let server = Server::start(config().with(|c| c.topics = vec![kept("kept/#", 5)]));
    let mut writer = server.connect();
    // 6 to 10 are held.
    let epoch = publish(&mut writer, "kept/a", 10);
    for (epoch, offset, recovered) in [
        (epoch.as_str(), 5, true),
        (&epoch, 4, false),
        (&epoch, 0, false),
        (&epoch, 11, false),
        (&epoch, u64::MAX, false),
        ("other", 10, false),
        ("other", 0, false),
        ("", 10, false),
        ("an epoch that is longer than any", 10, false),
    ] {
        let told = format!("{epoch:?} {offset}");
        let mut reader = server.connect();
        let since = json!({"since": {"epoch": epoch, "offset": offset}});
        let ok = reader.subscribe_with("kept/a", since.clone()).await_ok();
        assert_eq!(ok["recovered"], recovered, "{told}");
        assert_eq!(ok["offset"], 10, "{told}");
        assert_eq!(ok["replayed"], if recovered { 5 } else { 0 }, "{told}");
        if recovered {
            expect_replay(&mut reader, 6..=10);
        }
        reader.expect_nothing();
        reader.unsubscribe("kept/a").await_ok();
        let mut both = since;
        both["last"] = 2.into();
        let ok = reader.subscribe_with("kept/a", both).await_ok();
        assert_eq!(ok["recovered"], recovered, "{told}");
        expect_replay(&mut reader, if recovered { 6 } else { 9 }..=10);
        reader.expect_nothing();
    }
    // Two asks each; one position of the nine recovers.
    server.await_metric(r#"fanfare_recoveries_total{result="recovered"}"#, 2);
    server.await_metric(r#"fanfare_recoveries_total{result="gap"}"#, 16);
}

#[test]
fn a_position_of_a_wrong_type_is_a_bad_request() {
    let server = Server::start(config());
    let mut one = server.connect();
    let epoch = publish(&mut one, "kept/a", 3);
    for since in [
        json!({"epoch": epoch, "offset": -1}),
        json!({"epoch": epoch, "offset": 1.5}),
        json!({"epoch": epoch, "offset": "1"}),
        json!({"epoch": epoch, "offset": null}),
        json!({"epoch": epoch, "offset": [1]}),
        json!({"epoch": 7, "offset": 1}),
        json!({"epoch": null, "offset": 1}),
        json!({"epoch": epoch}),
        json!({"offset": 1}),
        json!({}),
        json!([epoch, 1]),
        json!(3),
        json!("3"),
        json!({"positions": {}, "from": 1}),
    ] {
        let mut reader = server.connect();
        reader
            .subscribe_with("kept/a", json!({"since": since}))
            .await_error("bad_request");
        reader
            .ask(json!({"type": "history", "topic": "kept/a", "since": since}))
            .await_error("bad_request");
        // It is not subscribed, and the session lives.
        reader.subscribe("kept/a").await_ok();
    }
    for last in [json!(-1), json!(1.5), json!("1"), json!([])] {
        one.subscribe_with("kept/a", json!({ "last": last }))
            .await_error("bad_request");
    }
    // Numbers that JSON has no value for, or that no integer holds.
    for offset in [
        "NaN",
        "1e99",
        "18446744073709551616",
        "-18446744073709551616",
        "Infinity",
    ] {
        let mut reader = server.connect();
        reader.send_text(&format!(
            r#"{{"type":"subscribe","topic":"kept/a","since":{{"epoch":"{epoch}","offset":{offset}}}}}"#
        ));
        reader.expect_error("bad_request");
        reader.expect_nothing();
    }
}

#[test]
fn a_history_is_read_without_subscribing() {
    let server = Server::start(config());
    let mut one = server.connect();
    let epoch = publish(&mut one, "kept/a", 8);
    let at = |offset: u64| json!({"epoch": epoch, "offset": offset});
    for (fields, expected) in [
        (json!({}), 1..=8),
        (json!({"last": 3}), 6..=8),
        (json!({"since": at(5)}), 6..=8),
        (json!({"since": at(2), "limit": 2}), 3..=4),
        (json!({"since": at(0), "limit": 3}), 1..=3),
    ] {
        let mut ask = fields.clone();
        ask["type"] = "history".into();
        ask["topic"] = "kept/a".into();
        let ok = one.ask(ask).await_ok();
        assert_eq!(ok["epoch"], epoch);
        assert_eq!(ok["offset"], 8);
        let offsets: Vec<_> = ok["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["offset"].as_u64().unwrap())
            .collect();
        assert_eq!(offsets, expected.collect::<Vec<_>>(), "{fields}");
    }
    one.expect_nothing();
    one.ask(json!({"type": "history", "topic": "kept/#"}))
        .await_error("invalid_topic");
}

#[test]
fn times_never_go_back_within_a_topic() {
    let server = Server::start(config());
    let mut one = server.connect();
    one.subscribe("kept/a").await_ok();
    for n in 0..50 {
        one.cast("kept/a", n);
    }
    let mut before = 0;
    for _ in 0..50 {
        let time = one.expect_message("kept/a")["time"].as_u64().unwrap();
        assert!(time >= before);
        before = time;
    }
}

#[test]
fn what_a_replay_finds_trimmed_is_told_by_a_gap() {
    // The reader's queue is small and it does not read: the replay waits for it while the
    // history goes on.
    let server = Server::start(config().with(|c| {
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
    let ok = reader.json();
    assert_eq!(ok["replayed"], 400, "{ok}");
    for _ in 0..400 {
        writer.publish("kept/a", text.clone()).await_ok();
    }
    let mut next = 1;
    let mut gaps = 0;
    while next <= 800 {
        let frame = reader.json();
        match frame["type"].as_str().unwrap() {
            "message" => {
                assert_eq!(frame["offset"], next);
                next += 1;
            }
            "gap" => {
                gaps += 1;
                assert_eq!(frame["reason"], "trimmed");
                assert_eq!(frame["from"], next);
                let to = frame["to"].as_u64().unwrap();
                assert_eq!(frame["count"], to + 1 - next);
                next = to + 1;
            }
            _ => panic!("{frame}"),
        }
    }
    assert!(gaps > 0, "the replay was not overtaken");
}
