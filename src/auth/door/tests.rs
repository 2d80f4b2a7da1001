use crate::config::{Anonymous, ApiKey, Auth, KeySecret, KeySource};
use crate::model::{Filter, TopicName};

use super::*;
use crate::auth::Grant;

type Header<'a> = (&'a str, &'a str);

const LOCAL: &[Header<'static>] = &[("host", "localhost:8080")];

fn facts<'a>(headers: &[Header<'a>], query: Option<&'a str>, peer: &str) -> Facts<'a> {
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, value.as_bytes()));
    Facts::new(headers, query, Some(peer.parse().unwrap()))
}

fn here<'a>(headers: &[Header<'a>]) -> Facts<'a> {
    facts(headers, None, "127.0.0.1")
}

fn key(name: &str, scopes: &[config::Scope]) -> ApiKey {
    ApiKey {
        name: name.to_owned(),
        secret: KeySecret::of(name, KeySource::Sha256),
        scopes: scopes.to_vec(),
        topics: None,
    }
}

fn keys(config: &mut Config) {
    config.api.keys = vec![
        key("writer", &[config::Scope::Publish]),
        key("reader", &[config::Scope::Read]),
        key("admin", &[config::Scope::Admin]),
    ];
}

fn anonymous_reader() -> Config {
    let grant = Anonymous {
        subscribe: vec![Filter::new("open/#").unwrap()],
        publish: Vec::new(),
    };
    Config {
        auth: Some(Auth {
            anonymous: Some(grant),
            ..Auth::default()
        }),
        ..Config::default()
    }
}

fn may(caller: &Caller, topic: &str) -> (bool, bool) {
    let topic = TopicName::new(topic).unwrap();
    (
        caller.access.may_read(Who::Granted, &topic),
        caller.access.may_publish(Who::Granted, &topic),
    )
}

fn code(denied: &Denied) -> &'static str {
    denied.refusal().code.as_str()
}

#[test]
fn of_a_header_that_stands_twice_none_is_believed() {
    for name in ["Authorization", "Host", "Origin"] {
        let headers = [(name, "Bearer writer"), (name, "localhost")];
        let door = Door::from_config(&Config::default());
        let denied = door.session(&here(&headers)).unwrap_err();
        assert!(
            matches!(code(&denied), "unauthorized" | "forbidden"),
            "{name}"
        );
    }
}

#[test]
fn offers_are_gathered_from_all_headers_that_make_some() {
    let name = "Sec-WebSocket-Protocol";
    let facts = here(&[(name, "a, b ,,"), ("x", "y"), (name, "bearer.c")]);
    assert_eq!(facts.offers, ["a", "b", "bearer.c"]);
}

#[test]
fn without_auth_anyone_here_may_everything_and_nobody_elsewhere_anything() {
    let door = Door::from_config(&Config::default());
    let caller = door.session(&here(LOCAL)).unwrap();
    assert_eq!(may(&caller, "a"), (true, true));
    assert!(!caller.must_authenticate && caller.has(Scope::Admin));
    let api = door.api(&here(LOCAL), Scope::Admin).unwrap();
    assert_eq!(
        (&api.access.subscribe, &api.scopes),
        (&Grant::All, &caller.scopes)
    );
    // A rule that is for the API holds on this machine too: it is how one tries it out.
    assert_eq!(caller.access.standing, Standing::Anonymous);
    assert_eq!(api.access.standing, Standing::Api);
    for elsewhere in [
        facts(LOCAL, None, "192.0.2.7"),
        here(&[("host", "rebound.example")]),
        here(&[("host", "localhost"), ("via", "proxy")]),
        here(&[]),
    ] {
        for denied in [door.session(&elsewhere), door.api(&elsewhere, Scope::Read)] {
            let denied = denied.unwrap_err();
            assert_eq!(code(&denied), "forbidden");
            assert_eq!(denied.reason(), metrics::Refusal::NotLocal);
            assert_eq!(denied.auth_failure(), None);
        }
    }
    let foreign = here(&[("host", "localhost"), ("origin", "http://evil.example")]);
    assert_eq!(door.session(&foreign), Err(Denied::Origin));
    assert_eq!(Denied::Origin.reason(), metrics::Refusal::Origin);
}

#[test]
fn a_credential_that_nothing_knows_is_not_anonymous() {
    for config in [Config::default(), anonymous_reader()] {
        let door = Door::from_config(&config);
        let header = here(&[("host", "localhost"), ("authorization", "Bearer t0ken")]);
        let offer = here(&[
            ("host", "localhost"),
            ("sec-websocket-protocol", "bearer.t0ken"),
        ]);
        let query = facts(LOCAL, Some("token=t0ken"), "127.0.0.1");
        for facts in [header, offer, query] {
            let denied = door.session(&facts).unwrap_err();
            assert_eq!(code(&denied), "unauthorized");
            assert_eq!(denied.auth_failure(), Some(AuthFailure::Unknown));
            assert_eq!(denied.reason(), metrics::Refusal::Credentials);
            assert!(!format!("{denied:?} {}", denied.refusal()).contains("t0ken"));
        }
        let malformed = here(&[("host", "localhost"), ("authorization", "Basic t0ken")]);
        let denied = door.session(&malformed).unwrap_err();
        assert_eq!(denied.auth_failure(), Some(AuthFailure::Malformed));
        assert_eq!(code(&denied), "unauthorized");
    }
}

