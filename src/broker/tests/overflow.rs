//! Sessions that fall behind, by what their subscriptions asked for.

use serde_json::Value;

use super::super::{Ending, Publication, Rule, Rules, TopicRule};
use super::*;
use crate::history::Bounds;
use crate::model::{Overflow, Overflows};
use crate::protocol::{Close, CloseCode, ErrorCode, Subscribe};

const SLOW: &str = "fanfare_messages_dropped_total";

/// `d/…` allows everything and keeps history; all else is as it is.
fn lenient(queue: usize) -> Broker {
    let broker = broker(1, queue);
    allow(
        &broker,
        &[
            Overflow::Disconnect,
            Overflow::DropOldest,
            Overflow::Conflate,
        ],
    );
    broker
}

fn allow(broker: &Broker, overflows: &[Overflow]) {
    let rule = Rule {
        filter: filter("d/#"),
        topic: TopicRule {
            history: Some(Bounds {
                messages: 1000,
                age: None,
                bytes: usize::MAX,
            }),
            overflow: Overflows::new(overflows).unwrap(),
            ..TopicRule::default()
        },
    };
    broker.reconfigure(Rules::new(vec![rule]), 1000, 1000);
}

fn asking(text: &str, overflow: Overflow, client: &Client) -> Subscription {
    Subscription {
        overflow: Some(overflow),
        ..plain(text, &client.member)
    }
}

/// At most one message in a minute.
fn paced(text: &str, client: &Client) -> Subscription {
    Subscription {
        min_interval: Some(Duration::from_secs(60)),
        ..asking(text, Overflow::Conflate, client)
    }
}

/// What came of a topic: `data` and how many it stands for, or a gap from and to.
fn told(client: &Client, topic: &str) -> Vec<String> {
    let objects = client.wire.objects();
    let of_topic = objects.iter().filter(|o| o["topic"] == topic);
    let shown = |o: &Value| match o["type"].as_str().unwrap() {
        "message" => format!(
            "{} +{}",
            o["data"],
            o.get("skipped").unwrap_or(&Value::from(0))
        ),
        "gap" => format!("{} {}-{}", o["reason"], o["from"], o["to"]),
        other => other.to_owned(),
    };
    of_topic.map(|o| shown(o).replace('"', "")).collect()
}

async fn publish_each(worker: &Worker, topics: &[&str], count: usize) {
    for n in 1..=count {
        for topic in topics {
            publish(worker, topic, &n.to_string(), None);
        }
        settle().await;
    }
}

#[test]
fn the_options_of_the_exact_name_count_else_those_of_the_earliest_filter() {
    let broker = lenient(1000);
    on_worker(&broker, async |worker| {
        // One byte, so that a message waits that has been begun.
        let client = Client::with_room(&worker, 1, WireFormat::Json, 1);
        for ask in [
            asking("d/#", Overflow::Conflate, &client),
            asking("d/+", Overflow::DropOldest, &client),
            asking("d/a", Overflow::DropOldest, &client),
        ] {
            client.subscribe_with(ask).await;
        }
        publish(&worker, "d/x", "begun", None);
        settle().await;
        publish_each(&worker, &["d/a", "d/b"], 20).await;
        client.unblock();
        settle().await;
        let a = told(&client, "d/a");
        assert!(a[0].starts_with("slow 1-"), "{a:?}");
        assert_eq!(a.last().unwrap(), "20 +0");
        assert_eq!(told(&client, "d/b"), ["20 +19"]);
    });
}

