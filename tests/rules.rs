//! What the rules of topics let whom do, through every door.

use fanfare::config::{
    Anonymous, ApiKey, Auth, Config, KeySecret, KeySource, Scope, TopicRule, Who,
};
use fanfare::model::Filter;
use serde_json::json;

use crate::support::{Client, Http, Server, config, live};

fn rule(filter: &str, subscribe: Who, publish: Who) -> TopicRule {
    TopicRule {
        subscribe,
        publish,
        ..live(filter)
    }
}

/// Visitors are granted `granted/#`; one key may everything, and one nothing outside of `mine/#`.
fn guarded() -> Config {
    let mut config = config();
    let granted = vec![Filter::new("granted/#").unwrap()];
    config.auth = Some(Auth {
        anonymous: Some(Anonymous {
            subscribe: granted.clone(),
            publish: granted,
        }),
        ..Auth::default()
    });
    let key = |name: &str, topics: Option<&str>| ApiKey {
        name: name.to_owned(),
        secret: KeySecret::of(name, KeySource::Sha256),
        scopes: vec![Scope::Publish, Scope::Read],
        topics: topics.map(|topic| vec![Filter::new(topic).unwrap()]),
    };
    config.api.keys = vec![key("master", None), key("narrow", Some("mine/#"))];
    config.topics = vec![
        rule("granted/staff", Who::Api, Who::Api),
        rule("news/#", Who::Anyone, Who::Api),
        rule("club/#", Who::Authenticated, Who::Authenticated),
    ];
    config
}

#[test]
fn a_rule_lets_in_more_than_the_grant_or_less() {
    let server = Server::start(guarded());
    let mut visitor = server.connect();
    for (topic, subscribes, publishes) in [
        ("granted/a", true, true),
        ("granted/staff", false, false),
        ("news/a", true, false),
        ("news/+", true, false),
        ("club/a", false, false),
        ("other", false, false),
        ("granted/#", true, false),
    ] {
        let answer = visitor.subscribe(topic).answer();
        let expected = if subscribes { "ok" } else { "error" };
        assert_eq!(answer["type"], expected, "{topic} {answer}");
        if !subscribes {
            assert_eq!(answer["code"], "forbidden");
            for ask in ["history", "presence"] {
                visitor
                    .ask(json!({"type": ask, "topic": topic}))
                    .await_error("forbidden");
            }
            let path = format!("/ws?topic={topic}");
            Http::new(server.address, "GET", &path)
                .header("Upgrade", "websocket")
                .header("Connection", "Upgrade")
                .header("Sec-WebSocket-Version", "13")
                .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
                .send()
                .expect_problem(403);
            server
                .get(&format!("/sse?topic={topic}"))
                .expect_problem(403);
        }
        if !topic.contains(['+', '#']) {
            let answer = visitor
                .ask(json!({"type": "publish", "topic": topic, "data": 1}))
                .answer();
            let expected = if publishes { "ok" } else { "error" };
            assert_eq!(answer["type"], expected, "{topic} {answer}");
        }
    }
}

#[test]
fn a_key_is_let_in_by_its_topics_alone() {
    let server = Server::start(guarded());
    let bearer = |key| ("Authorization", format!("Bearer {key}"));
    for (key, topic, may) in [
        ("master", "news/a", true),
        ("master", "granted/staff", true),
        ("master", "club/a", true),
        ("master", "elsewhere", true),
        ("narrow", "mine/a", true),
        ("narrow", "news/a", false),
        ("narrow", "club/a", false),
    ] {
        let (name, value) = bearer(key);
        let mut session = Client::open_with(server.address, "/ws", &[(name, &value)]);
        let expected = if may { "ok" } else { "error" };
        assert_eq!(
            session.subscribe(topic).answer()["type"],
            expected,
            "{key} {topic}"
        );
        let publish = json!({"type": "publish", "topic": topic, "data": 1});
        assert_eq!(
            session.ask(publish).answer()["type"],
            expected,
            "{key} {topic}"
        );
        let path = format!("/v1/topics/{topic}/messages");
        let answer = server.http("POST", &path).key(key).json(&json!(1)).send();
        assert_eq!(answer.status, if may { 200 } else { 403 }, "{key} {topic}");
    }
}

