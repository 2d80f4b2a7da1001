use super::*;

#[test]
fn every_fault_is_told_at_once_each_with_its_place() {
    let text = "\
[server]
lsten = '127.0.0.1:1'
workers = 'many'

[session]
queue = '1MB'

[cluster]
engine = 'redis'

[[topic]]
filter = 'a/#/b'
history = { messages = 0 }
";
    let mut place = Place::local(text)
        .with_env("FANFARE__HEARTBEAT__INTERVAL", "soon")
        .with_env("FANFARE__HOOKS__CONNECT", "http://x")
        .with_set("limits.batch", "0");
    place.overrides.listen = Some("here".to_owned());
    let mut told: Vec<String> = place.faults().iter().map(Fault::to_string).collect();
    told.sort();
    let expected = [
        r#"--listen: server.listen: "here"; an address and a port are needed, such as "127.0.0.1:8080" or "[::1]:8080""#,
        r#"--set: limits.batch: "0"; a whole number from 1 to 1000000000 is needed"#,
        r#"config/local.toml:12: topic[0].filter: "a/#/b"; '#' must be the last level of a filter"#,
        "config/local.toml:13: topic[0].history.messages: 0; a whole number from 1 to 1000000000 is needed",
        "config/local.toml:2: server.lsten: unknown key; did you mean listen?",
        r#"config/local.toml:3: server.workers: "many"; a whole number from 0 to 1024 is needed"#,
        r#"config/local.toml:6: session.queue: "1MB"; a size is a whole number with B, KiB, MiB or GiB, such as "64KiB", or of bytes"#,
        "config/local.toml:8: cluster: unknown key; leave it out; known here: admin, api, auth, endpoint, heartbeat, limits, log, metrics, server, session, store, topic, watch, websocket",
        r#"environment FANFARE__HEARTBEAT__INTERVAL: heartbeat.interval: "soon"; a duration is a whole number with ms, s, m, h or d, such as "25s", or "0""#,
        "environment FANFARE__HOOKS__CONNECT: hooks: unknown key; leave it out; known here: admin, api, auth, endpoint, heartbeat, limits, log, metrics, server, session, store, topic, watch, websocket",
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_is_not_known_is_refused() {
    for (text, key, remedy) in [
        ("[cluster]", "cluster", "known here: admin"),
        ("listen = '127.0.0.1:1'", "listen", "server.listen"),
        ("[servers]\nlisten = 'x'", "servers", "did you mean server?"),
        ("[auth.jwt]", "auth.jwt", "leave it out"),
        ("[server.tls]\nkey = 'x'", "server.tls", "leave it out"),
        (
            "websocket.compression.takeover = true",
            "websocket.compression.takeover",
            "",
        ),
        ("limits.api_idempotency = 1", "limits.api_idempotency", ""),
        ("[admin]\nconsole = true", "admin.console", ""),
        ("wach = true", "wach", "watch?"),
        ("[[topics]]\nfilter = 'a'", "topics", "did you mean topic?"),
        (
            "[[topic]]\nfilter = 'a'\nretained = true",
            "topic[0].retained",
            "retain?",
        ),
        (
            "[[topic]]\nfilter = 'a'\njoinleave = true",
            "topic[0].joinleave",
            "join_leave?",
        ),
        (
            "[[topic]]\nfilter = 'a'\nhistory = { messages = 1, size = 1 }",
            "topic[0].history.size",
            "",
        ),
        (
            "auth.anonymous.subscribes = ['a']",
            "auth.anonymous.subscribes",
            "subscribe?",
        ),
        ("'a b'.c = 1", "a b", ""),
        ("'server.listen' = 1", "server.listen", ""),
        ("'a[999999999999]' = 1", "a[999999999999]", ""),
    ] {
        let faults = Place::local(text).faults();
        let [fault] = faults.as_slice() else {
            panic!("{text}: {faults:?}");
        };
        assert_eq!(
            (fault.key.as_str(), fault.found.as_str()),
            (key, "unknown key"),
            "{text}"
        );
        assert!(fault.remedy.contains(remedy), "{text}: {fault}");
        assert!(
            fault.source.starts_with("config/local.toml:"),
            "{text}: {fault}"
        );
    }
}

#[test]
fn values_of_a_wrong_type_or_range_are_refused() {
    for (text, expected) in [
        ("server = 1", "server: 1; a table is needed: [server]"),
        ("server = []", "server: a list of 0; a table is needed"),
        ("server.listen = 8080", "server.listen: 8080; an address"),
        (
            "server.listen = 'localhost'",
            "server.listen: \"localhost\"; an address",
        ),
        ("server.workers = -1", "server.workers: -1; a whole number"),
        (
            "server.workers = 1.5",
            "server.workers: 1.5; a whole number",
        ),
        ("server.workers = 99999999999999999999", "a whole number"),
        (
            "server.backlog = 0",
            "server.backlog: 0; a whole number from 1",
        ),
        ("server.drain = 10", "server.drain: 10; a duration"),
        (
            "server.drain = '2h'",
            "server.drain: \"2h\"; from \"0\" to \"1h\" would do",
        ),
        (
            "websocket.max_frame = 0",
            "max_frame: 0; from \"1B\" to \"1GiB\" would do",
        ),
        ("websocket.max_message = true", "max_message: true; a size"),
        (
            "websocket.compression.max_window_bits = 7",
            "websocket.compression.max_window_bits: 7; a whole number from 8 to 15",
        ),
        (
            "websocket.compression = true",
            "websocket.compression: true; a table",
        ),
        ("websocket.path = 'ws'", "websocket.path: \"ws\"; a path"),
        (
            "websocket.path = '/{x}'",
            "websocket.path: \"/{x}\"; a path",
        ),
        (
            "session.queue = '1B'",
            "session.queue: \"1B\"; from \"1KiB\"",
        ),
        (
            "session.write_timeout = '0'",
            "session.write_timeout: \"0\"; from \"1ms\"",
        ),
        (
            "metrics.per_topic = 'a'",
            "metrics.per_topic: \"a\"; a list is needed",
        ),
        (
            "metrics.per_topic = ['a', 'b#', 1]",
            "metrics.per_topic[1]: \"b#\"; '#' must be",
        ),
        (
            "store.kind = 'tape'",
            "store.kind: \"tape\"; \"memory\" or \"disk\" would do",
        ),
        (
            "[[topic]]\nfilter = 'a'\ndurability = 'synced'",
            "topic[0].durability: \"synced\", and the store keeps everything in memory",
        ),
        (
            "[[topic]]\nfilter = 'a'\ndurability = 'forever'",
            "topic[0].durability: \"forever\"; \"memory\" or \"written\" or \"synced\" would do",
        ),
        (
            "log.format = 'xml'",
            "log.format: \"xml\"; \"pretty\" or \"json\" would do",
        ),
        ("log.level = 'loud'", "log.level: \"loud\"; one of off"),
        ("log.level = 'info,=debug'", "one of off"),
    ] {
        let told = told(text).join("\n");
        assert!(told.contains(expected), "{text}: {told}");
    }
}

#[test]
fn rules_grants_and_endpoints_of_a_wrong_form_are_refused() {
    for (text, expected) in [
        ("auth = true", "auth: true; a table is needed: [auth]"),
        (
            "auth.anonymous = ['#']",
            "auth.anonymous: a list of 1; a table",
        ),
        (
            "auth.allowed_origins = ['null']",
            "auth.allowed_origins[0]: \"null\";",
        ),
        ("auth.allowed_origins = ['https://a/']", "without a path"),
        (
            "auth.allowed_origins = ['a.example']",
            "\"https://example.com\" would do",
        ),
        (
            "topic = 1",
            "topic: 1; a list of tables is needed: [[topic]]",
        ),
        (
            "topic = ['a']",
            "topic[0]: \"a\"; a table is needed: [[topic]]",
        ),
        (
            "[[topic]]",
            "topic[0].filter: nothing; the key is needed: filter =",
        ),
        (
            "[[topic]]\nfilter = 'a'\npresence = 'yes'",
            "topic[0].presence: \"yes\"; true or",
        ),
        (
            "[[topic]]\nfilter = 'a'\nhistory = true",
            "topic[0].history: true; a table",
        ),
        (
            "[[topic]]\nfilter = 'a'\nhistory = {}",
            "topic[0].history.messages: nothing;",
        ),
        (
            "[[topic]]\nfilter = 'a'\noverflow = 'conflate'",
            "topic[0].overflow: \"conflate\"; a list is needed",
        ),
        (
            "[[topic]]\nfilter = 'a'\noverflow = ['drop']",
            "topic[0].overflow[0]: \"drop\"; \"disconnect\" or \"drop_oldest\" or \"conflate\" would do",
        ),
        (
            "[[topic]]\nfilter = 'a'\noverflow = []",
            "topic[0].overflow: an empty list; name one or more",
        ),
        (
            "[[topic]]\nfilter = 'a'\noverflow = ['conflate', 'conflate']",
            "topic[0].overflow: a word that stands twice; name one or more",
        ),
        (
            "[[endpoint]]\ntopic = 'a'",
            "endpoint[0].path: nothing; the key is needed",
        ),
        (
            "[[endpoint]]\npath = '/a'",
            "endpoint[0].topic: nothing; the key is needed",
        ),
        (
            "[[endpoint]]\npath = '/a'\ntopic = 'a/#'",
            "endpoint[0].topic: \"a/#\"; '+' and",
        ),
        (
            "[[endpoint]]\npath = '/a'\ntopic = '$x'",
            "belong to the broker",
        ),
    ] {
        let told = told(text).join("\n");
        assert!(told.contains(expected), "{text}: {told}");
    }
}

#[test]
fn no_fault_prints_a_key() {
    for text in [
        "[[api.key]]\nname = 'a'\nscopes = ['read']\nsha256 = 'hunter2'",
        "[[api.key]]\nname = 'a'\nscopes = ['hunter2']\nsecret = 'hunter2'",
        "[[api.key]]\nname = 'a'\nscopes = 'hunter2'\nkey = 'hunter2'",
        "[api]\nkey = 'hunter2'",
        "api = 'hunter2'",
    ] {
        let told = told(text).join("\n");
        assert!(
            !told.is_empty() && !told.contains("hunter2"),
            "{text}: {told}"
        );
    }
    let place = Place::empty().with_env("FANFARE__API__KEY", "[{ sha256 = hunter2 }]");
    let faults = place.faults();
    assert!(!faults.is_empty() && !format!("{faults:?}").contains("hunter2"));
}

#[test]
fn a_file_that_is_no_toml_is_told_with_its_line() {
    let error = Place::local("[server]\n\nlisten = \n").load().unwrap_err();
    let ConfigError::File { path, line, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(
        (path.as_path(), *line),
        (Path::new("config/local.toml"), Some(3))
    );
    let told = error.to_string();
    assert!(
        told.starts_with("config/local.toml:3: this is no TOML: "),
        "{told}"
    );
}

#[test]
fn a_key_given_twice_is_no_toml() {
    let error = Place::local("a = 1\na = 2").load().unwrap_err().to_string();
    assert!(error.starts_with("config/local.toml:2: "), "{error}");
}

#[test]
fn a_file_that_is_named_must_be_there() {
    for place in [
        Place::empty().with_config("none.toml"),
        Place::empty().with_env("FANFARE_CONFIG", "none.toml"),
        Place::local("").with_config("config"),
    ] {
        let error = place.load().unwrap_err();
        assert!(
            matches!(error, ConfigError::File { line: None, .. }),
            "{error}"
        );
    }
}
