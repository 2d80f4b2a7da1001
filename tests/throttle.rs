//! What one address and one key may do, whoever they are behind: handshakes, sessions, guesses, publishes.

use fanfare::config::{
    Anonymous, ApiKey, ApiRate, Auth, Config, KeySecret, KeySource, Rate, Scope,
};
use fanfare::model::Filter;
use serde_json::{Value, json};

use crate::limits::{limited, wait_of, with};
use crate::support::{Client, Edit, Events, Http, Server, base, config, eventually};

#[test]
fn handshakes_too_many_from_one_address_are_answered_429() {
    let server = Server::start(with(|r| r.handshakes = Rate::with_burst(1, 3)));
    let _first = server.connect();
    // Whatever becomes of a handshake, it is one.
    assert_eq!(
        base(server.address, "/nope", &[]).unwrap_err().status(),
        404
    );
    let _stream = Events::open(server.address, "topic=a", &[]);
    let refused = base(server.address, "/ws", &[]).unwrap_err();
    assert_eq!(refused.status(), 429);
    let problem: Value = serde_json::from_slice(refused.body().as_ref().unwrap()).unwrap();
    assert_eq!(problem["code"], "rate_limited");
    assert_eq!(refused.headers()["retry-after"], "1");
    let refused = server.get("/sse?topic=a");
    assert_eq!(refused.expect_problem(429), "rate_limited");
    assert_eq!(refused.header("retry-after"), Some("1"));
    // Ordinary requests are no handshakes.
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(limited(&server, "handshakes"), 2);
    let reason = r#"fanfare_handshakes_refused_total{reason="rate"}"#;
    assert_eq!(server.metric(reason), 2);
    eventually("it may again", || base(server.address, "/ws", &[]).is_ok());
}

#[test]
fn an_address_has_no_more_sessions_than_it_may() {
    let server = Server::start(with(|r| r.connections_per_ip = 2));
    let one = server.connect();
    let stream = Events::open(server.address, "topic=a", &[]);
    for path in ["/ws", "/sse?topic=a"] {
        let refused = if path == "/ws" {
            base(server.address, path, &[])
                .unwrap_err()
                .status()
                .as_u16()
        } else {
            let refused = server.get(path);
            assert_eq!(refused.expect_problem(429), "limit_exceeded");
            assert!(refused.header("retry-after").is_some());
            refused.status
        };
        assert_eq!(refused, 429, "{path}");
    }
    assert_eq!(limited(&server, "connections_per_ip"), 2);
    let reason = r#"fanfare_handshakes_refused_total{reason="connections"}"#;
    assert_eq!(server.metric(reason), 2);
    one.close(1000);
    eventually("there is room again", || {
        base(server.address, "/ws", &[]).is_ok()
    });
    drop(stream);
    eventually("and again", || base(server.address, "/ws", &[]).is_ok());
}

fn key(name: &str, scopes: &[Scope]) -> ApiKey {
    ApiKey {
        name: name.into(),
        secret: KeySecret::of(name, KeySource::Sha256),
        scopes: scopes.to_vec(),
        topics: None,
    }
}

/// Behind a proxy on this machine; anyone may subscribe, two keys may publish.
pub(crate) fn proxied(change: impl FnOnce(&mut fanfare::config::Rates)) -> Config {
    with(change).with(|c| {
        c.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        c.auth = Some(Auth {
            anonymous: Some(Anonymous {
                subscribe: vec![Filter::new("#").unwrap()],
                publish: vec![],
            }),
            ..Auth::default()
        });
        c.api.keys = vec![
            key("one", &[Scope::Publish, Scope::Read]),
            key("two", &[Scope::Publish, Scope::Read]),
        ];
    })
}

#[test]
fn behind_a_trusted_proxy_every_client_is_counted_for_itself() {
    let server = Server::start(proxied(|r| r.connections_per_ip = 1));
    let from = |named: &str| base(server.address, "/ws", &[("X-Forwarded-For", named)]);
    let ada = from("203.0.113.1").unwrap();
    let _bob = from("203.0.113.2").unwrap();
    let _eve = from("2001:db8::1").unwrap();
    for same in [
        "203.0.113.1",
        "203.0.113.1:4711",
        // What a client says of itself stands further left.
        "198.51.100.7, 203.0.113.1",
        "203.0.113.1, 127.0.0.1",
        "2001:db8::2",
    ] {
        assert_eq!(from(same).unwrap_err().status(), 429, "{same}");
    }
    drop(ada);
    eventually("there is room again", || from("203.0.113.1").is_ok());
    let server = Server::start(proxied(|r| r.connections_per_ip = 1).with(|c| {
        c.server.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
    }));
    let from = |named: &str| base(server.address, "/ws", &[("X-Forwarded-For", named)]);
    let _one = from("203.0.113.1").unwrap();
    assert_eq!(from("203.0.113.2").unwrap_err().status(), 429);
}

