//! The HTTP API at an address of its own.

use fanfare::config::{ApiKey, Auth, KeySecret, KeySource, Scope};
use serde_json::json;

use crate::support::{Answer, Edit, Http, Server, config};

/// What is at the operators' address only.
const OPERATORS: [&str; 6] = [
    "/v1/stats",
    "/v1/topics",
    "/v1/topics/kept/a",
    "/v1/topics/kept/a/messages",
    "/metrics",
    "/openapi.json",
];

/// What is at the address of sessions only.
const CLIENTS: [&str; 4] = ["/", "/ws", "/sse", "/sse?topic=a"];

fn apart() -> Server {
    Server::start(config().with(|c| c.admin.listen = Some("127.0.0.1:0".parse().unwrap())))
}

fn at_admin(server: &Server, method: &str, path: &str) -> Http {
    Http::new(server.admin.unwrap(), method, path)
}

/// Expects what any path is answered that there is not.
fn expect_nowhere(answer: &Answer, nowhere: &Answer) {
    assert_eq!(answer.expect_problem(404), "not_found");
    assert_eq!(
        answer.body, nowhere.body,
        "it tells that there is something"
    );
}

#[test]
fn the_api_is_at_the_operators_address_and_sessions_are_not() {
    let server = apart();
    let mut reader = server.connect();
    reader.subscribe("kept/a").await_ok();
    let published = at_admin(&server, "POST", "/v1/topics/kept/a/messages")
        .json(&json!("hello"))
        .send();
    assert_eq!(published.status, 200, "{}", published.text());
    assert_eq!(reader.expect_message("kept/a")["data"], "hello");

    let nowhere = server.get("/nothing");
    for path in OPERATORS {
        expect_nowhere(&server.get(path), &nowhere);
        assert_eq!(at_admin(&server, "GET", path).send().status, 200, "{path}");
    }
    let publish = json!({"topic": "kept/a", "data": 1});
    let refused = server.http("POST", "/v1/publish").json(&publish).send();
    expect_nowhere(&refused, &nowhere);

    for path in CLIENTS {
        expect_nowhere(&at_admin(&server, "GET", path).send(), &nowhere);
    }
    let upgrade = at_admin(&server, "GET", "/ws")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .send();
    expect_nowhere(&upgrade, &nowhere);
    assert_eq!(server.get("/").status, 200);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.get(path).status, 200, "{path}");
        assert_eq!(at_admin(&server, "GET", path).send().status, 200, "{path}");
    }
}

#[test]
fn at_the_operators_address_the_metrics_need_no_key_and_the_rest_does() {
    let server = Server::start(config().with(|c| {
        c.admin.listen = Some("127.0.0.1:0".parse().unwrap());
        c.auth = Some(Auth::default());
        c.api.keys = vec![ApiKey {
            name: "writer".into(),
            secret: KeySecret::of("w", KeySource::Sha256),
            scopes: vec![Scope::Publish],
            topics: None,
        }];
    }));
    // As it comes from Prometheus on another machine.
    let scrape = at_admin(&server, "GET", "/metrics").header("Host", "broker.internal:9000");
    assert_eq!(scrape.send().status, 200);
    let stats = at_admin(&server, "GET", "/v1/stats").send();
    assert_eq!(stats.expect_problem(401), "unauthorized");
    let unknown = at_admin(&server, "GET", "/metrics").key("x").send();
    assert_eq!(unknown.expect_problem(401), "unauthorized");
    let other = at_admin(&server, "GET", "/metrics").key("w").send();
    assert_eq!(other.expect_problem(403), "forbidden");
}

#[test]
fn without_keys_the_operators_address_serves_this_machine_only() {
    let server = apart();
    let rebound = at_admin(&server, "GET", "/v1/stats").header("Host", "evil.example");
    assert_eq!(rebound.send().expect_problem(403), "forbidden");
}
