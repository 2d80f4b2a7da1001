//! Event streams that come again: what they get, and what they are told they miss.

use std::collections::BTreeSet;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde_json::{Value, json};

use crate::support::{Edit, Events, Server, config, kept};

/// A stream that comes again with that id.
#[track_caller]
fn again(server: &Server, query: &str, id: &str) -> Events {
    Events::open(server.address, query, &[("Last-Event-ID", id)])
}

fn topics(gaps: &[&Value]) -> Vec<String> {
    let topic = |gap: &&Value| gap["topic"].as_str().unwrap().to_owned();
    gaps.iter().map(topic).collect()
}

#[test]
fn a_stream_that_was_cut_before_its_first_message_misses_nothing() {
    let server = Server::start(config());
    server.publish("kept/a", &json!("long ago"));
    for query in [
        "topic=kept/a",
        "topic=kept/a&topic=kept/b",
        "topic=kept/%23",
    ] {
        let events = Events::open(server.address, query, &[]);
        assert_eq!(events.gaps().len(), 0);
        let id = events.first_id().to_owned();
        drop(events);
        for n in 0..3 {
            server.publish("kept/a", &json!([query, n]));
        }
        let mut events = again(&server, query, &id);
        assert_eq!(events.gaps().len(), 0, "{query}");
        // By time more may come than was missed.
        let mut missing = BTreeSet::from([0, 1, 2]);
        while !missing.is_empty() {
            let data = events.expect("message").data["data"].clone();
            if data[0] == query {
                missing.remove(&data[1].as_u64().unwrap());
            }
        }
    }
}

#[test]
fn a_replay_that_was_cut_goes_on_behind_the_last_event_that_came() {
    let server = Server::start(config());
    for n in 1..=50 {
        server.publish("kept/a", &json!(n));
    }
    let mut events = Events::open(server.address, "topic=kept/a&last=40", &[]);
    let mut id = events.first_id().to_owned();
    let mut expected = 11..=50;
    for _ in 0..5 {
        for _ in 0..7 {
            let event = events.expect("message");
            assert_eq!(event.data["data"], expected.next().unwrap());
            id = event.id.unwrap();
        }
        events = again(&server, "topic=kept/a", &id);
        assert_eq!(events.gaps().len(), 0);
        assert_eq!(events.first_id().split(':').nth(1), id.split(':').nth(1));
    }
    for n in expected {
        assert_eq!(events.expect("message").data["data"], n);
    }
}

