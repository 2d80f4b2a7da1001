use std::time::Duration;

use super::*;
use crate::model::{Overflow, Overflows};

fn shown_and_loaded(config: &Config) -> Config {
    let place = Place::local(&show(config)).with_env("KEY", "hunter2");
    place.config()
}

fn full() -> Config {
    let [chat] = filters(&["chat/#"]).try_into().unwrap();
    let [live] = filters(&["live/+"]).try_into().unwrap();
    let mut config = Config::default();
    config.server.listen = "0.0.0.0:80".parse().unwrap();
    config.admin.listen = Some("127.0.0.1:8081".parse().unwrap());
    config.server.drain = Duration::from_millis(1500);
    config.websocket.max_frame = 1025;
    config.heartbeat.interval = Duration::ZERO;
    config.auth = Some(Auth {
        timeout: Duration::from_secs(1),
        anonymous: Some(Anonymous {
            subscribe: filters(&["a/#", "quote\"d"]),
            publish: filters(&[]),
        }),
        allowed_origins: vec![
            AllowedOrigin::Any,
            AllowedOrigin::Exact("https://a.example".to_owned()),
        ],
    });
    config.api.keys = vec![ApiKey {
        name: "back\\end".to_owned(),
        secret: KeySecret::of("hunter2", KeySource::Env("KEY".to_owned())),
        scopes: vec![Scope::Publish, Scope::Read, Scope::Admin],
        topics: Some(filters(&["chat/#"])),
    }];
    config.topics = vec![
        TopicRule {
            history: Some(HistoryRule::last(7)),
            presence: true,
            overflow: Overflows::new(&[Overflow::Conflate, Overflow::Disconnect]).unwrap(),
            ..TopicRule::live(chat)
        },
        TopicRule::live(live),
    ];
    config.endpoints = vec![Endpoint {
        path: "/chat".to_owned(),
        topic: topic("chat/main"),
        last: 3,
        on_join: Some("hello\n\u{7f}".to_owned()),
        on_leave: None,
        max_chars: Some(5),
    }];
    config.server.trusted_proxies = vec![
        "10.0.0.0/8".parse().unwrap(),
        "fd00::1/128".parse().unwrap(),
    ];
    config.limits.rates = Rates {
        publishes: Rate::with_burst(5, 20),
        api_publishes: ApiRate::Own(None),
        frames: Rate::per_second(50),
        bytes: Rate::with_burst(65536, 1 << 20),
        handshakes: Rate::with_burst(1, 1),
        auth_failures: None,
        connections_per_ip: 7,
        connections_per_user: 3,
    };
    config.metrics.per_topic = filters(&["a", "b/+"]);
    config.log.format = LogFormat::Json;
    config
}

#[test]
fn what_is_shown_loads_back_to_the_same() {
    let mut none = Config::default();
    none.topics.clear();
    let mut public = Config::default();
    public.server.public = Some(env!("CARGO_MANIFEST_DIR").into());
    for config in [Config::default(), none, public, full()] {
        assert_eq!(shown_and_loaded(&config), config, "{}", show(&config));
    }
}

#[test]
fn the_built_in_rule_is_shown() {
    let shown = show(&Config::default());
    let rule = "[[topic]]\nfilter = \"demo/#\"\nhistory = { messages = 30, age = \"1d\", bytes = \"16MiB\" }\n";
    assert!(shown.contains(rule), "{shown}");
}

#[test]
fn no_secret_is_shown_and_what_is_hidden_does_not_load_as_if_it_were_nothing() {
    let mut config = full();
    for key in &mut config.api.keys {
        key.secret.source = KeySource::Sha256;
    }
    let shown = show(&config);
    assert!(shown.contains("# sha256 is hidden"), "{shown}");
    assert!(!shown.contains("f52fbd32"), "{shown}");
    let faults = Place::local(&shown).faults();
    let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["api.key[0].sha256"]);
    assert!(!show(&full()).contains("hunter2"));
}
