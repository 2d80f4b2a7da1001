//! Replays and recoveries of filters.

use serde_json::json;

use crate::history::{expect_replay, publish};
use crate::support::{Edit, Server, config, kept};

#[test]
fn a_filter_recovers_each_topic_from_its_position_and_the_rest_by_time() {
    for workers in [1, 2] {
        let server = Server::start(config().workers(workers));
        let mut writer = server.connect();
        let epochs = ["kept/a", "kept/b", "kept/c"].map(|t| publish(&mut writer, t, 4));
        let mut reader = server.connect();
        let from = reader.subscribe("kept/#").await_ok()["time"].clone();
        // While it is away, one topic goes on and another is born.
        let mut reader = server.connect();
        for n in 5..=6 {
            writer.publish("kept/a", n).await_ok();
        }
        writer.publish("kept/d", 1).await_ok();
        let at = |epoch: &str, offset: u64| json!({"epoch": epoch, "offset": offset});
        let positions = json!({
            "kept/a": at(&epochs[0], 4), "kept/b": at(&epochs[1], 3), "kept/c": at(&epochs[2], 4),
        });
        let since = json!({"since": {"positions": positions, "from": from}});
        let ok = reader.subscribe_with("kept/#", since).await_ok();
        assert_eq!(ok["recovered"], true, "{ok}");
        assert!(ok.get("gaps").is_none_or(|g| g == &json!([])), "{ok}");
        assert_eq!(ok["replayed"], 4, "{ok}");
        let mut got: Vec<_> = [0; 4]
            .map(|_| reader.frame())
            .iter()
            .map(|m| {
                assert_eq!(m["replay"], true, "{m}");
                format!("{}:{}", m["topic"].as_str().unwrap(), m["offset"])
            })
            .collect();
        let a: Vec<_> = got.iter().filter(|t| t.starts_with("kept/a")).collect();
        assert_eq!(a, ["kept/a:5", "kept/a:6"]);
        got.sort();
        assert_eq!(got, ["kept/a:5", "kept/a:6", "kept/b:4", "kept/d:1"]);
        reader.expect_nothing();
    }
}

#[test]
fn a_filter_names_the_topics_that_did_not_recover() {
    let server = Server::start(config().with(|c| c.topics = vec![kept("kept/#", 3)]));
    let mut writer = server.connect();
    let a = publish(&mut writer, "kept/a", 9);
    let b = publish(&mut writer, "kept/b", 2);
    let mut reader = server.connect();
    let since = json!({"since": {"positions": {
        "kept/a": {"epoch": a, "offset": 2},
        "kept/b": {"epoch": b, "offset": 1},
        "kept/gone": {"epoch": "old", "offset": 4},
    }}});
    let ok = reader.subscribe_with("kept/#", since).await_ok();
    assert_eq!(ok["recovered"], false, "{ok}");
    let mut gaps: Vec<_> = ok["gaps"].as_array().unwrap().clone();
    gaps.sort_by_key(ToString::to_string);
    assert_eq!(gaps, [json!("kept/a"), json!("kept/gone")]);
    let message = reader.expect_message("kept/b");
    assert_eq!(message["offset"], 2);
    reader.expect_nothing();
}

#[test]
fn a_filter_that_matches_topics_without_history_recovers_the_others_and_says_that_more_may_be_missing()
 {
    let server = Server::start(config());
    let mut client = server.connect();
    let from = client.subscribe("#").await_ok()["time"].clone();
    client.unsubscribe("#").await_ok();
    let mut writer = server.connect();
    publish(&mut writer, "kept/a", 2);
    writer.publish("live/a", "lost").await_ok();
    let since = json!({"since": {"positions": {}, "from": from}});
    let ok = client.subscribe_with("#", since.clone()).await_ok();
    assert_eq!(
        (&ok["recovered"], &ok["replayed"]),
        (&json!(false), &json!(2)),
        "{ok}"
    );
    assert_eq!(ok["gaps"], json!(null), "{ok}");
    expect_replay(&mut client, 1..=2);
    client.unsubscribe("#").await_ok();
    // What has history alone is whole.
    let ok = client.subscribe_with("kept/#", since).await_ok();
    assert_eq!(
        (&ok["recovered"], &ok["replayed"]),
        (&json!(true), &json!(2)),
        "{ok}"
    );
    expect_replay(&mut client, 1..=2);
    client.expect_nothing();
}