#[test]
fn a_stream_of_one_name_whose_last_event_was_of_a_topic_lent_to_it_is_told_no_gap() {
    let server = Server::start(config());
    server.publish("kept/a", &json!("before"));
    let events = Events::open(server.address, "topic=kept/a", &[]);
    let listed = server.get("/v1/sessions?topic=kept/a").json();
    let session = listed["sessions"][0]["session"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/v1/sessions/{session}/subscriptions");
    let lent = json!({"topic": "kept/b"});
    assert_eq!(server.http("POST", &path).json(&lent).send().status, 200);
    let mut events = events;
    server.publish("kept/b", &json!("lent"));
    let last = events.expect("message");
    assert_eq!(last.data["topic"], "kept/b");
    drop(events);
    server.publish("kept/a", &json!("missed"));
    let mut events = again(&server, "topic=kept/a", &last.id.unwrap());
    assert_eq!(events.gaps().len(), 0);
    // By time, with what went shortly before.
    while events.expect("message").data["data"] != "missed" {}
}

#[test]
fn a_stream_of_several_topics_that_is_cut_while_it_catches_up_goes_on_from_where_it_began() {
    let server = Server::start(config().with(|c| c.topics = vec![kept("kept/#", 50)]));
    let publish = |topic: &str, count: u32| {
        for n in 0..count {
            server.publish(topic, &json!(n));
        }
    };
    publish("kept/a", 40);
    publish("kept/b", 20);
    for query in ["topic=kept/a&topic=kept/b", "topic=kept/%23"] {
        let mut events = Events::open(server.address, query, &[]);
        server.publish("kept/b", &json!(query));
        let id = events.expect("message").id.unwrap();
        let moment = id.split(':').next_back().unwrap();
        let begins = format!("-:0:{moment}");
        drop(events);
        for _ in 0..3 {
            // It had all of this: what comes are the repeats of five seconds.
            let mut events = again(&server, query, &id);
            assert_eq!(events.gaps().len(), 0, "{query}");
            assert_eq!(events.first_id(), begins);
            for _ in 0..5 {
                let event = events.expect("message");
                assert_eq!(event.id.unwrap(), begins);
            }
            drop(events);
            // Of the oldest repeat's time the history has dropped some by now.
            publish("kept/a", 15);
        }
        // What is live meanwhile says no more than what is replayed. Once it is through, it goes on
        // from now, and each event has its own id again.
        let mut events = again(&server, query, &begins);
        let mut missing = vec![json!("kept/a"), json!("kept/b")];
        for topic in ["kept/a", "kept/b"] {
            server.publish(topic, &json!("meanwhile"));
        }
        let (mut is_through, mut has_own) = (false, false);
        // Between topics no order is promised.
        while !has_own || !missing.is_empty() {
            let event = events.next().unwrap();
            if event.name.as_deref() == Some("gap") {
                // What is live may push out a repeat that has not been read yet.
                assert_eq!(event.data["topic"], "kept/a");
                continue;
            }
            let id = event.id.unwrap();
            if event.name.is_none() {
                assert!(!is_through && id > begins, "{id}");
                is_through = true;
                server.publish("kept/a", &json!("own"));
            } else {
                assert_eq!(id.starts_with("-:0:"), !is_through, "{id}");
                assert!(is_through || id == begins, "{id}");
            }
            if event.data["data"] == "meanwhile" {
                missing.retain(|topic| *topic != event.data["topic"]);
            }
            has_own |= event.data["data"] == "own";
        }
    }
}

#[test]
fn topics_without_history_tell_that_something_may_be_missing() {
    let server = Server::start(config());
    for (query, told) in [
        ("topic=live/a", &["live/a"][..]),
        ("topic=live/a&topic=kept/a", &["live/a"]),
        (
            "topic=kept/a&topic=live/a&topic=live/b",
            &["live/a", "live/b"],
        ),
        ("topic=live/%2B", &["live/+"]),
        ("topic=%23", &["#"]),
        ("topic=kept/%23", &[]),
    ] {
        let events = Events::open(server.address, query, &[]);
        assert_eq!(topics(&events.gaps()), [""; 0], "{query}: the first time");
        let id = events.first_id().to_owned();
        assert!(id.starts_with("-:0:"), "{id}");
        let mut events = again(&server, query, &id);
        assert_eq!(topics(&events.gaps()), told, "{query}");
        for gap in events.gaps() {
            assert_eq!(
                (&gap["count"], &gap["reason"]),
                (&json!(0), &json!("trimmed"))
            );
        }
        server.publish("live/a", &json!(query));
        server.publish("kept/a", &json!(query));
        while events.expect("message").data["data"] != query {}
    }
}

#[test]
fn a_gap_says_which_messages_are_missing_and_is_told_once() {
    let server = Server::start(config().with(|c| c.topics = vec![kept("kept/#", 3)]));
    let mut events = Events::open(server.address, "topic=kept/a", &[]);
    server.publish("kept/a", &json!(1));
    let id = events.expect("message").id.unwrap();
    drop(events);
    for n in 2..=9 {
        server.publish("kept/a", &json!(n));
    }
    let mut events = again(&server, "topic=kept/a&last=2", &id);
    let [gap] = events.gaps()[..] else {
        panic!("{:?}", events.gaps());
    };
    let missing = ["from", "to", "count"].map(|field| gap[field].as_u64().unwrap());
    assert_eq!(missing, [2, 7, 6]);
    let first = events.first_id().to_owned();
    for n in 8..=9 {
        assert_eq!(events.expect("message").data["data"], n);
    }
    drop(events);
    let mut events = again(&server, "topic=kept/a", &first);
    assert_eq!(events.gaps().len(), 0);
    assert_eq!(events.expect("message").data["data"], 8);
}

#[test]
fn whatever_is_named_as_the_last_event_the_stream_opens_and_tells_a_gap() {
    let server = Server::start(config());
    for n in 1..=5 {
        server.publish("kept/a", &json!(n));
    }
    let epoch = server.get("/v1/topics/kept/a/messages").json()["epoch"].clone();
    let epoch = epoch.as_str().unwrap();
    let long = "9".repeat(20_000);
    let known = [
        format!("{epoch}:99:1700000000000"),
        format!("{epoch}:18446744073709551615:18446744073709551615"),
        format!("{epoch}:-1:1700000000000"),
        format!("{epoch}:1e3:1700000000000"),
        format!("{epoch}:3"),
        format!("{epoch}:3:1700000000000:7"),
    ];
    let foreign = [
        "0",
        "42",
        "-",
        ":::",
        "abc:1:2",
        "-:0:18446744073709551615",
        "-:0:99999999999999999999999999",
        "closed:",
        "closed:x",
        "{\"a\":1}",
        "'; --",
        "é",
        long.as_str(),
    ];
    for id in known.iter().map(String::as_str).chain(foreign) {
        for query in [
            "topic=kept/a",
            "topic=kept/a&topic=kept/b",
            "topic=kept/%23",
        ] {
            let encoded = percent_encode(id.as_bytes(), NON_ALPHANUMERIC);
            let streams = [
                again(&server, query, id),
                Events::open(
                    server.address,
                    &format!("{query}&last_event_id={encoded}"),
                    &[],
                ),
            ];
            let is_known = id.starts_with(epoch) && query != "topic=kept/a";
            for mut events in streams {
                // Of several, what the id's time covers is not missing.
                let told = topics(&events.gaps());
                assert!(!told.is_empty() || is_known, "{id} of {query}");
                server.publish("kept/a", &json!("next"));
                while events.expect("message").data["data"] != "next" {}
            }
        }
    }
    for id in ["%00", "a%00:1:2", "%ff", "%0a"] {
        let answer = server.http("GET", &format!("/sse?topic=kept/a&last_event_id={id}"));
        let status = answer.send().status;
        assert!(status == 200 || status == 400, "{id}: {status}");
    }
    server.await_metric("fanfare_panics_total", 0);
}

#[test]
fn a_last_event_of_a_million_bytes_is_refused_before_it_is_read() {
    let server = Server::start(config());
    let long = "9".repeat(1_000_000);
    for (path, header) in [
        ("/sse?topic=a".to_owned(), long.as_str()),
        (format!("/sse?topic=a&last_event_id={long}"), "x"),
    ] {
        let ask = server.http("GET", &path).header("Last-Event-ID", header);
        if let Some(answer) = ask.try_send() {
            assert!((400..500).contains(&answer.status), "{}", answer.status);
        }
    }
    assert_eq!(server.metric("fanfare_connections_total"), 0);
}

#[test]
fn who_was_ended_for_good_is_stopped_by_204_when_it_comes_again() {
    let server = Server::start(config());
    let mut events = Events::open(server.address, "topic=kept/a", &[]);
    let listed = server.get("/v1/sessions").json();
    let session = listed["sessions"][0]["session"].as_str().unwrap();
    let path = format!("/v1/sessions/{session}");
    assert_eq!(server.http("DELETE", &path).send().status, 200);
    let closing = events.expect("closing");
    assert_eq!(closing.data["code"], 4500);
    assert_eq!(closing.data["reconnect"], false);
    assert!(events.next().is_none());
    let id = closing.id.unwrap();
    let come = |path: &str| server.http("GET", path).header("Last-Event-ID", &id).send();
    let stopped = come("/sse?topic=kept/a");
    assert_eq!((stopped.status, stopped.body.len()), (204, 0));
    // Only what is in order otherwise: a wrong topic is told as ever.
    assert_eq!(come("/sse?topic=a%23").expect_problem(400), "invalid_topic");
    // Who was asked to come back is let in again.
    let mut events = Events::open(server.address, "topic=kept/a", &[]);
    let listed = server.get("/v1/sessions").json();
    let session = listed["sessions"][0]["session"].as_str().unwrap();
    let path = format!("/v1/sessions/{session}?code=4100");
    assert_eq!(server.http("DELETE", &path).send().status, 200);
    let id = events.first_id().to_owned();
    assert_eq!(events.expect("closing").id, None);
    again(&server, "topic=kept/a", &id);
}

#[test]
fn a_retained_message_does_not_change_where_a_stream_goes_on() {
    let server = Server::start(config().with(|c| {
        c.topics = vec![fanfare::config::TopicRule {
            retain: true,
            ..kept("kept/#", 100)
        }];
    }));
    let retain = |data: &str| {
        let path = "/v1/topics/kept/a/messages?retain=true";
        let answer = server.http("POST", path).body(data.as_bytes()).send();
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    retain("kept");
    server.publish("kept/a", &json!("later"));
    let mut events = Events::open(server.address, "topic=kept/a", &[]);
    let retained = events.expect("message");
    assert_eq!(retained.data["retain"], true);
    assert_eq!(retained.id, None);
    assert_eq!(events.first_id().split(':').nth(1), Some("2"));
}
