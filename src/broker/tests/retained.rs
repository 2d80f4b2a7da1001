//! Retained messages on their way to those who subscribe.

use std::sync::Arc;

use serde_json::Value;

use super::super::testing::retained;
use super::super::{Rule, Rules, TopicRule};
use super::*;
use crate::auth::{Access, Standing};

pub(super) fn retain(worker: &Worker, name: &str, text: &str) {
    let message = retained(&topic(name), text);
    worker.publish(message, Instant::now(), ReplyTo::Nobody);
}

/// A line for each frame that is no answer: what it is, of which topic, and what is in it.
pub(super) fn told(client: &Client) -> Vec<String> {
    let frames = client.wire.objects().into_iter();
    let text = |frame: &Value, field: &str| frame[field].as_str().unwrap_or_default().to_owned();
    frames
        .map(|frame| match frame["type"].as_str().unwrap() {
            "message" => {
                let mark = ["retain", "replay"].iter().find(|m| frame[**m] == true);
                let mark = mark.map_or(String::new(), |mark| format!(" {mark}"));
                format!("{} {}{mark}", text(&frame, "topic"), text(&frame, "data"))
            }
            "gap" => format!(
                "{} gap {} {}..{}",
                text(&frame, "topic"),
                text(&frame, "reason"),
                frame["from"],
                frame["to"]
            ),
            other => panic!("{other}"),
        })
        .collect()
}

/// The client with what it is told from now on.
fn anew(client: &Client) {
    client.wire.taken.borrow_mut().clear();
}

#[test]
fn who_subscribes_gets_the_retained_message_and_who_is_there_gets_it_live() {
    let broker = broker(1, 1 << 20);
    on_worker(&broker, async |worker| {
        let first = Client::new(&worker, 1, WireFormat::Json);
        first.subscribe("r/a").await;
        retain(&worker, "r/a", "1");
        publish(&worker, "r/a", "2", None);
        settle().await;
        assert_eq!(told(&first), ["r/a 1", "r/a 2"]);
        for text in ["r/a", "r/+", "#", "+/a"] {
            let late = Client::new(&worker, 2, WireFormat::Json);
            late.subscribe(text).await;
            settle().await;
            assert_eq!(told(&late), ["r/a 1 retain"], "{text}");
            publish(&worker, "r/a", "3", None);
            settle().await;
            assert_eq!(told(&late), ["r/a 1 retain", "r/a 3"], "{text}");
            late.detach();
        }
        // The empty one clears it, and is delivered.
        anew(&first);
        retain(&worker, "r/a", "");
        settle().await;
        assert_eq!(told(&first), ["r/a "]);
        let late = Client::new(&worker, 3, WireFormat::Json);
        late.subscribe("r/a").await;
        late.subscribe("r/#").await;
        settle().await;
        assert!(told(&late).is_empty());
    });
}

