//! Who may use the HTTP API.

use fanfare::config::{ApiKey, Auth, Config, KeySecret, KeySource, Scope};
use fanfare::model::Filter;
use serde_json::json;

use crate::support::{Edit, Http, Server, config};

fn key(name: &str, scopes: &[Scope], topics: Option<&[&str]>) -> ApiKey {
    let filters = |texts: &[&str]| texts.iter().map(|t| Filter::new(t).unwrap()).collect();
    ApiKey {
        name: name.into(),
        secret: KeySecret::of(&format!("{name}-key"), KeySource::Sha256),
        scopes: scopes.to_vec(),
        topics: topics.map(filters),
    }
}

/// A broker with keys: one for each scope, and one that is bound to topics.
fn keyed() -> Config {
    config().with(|c| {
        c.auth = Some(Auth::default());
        c.api.keys = vec![
            key("publish", &[Scope::Publish], None),
            key("read", &[Scope::Read], None),
            key(
                "mine",
                &[Scope::Publish, Scope::Read],
                Some(&["kept/mine/#"]),
            ),
        ];
    })
}

#[test]
fn a_key_does_what_its_scopes_and_topics_allow() {
    let server = Server::start(keyed());
    let publish = |topic: &str| {
        server
            .http("POST", &format!("/v1/topics/{topic}/messages"))
            .json(&json!(1))
    };
    let read = |topic: &str| server.http("GET", &format!("/v1/topics/{topic}/messages"));
    let status = |http: Http, key: &str| match key {
        "" => http.send().status,
        _ => http.key(key).send().status,
    };
    for (key, publishes, reads) in [
        ("", 401, 401),
        ("wrong", 401, 401),
        ("publish-key", 200, 403),
        ("read-key", 403, 200),
        ("mine-key", 403, 403),
    ] {
        assert_eq!(status(publish("kept/a"), key), publishes, "{key}");
        assert_eq!(status(read("kept/a"), key), reads, "{key}");
        let stats = server.http("GET", "/v1/stats");
        let reads_stats = if key == "mine-key" { 200 } else { reads };
        assert_eq!(status(stats, key), reads_stats, "{key}");
    }
    assert_eq!(status(publish("kept/mine/a"), "mine-key"), 200);
    assert_eq!(status(read("kept/mine/a"), "mine-key"), 200);
    let list = server
        .http("GET", "/v1/topics")
        .key("mine-key")
        .send()
        .json();
    let listed: Vec<_> = list["topics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| &t["topic"])
        .collect();
    assert_eq!(listed, ["kept/mine/a"]);
    let refused = publish("kept/a").send();
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    // A key in the query is none, here.
    let in_query = server.http("GET", "/v1/stats?token=read-key").send();
    assert_eq!(in_query.expect_problem(401), "unauthorized");
    // Without a key there is only what says nothing of anybody.
    for (path, status) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/", 200),
        ("/v1/topics", 401),
    ] {
        assert_eq!(server.get(path).status, status, "{path}");
    }
    assert!(server.metric(r#"fanfare_auth_failures_total{reason="scope"}"#) >= 2);
    assert!(server.metric(r#"fanfare_auth_failures_total{reason="unknown"}"#) >= 3);
}

#[test]
fn without_keys_only_this_machine_is_served() {
    let server = Server::start(config());
    let port = server.address.port();
    for (name, value) in [
        ("X-Forwarded-For", "127.0.0.1".to_owned()),
        ("Forwarded", "for=127.0.0.1".to_owned()),
        ("Via", "1.1 x".to_owned()),
        ("Host", "evil.example".to_owned()),
        ("Host", format!("evil.example:{port}")),
        ("Origin", "http://evil.example".to_owned()),
        ("Origin", "null".to_owned()),
    ] {
        for path in ["/v1/topics", "/metrics"] {
            let refused = server.http("GET", path).header(name, &value).send();
            assert_eq!(
                refused.expect_problem(403),
                "forbidden",
                "{path} {name}: {value}"
            );
        }
        let refused = server
            .http("POST", "/v1/topics/kept/a/messages")
            .header(name, &value)
            .body("x")
            .send();
        assert_eq!(refused.status, 403, "{name}: {value}");
    }
    let own = format!("http://{}", server.address);
    assert_eq!(
        server
            .http("GET", "/v1/topics")
            .header("Origin", &own)
            .send()
            .status,
        200
    );
    assert_eq!(server.get("/v1/topics").json()["topics"], json!([]));
}