#[test]
fn what_a_rule_keeps_from_a_session_is_withheld_from_its_filters() {
    for workers in [1, 2] {
        let mut config = guarded();
        config.server.workers = workers;
        let server = Server::start(config);
        let mut visitors: Vec<Client> = (0..4)
            .map(|_| server.connect_with("topic=granted/%23&last=5"))
            .collect();
        for (topic, data) in [
            ("granted/staff", 1),
            ("granted/all", 2),
            ("granted/staff", 3),
        ] {
            let path = format!("/v1/topics/{topic}/messages");
            let answer = server
                .http("POST", &path)
                .key("master")
                .json(&json!(data))
                .send();
            assert_eq!(answer.status, 200);
        }
        for visitor in &mut visitors {
            assert_eq!(visitor.expect_message("granted/all")["data"], 2);
            visitor.expect_nothing();
        }
    }
}

#[test]
fn a_rule_bounds_what_is_published() {
    let mut config = config();
    config.topics = vec![TopicRule {
        max_message: Some(10),
        ..live("small/#")
    }];
    let server = Server::start(config);
    let mut session = server.connect();
    for topic in ["small/a", "small/b"] {
        session.publish(topic, "12345678").await_ok();
        session.publish(topic, "123456789").await_error("too_large");
        let path = format!("/v1/topics/{topic}/messages");
        server
            .http("POST", &path)
            .json(&json!("123456789"))
            .send()
            .expect_problem(413);
        session.subscribe(topic).await_ok();
    }
    assert!(
        server
            .metrics()
            .contains(r#"fanfare_publish_errors_total{code="too_large"} 4"#)
    );
}

#[test]
fn who_is_in_a_topic_is_withheld_from_those_that_its_rule_keeps_out() {
    for workers in [1, 2] {
        let mut config = guarded();
        config.server.workers = workers;
        for rule in &mut config.topics {
            rule.presence = true;
            rule.join_leave = true;
        }
        config.topics.push(TopicRule {
            presence: true,
            join_leave: true,
            ..live("granted/#")
        });
        let server = Server::start(config);
        let bearer = ("Authorization", "Bearer master");
        let insider = || Client::open_with(server.address, "/ws", &[bearer]);
        let mut visitors: Vec<Client> = (0..4)
            .map(|_| server.connect_with("topic=granted/%23"))
            .collect();
        let mut member = insider();
        member.subscribe("granted/#").await_ok();
        let mut guest = insider();
        guest.subscribe("granted/staff").await_ok();
        guest.unsubscribe("granted/staff").await_ok();
        guest.subscribe("granted/staff").await_ok();
        guest.subscribe("granted/all").await_ok();
        let joined = |client: &mut Client| {
            let frame = client.frame();
            (frame["type"].clone(), frame["topic"].clone())
        };
        for kind in ["join", "leave", "join"] {
            assert_eq!(joined(&mut member), (json!(kind), json!("granted/staff")));
        }
        assert_eq!(joined(&mut member), (json!("join"), json!("granted/all")));
        for visitor in &mut visitors {
            assert_eq!(joined(visitor), (json!("join"), json!("granted/all")));
            visitor
                .ask(json!({"type": "presence", "topic": "granted/staff"}))
                .await_error("forbidden");
            assert_eq!(visitor.presence("granted/all"), [guest.session()]);
        }
        assert_eq!(guest.presence("granted/staff"), [guest.session()]);
        // The end of the session is no more than a leave.
        guest.close(1000);
        let mut ends = [joined(&mut member), joined(&mut member)].map(|(_, topic)| topic);
        ends.sort_by_key(ToString::to_string);
        assert_eq!(ends, ["granted/all", "granted/staff"]);
        for visitor in &mut visitors {
            assert_eq!(joined(visitor), (json!("leave"), json!("granted/all")));
            visitor.expect_nothing();
        }
        let presence = |key: &str| {
            let path = "/v1/topics/granted/staff/presence";
            server.http("GET", path).key(key).send().status
        };
        assert_eq!((presence("narrow"), presence("master")), (403, 200));
    }
}