#[test]
fn the_retained_message_comes_before_the_replay_unless_that_brings_it() {
    let broker = broker(1, 1 << 20);
    on_worker(&broker, async |worker| {
        publish(&worker, "hr/a", "1", None);
        retain(&worker, "hr/a", "2");
        publish(&worker, "hr/a", "3", None);
        publish(&worker, "hr/a", "4", None);
        settle().await;
        let position = broker.topic(&topic("hr/a")).unwrap().position.unwrap();
        let since = |offset| Cursor {
            epoch: Some(position.0),
            offset,
        };
        let since_filter = |offset| {
            let positions = vec![(topic("hr/a"), since(offset))];
            Some((Arc::new(positions), None))
        };
        for (text, last, offset, expected) in [
            ("hr/a", None, None, &["2 retain"][..]),
            ("hr/a", Some(0), None, &["2 retain"]),
            ("hr/a", Some(2), None, &["2 retain", "3 replay", "4 replay"]),
            ("hr/a", Some(3), None, &["2 replay", "3 replay", "4 replay"]),
            ("hr/a", None, Some(4), &[]),
            ("hr/a", None, Some(3), &["4 replay"]),
            ("hr/a", None, Some(1), &["2 replay", "3 replay", "4 replay"]),
            ("hr/a", None, Some(9), &["2 retain"]),
            ("hr/a", Some(1), Some(9), &["2 retain", "4 replay"]),
            ("hr/+", None, None, &["2 retain"]),
            ("hr/+", Some(2), None, &["2 retain", "3 replay", "4 replay"]),
            (
                "hr/+",
                Some(4),
                None,
                &["1 replay", "2 replay", "3 replay", "4 replay"],
            ),
            ("hr/+", None, Some(4), &[]),
            ("hr/+", None, Some(3), &["4 replay"]),
            ("hr/+", None, Some(9), &["2 retain"]),
        ] {
            let client = Client::new(&worker, 1, WireFormat::Json);
            let mut ask = plain(text, &client.member);
            ask.last = last;
            if ask.filter.has_wildcard() {
                ask.since_filter = offset.and_then(since_filter);
            } else {
                ask.since = offset.map(since);
            }
            client.subscribe_with(ask).await;
            settle().await;
            let expected: Vec<_> = expected.iter().map(|e| format!("hr/a {e}")).collect();
            assert_eq!(told(&client), expected, "{text} {last:?} {offset:?}");
            client.detach();
        }
    });
}

#[test]
fn of_overlapping_subscriptions_a_name_brings_it_again_and_a_filter_does_not() {
    let broker = broker(1, 1 << 20);
    on_worker(&broker, async |worker| {
        retain(&worker, "r/a", "a");
        retain(&worker, "r/b", "b");
        let client = Client::new(&worker, 1, WireFormat::Json);
        for (text, expected) in [
            ("r/a", &["r/a a retain"][..]),
            ("r/+", &["r/b b retain"]),
            ("#", &[]),
            ("r/b", &["r/b b retain"]),
        ] {
            client.subscribe(text).await;
            settle().await;
            assert_eq!(told(&client), expected, "{text}");
            anew(&client);
        }
        // Both at once: the session gets each message once.
        let client = Client::new(&worker, 2, WireFormat::Json);
        let asks = ["r/#", "r/b", "+/b"].map(|text| client.ask(plain(text, &client.member)));
        for ask in asks {
            ask.await.unwrap().unwrap();
        }
        settle().await;
        let mut all = told(&client);
        all.sort();
        assert_eq!(all, ["r/a a retain", "r/b b retain"]);
    });
}

#[test]
fn many_retained_messages_go_out_in_pieces_and_what_is_live_meanwhile_comes_behind_its_own() {
    const TOPICS: usize = 900;
    const QUEUE: usize = 64 * 1024;
    let broker = broker(1, QUEUE);
    on_worker(&broker, async |worker| {
        let name = |n: usize| format!("r/{n:04}");
        let text = "x".repeat(500);
        for n in 0..TOPICS {
            retain(&worker, &name(n), &format!("old{n} {text}"));
        }
        let client = Client::with_room(&worker, 1, WireFormat::Json, 20_000);
        client.subscribe("r/#").await;
        settle().await;
        let waits = || client.subscriber.queued_bytes();
        assert!((1..=QUEUE / 2).contains(&waits()), "{}", waits());
        let begun = told(&client).len();
        assert!((10..200).contains(&begun), "{begun}");
        // Of one that it has, of two that it has not, the first of them retained, and of a new one.
        publish(&worker, &name(0), "live", None);
        retain(&worker, &name(600), "new");
        publish(&worker, &name(700), "live", None);
        publish(&worker, "r/9999", "born", None);
        for _ in 0..10 {
            client.wire.room.set(30_000);
            client.subscriber.writable();
            settle().await;
            assert!((1..=QUEUE).contains(&waits()), "{}", waits());
        }
        client.unblock();
        settle().await;
        let mut by_topic: HashMap<String, Vec<String>> = HashMap::new();
        for line in told(&client) {
            let (topic, what) = line.split_once(' ').unwrap();
            by_topic
                .entry(topic.to_owned())
                .or_default()
                .push(what.replace(&format!(" {text}"), ""));
        }
        assert_eq!(by_topic.len(), TOPICS + 1);
        for n in 0..TOPICS {
            let mut expected = vec![format!("old{n} retain")];
            match n {
                0 | 700 => expected.push("live".to_owned()),
                600 => expected.push("new".to_owned()),
                _ => {}
            }
            assert_eq!(by_topic[&name(n)], expected);
        }
        assert_eq!(by_topic["r/9999"], ["born"]);
        assert_eq!(client.subscriber.closed_with(), None);
        assert!(!client.subscriber.is_selective());
    });
}

