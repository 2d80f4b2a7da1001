//! A configuration that changes while the broker runs.

use std::time::Duration;

use fanfare::config::{
    Anonymous, ApiKey, Auth, Config, KeySecret, KeySource, Scope, TopicRule, Who,
};
use fanfare::model::Filter;
use rustix::process::Signal;
use serde_json::json;

use crate::support::{Client, Http, Process, Server, config, eventually, kept, live};

fn filters(of: &[&str]) -> Vec<Filter> {
    of.iter()
        .map(|filter| Filter::new(filter).unwrap())
        .collect()
}

fn key(secret: &str, topics: Option<&[&str]>) -> ApiKey {
    ApiKey {
        name: "backend".to_owned(),
        secret: KeySecret::of(secret, KeySource::Sha256),
        scopes: vec![Scope::Publish, Scope::Read],
        topics: topics.map(filters),
    }
}

fn guarded(subscribe: &[&str]) -> Config {
    let mut config = config();
    config.auth = Some(Auth {
        anonymous: Some(Anonymous {
            subscribe: filters(subscribe),
            publish: Vec::new(),
        }),
        ..Auth::default()
    });
    config.api.keys = vec![key("old", None)];
    config
}

fn with_key(server: &Server, key: &str) -> Client {
    let bearer = format!("Bearer {key}");
    Client::open_with(server.address, "/ws", &[("Authorization", &bearer)])
}

#[test]
fn a_subscription_that_is_not_allowed_any_more_ends_and_says_so() {
    let server = Server::start(guarded(&["a/#", "b/#"]));
    let mut visitor = server.connect();
    for topic in ["a/x", "a/#", "b/x"] {
        visitor.subscribe(topic).await_ok();
    }
    server.reconfigure(|config| {
        let anonymous = config.auth.as_mut().unwrap().anonymous.as_mut().unwrap();
        anonymous.subscribe = filters(&["b/#"]);
    });
    for topic in ["a/x", "a/#"] {
        let frame = visitor.frame();
        assert_eq!(frame["type"], "unsubscribed", "{frame}");
        assert_eq!(
            (&frame["topic"], &frame["code"]),
            (&json!(topic), &json!("forbidden"))
        );
    }
    let mut backend = with_key(&server, "old");
    for topic in ["a/x", "b/x"] {
        backend.publish(topic, 1).await_ok();
    }
    visitor.expect_message("b/x");
    visitor.expect_nothing();
    visitor.subscribe("a/x").await_error("forbidden");
}

#[test]
fn a_topic_that_a_new_rule_keeps_from_a_session_is_withheld_from_its_filter() {
    let server = Server::start(guarded(&["#"]));
    let mut visitor = server.connect();
    let mut backend = with_key(&server, "old");
    visitor.subscribe("#").await_ok();
    backend.publish("a", 1).await_ok();
    visitor.expect_message("a");
    server.reconfigure(|config| {
        config.topics = vec![TopicRule {
            subscribe: Who::Api,
            ..live("a")
        }];
    });
    // Each round ends with its own message of the other topic: whatever came before it was seen.
    let mut round = 0;
    eventually("the rule holds", || {
        round += 1;
        backend.publish("a", round).await_ok();
        backend.publish("b", round).await_ok();
        let frames: Vec<_> = std::iter::repeat_with(|| visitor.frame())
            .take_while(|frame| frame["topic"] != "b")
            .collect();
        frames.is_empty()
    });
    visitor.expect_nothing();
}

#[test]
fn sessions_of_a_key_that_is_gone_are_closed_and_the_others_stay() {
    let server = Server::start(guarded(&["#"]));
    let mut revoked = with_key(&server, "old");
    let mut visitor = server.connect();
    visitor.subscribe("a").await_ok();
    server.reconfigure(|config| config.api.keys = vec![key("new", None)]);
    let (closing, _) = revoked.expect_close(4001);
    assert_eq!(closing["reconnect"], true);
    visitor.expect_nothing();
    with_key(&server, "new").publish("a", 1).await_ok();
    visitor.expect_message("a");
    server
        .http("POST", "/v1/topics/a/messages")
        .key("old")
        .json(&json!(1))
        .send()
        .expect_problem(401);
}

#[test]
fn a_key_whose_topics_change_goes_on_with_the_new_ones() {
    let server = Server::start(guarded(&[]));
    let mut session = with_key(&server, "old");
    session.subscribe("a/1").await_ok();
    session.subscribe("b/1").await_ok();
    server.reconfigure(|config| config.api.keys = vec![key("old", Some(&["b/#"]))]);
    let frame = session.frame();
    assert_eq!(
        (&frame["type"], &frame["topic"]),
        (&json!("unsubscribed"), &json!("a/1"))
    );
    session.publish("a/1", 1).await_error("forbidden");
    session.cast("b/1", 2);
    session.expect_message("b/1");
}

