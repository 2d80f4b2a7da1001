use super::*;

#[test]
fn pairs_that_cannot_go_together_are_refused() {
    let endpoint = "[[endpoint]]\npath = '/chat'\ntopic = 'chat'\n";
    let key = "[[api.key]]\nname = 'a'\nenv = 'KEY'\nscopes = ['read']\n";
    for (text, expected) in [
        (
            "heartbeat.timeout = '0'".to_owned(),
            "heartbeat.timeout: no time to answer",
        ),
        (
            format!("{endpoint}last = 3"),
            "endpoint[0].last: 3 of \"chat\", which keeps no history; add a [[topic]]",
        ),
        (
            format!(
                "{endpoint}last = 3\n[[topic]]\nfilter = '+'\n[[topic]]\nfilter = 'chat'\nhistory = {{ messages = 1 }}"
            ),
            "give the [[topic]] with filter \"+\" a history",
        ),
        (
            endpoint.repeat(2),
            "endpoint[1].path: \"/chat\", which is that of endpoint[0]",
        ),
        (
            endpoint.replace("/chat", "/ws"),
            "endpoint[0].path: \"/ws\", which is that of websocket",
        ),
        (
            endpoint.replace("/chat", "/metrics"),
            "which is that of metrics",
        ),
        (
            endpoint.replace("/chat", "/v1/chat"),
            "which is the broker's own",
        ),
        (
            "websocket.path = '/metrics'".to_owned(),
            "websocket.path: \"/metrics\", which is that of metrics",
        ),
        (
            "metrics.path = '/ws'".to_owned(),
            "metrics.path: \"/ws\", which is that of websocket",
        ),
        (
            "websocket.path = '/healthz'".to_owned(),
            "websocket.path: \"/healthz\", which is the broker's own",
        ),
        (
            "[[topic]]\nfilter = 'a'\n[[topic]]\nfilter = 'a'".to_owned(),
            "topic[1].filter: the same filter as that of topic[0]",
        ),
        (key.repeat(2), "api.key[1].name: a second key named \"a\""),
        (
            format!("{key}sha256 = '{}'", "0".repeat(64)),
            "api.key[0].sha256: both sha256 and env",
        ),
        (
            key.replace("env = 'KEY'", ""),
            "api.key[0].sha256: neither sha256 nor env",
        ),
        (
            key.replace("KEY", "NONE"),
            "api.key[0].env: the environment has nothing in NONE; set NONE",
        ),
        (
            key.replace("KEY", "EMPTY"),
            "api.key[0].env: the environment has nothing in EMPTY",
        ),
        (
            key.replace("'read'", ""),
            "api.key[0].scopes: nothing; say what the key may do",
        ),
        (
            key.replace("scopes = ['read']", ""),
            "api.key[0].scopes: nothing",
        ),
        (
            key.replace("name = 'a'", ""),
            "api.key[0].name: nothing; the key is needed",
        ),
    ] {
        let place = Place::local(&text)
            .with_env("KEY", "k")
            .with_env("EMPTY", "");
        let faults = place.faults();
        let [fault] = faults.as_slice() else {
            panic!("{text}: {faults:?}");
        };
        assert!(fault.to_string().contains(expected), "{text}: {fault}");
        assert!(
            fault.source.starts_with("config/local.toml:"),
            "{text}: {fault}"
        );
    }
    let off = Place::local("heartbeat = { interval = '0', timeout = '0' }");
    assert_eq!(off.faults(), []);
    let moved = "metrics.path = '/m'\n[[endpoint]]\npath = '/metrics'\ntopic = 'a'";
    assert_eq!(told(moved), Vec::<String>::new());
}

#[test]
fn a_queue_holds_at_least_one_message() {
    let [fault] = &told("session.queue = '32KiB'")[..] else {
        panic!("not one fault");
    };
    let expected = "session.queue: 32KiB, less than the 64KiB of limits.message_bytes";
    assert!(fault.contains(expected), "{fault}");
    let both = "session.queue = '32KiB'\nlimits.message_bytes = '32KiB'";
    assert_eq!(told(both), Vec::<String>::new());
}

#[test]
fn an_endpoint_may_replay_what_its_topic_keeps() {
    let endpoint = "[[endpoint]]\npath = '/a'\ntopic = 'demo/a'\nlast = 30";
    assert_eq!(told(endpoint), Vec::<String>::new());
}

