//! Names that nobody should give: of topics, ids and headers, by every door they may come in by.

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Client, Edit, Events, Http, Process, Server, base, config};

/// What no name may have in it.
const CONTROLS: [&str; 9] = [
    "\0", "\r", "\n", "\r\n", "\t", "\u{1b}", "\u{7f}", "\u{80}", "\u{9f}",
];

/// Characters that only look odd: a name may have them, and keeps them as they are.
const ODD: [&str; 8] = [
    "a\u{2028}b",
    "a\u{202e}b",
    "e\u{301}",
    "\u{e9}",
    "a\"b\\c",
    "a b",
    "*{}..",
    "\u{feff}a",
];

fn encoded(text: &[u8]) -> String {
    percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[track_caller]
fn expect_invalid(server: &Server, client: &mut Client, topic: &str) {
    client.publish(topic, 1).await_error("invalid_topic");
    client.subscribe(topic).await_error("invalid_topic");
    let asks = ["unsubscribe", "history", "presence"];
    for ask in asks {
        let frame = json!({"type": ask, "topic": topic});
        client.ask(frame).await_error("invalid_topic");
    }
    let query = encoded(topic.as_bytes());
    for path in ["/ws?topic=", "/ws?publish="] {
        let refused = base(server.address, &format!("{path}{query}"), &[]).unwrap_err();
        assert_eq!(refused.status(), 400, "{path}{query}");
    }
    let sse = server.get(&format!("/sse?topic={query}"));
    assert_eq!(sse.expect_problem(400), "invalid_topic", "{query}");
    let body = json!({"topic": topic, "data": 1});
    let published = server.http("POST", "/v1/publish").json(&body).send();
    assert_eq!(published.expect_problem(400), "invalid_topic", "{query}");
}

#[test]
fn control_characters_are_refused_in_a_topic_by_every_door() {
    let server = Server::start(config().with(|c| c.limits.protocol_errors = 10_000));
    let mut client = server.connect();
    for control in CONTROLS {
        for topic in [
            control.to_owned(),
            format!("a{control}b"),
            format!("a/{control}"),
        ] {
            expect_invalid(&server, &mut client, &topic);
            let path = format!("/v1/topics/{}/messages", encoded(topic.as_bytes()));
            let refused = server.http("POST", &path).body("x").send();
            assert_eq!(refused.expect_problem(400), "invalid_topic", "{path}");
        }
    }
    for bytes in [&b"\xff"[..], b"a\xc3", b"\xed\xa0\x80"] {
        for path in ["/sse?topic=", "/v1/topics/"] {
            let answer = server.get(&format!("{path}{}", encoded(bytes)));
            assert_eq!(answer.status, 400, "{path} {bytes:x?}");
        }
    }
    assert_eq!(server.metric("fanfare_topics"), 0);
}

#[test]
fn odd_characters_are_kept_as_they_are_and_make_no_other_name() {
    let server = Server::start(config().with(|c| {
        c.metrics.per_topic = vec![fanfare::model::Filter::new("#").unwrap()];
    }));
    let mut all = server.connect();
    all.subscribe("#").await_ok();
    let mut events = Events::open(server.address, "topic=%23", &[]);
    let mut each: Vec<_> = ODD
        .iter()
        .map(|topic| {
            let mut client = server.connect();
            client.subscribe(topic).await_ok();
            client
        })
        .collect();
    for topic in ODD {
        all.publish(topic, topic).await_ok();
        assert_eq!(all.expect_message(topic)["data"], topic);
        let event = events.expect("message").data;
        assert_eq!(
            (&event["topic"], &event["data"]),
            (&json!(topic), &json!(topic))
        );
    }
    // The composed and the decomposed letter are two topics, as MQTT has it.
    for (client, topic) in each.iter_mut().zip(ODD) {
        assert_eq!(client.expect_message(topic)["data"], topic);
        client.expect_nothing();
    }
    // The labels of a metric stay within their line.
    let metrics = server.metrics();
    let of_topics = metrics
        .lines()
        .filter(|l| l.starts_with("fanfare_topic_subscribers{"));
    let of_topics: Vec<_> = of_topics.collect();
    assert_eq!(of_topics.len(), ODD.len(), "{of_topics:?}");
    assert!(
        of_topics
            .iter()
            .all(|line| line.ends_with("} 1") || line.ends_with("} 2"))
    );
    let quoted = |line: &&&str| line.contains(r#"topic="a\"b\\c""#);
    assert_eq!(of_topics.iter().filter(quoted).count(), 1);
}

#[test]
fn topics_of_any_length_and_depth_are_taken_or_refused() {
    let server = Server::start(config().with(|c| c.limits.protocol_errors = 10_000));
    let mut client = server.connect();
    let long = "a".repeat(256);
    let wide = "é".repeat(128);
    let deep = "/".repeat(60_000);
    let levels = "a/".repeat(200);
    for topic in ["", &long, &wide, &deep, &levels] {
        client.publish(topic, 1).await_error("invalid_topic");
        client.subscribe(topic).await_error("invalid_topic");
        let body = json!({"topic": topic, "data": 1});
        let refused = server.http("POST", "/v1/publish").json(&body).send();
        assert_eq!(refused.expect_problem(400), "invalid_topic");
    }
    // As long and as deep as may be, and with empty levels: each is a name of its own.
    let longest = "a".repeat(255);
    let deepest = "/".repeat(255);
    for topic in [&*longest, &deepest, "/", "a/", "/a", "a//b", "a/b/", "//"] {
        client.subscribe(topic).await_ok();
        client.publish(topic, topic).await_ok();
        assert_eq!(client.expect_message(topic)["data"], topic);
        client.expect_nothing();
        client.unsubscribe(topic).await_ok();
    }
    // A million bytes are more than a frame, a body or a request line may have.
    let million = "/".repeat(1_000_000);
    let body = json!({"topic": million, "data": 1});
    let too_much = server.http("POST", "/v1/publish").json(&body).send();
    assert!([400, 413].contains(&too_much.status), "{}", too_much.status);
    if let Some(answer) = server
        .http("GET", &format!("/sse?topic={million}"))
        .try_send()
    {
        assert!((400..500).contains(&answer.status), "{}", answer.status);
    }
    client.send(&json!({"type": "subscribe", "topic": million, "id": 1}));
    client.expect_close(1009);
    // Filters of the deepest topics match without a word of complaint.
    let mut client = server.connect();
    for filter in ["#", "+/#", &format!("{}+", "+/".repeat(127))] {
        client.subscribe(filter).await_ok();
    }
    let many = "a/".repeat(127) + "a";
    client.publish(&many, 1).await_ok();
    assert_eq!(client.expect_message(&many)["data"], 1);
    client.expect_nothing();
}

#[test]
fn names_of_the_brokers_own_are_refused_to_clients_by_every_door() {
    let server = Server::start(config());
    let mut client = server.connect();
    for topic in [
        "$sys/x",
        "$sys",
        "$direct",
        "$broadcast",
        "$",
        "$share/a/b",
        "$other/x",
    ] {
        client.publish(topic, 1).await_error("forbidden");
        client.subscribe(topic).await_error("forbidden");
        let query = encoded(topic.as_bytes());
        let refused = base(server.address, &format!("/ws?publish={query}"), &[]).unwrap_err();
        assert_eq!(refused.status(), 403, "{topic}");
        let sse = server.get(&format!("/sse?topic={query}"));
        assert_eq!(sse.expect_problem(403), "forbidden", "{topic}");
        let path = format!("/v1/topics/{query}/messages");
        let published = server.http("POST", &path).body("x").send();
        assert_eq!(published.expect_problem(403), "forbidden", "{topic}");
    }
    // A wildcard in front of them does not cover them either.
    for filter in ["$sys/#", "$+", "$#"] {
        let answer = client.subscribe(filter).answer();
        assert_eq!(answer["type"], "error", "{filter}: {answer}");
    }
    assert_eq!(server.metric("fanfare_topics"), 0);
}

#[test]
fn nothing_that_a_client_sends_gets_into_the_log() {
    const MARK: &str = "xEVILx";
    let process = Process::start("log.level = \"trace,mio=off\"\nlog.format = \"json\"", &[]);
    let nasty = format!("{MARK}\u{1b}[31m\u{202e}\u{2028}");
    let header = format!("{MARK}\u{1b}\t;\"");
    let http = |method: &str, path: &str| Http::new(process.address, method, path);
    for name in [
        "User-Agent",
        "Origin",
        "Host",
        "Authorization",
        "Last-Event-ID",
        "X-Odd",
    ] {
        for path in ["/ws", "/sse?topic=a%23", "/nope", "/v1/topics"] {
            let _answer = http("GET", path).header(name, &header).try_send();
        }
    }
    let query = encoded(nasty.as_bytes());
    for path in [
        "/sse?topic=",
        "/sse?topic=a%23&token=",
        "/ws?topic=",
        "/v1/topics/",
        "/",
    ] {
        let _answer = http("GET", &format!("{path}{query}")).try_send();
    }
    let mut client = Client::open(process.address, "/ws");
    for frame in [
        json!({"type": nasty}),
        json!({"type": "subscribe", "topic": nasty}),
        json!({"type": "subscribe", "topic": format!("{MARK}\u{202e}")}),
        json!({"type": "publish", "topic": format!("{MARK}\u{202e}"), "data": nasty, "key": nasty}),
        json!({"type": "publish", "topic": "a", "data": nasty, "encoding": nasty}),
        json!({"type": "ping", "id": nasty}),
    ] {
        client.send(&frame);
    }
    client.ask(json!({"type": "ping"})).await_ok();
    client.send(&json!({"type": "auth", "token": nasty}));
    client.expect_close(4501);
    process.signal(Signal::TERM);
    let (status, log) = process.await_end();
    assert!(status.success());
    assert!(log.lines().count() > 3, "{log}");
    for line in log.lines() {
        assert!(!line.contains(MARK), "{line}");
        assert!(line.chars().all(|c| !c.is_control()), "{line:?}");
        let record: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(record["timestamp"].is_string(), "{record}");
    }
}
