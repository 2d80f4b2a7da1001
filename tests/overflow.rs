//! Sessions that fall behind with `drop_oldest` and `conflate`: what they get once they read again,
//! and that they are told all that they missed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use fanfare::config::{Config, TopicRule};
use fanfare::model::{Overflow, Overflows};
use serde_json::{Value, json};

use crate::support::{
    BINARY, Client, Edit, Events, Server, TEXT, Wire, bulky, config, kept, live, narrow,
    publish_until,
};

const SLOW: &str = r#"fanfare_messages_dropped_total{reason="slow"}"#;
const CONFLATED: &str = r#"fanfare_messages_dropped_total{reason="conflated"}"#;
const DELIVERED: &str = "fanfare_messages_delivered_total";

fn allowing(rule: TopicRule, overflows: &[Overflow]) -> TopicRule {
    TopicRule {
        overflow: Overflows::new(overflows).unwrap(),
        ..rule
    }
}

/// A small queue, and topics that allow everything: `a` keeps all if so, `b` is live.
fn lenient(keeps: bool) -> Config {
    use Overflow::{Conflate, Disconnect, DropOldest};
    let a = if keeps { kept("a", 100_000) } else { live("a") };
    config().with(|c| {
        c.session.queue = 64 * 1024;
        c.session.write_timeout = Duration::from_secs(60);
        let all = [Disconnect, DropOldest, Conflate];
        c.topics = vec![allowing(a, &all), allowing(live("b"), &all)];
    })
}

/// A session that subscribed to `a` with those options and reads no more.
#[track_caller]
fn deaf(server: &Server, opcode: u8, options: &Value) -> Wire {
    let more = match opcode {
        BINARY => "Sec-WebSocket-Protocol: fanfare.v1.msgpack\r\n",
        _ => "",
    };
    let mut wire = Wire::narrow_with(server.address, "/ws", more);
    assert_eq!(wire.value().unwrap()["type"], "welcome");
    let mut ask = json!({"type": "subscribe", "topic": "a", "id": 1});
    let fields = ask.as_object_mut().unwrap();
    fields.extend(options.as_object().unwrap().clone());
    wire.send_as(opcode, &ask);
    let answer = wire.value().unwrap();
    assert_eq!(answer["type"], "ok", "{answer}");
    wire
}

/// Publishes numbers with a key until that many have been, `keys` of them in turn.
fn publish_keyed(writer: &mut Client, keys: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let text = "x".repeat(4000);
    let mut n = 0;
    while !holds(n) {
        assert!(n < 50_000, "{n} messages did not do it");
        let key = (n % keys > 0).then(|| format!("k{}", n % keys));
        let mut frame = json!({"type": "publish", "topic": "a", "data": [n, text]});
        if let Some(key) = key {
            frame["key"] = key.into();
        }
        writer.ask(frame).await_ok();
        n += 1;
    }
    n
}

/// What a reader of `a` has got, frame by frame.
#[derive(Default)]
struct Account {
    /// The next message that is due.
    next: u64,
    messages: u64,
    missing: u64,
    gaps: Vec<Value>,
}

impl Account {
    /// Takes a frame; messages come in order, and gaps say exactly what is between them.
    fn take(&mut self, frame: &Value, has_history: bool) {
        assert_eq!(frame["topic"], "a", "{frame}");
        if frame["type"] == "gap" {
            assert_eq!(frame["reason"], "slow", "{frame}");
            let count = frame["count"].as_u64().unwrap();
            if has_history {
                // Offsets begin at 1, numbers at 0.
                assert_eq!(frame["from"], self.next + 1, "{frame}");
                assert_eq!(frame["to"], self.next + count, "{frame}");
                assert!(frame["epoch"].is_string(), "{frame}");
            } else {
                assert!(frame.get("from").is_none() && frame.get("epoch").is_none());
            }
            self.next += count;
            self.missing += count;
            self.gaps.push(frame.clone());
        } else {
            assert_eq!(frame["type"], "message", "{frame}");
            assert_eq!(frame["data"][0], self.next, "after {:?}", self.gaps);
            self.next += 1;
            self.messages += 1;
        }
    }
}