#[test]
fn what_was_forwarded_is_not_local_however_trusted_the_proxy() {
    let server = Server::start(config().with(|c| {
        c.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    }));
    server.connect();
    for named in ["127.0.0.1", "203.0.113.1"] {
        let refused = base(server.address, "/ws", &[("X-Forwarded-For", named)]).unwrap_err();
        assert_eq!(refused.status(), 403, "{named}");
        let answer = server
            .http("GET", "/v1/topics")
            .header("X-Forwarded-For", named)
            .send();
        assert_eq!(answer.status, 403, "{named}");
    }
}

#[test]
fn publishers_over_http_are_held_to_a_rate_by_their_key() {
    let post = |server: &Server, key: &str| {
        let http = server.http("POST", "/v1/topics/a/messages");
        http.key(key).body("x").send()
    };
    let server = Server::start(proxied(|r| r.publishes = Rate::with_burst(1, 2)));
    for key in ["one", "two"] {
        assert_eq!(post(&server, key).status, 200);
        assert_eq!(post(&server, key).status, 200);
        let refused = post(&server, key);
        assert_eq!(refused.expect_problem(429), "rate_limited");
        assert_eq!(refused.header("retry-after"), Some("1"));
        wait_of(&refused.json(), 1000);
    }
    assert_eq!(limited(&server, "publishes"), 2);
    assert_eq!(server.metric("fanfare_messages_published_total"), 4);
    // A rate of their own takes its place; each item of a batch is a publish.
    let server = Server::start(proxied(|r| {
        r.publishes = Rate::with_burst(1, 1);
        r.api_publishes = ApiRate::Own(Rate::with_burst(1, 3));
    }));
    let items: Vec<_> = (0..5).map(|n| json!({"topic": "a", "data": n})).collect();
    let answer = server
        .http("POST", "/v1/publish")
        .key("one")
        .json(&items.into())
        .send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let statuses: Vec<Value> = answer
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["status"].clone())
        .collect();
    assert_eq!(
        statuses,
        [
            Value::Null,
            Value::Null,
            Value::Null,
            json!(429),
            json!(429)
        ]
    );
}

#[test]
fn publishers_without_a_key_are_held_to_a_rate_by_their_address() {
    let server = Server::start(with(|r| r.publishes = Rate::with_burst(1, 2)));
    let post = || {
        server
            .http("POST", "/v1/topics/a/messages")
            .body("x")
            .send()
    };
    assert_eq!(post().status, 200);
    assert_eq!(post().status, 200);
    assert_eq!(post().expect_problem(429), "rate_limited");
}

#[test]
fn who_guesses_keys_is_refused_right_and_wrong_alike() {
    let server = Server::start(proxied(|r| r.auth_failures = Rate::with_burst(1, 5)));
    let get = |key: &str, from: &str| {
        let http = Http::new(server.address, "GET", "/v1/topics");
        http.key(key).header("X-Forwarded-For", from).send()
    };
    let open = |key: &str, from: &str| {
        let path = format!("/ws?token={key}");
        match base(server.address, &path, &[("X-Forwarded-For", from)]) {
            Ok(_) => 101,
            Err(refused) => refused.status().as_u16(),
        }
    };
    let (guesser, other) = ("203.0.113.1", "203.0.113.2");
    for n in 0..50 {
        assert_eq!(
            get("one", guesser).status,
            200,
            "a right key counts for nothing: {n}"
        );
    }
    for n in 0..5 {
        let wrong = format!("wrong{n}");
        let status = if n % 2 == 0 {
            get(&wrong, guesser).status
        } else {
            open(&wrong, guesser)
        };
        assert_eq!(status, 401, "{n}");
    }
    let (wrong, right) = (get("wrong", guesser), get("one", guesser));
    assert_eq!(wrong.expect_problem(429), "rate_limited");
    assert!(wrong.header("retry-after").is_some());
    assert_eq!(wrong.json()["detail"], right.json()["detail"]);
    assert_eq!(right.status, 429);
    assert_eq!(open("one", guesser), 429);
    // Nobody else is held back, nor who shows no credential.
    assert_eq!(get("one", other).status, 200);
    assert!(base(server.address, "/ws", &[("X-Forwarded-For", guesser)]).is_ok());
    let guessed = limited(&server, "auth_failures");
    assert_eq!(guessed, 3);
    eventually("it is over", || get("one", guesser).status == 200);
}

#[test]
fn guessing_by_auth_frames_is_guessing() {
    let server = Server::start(proxied(|r| r.auth_failures = Rate::with_burst(1, 2)));
    for _ in 0..2 {
        let mut client = Client::open(server.address, "/ws");
        client.send(&json!({"type": "auth", "token": "wrong"}));
        client.expect_error("unauthorized");
        client.expect_close(4501);
    }
    let mut client = Client::open(server.address, "/ws");
    let error = client
        .ask(json!({"type": "auth", "token": "one"}))
        .await_error("rate_limited");
    std::thread::sleep(wait_of(&error, 1000));
    client
        .ask(json!({"type": "auth", "token": "one"}))
        .await_ok();
}