#[test]
fn where_others_can_listen_it_must_be_said_who_may() {
    let key = "[[api.key]]\nname = 'a'\nenv = 'KEY'\nscopes = ['read']\n";
    let with_auth = format!("[auth]\n{key}");
    for (listen, text, refused) in [
        ("127.0.0.1:0", "", false),
        ("127.9.9.9:0", "", false),
        ("[::1]:0", "", false),
        ("0.0.0.0:0", "", true),
        ("[::]:0", "", true),
        ("192.168.0.1:80", "", true),
        ("0.0.0.0:0", "[auth]", true),
        ("0.0.0.0:0", "[auth]\nanonymous = {}", true),
        ("0.0.0.0:0", key, true),
        ("0.0.0.0:0", with_auth.as_str(), false),
        (
            "0.0.0.0:0",
            "[auth]\nanonymous = { subscribe = ['#'] }",
            false,
        ),
        (
            "0.0.0.0:0",
            "[auth]\nanonymous = { publish = ['a'] }",
            false,
        ),
    ] {
        let place = Place::local(text).with_env("KEY", "k");
        let faults = place.with_set("server.listen", listen).faults();
        let expected = usize::from(refused);
        assert_eq!(faults.len(), expected, "{listen} {text}: {faults:?}");
        for fault in faults {
            let place = (fault.source.as_str(), fault.key.as_str());
            assert_eq!(place, ("--set", "server.listen"));
            assert!(fault.remedy.contains("say who may"), "{fault}");
        }
    }
}

#[test]
fn the_http_api_has_an_address_of_its_own_or_none() {
    let both = |port: &str| {
        told(&format!(
            "server.listen = '127.0.0.1:{port}'\nadmin.listen = '127.0.0.1:{port}'"
        ))
    };
    let faults = both("81");
    assert_eq!(faults.len(), 1);
    let expected = "admin.listen: 127.0.0.1:81, which is server.listen; give it a port of its own";
    assert!(faults[0].contains(expected), "{faults:?}");
    assert_eq!(both("0"), Vec::<String>::new());
}

#[test]
fn where_others_can_reach_the_http_api_it_needs_a_key() {
    let key = "[[api.key]]\nname = 'a'\nenv = 'KEY'\nscopes = ['read']\n";
    let auth = "[auth]\nanonymous = { subscribe = ['#'] }";
    for (listen, text, refused) in [
        ("127.0.0.1:0", "", false),
        ("[::1]:0", "", false),
        ("0.0.0.0:0", "", true),
        ("0.0.0.0:0", auth, true),
        ("10.0.0.1:81", auth, true),
        ("0.0.0.0:0", key, false),
    ] {
        let place = Place::local(text).with_env("KEY", "k");
        let faults = place.with_set("admin.listen", listen).faults();
        assert_eq!(faults.len(), usize::from(refused), "{listen}: {faults:?}");
        for fault in faults {
            assert_eq!(fault.key, "admin.listen");
            assert!(fault.remedy.contains("a key"), "{fault}");
        }
    }
}

#[test]
fn a_wrong_grant_is_not_told_twice() {
    let text = "server.listen = '0.0.0.0:0'\nauth.anonymous.subscribe = ['a#']";
    assert_eq!(told(text).len(), 1);
}

#[test]
fn the_process_may_take_more_memory_than_history_does() {
    for (text, expected) in [
        (
            "limits.memory = '128MiB'",
            "limits.memory: 128MiB, no more than store.memory, 256MiB",
        ),
        ("limits.memory = '1MiB'", "limits.memory: \"1MiB\""),
        ("limits.memory = 'group'", "limits.memory: \"group\""),
    ] {
        let faults = Place::local(text).faults();
        let [fault] = faults.as_slice() else {
            panic!("{text}: {faults:?}");
        };
        assert!(fault.to_string().contains(expected), "{text}: {fault}");
    }
    for (text, expected) in [
        ("limits.memory = 0", MemoryLimit::Off),
        ("limits.memory = '1GiB'", MemoryLimit::Bytes(1 << 30)),
        ("limits.memory = 'cgroup'", MemoryLimit::ControlGroup),
    ] {
        let config = Place::local(text).config();
        assert_eq!(config.limits.memory, expected, "{text}");
    }
}
