//! Crowds of topics and of filters: what each costs, and what it must not.

use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

use serde_json::json;

use crate::support::{Client, Http, Process, Rest};

/// The names of all series: lines without their values.
fn series(broker: &Process) -> Vec<String> {
    let text = Http::new(broker.address, "GET", "/metrics").send().text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut names: Vec<_> = lines
        .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
        .collect();
    names.sort();
    names
}

/// Publishes to a hundred thousand topics, each its own.
fn publish_to_many(broker: &Process, prefix: &str) {
    for batch in 0..100 {
        let mut body = String::from("[");
        for n in 0..1000 {
            let comma = if n == 0 { "" } else { "," };
            // Not in order, as names that nobody planned are.
            let name = (batch * 1000 + n) * 7_919 % 100_000;
            write!(body, r#"{comma}{{"topic":"{prefix}/{name}","data":1}}"#).unwrap();
        }
        body.push(']');
        let publish = Http::new(broker.address, "POST", "/v1/publish");
        let answer = publish
            .header("Content-Type", "application/json")
            .body(body)
            .send();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[test]
fn a_hundred_thousand_topics_make_no_series() {
    for (per_topic, allowed) in [("[]", 0), (r#"["kept/#"]"#, 1000)] {
        let broker = Process::start(
            &format!(
                "server.workers = 2\nmetrics.per_topic = {per_topic}\n\
                 topic = [{{ filter = \"kept/#\", history = {{ messages = 1 }} }}]"
            ),
            &[],
        );
        let body = json!([{"topic": "live/0", "data": 1}, {"topic": "kept/0", "data": 1}]);
        let publish = Http::new(broker.address, "POST", "/v1/publish").json(&body);
        assert_eq!(publish.send().status, 200);
        let mut client = Client::open(broker.address, "/ws");
        client.subscribe("kept/#").await_ok();
        client.unsubscribe("kept/#").await_ok();
        series(&broker);
        let before = series(&broker);
        publish_to_many(&broker, "live");
        publish_to_many(&broker, "kept");
        assert_eq!(broker.metric("fanfare_topics"), 100_000);
        let after = series(&broker);
        let more = after.len() - before.len();
        assert!(more <= allowed, "{more} more series");
        let others = |names: &[String]| -> Vec<String> {
            let is_topics = |name: &&String| name.starts_with("fanfare_topic_subscribers{");
            names.iter().filter(|n| !is_topics(n)).cloned().collect()
        };
        assert_eq!(others(&after), others(&before));
    }
}

/// The processor time that the broker takes for so many publishes to a topic.
fn cost(broker: &Process, publisher: &mut Client, topic: &str) -> Duration {
    let before = broker.processor_time();
    for _ in 0..50 {
        for _ in 0..20 {
            publisher.cast(topic, 1);
        }
        publisher.ask(json!({"type": "ping"})).await_ok();
    }
    broker.processor_time().saturating_sub(before)
}

#[test]
fn wildcards_at_every_level_of_a_deep_topic_do_not_multiply() {
    // As deep as a name can be, and filters that branch at each level: 2^20 ways to match a level
    // by its name or by "+". A matcher that tries them all for each message does not come back.
    const FILTERS: usize = 100;
    let broker = Process::start("server.workers = 1\nsession.subscriptions = 200", &[]);
    let before = Rest::of(&broker);
    let deep = vec!["a"; 128].join("/");
    let mut publisher = Client::open(broker.address, "/ws");
    let mut subscriber = Client::open(broker.address, "/ws");
    let mut subscribe = |numbers: Range<usize>| {
        for n in numbers {
            // Bit by bit another mix of names and wildcards; the last level alone does not match.
            let mix = |level: usize| {
                if (n >> (level % 7)) & 1 == 1 {
                    "+"
                } else {
                    "a"
                }
            };
            let levels: Vec<_> = (0..127).map(mix).chain(["b"]).collect();
            subscriber.subscribe(&levels.join("/")).await_ok();
        }
    };
    subscribe(0..FILTERS / 4);
    let few = cost(&broker, &mut publisher, &deep);
    subscribe(FILTERS / 4..FILTERS);
    let unmatched = cost(&broker, &mut publisher, &deep);
    subscriber.expect_nothing();
    // Those that match are delivered once, however many of them do.
    for n in 1..28 {
        let levels = [vec!["+"; n], vec!["#"]].concat();
        subscriber.subscribe(&levels.join("/")).await_ok();
    }
    let matched = cost(&broker, &mut publisher, &deep);
    subscriber.expect_data(1000);
    subscriber.expect_nothing();
    println!("{few:?} few, {unmatched:?} unmatched, {matched:?} matched");
    // Four times as many filters cost four times as much; twice that is for chance.
    let allowed = 8 * few + Duration::from_millis(200);
    assert!(unmatched < allowed, "{unmatched:?} after {few:?}");
    assert!(matched < allowed, "{matched:?} after {few:?}");
    drop((subscriber, publisher));
    before.await_again(&broker);
}