#[test]
fn what_the_rule_says_first_counts_for_who_asks_for_nothing_and_as_long_as_it_says_so() {
    let broker = lenient(600);
    on_worker(&broker, async |worker| {
        allow(&broker, &[Overflow::Conflate, Overflow::DropOldest]);
        settle().await;
        let clients = [1, 2, 3].map(|id| Client::with_room(&worker, id, WireFormat::Json, 1));
        clients[0].subscribe("d/#").await;
        clients[1]
            .subscribe_with(asking("d/a", Overflow::DropOldest, &clients[1]))
            .await;
        // Of another rule, which allows nothing else.
        clients[2].subscribe("x").await;
        publish_each(&worker, &["d/a", "x"], 20).await;
        assert_eq!(
            clients[2].subscriber.closed_with().map(|(code, _)| code.0),
            Some(4008)
        );
        // What one asked for is not allowed any more: the rule's first counts for what comes.
        allow(&broker, &[Overflow::Conflate]);
        settle().await;
        publish_each(&worker, &["d/a"], 5).await;
        for client in &clients[..2] {
            client.unblock();
        }
        settle().await;
        assert_eq!(told(&clients[0], "d/a"), ["1 +0", "5 +23"]);
        let second = told(&clients[1], "d/a");
        assert!(second[1].starts_with("slow 2-"), "{second:?}");
        assert_eq!(second.last().unwrap(), "5 +4");
    });
}

#[test]
fn what_is_held_back_comes_when_it_is_due() {
    let broker = lenient(10_000);
    on_worker(&broker, async |worker| {
        let client = Client::new(&worker, 1, WireFormat::Json);
        client.subscribe_with(paced("d/#", &client)).await;
        let before = Instant::now();
        publish_each(&worker, &["d/a", "d/b"], 3).await;
        assert_eq!(told(&client, "d/a"), ["1 +0"]);
        let minute = Duration::from_secs(60);
        let due = client.wire.due.get().unwrap();
        assert!(due >= before + minute && due <= Instant::now() + minute);
        let queued = client.subscriber.queued_bytes();
        assert!(queued > 0, "what is held back counts");
        settle().await;
        assert_eq!(
            metric(broker.metrics(), "fanfare_session_queued_bytes"),
            queued as i64
        );
        assert_eq!(metric(broker.metrics(), "fanfare_sessions_slow"), 0);
        client.subscriber.release(before + minute / 2);
        settle().await;
        assert_eq!(told(&client, "d/a"), ["1 +0"]);
        let next = client.subscriber.release(due + minute / 2);
        settle().await;
        assert_eq!(told(&client, "d/a"), ["1 +0", "3 +1"]);
        assert_eq!(told(&client, "d/b"), ["1 +0", "3 +1"]);
        assert_eq!(client.subscriber.queued_bytes(), 0);
        // Nothing comes any more: nothing is known of it any more.
        assert_eq!(client.subscriber.release(next.unwrap()), None);
        let counts = ["fanfare_messages_delivered_total", SLOW];
        assert_eq!(counts.map(|name| metric(broker.metrics(), name)), [4, 2]);
    });
}

#[test]
fn what_is_held_back_comes_before_what_follows_it() {
    let broker = lenient(10_000);
    on_worker(&broker, async |worker| {
        let client = Client::new(&worker, 1, WireFormat::Json);
        client.subscribe_with(paced("d/#", &client)).await;
        publish_each(&worker, &["d/a", "d/b", "d/c", "d/d"], 3).await;
        // What the topic kept is removed.
        let (reply, answer) = caller();
        worker.clear(topic("d/a"), reply);
        answer.await.unwrap().unwrap();
        settle().await;
        assert_eq!(told(&client, "d/a"), ["1 +0", "3 +1", "cleared 1-3"]);
        // The topic is subscribed to by its name, and replayed.
        let named = Subscription {
            last: Some(9),
            ..paced("d/b", &client)
        };
        client.subscribe_with(named).await;
        settle().await;
        assert_eq!(told(&client, "d/b")[..2], ["1 +0", "3 +1"]);
        assert_eq!(told(&client, "d/b").len(), 5);
        // The rule does not allow it any more.
        allow(&broker, &[Overflow::Disconnect]);
        publish_each(&worker, &["d/e"], 1).await;
        publish(&worker, "d/c", "4", None);
        settle().await;
        assert_eq!(told(&client, "d/c"), ["1 +0", "3 +1", "4 +0"]);
        // The session ends.
        let close = Close::new(CloseCode::NORMAL, "");
        client
            .subscriber
            .close(&close, Ending::Orderly, Instant::now());
        settle().await;
        assert_eq!(told(&client, "d/d"), ["1 +0", "3 +1"]);
        assert_eq!(client.subscriber.queued_bytes(), 0);
    });
}

