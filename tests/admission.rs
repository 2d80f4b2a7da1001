//! Who is let in, and with which credentials.

use fanfare::config::{
    AllowedOrigin, Anonymous, ApiKey, Auth, Config, KeySecret, KeySource, Scope,
};
use fanfare::model::Filter;

use crate::handshake::Ask;
use crate::support::{Client, Edit, Server, config};

fn auth(anonymous: Option<Anonymous>) -> Auth {
    Auth {
        anonymous,
        ..Auth::default()
    }
}

fn filters(texts: &[&str]) -> Vec<Filter> {
    texts
        .iter()
        .map(|text| Filter::new(text).unwrap())
        .collect()
}

/// Anonymous sessions read what is public; a key may do what is below `mine`.
pub(crate) fn guarded() -> Config {
    config().with(|c| {
        c.auth = Some(auth(Some(Anonymous {
            subscribe: filters(&["public/#"]),
            publish: vec![],
        })));
        c.api.keys = vec![ApiKey {
            name: "backend".into(),
            secret: KeySecret::of("s3cret", KeySource::Sha256),
            scopes: vec![Scope::Publish, Scope::Read],
            topics: Some(filters(&["mine/#"])),
        }];
    })
}

#[test]
fn pages_of_another_origin_are_refused_by_whatever_trick() {
    let server = Server::start(config());
    let here = server.address.to_string();
    let port = server.address.port();
    let origins = [
        (format!("http://{here}"), 101),
        (format!("https://{here}"), 101),
        ("null".into(), 403),
        (String::new(), 403),
        ("http://evil.example".into(), 403),
        (format!("http://localhost:{port}"), 403),
        ("http://127.0.0.1".into(), 403),
        (format!("http://127.0.0.1:{port}.evil.example"), 403),
        (format!("http://127.0.0.1:{port}@evil.example"), 403),
        (format!("http://evil.example/{here}"), 403),
        (format!("http://{here}/"), 403),
        (format!("http://{here}, http://evil.example"), 403),
        (format!("HTTP://{here}"), 403),
        (here.clone(), 403),
    ];
    for (origin, status) in origins {
        let answer = Ask::new(&server, "/ws").with("Origin", &origin).send();
        assert_eq!(answer.status, status, "{origin}");
    }
    let twice = Ask::new(&server, "/ws")
        .with("Origin", &format!("http://{here}"))
        .with("Origin", "http://evil.example");
    assert_eq!(twice.send().expect_problem(403), "forbidden");
}

#[test]
fn an_allowed_origin_is_compared_whole() {
    let allowed = |origin: &str| AllowedOrigin::Exact(origin.to_owned());
    let server = Server::start(guarded().with(|c| {
        c.auth.as_mut().unwrap().allowed_origins = vec![allowed("https://good.example")];
    }));
    for (origin, status) in [
        ("https://good.example", 101),
        ("https://good.example:443", 101),
        ("https://good.example.evil.com", 403),
        ("https://evilgood.example", 403),
        ("https://a.good.example", 403),
        ("https://GOOD.example", 403),
        ("http://good.example", 403),
        ("https://good.example:8443", 403),
        ("https://good.example.", 403),
        ("https://good.example/", 403),
        ("https://good.example\u{e9}", 403),
        ("null", 403),
    ] {
        let answer = Ask::new(&server, "/ws").with("Origin", origin).send();
        assert_eq!(answer.status, status, "{origin}");
    }
    // Same origin was not listed.
    let own = format!("http://{}", server.address);
    assert_eq!(
        Ask::new(&server, "/ws").with("Origin", &own).send().status,
        403
    );
    assert_eq!(Ask::new(&server, "/ws").send().status, 101);
}

