//! The HTTP API, through the door.

use serde_json::{Value, json};

use crate::support::{Edit, Server, config};

#[test]
fn a_body_is_published_as_its_content_type_says() {
    let server = Server::start(config());
    let mut reader = server.connect();
    reader.subscribe("kept/#").await_ok();
    let post = |path: &str, kind: Option<&str>, body: &[u8]| {
        let mut http = server.http("POST", path).body(body);
        if let Some(kind) = kind {
            http = http.header("Content-Type", kind);
        }
        http.send()
    };
    let ok = post(
        "/v1/topics/kept/a/messages?key=k",
        Some("application/json"),
        br#" {"a": 1.50} "#,
    );
    assert_eq!(ok.status, 200, "{ok:?}");
    let told = ok.json();
    assert_eq!(told["topic"], "kept/a");
    assert_eq!(told["offset"], 1);
    assert_eq!(told["subscribers"].as_u64(), Some(1), "{told}");
    assert!(told["epoch"].is_string());
    let message = reader.expect_message("kept/a");
    assert_eq!(
        (&message["data"], &message["key"]),
        (&json!({"a": 1.50}), &json!("k"))
    );
    post(
        "/v1/topics/kept%2Fa/messages",
        Some("text/plain; charset=utf-8"),
        "é".as_bytes(),
    );
    let message = reader.expect_message("kept/a");
    assert_eq!(
        (&message["data"], &message["encoding"]),
        (&json!("é"), &json!("text"))
    );
    for kind in [Some("image/png"), None] {
        post("/v1/topics/kept/a/messages", kind, &[0, 255]);
        let message = reader.expect_message("kept/a");
        assert_eq!(
            (&message["data"], &message["encoding"]),
            (&json!("AP8="), &json!("base64"))
        );
    }
    for (kind, body) in [
        ("application/json", &b"{"[..]),
        ("application/json", b""),
        ("application/json", b"1 2"),
        ("text/plain", b"\xff"),
    ] {
        let refused = post("/v1/topics/kept/a/messages", Some(kind), body);
        assert_eq!(refused.expect_problem(400), "bad_request", "{body:?}");
    }
    reader.expect_nothing();
}

#[test]
fn one_bad_item_of_a_batch_does_not_lose_the_rest() {
    let server = Server::start(config().with(|c| {
        c.limits.batch = 6;
        c.limits.message_bytes = 20;
    }));
    let mut reader = server.connect();
    reader.subscribe("#").await_ok();
    let batch = |items: &Value| server.http("POST", "/v1/publish").json(items).send();
    let answer = batch(&json!([
        {"topic": "kept/a", "data": 1},
        {"topic": "kept/+", "data": 2},
        {"topic": "$sys/x", "data": 3},
        {"topic": "kept/a", "data": "x".repeat(30)},
        {"topics": ["kept/a", "live/b"], "data": "AA==", "encoding": "base64"},
    ]));
    assert_eq!(answer.status, 200, "{answer:?}");
    let outcomes = answer.json();
    assert_eq!(outcomes[0]["offset"], 1);
    assert_eq!(outcomes[1]["code"], "invalid_topic");
    assert_eq!(outcomes[1]["status"], 400);
    assert_eq!(outcomes[2]["code"], "forbidden");
    assert_eq!(outcomes[3]["code"], "too_large");
    assert_eq!(outcomes[4]["results"][0]["offset"], 2, "{outcomes}");
    assert_eq!(outcomes[4]["results"][1]["topic"], "live/b");
    assert_eq!(outcomes.as_array().unwrap().len(), 5);
    assert_eq!(reader.expect_data(3).len(), 3);
    let one = batch(&json!({"topic": "kept/a", "data": 3}));
    assert_eq!(one.json()["offset"], 3);
    let item = json!({"topic": "live/b", "data": 1});
    let refused = batch(&Value::from(vec![item; 7]));
    assert!([400, 413].contains(&refused.status), "{refused:?}");
    for bad in [
        json!(1),
        json!("x"),
        json!([1]),
        json!({"data": 1}),
        json!({"topic": "a"}),
    ] {
        let answer = batch(&bad);
        if bad.is_array() {
            assert_eq!(answer.json()[0]["code"], "bad_request", "{bad}");
        } else {
            assert_eq!(answer.expect_problem(400), "bad_request", "{bad}");
        }
    }
    assert_eq!(reader.expect_data(1), [json!(3)]);
    reader.expect_nothing();
}