#[test]
fn what_is_held_back_of_a_session_that_goes_is_counted_and_a_queue_of_it_has_its_bound() {
    let broker = lenient(2000);
    on_worker(&broker, async |worker| {
        let client = Client::new(&worker, 1, WireFormat::Json);
        client.subscribe_with(paced("d/#", &client)).await;
        publish_each(&worker, &["d/a", "d/b"], 2).await;
        client.detach();
        settle().await;
        assert_eq!(metric(broker.metrics(), SLOW), 2);
        assert_eq!(metric(broker.metrics(), "fanfare_session_queued_bytes"), 0);
        let client = Client::new(&worker, 2, WireFormat::Json);
        client.subscribe_with(paced("d/#", &client)).await;
        let names: Vec<_> = (0..50).map(|n| format!("d/{n}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        publish_each(&worker, &names, 2).await;
        assert_eq!(
            client.subscriber.closed_with().map(|(code, _)| code.0),
            Some(4008)
        );
        settle().await;
        assert_eq!(metric(broker.metrics(), "fanfare_session_queued_bytes"), 0);
        // Nor are more keys remembered for a session than it may have waiting.
        let client = Client::new(&worker, 3, WireFormat::Json);
        client.subscribe_with(paced("d/#", &client)).await;
        for n in 0..50 {
            let message = Publication {
                key: Some(n.to_string().into()),
                ..publication(&topic("d/a"), "x", None)
            };
            worker.publish(message, Instant::now(), ReplyTo::Nobody);
            settle().await;
        }
        assert_eq!(
            client.subscriber.closed_with().map(|(code, _)| code.0),
            Some(4008)
        );
    });
}

#[test]
fn a_raw_session_is_not_subscribed_to_what_it_could_not_be_told() {
    let broker = lenient(1000);
    on_worker(&broker, async |worker| {
        let client = Client::new(&worker, 1, WireFormat::Raw);
        let ask = |overflow| Subscribe {
            overflow: Some(overflow),
            ..Subscribe::to(filter("d/a"))
        };
        for overflow in [Overflow::DropOldest, Overflow::Conflate] {
            let refused = broker.subscribe_session(SessionId(1), ask(overflow)).await;
            assert_eq!(refused.unwrap_err().code, ErrorCode::BadRequest);
        }
        let asked = ask(Overflow::Disconnect);
        broker.subscribe_session(SessionId(1), asked).await.unwrap();
        client.detach();
    });
}

#[test]
fn presence_is_not_dropped_with_the_messages_around_it() {
    let broker = lenient(900);
    on_worker(&broker, async |worker| {
        let rule = Rule {
            filter: filter("hall"),
            topic: TopicRule {
                presence: true,
                join_leave: true,
                overflow: Overflows::only(Overflow::DropOldest),
                ..TopicRule::default()
            },
        };
        broker.reconfigure(Rules::new(vec![rule]), 1000, 1000);
        settle().await;
        let client = Client::with_room(&worker, 1, WireFormat::Json, 60);
        client.subscribe("hall").await;
        let others = [2, 3].map(|id| Client::new(&worker, id, WireFormat::Raw));
        for n in 0..10 {
            publish(&worker, "hall", &n.to_string(), None);
            if let Some(other) = others.get(n) {
                drop(other.ask(plain("hall", &other.member)));
            }
        }
        settle().await;
        publish_each(&worker, &["hall"], 20).await;
        client.unblock();
        settle().await;
        let told = told(&client, "hall");
        let joins = told.iter().filter(|told| *told == "join").count();
        assert_eq!(joins, 2, "{told:?}");
        assert_eq!(told.last().unwrap(), "20 +0");
        assert!(told.iter().any(|told| told.starts_with("slow")), "{told:?}");
    });
}