#[test]
fn what_a_filter_recovers_is_bounded_in_all_whatever_the_number_of_workers() {
    for workers in [1, 2, 4] {
        let server = Server::start(
            config()
                .workers(workers)
                .with(|c| c.limits.replay_messages = 20),
        );
        let mut writer = server.connect();
        let mut reader = server.connect();
        let from = reader.subscribe("kept/#").await_ok()["time"].clone();
        reader.unsubscribe("kept/#").await_ok();
        for topic in 0..12 {
            publish(&mut writer, &format!("kept/{topic}"), 5);
        }
        let since = json!({"since": {"positions": {}, "from": from}});
        let ok = reader.subscribe_with("kept/#", since).await_ok();
        assert_eq!(ok["recovered"], false, "{workers}: {ok}");
        assert_eq!(ok["replayed"], 20, "{workers}: {ok}");
        // Each topic is brought whole or named.
        let mut topics: Vec<_> = ok["gaps"].as_array().unwrap().clone();
        assert_eq!(topics.len(), 8, "{workers}: {ok}");
        for _ in 0..4 {
            let replayed = reader.frame()["topic"].clone();
            assert!(!topics.contains(&replayed), "{workers}: {replayed}");
            for offset in 2..=5 {
                let message = reader.expect_message(replayed.as_str().unwrap());
                assert_eq!(message["offset"], offset);
            }
            topics.push(replayed);
        }
        assert_eq!(topics.len(), 12);
        reader.expect_nothing();
    }
}

#[test]
fn by_a_time_that_is_still_to_come_nothing_recovers() {
    let server = Server::start(config());
    let mut one = server.connect();
    publish(&mut one, "kept/a", 2);
    // As a client has it from a clock that was set back since.
    let since = json!({"since": {"positions": {}, "from": 9_999_999_999_999_u64}});
    let ok = one.subscribe_with("kept/#", since).await_ok();
    assert_eq!(ok["recovered"], false, "{ok}");
    assert_eq!(ok["replayed"], 0, "{ok}");
    assert_eq!(ok["gaps"], json!(["kept/a"]), "{ok}");
}

#[test]
fn the_positions_of_a_filter_are_checked() {
    let server = Server::start(config());
    let mut one = server.connect();
    publish(&mut one, "kept/a", 1);
    let good = json!({"epoch": "e", "offset": 1});
    for since in [
        json!({"epoch": "e", "offset": 1}),
        json!({}),
        json!({"positions": [], "from": 1}),
        json!({"positions": {"other/a": good}}),
        json!({"positions": {"kept/+": good}}),
        json!({"positions": {"kept/a": 1}}),
        json!({"positions": {}, "from": -1}),
        json!({"positions": {}, "from": "x"}),
    ] {
        let answer = one
            .subscribe_with("kept/#", json!({ "since": since }))
            .answer();
        assert_eq!(answer["type"], "error", "{since}: {answer}");
        let code = answer["code"].as_str().unwrap();
        assert!(["bad_request", "invalid_topic"].contains(&code), "{answer}");
    }
    one.subscribe("kept/#").await_ok();
}

#[test]
fn a_filters_last_counts_for_each_topic_and_is_capped_for_all() {
    for workers in [1, 2] {
        let server = Server::start(
            config()
                .workers(workers)
                .with(|c| c.limits.replay_messages = 25),
        );
        let mut writer = server.connect();
        for topic in ["kept/a", "kept/b", "kept/c", "kept/d"] {
            publish(&mut writer, topic, 10);
        }
        for (last, expected) in [(0, 0), (3, 12), (6, 24), (7, 25), (100, 25)] {
            let mut reader = server.connect();
            let ok = reader
                .subscribe_with("kept/+", json!({ "last": last }))
                .await_ok();
            assert_eq!(ok["replayed"], expected, "last {last}");
            let mut newest = std::collections::BTreeMap::<String, u64>::new();
            for _ in 0..expected {
                let message = reader.frame();
                assert_eq!(message["replay"], true, "{message}");
                let offset = message["offset"].as_u64().unwrap();
                let topic = message["topic"].as_str().unwrap().to_owned();
                if let Some(before) = newest.insert(topic, offset) {
                    assert_eq!(offset, before + 1, "{message}");
                }
            }
            // What is left out is the oldest.
            assert!(newest.values().all(|offset| *offset == 10), "{newest:?}");
            reader.expect_nothing();
        }
        // A name is held to the same bound.
        let mut reader = server.connect();
        for n in 11..=60 {
            writer.publish("kept/a", n).await_ok();
        }
        let ok = reader
            .subscribe_with("kept/a", json!({"last": 100}))
            .await_ok();
        assert_eq!(ok["replayed"], 25, "{ok}");
        expect_replay(&mut reader, 36..=60);
    }
}