#[test]
fn without_auth_only_this_machine_is_let_in() {
    let server = Server::start(config());
    let port = server.address.port();
    let changes: [(u16, &str, &str); 9] = [
        (101, "Host", "localhost"),
        (101, "Host", "127.0.0.1:1"),
        (403, "Host", "evil.example"),
        (403, "Host", "127.0.0.1.nip.io"),
        (403, "Host", "localhost.evil.example"),
        (403, "X-Forwarded-For", "127.0.0.1"),
        (403, "Forwarded", "for=127.0.0.1"),
        (403, "X-Real-IP", "127.0.0.1"),
        (403, "Via", "1.1 proxy"),
    ];
    for (status, name, value) in changes {
        let answer = Ask::new(&server, "/ws").set(name, value).send();
        assert_eq!(answer.status, status, "{name}: {value}");
    }
    // A foreign name that was made to lead here, with a page of its own.
    let rebound = Ask::new(&server, "/ws")
        .set("Host", &format!("evil.example:{port}"))
        .with("Origin", &format!("http://evil.example:{port}"));
    assert_eq!(rebound.send().expect_problem(403), "forbidden");
    let reason = r#"fanfare_handshakes_refused_total{reason="not_local"}"#;
    assert!(server.metric(reason) > 0);
}

#[test]
fn credentials_are_taken_from_wherever_they_stand_first() {
    let server = Server::start(guarded());
    let may = |ask: Ask| ask.send().status;
    let ask = |query: &str| Ask::new(&server, &format!("/ws?topic=mine%2Fa{query}"));
    let bearer = |ask: Ask, key| ask.with("Authorization", &format!("Bearer {key}"));
    assert_eq!(may(ask("")), 403);
    assert_eq!(may(ask("&token=s3cret")), 101);
    assert_eq!(may(bearer(ask(""), "s3cret")), 101);
    assert_eq!(
        may(ask("").with("Sec-WebSocket-Protocol", "fanfare.v1.json, bearer.s3cret")),
        101
    );
    assert_eq!(may(bearer(ask("&token=s3cret"), "wrong")), 401);
    assert_eq!(may(bearer(ask("&token=wrong"), "s3cret")), 101);
    assert_eq!(may(ask("").with("Authorization", "Basic czNjcmV0")), 401);
    let twice = bearer(bearer(ask(""), "s3cret"), "s3cret");
    let refused = twice.send();
    assert_eq!(refused.expect_problem(401), "unauthorized");
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    // The key's topics bound what its session may do.
    let mut own = Client::open(server.address, "/ws?token=s3cret");
    own.subscribe("mine/#").await_ok();
    own.subscribe("public/a").await_error("forbidden");
    own.subscribe("#").await_error("forbidden");
    own.subscribe("+/a").await_error("forbidden");
    own.publish("mine/a", 1).await_ok();
    own.publish("public/a", 1).await_error("forbidden");
    own.ask(serde_json::json!({"type": "history", "topic": "kept/a"}))
        .await_error("forbidden");
    let mut anyone = server.connect();
    anyone.subscribe("public/#").await_ok();
    anyone.publish("public/a", 1).await_error("forbidden");
    anyone.subscribe("mine/a").await_error("forbidden");
}

#[test]
fn who_must_authenticate_does_it_by_a_frame_or_is_sent_away() {
    let server = Server::start(guarded().with(|c| {
        c.auth = Some(Auth {
            timeout: std::time::Duration::from_millis(300),
            ..auth(None)
        });
    }));
    assert_eq!(
        Ask::new(&server, "/ws?topic=mine%2Fa")
            .send()
            .expect_problem(401),
        "unauthorized"
    );
    let mut good = server.connect();
    good.subscribe("mine/a").await_error("unauthorized");
    good.publish("mine/a", 1).await_error("unauthorized");
    good.ask(serde_json::json!({"type": "ping"})).await_ok();
    good.ask(serde_json::json!({"type": "auth", "token": "s3cret"}))
        .await_ok();
    good.subscribe("mine/a").await_ok();
    let mut wrong = server.connect();
    wrong.send(&serde_json::json!({"type": "auth", "token": "wrong"}));
    wrong.expect_error("unauthorized");
    wrong.expect_close(4501);
    let mut silent = server.connect();
    let (closing, _) = silent.expect_close(4501);
    assert_eq!(closing["reconnect"], false);
    // Who did authenticate stays.
    good.expect_nothing();
}