#[test]
fn the_time_for_credentials_changes_without_a_restart() {
    let server = Server::start(guarded(&[]));
    server.reconfigure(|config| {
        config.auth.as_mut().unwrap().timeout = Duration::from_millis(100);
        config.api.keys = vec![key("new", None)];
    });
    // Both come by one door.
    eventually("the new door", || {
        let asked = server.http("GET", "/v1/stats").key("new").send();
        asked.status == 200
    });
    let (closing, _) = server.connect().expect_close(4501);
    assert_eq!(closing["reconnect"], false);
}

#[test]
fn limits_that_change_hold_for_what_comes_after() {
    let server = Server::start(config());
    let batch = json!([{"topic": "a", "data": 1}, {"topic": "b", "data": 2}]);
    let publish = || server.http("POST", "/v1/publish").json(&batch).send();
    assert_eq!(publish().status, 200);
    let change = server.reconfigure(|config| {
        config.limits.batch = 1;
        config.session.queue = 1 << 22;
    });
    assert_eq!(change.applied, ["limits.batch"]);
    assert_eq!(change.needs_restart, ["session.queue"]);
    publish().expect_problem(413);
}

#[test]
fn the_program_reads_its_file_again_on_sighup_and_keeps_what_it_had_where_the_file_is_bad() {
    let process = Process::start("[limits]\nbatch = 1", &[]);
    let batch = json!([{"topic": "a", "data": 1}, {"topic": "b", "data": 2}]);
    let publish = || {
        let http = Http::new(process.address, "POST", "/v1/publish");
        http.json(&batch).send().status
    };
    let is_reloaded = || {
        let metrics = Http::new(process.address, "GET", "/metrics").send().text();
        metrics.contains("\nfanfare_config_last_reload_successful 1")
    };
    let mut session = Client::open(process.address, "/ws");
    assert_eq!(publish(), 413);
    process.rewrite("[limits]\nbatch = 2\n[server]\nworkers = 7");
    process.signal(Signal::HUP);
    eventually("the batch is taken", || publish() == 200);
    assert!(is_reloaded());
    process.rewrite("[limits]\nbatch = 0\nbogus = 1");
    process.signal(Signal::HUP);
    eventually("the fault is told", || !is_reloaded());
    assert_eq!(publish(), 200);
    session.expect_nothing();
    process.signal(Signal::TERM);
    let (status, log) = process.await_end();
    assert!(status.success());
    for told in ["limits.batch", "server.workers", "limits.bogus", "restart"] {
        assert!(log.contains(told), "{told} is not in {log}");
    }
}

#[test]
fn a_changed_file_is_read_by_itself_where_that_is_asked_for() {
    let process = Process::start("watch = true\n[log]\nlevel = \"info\"", &[]);
    let mut session = Client::open(process.address, "/ws");
    session
        .ask(json!({"type": "history", "topic": "new"}))
        .await_error("history_disabled");
    process.rewrite("watch = true\n[[topic]]\nfilter = \"new\"\nhistory = { messages = 3 }");
    eventually("the rule holds", || {
        session
            .ask(json!({"type": "history", "topic": "new"}))
            .answer()["type"]
            == "ok"
    });
}

#[test]
fn topics_that_are_there_follow_their_new_rule() {
    let server = Server::start(config());
    let mut session = server.connect();
    let mut other = server.connect();
    for topic in ["x/a", "kept/a"] {
        session.subscribe(topic).await_ok();
        other.subscribe(topic).await_ok();
        session.publish(topic, 1).await_ok();
        session.expect_message(topic);
    }
    server.reconfigure(|config| {
        let mut rule = kept("x/#", 10);
        rule.presence = true;
        rule.join_leave = true;
        config.topics = vec![rule];
    });
    eventually("the topic keeps history", || {
        session.publish("x/a", 2).answer()["offset"].as_u64() == Some(1)
    });
    // What is kept begins with the rule; who is there is known of those who came before.
    assert_eq!(session.presence("x/a").len(), 2);
    other.close(1000);
    // And what a topic kept goes with its rule.
    session
        .ask(json!({"type": "history", "topic": "kept/a"}))
        .await_error("history_disabled");
    let answer = session.publish("kept/a", 9).await_ok();
    assert!(answer.get("offset").is_none(), "{answer}");
}