#[test]
fn with_auth_who_has_no_credentials_is_anonymous_or_must_authenticate() {
    let elsewhere = facts(&[("host", "broker.example")], None, "192.0.2.7");
    let caller = Door::from_config(&anonymous_reader())
        .session(&elsewhere)
        .unwrap();
    assert_eq!(may(&caller, "open/a"), (true, false));
    assert_eq!(may(&caller, "other"), (false, false));
    assert!(!caller.must_authenticate && !caller.has(Scope::Read));
    for anonymous in [None, Some(Anonymous::default())] {
        let config = Config {
            auth: Some(Auth {
                anonymous,
                ..Auth::default()
            }),
            ..Config::default()
        };
        let door = Door::from_config(&config);
        // Even here: the operator has said who may.
        for facts in [&elsewhere, &here(LOCAL)] {
            let caller = door.session(facts).unwrap();
            assert!(caller.must_authenticate);
            assert_eq!(*caller.access, Access::nothing());
        }
        assert_eq!(door.auth_timeout(), Duration::from_secs(10));
    }
}

#[test]
fn a_key_is_a_credential_of_sessions_by_its_scopes() {
    let mut config = anonymous_reader();
    keys(&mut config);
    let door = Door::from_config(&config);
    for (name, expected) in [
        ("writer", (false, true)),
        ("reader", (true, false)),
        ("admin", (false, false)),
    ] {
        let query = format!("token={name}");
        let caller = door
            .session(&facts(LOCAL, Some(&query), "192.0.2.7"))
            .unwrap();
        assert_eq!(may(&caller, "a"), expected, "{name}");
        assert_eq!(caller.key.as_deref(), Some(name));
        assert_eq!(caller.user, None);
        assert_eq!(door.token(&Secret::new(name)), Some(caller));
    }
    assert_eq!(door.token(&Secret::new("other")), None);
}

#[test]
fn the_api_takes_a_key_in_its_header_only_and_with_the_scope() {
    let mut config = Config::default();
    keys(&mut config);
    let door = Door::from_config(&config);
    let bearer = |token: &'static str| here(&[("host", "localhost"), ("authorization", token)]);
    assert!(door.api(&bearer("Bearer writer"), Scope::Publish).is_ok());
    let denied = door.api(&bearer("Bearer writer"), Scope::Read).unwrap_err();
    assert_eq!(code(&denied), "forbidden");
    assert_eq!(denied.auth_failure(), Some(AuthFailure::Scope));
    assert_eq!(denied.reason(), metrics::Refusal::Forbidden);
    for facts in [here(LOCAL), facts(LOCAL, Some("token=writer"), "127.0.0.1")] {
        let denied = door.api(&facts, Scope::Publish).unwrap_err();
        assert_eq!(denied.auth_failure(), Some(AuthFailure::Missing));
        assert_eq!(code(&denied), "unauthorized");
    }
    assert!(door.metrics(&here(LOCAL)).is_ok());
    assert!(door.metrics(&bearer("Bearer reader")).is_ok());
    assert!(door.metrics(&bearer("Bearer writer")).is_err());
    let elsewhere = facts(LOCAL, None, "192.0.2.7");
    assert_eq!(code(&door.metrics(&elsewhere).unwrap_err()), "unauthorized");
}

#[test]
fn pages_of_the_origins_that_are_listed_may_connect() {
    let mut config = anonymous_reader();
    let listed = config::AllowedOrigin::Exact("https://app.example".to_owned());
    config.auth = config.auth.map(|auth| Auth {
        allowed_origins: vec![listed],
        ..auth
    });
    let door = Door::from_config(&config);
    for (origin, allowed) in [
        ("https://app.example", true),
        ("http://localhost:8080", false),
    ] {
        let facts = here(&[("host", "localhost:8080"), ("origin", origin)]);
        assert_eq!(door.session(&facts).is_ok(), allowed, "{origin}");
    }
}

#[test]
fn a_trusted_proxy_says_where_a_request_comes_from_and_never_makes_it_local() {
    let mut config = Config::default();
    config.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let door = Door::from_config(&config);
    let client = |facts: &Facts<'_>| door.client(facts).unwrap().to_string();
    let direct = here(LOCAL);
    assert_eq!(client(&direct), "127.0.0.1");
    assert!(door.session(&direct).is_ok());
    for named in ["203.0.113.9", "127.0.0.1", "203.0.113.9, 127.0.0.2"] {
        let headers = [LOCAL[0], ("X-Forwarded-For", named)];
        let facts = here(&headers);
        assert_eq!(client(&facts), named.split(',').next().unwrap());
        assert!(
            matches!(door.session(&facts), Err(Denied::NotLocal(_))),
            "{named}"
        );
    }
    let elsewhere = facts(&[("X-Forwarded-For", "203.0.113.9")], None, "192.0.2.1");
    assert_eq!(client(&elsewhere), "192.0.2.1");
}

#[test]
fn a_credential_is_seen_wherever_it_stands() {
    let seen = |headers: &[Header<'_>], query| facts(headers, query, "127.0.0.1").has_credential();
    assert!(!seen(LOCAL, Some("topic=a")));
    assert!(!seen(
        &[("Sec-WebSocket-Protocol", "fanfare.v1.json")],
        None
    ));
    assert!(seen(&[("Authorization", "Bearer x")], None));
    assert!(seen(&[("Authorization", "nonsense")], None));
    assert!(seen(&[("Sec-WebSocket-Protocol", "bearer.x")], None));
    assert!(seen(LOCAL, Some("token=")));
}

#[test]
fn what_is_for_anyone_needs_no_credentials() {
    let mut config = Config {
        auth: Some(Auth::default()),
        ..Config::default()
    };
    let session = |config: &Config| Door::from_config(config).session(&here(LOCAL)).unwrap();
    assert!(session(&config).must_authenticate);
    config.topics = vec![TopicRule {
        subscribe: Who::Anyone,
        ..TopicRule::live(Filter::new("news/#").unwrap())
    }];
    let caller = session(&config);
    assert!(!caller.must_authenticate);
    assert_eq!(*caller.access, Access::nothing());
}