#[test]
fn who_drops_the_oldest_is_told_exactly_which_once_it_reads_again() {
    for (opcode, has_history) in [(TEXT, true), (TEXT, false), (BINARY, true), (BINARY, false)] {
        let server = Server::start(lenient(has_history));
        let mut slow = deaf(&server, opcode, &json!({"overflow": "drop_oldest"}));
        let mut reader = server.connect();
        reader.subscribe("a").await_ok();
        let mut writer = server.connect();
        let mut read = 0..;
        let mut is_first = true;
        let published = publish_until(&mut writer, bulky(4000), || {
            // The others lose nothing.
            if !std::mem::take(&mut is_first) {
                let data = reader.expect_message("a")["data"][0].as_u64();
                assert_eq!(data, read.next());
            }
            server.metric(SLOW) > 200
        });
        assert!(server.metric("fanfare_session_queued_bytes") <= 65 * 1024 + 4100);
        let dropped = server.metric(SLOW);
        let mut account = Account::default();
        while account.next < published {
            account.take(&slow.value().unwrap(), has_history);
        }
        assert_eq!(account.missing, dropped);
        assert_eq!(account.messages + account.missing, published);
        // It is a session like any other again.
        server.await_metric("fanfare_sessions_slow", 0);
        writer.publish("a", json!([published, ""])).await_ok();
        account.take(&slow.value().unwrap(), has_history);
        assert_eq!(
            server.metric(r#"fanfare_disconnects_total{code="4008"}"#),
            0
        );
        assert_eq!(server.metric(SLOW), dropped);
        server.await_metric(DELIVERED, 2 * (published + 1) - dropped);
        server.await_metric("fanfare_session_queued_bytes", 0);
    }
}

#[test]
fn what_a_gap_names_is_recovered_from_the_history() {
    let server = Server::start(lenient(true));
    let mut slow = deaf(&server, TEXT, &json!({"overflow": "drop_oldest"}));
    let mut writer = server.connect();
    let published = publish_until(&mut writer, bulky(8000), || server.metric(SLOW) > 50);
    let mut account = Account::default();
    while account.next < published {
        account.take(&slow.json(), true);
    }
    let gap = &account.gaps[0];
    let (mut after, to) = (
        gap["from"].as_u64().unwrap() - 1,
        gap["to"].as_u64().unwrap(),
    );
    while after < to {
        let since = json!({"epoch": gap["epoch"], "offset": after});
        slow.send_json(
            &json!({"type": "history", "id": 2, "topic": "a", "since": since, "limit": to - after}),
        );
        for message in slow.json()["messages"].as_array().unwrap() {
            assert_eq!(message["offset"], after + 1);
            after += 1;
        }
    }
    // Or by coming again.
    let since = json!({"epoch": gap["epoch"], "offset": gap["from"].as_u64().unwrap() - 1});
    let mut back = server.connect();
    let ok = back.subscribe_with("a", json!({"since": since})).await_ok();
    assert_eq!(ok["recovered"], true, "{ok}");
    for offset in gap["from"].as_u64().unwrap()..=published {
        assert_eq!(back.expect_message("a")["offset"], offset);
    }
}

#[test]
fn who_conflates_gets_the_newest_of_each_key_and_how_many_it_stands_for() {
    const KEYS: u64 = 3;
    for (opcode, has_history) in [(TEXT, true), (TEXT, false), (BINARY, true), (BINARY, false)] {
        let server = Server::start(lenient(has_history));
        let mut slow = deaf(&server, opcode, &json!({"overflow": "conflate"}));
        let mut writer = server.connect();
        let published = publish_keyed(&mut writer, KEYS, |_| server.metric(CONFLATED) > 200);
        // One of each key waits, behind the one that is partly written.
        assert!(server.metric("fanfare_session_queued_bytes") < (KEYS + 1) * 4200);
        let mut seen: HashMap<Value, (u64, u64)> = HashMap::new();
        let mut last = None;
        while seen
            .values()
            .map(|(messages, skipped)| messages + skipped)
            .sum::<u64>()
            < published
        {
            let frame = slow.value().unwrap();
            assert_eq!(frame["type"], "message", "{}", frame["type"]);
            let number = frame["data"][0].as_u64().unwrap();
            assert!(last < Some(number), "a topic keeps its order");
            last = Some(number);
            let (messages, skipped) = seen.entry(frame["key"].clone()).or_default();
            // It stands for all of its key since the last one that came.
            *messages += 1;
            *skipped += frame["skipped"].as_u64().unwrap_or(0);
            assert_eq!(number / KEYS, *messages + *skipped - 1);
            assert_eq!(frame.get("offset").is_some(), has_history);
        }
        assert_eq!(seen.len() as u64, KEYS);
        assert_eq!(last, Some(published - 1), "the newest has come");
        let skipped: u64 = seen.values().map(|(_, skipped)| skipped).sum();
        assert_eq!(server.metric(CONFLATED), skipped);
        // Who reads gets all of them again.
        server.await_metric("fanfare_sessions_slow", 0);
        for n in 0..5 {
            writer.publish("a", json!([n, ""])).await_ok();
            let frame = slow.value().unwrap();
            assert_eq!(frame["data"][0], n);
            assert!(frame.get("skipped").is_none());
        }
        server.await_metric(DELIVERED, published - skipped + 5);
        server.await_metric("fanfare_session_queued_bytes", 0);
    }
}

#[test]
fn of_each_key_at_most_one_message_comes_in_an_interval_and_the_last_is_the_newest() {
    const INTERVAL: u64 = 150;
    const KEYS: u64 = 2;
    // What was published before another worker's session unsubscribes may still be on its way.
    let server = Server::start(lenient(true).workers(1));
    let mut reader = server.connect();
    reader
        .subscribe_with(
            "a",
            json!({"overflow": "conflate", "min_interval_ms": INTERVAL}),
        )
        .await_ok();
    let mut writer = server.connect();
    let started = Instant::now();
    let length = Duration::from_millis(6 * INTERVAL);
    let published = publish_keyed(&mut writer, KEYS, |_| started.elapsed() > length);
    let mut seen: HashMap<Value, (u64, u64)> = HashMap::new();
    let mut newest = 0;
    while newest < published - 1 {
        let frame = reader.expect_message("a");
        let number = frame["data"][0].as_u64().unwrap();
        assert!(newest == 0 || number > newest, "a topic keeps its order");
        newest = number;
        let (messages, skipped) = seen.entry(frame["key"].clone()).or_default();
        *messages += 1;
        *skipped += frame["skipped"].as_u64().unwrap_or(0);
        assert_eq!(number / KEYS, *messages + *skipped - 1, "{frame}");
    }
    let intervals = started.elapsed().as_millis() as u64 / INTERVAL;
    for (messages, skipped) in seen.values() {
        assert!(*messages <= intervals + 1, "{messages} in {intervals}");
        assert!(*messages >= 3 && *skipped > 0, "{messages}, {skipped}");
    }
    let skipped: u64 = seen.values().map(|(_, skipped)| skipped).sum();
    assert_eq!(server.metric(CONFLATED), skipped);
    // What waits when it ends is not lost.
    for n in 0..3 {
        writer.publish("a", json!([n, ""])).await_ok();
    }
    reader.unsubscribe("a").await_ok();
    let mut rest = 0;
    while rest < 3 {
        let frame = reader.expect_message("a");
        rest += 1 + frame["skipped"].as_u64().unwrap_or(0);
        assert!(rest < 3 || frame["data"][0] == 2, "{frame}");
    }
    reader.expect_nothing();
    server.await_metric("fanfare_session_queued_bytes", 0);
}

#[test]
fn what_may_be_dropped_makes_room_for_what_may_not() {
    let server = Server::start(lenient(false));
    let mut slow = deaf(&server, TEXT, &json!({"overflow": "drop_oldest"}));
    slow.send_json(&json!({"type": "subscribe", "topic": "b", "id": 2}));
    assert_eq!(slow.json()["type"], "ok");
    let mut writer = server.connect();
    let published = publish_until(&mut writer, bulky(4000), || server.metric(SLOW) > 20);
    for n in 0..10 {
        writer.publish("b", json!([n, "x".repeat(4000)])).await_ok();
    }
    let dropped = server.metric(SLOW);
    assert!(dropped > 25, "{dropped}");
    let (mut account, mut next) = (Account::default(), 0);
    while account.next < published || next < 10 {
        let frame = slow.json();
        if frame["topic"] == "b" {
            assert_eq!(frame["data"][0], next);
            next += 1;
        } else {
            account.take(&frame, false);
        }
    }
    assert_eq!(account.missing, dropped);
    // Where nothing else is left to go, the session does.
    let text = "x".repeat(4000);
    let mut more = 0;
    while server.metric(r#"fanfare_disconnects_total{code="4008"}"#) == 0 {
        assert!(more < 20_000, "the session is still there");
        writer.publish("b", json!([more, text])).await_ok();
        more += 1;
    }
}

#[test]
fn who_is_behind_is_still_heard() {
    for overflow in ["drop_oldest", "conflate"] {
        let server = Server::start(lenient(true));
        let mut other = server.connect();
        other.subscribe("b").await_ok();
        let mut slow = deaf(&server, TEXT, &json!({"overflow": overflow}));
        let mut writer = server.connect();
        let dropped = "fanfare_messages_dropped_total";
        let text = "x".repeat(100);
        let many: Vec<_> = (0..1000).map(|n| json!({"type": "publish", "topic": "a", "data": [n, text], "key": (n % 250).to_string()})).collect();
        while server.metric(dropped) < 2000 {
            for frame in &many {
                writer.send(frame);
            }
            writer.ask(json!({"type": "ping"})).await_ok();
        }
        slow.send_json(&json!({"type": "publish", "topic": "b", "data": "heard"}));
        assert_eq!(other.expect_message("b")["data"], "heard");
    }
}

#[test]
fn an_event_stream_is_told_what_its_topics_rule_drops() {
    use Overflow::DropOldest;
    let server = Server::start(lenient(true).with(|c| {
        c.topics = vec![allowing(kept("a", 100_000), &[DropOldest])];
    }));
    let mut slow = Events::raw(narrow(server.address), "topic=a", &[]);
    server.await_metric("fanfare_subscriptions", 1);
    let mut writer = server.connect();
    let published = publish_until(&mut writer, bulky(4000), || server.metric(SLOW) > 50);
    let mut account = Account::default();
    while account.next < published {
        let event = slow.next().expect("an event");
        if let Some("message" | "gap") = event.name.as_deref() {
            assert_eq!(event.data["type"], event.name.as_deref().unwrap());
            account.take(&event.data, true);
        }
    }
    assert_eq!(account.missing, server.metric(SLOW));
    assert!(!account.gaps.is_empty());
}

#[test]
fn a_raw_session_which_cannot_be_told_is_disconnected_whatever_the_rule() {
    use Overflow::{Conflate, DropOldest};
    let server = Server::start(lenient(true).with(|c| {
        c.topics = vec![allowing(kept("a", 100_000), &[DropOldest, Conflate])];
    }));
    let raw = "Sec-WebSocket-Protocol: fanfare.v1.raw\r\n";
    let mut slow = Wire::narrow_with(server.address, "/ws?topic=a", raw);
    let mut writer = server.connect();
    publish_until(&mut writer, bulky(4000), || {
        server.metric(r#"fanfare_disconnects_total{code="4008"}"#) == 1
    });
    slow.expect_end();
}

#[test]
fn a_subscription_may_ask_for_what_its_topics_rules_allow_and_for_nothing_else() {
    use Overflow::{Disconnect, DropOldest};
    let server = Server::start(config().with(|c| {
        c.topics = vec![
            allowing(live("a/b"), &[DropOldest]),
            allowing(live("a/#"), &[Disconnect, DropOldest]),
        ];
    }));
    let mut client = server.connect();
    for (topic, overflow, is_allowed) in [
        ("a/b", "drop_oldest", true),
        ("a/b", "disconnect", false),
        ("a/b", "conflate", false),
        ("a/c", "disconnect", true),
        ("a/+", "drop_oldest", true),
        ("a/+", "disconnect", false),
        ("#", "drop_oldest", false),
        ("c", "drop_oldest", false),
        ("c", "disconnect", true),
    ] {
        let asked = client.subscribe_with(topic, json!({"overflow": overflow}));
        if is_allowed {
            asked.await_ok();
            client.unsubscribe(topic).await_ok();
        } else {
            let error = asked.await_error("forbidden");
            let says = error["message"].as_str().unwrap();
            assert!(says.contains(topic) && says.contains(overflow), "{says}");
        }
    }
    let paced = json!({"overflow": "drop_oldest", "min_interval_ms": 5});
    client
        .subscribe_with("a/b", paced)
        .await_error("bad_request");
}