#[test]
fn a_history_is_read_in_pages() {
    let server = Server::start(config());
    for n in 1..=10 {
        server.publish("kept/a", &json!(n));
    }
    let get = |query: &str| server.get(&format!("/v1/topics/kept/a/messages{query}"));
    let all = get("").json();
    let epoch = all["epoch"].as_str().unwrap();
    for (query, expected) in [
        (String::new(), 1..=10),
        ("?last=3".into(), 8..=10),
        (format!("?since_epoch={epoch}&since_offset=7"), 8..=10),
        (
            format!("?since_epoch={epoch}&since_offset=2&limit=3"),
            3..=5,
        ),
    ] {
        let page = get(&query).json();
        assert_eq!(page["offset"], 10);
        let offsets: Vec<_> = page["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["offset"].as_u64().unwrap())
            .collect();
        assert_eq!(offsets, expected.collect::<Vec<_>>(), "{query}");
    }
    for query in [
        "?last=x",
        "?since_offset=1",
        "?since_epoch=x",
        "?last=-1",
        "?limit=1.5",
    ] {
        assert_eq!(get(query).expect_problem(400), "bad_request", "{query}");
    }
    let live = server.get("/v1/topics/live/a/messages");
    assert_eq!(live.expect_problem(409), "history_disabled");
}

#[test]
fn topics_are_listed_page_by_page_without_one_left_out() {
    let server = Server::start(config());
    for n in 0..25 {
        server.publish(&format!("kept/{n:02}"), &json!(n));
    }
    let mut client = server.connect();
    client.subscribe("live/a").await_ok();
    let mut names = Vec::new();
    let mut after = String::new();
    loop {
        let page = server.get(&format!("/v1/topics?limit=7{after}")).json();
        let topics = page["topics"].as_array().unwrap();
        assert!(topics.len() <= 7);
        names.extend(
            topics
                .iter()
                .map(|t| t["topic"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let expected: Vec<_> = (0..25)
        .map(|n| format!("kept/{n:02}"))
        .chain(["live/a".into()])
        .collect();
    assert_eq!(names, expected);
    let filtered = server.get("/v1/topics?filter=live/%23").json();
    assert_eq!(filtered["topics"].as_array().unwrap().len(), 1);
    assert_eq!(filtered["topics"][0]["subscribers"], 1);
    let one = server.get("/v1/topics/kept/07").json();
    assert_eq!((&one["messages"], &one["offset"]), (&json!(1), &json!(1)));
    assert_eq!(one["rule"]["filter"], "kept/#");
    assert_eq!(
        server.get("/v1/topics/nothing").expect_problem(404),
        "not_found"
    );
    assert_eq!(
        server.get("/v1/topics?filter=a%23").expect_problem(400),
        "invalid_topic"
    );
}

#[test]
fn presence_and_statistics_are_those_of_the_sessions() {
    let server = Server::start(config());
    let mut one = server.connect();
    let mut two = server.connect();
    one.subscribe("room/1").await_ok();
    two.subscribe("room/1").await_ok();
    let there = server.get("/v1/topics/room/1/presence").json();
    assert_eq!(there["count"], 2);
    let mut sessions: Vec<_> = there["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["session"].clone())
        .collect();
    sessions.sort_by_key(ToString::to_string);
    let mut expected = [one.session(), two.session()];
    expected.sort_by_key(ToString::to_string);
    assert_eq!(sessions, expected);
    server.publish("room/1", &json!(1));
    assert_eq!(one.frame()["type"], "join");
    one.expect_message("room/1");
    let stats = server.get("/v1/stats").json();
    assert_eq!(stats["connections"], 2);
    assert_eq!(stats["subscriptions"], 2);
    assert_eq!(stats["published"], 1);
    assert_eq!(stats["state"], "running");
    let off = server.get("/v1/topics/kept/a/presence");
    assert_eq!(off.expect_problem(409), "presence_disabled");
}

#[test]
fn what_does_not_exist_is_404_and_what_is_not_taken_405() {
    let server = Server::start(config());
    for path in [
        "/nope",
        "/v1",
        "/v1/",
        "/v2/topics",
        "/v1/topics/a/messages/",
        "/ws/x",
    ] {
        assert_eq!(server.get(path).expect_problem(404), "not_found", "{path}");
    }
    for (method, path, allow) in [
        ("DELETE", "/v1/topics", "GET, HEAD"),
        ("PUT", "/v1/topics/a/messages", "DELETE, GET, HEAD, POST"),
        ("GET", "/v1/publish", "POST"),
        ("POST", "/metrics", "GET, HEAD"),
    ] {
        let answer = server.http(method, path).send();
        answer.expect_problem(405);
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
    let answer = server.get("/ws");
    answer.expect_problem(426);
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    for topic in ["a/%23", "%2B", "", "a%00", &"a".repeat(256)] {
        let answer = server
            .http("POST", &format!("/v1/topics/{topic}/messages"))
            .body("x")
            .send();
        assert_eq!(answer.expect_problem(400), "invalid_topic", "{topic}");
    }
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let server = Server::start(config().with(|c| c.limits.message_bytes = 1000));
    let post = || server.http("POST", "/v1/topics/kept/a/messages");
    assert_eq!(post().body(vec![b'x'; 1000]).send().status, 200);
    assert_eq!(
        post().body(vec![b'x'; 1001]).send().expect_problem(413),
        "too_large"
    );
    // Announced, and never sent.
    let announced = post().header("Content-Length", "1000000000").send();
    assert_eq!(announced.expect_problem(413), "too_large");
    // Not announced, and never ending.
    let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
    let chunked = post()
        .header("Transfer-Encoding", "chunked")
        .body_as_it_is(chunk.repeat(4))
        .send();
    assert_eq!(chunked.expect_problem(413), "too_large");
    assert_eq!(server.metric("fanfare_messages_published_total"), 1);
}