#[test]
fn what_a_rule_keeps_from_a_session_is_not_sent_as_retained_either() {
    let broker = broker(1, 1 << 20);
    on_worker(&broker, async |worker| {
        retain(&worker, "kr/a", "secret");
        retain(&worker, "r/a", "known");
        let key = Access {
            standing: Standing::Api,
            ..Access::everything()
        };
        for (access, expected) in [
            (Access::everything(), &["r/a known retain"][..]),
            (key, &["kr/a secret retain", "r/a known retain"]),
        ] {
            let rights = Rights::to(access);
            let client = Client::that_may(&worker, 1, WireFormat::Json, usize::MAX, rights);
            client.subscribe("#").await;
            client.subscribe("kr/+").await;
            settle().await;
            let mut all = told(&client);
            all.sort();
            assert_eq!(all, expected);
            client.detach();
        }
    });
}

#[test]
fn what_a_replay_finds_trimmed_is_still_sent_where_it_is_retained() {
    let broker = broker(1, 16 * 1024);
    on_worker(&broker, async |worker| {
        let name = "fr/a";
        let text = "x".repeat(1000);
        for n in 1..=10 {
            let message = format!("{n} {text}");
            if n == 9 {
                retain(&worker, name, &message);
            } else {
                publish(&worker, name, &message, None);
            }
        }
        let client = Client::with_room(&worker, 1, WireFormat::Json, 100);
        client
            .subscribe_with(Subscription {
                last: Some(10),
                ..plain(name, &client.member)
            })
            .await;
        settle().await;
        for n in 11..=20 {
            publish(&worker, name, &format!("{n} {text}"), None);
        }
        client.unblock();
        settle().await;
        let all: Vec<_> = told(&client)
            .iter()
            .map(|line| line.replace(&format!(" {text}"), "").replace("fr/a ", ""))
            .collect();
        let gap = all
            .iter()
            .position(|line| line.starts_with("gap trimmed"))
            .unwrap();
        assert!((1..9).contains(&gap), "{all:?}");
        assert_eq!(all[gap + 1], "9 retain", "{all:?}");
        let rest: Vec<_> = (11..=20).map(|n| n.to_string()).collect();
        assert_eq!(all[gap + 2..], rest);
    });
}

#[test]
fn rules_that_begin_to_retain_do_so_in_topics_that_are_there() {
    let broker = broker(1, 1 << 20);
    on_worker(&broker, async |worker| {
        let first = Client::new(&worker, 1, WireFormat::Json);
        first.subscribe("live").await;
        retain(&worker, "live", "refused");
        let rule = Rule {
            filter: filter("#"),
            topic: TopicRule {
                retain: true,
                ..TopicRule::default()
            },
        };
        broker.reconfigure(Rules::new(vec![rule]), 1000, 1000);
        settle().await;
        retain(&worker, "live", "kept");
        settle().await;
        assert_eq!(told(&first), ["live kept"]);
        let late = Client::new(&worker, 2, WireFormat::Json);
        late.subscribe("+").await;
        settle().await;
        assert_eq!(told(&late), ["live kept retain"]);
    });
}
