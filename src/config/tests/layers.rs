use std::time::Duration;

use super::*;
use crate::model::Durability;

#[test]
fn without_anything_the_defaults_apply() {
    let loaded = Place::empty().load().unwrap();
    assert_eq!(loaded.config, Config::default());
    let [note] = loaded.notes.as_slice() else {
        panic!("one note");
    };
    assert!(
        note.starts_with("no [auth]: anyone on this machine"),
        "{note}"
    );
}

#[test]
fn each_layer_yields_to_the_next() {
    let file = |count: usize| format!("[session]\nsubscriptions = {count}\n");
    let layers: [fn(Place, &str) -> Place; 5] = [
        |place, text| place.with_file("config/default.toml", text),
        |place, text| place.with_file("mine.toml", text).with_config("mine.toml"),
        |place, text| place.with_file("config/local.toml", text),
        |place, _| place.with_env("FANFARE__SESSION__SUBSCRIPTIONS", "4"),
        |place, _| place.with_set("session.subscriptions", "5"),
    ];
    for last in 1..=layers.len() {
        let mut place = Place::empty();
        for (layer, count) in layers.iter().zip(1..=last) {
            place = layer(place, &file(count));
        }
        assert_eq!(place.config().session.subscriptions, last);
    }
}

#[test]
fn options_of_their_own_come_last() {
    let mut place = Place::empty()
        .with_set("server.listen", "127.0.0.1:1")
        .with_set("log.level", "warn")
        .with_set("log.format", "json");
    place.overrides.listen = Some("127.0.0.1:0".to_owned());
    place.overrides.log_level = Some("info,fanfare=debug".to_owned());
    let config = place.config();
    assert_eq!(config.server.listen.port(), 0);
    assert_eq!(config.log.level, "info,fanfare=debug");
    assert_eq!(config.log.format, LogFormat::Json);
}

#[test]
fn a_file_may_be_named_by_the_environment_and_is_outdone_by_the_option() {
    let place = || {
        Place::empty()
            .with_file("one.toml", "limits.batch = 1")
            .with_file("two.toml", "limits.batch = 2")
            .with_env("FANFARE_CONFIG", "one.toml")
    };
    assert_eq!(place().config().limits.batch, 1);
    assert_eq!(place().with_config("two.toml").config().limits.batch, 2);
    let unset = Place::empty().with_env("FANFARE_CONFIG", "");
    assert_eq!(unset.config(), Config::default());
}

#[test]
fn what_was_read_is_noted() {
    let place = Place::local("[auth]").with_env("FANFARE__LOG__LEVEL", "warn");
    assert_eq!(
        place.load().unwrap().notes,
        [
            "read config/local.toml",
            "took FANFARE__LOG__LEVEL from the environment",
            "no [[api.key]]: the HTTP API answers on loopback only",
        ]
    );
}

#[test]
fn the_environment_gives_every_kind_of_value_as_text() {
    let config = Place::empty()
        .with_env("FANFARE__SERVER__WORKERS", "3")
        .with_env("FANFARE__SESSION__QUEUE", "65536")
        .with_env("FANFARE__HEARTBEAT__INTERVAL", "0")
        .with_env(
            "FANFARE__AUTH__ALLOWED_ORIGINS",
            "same-origin, https://a.example",
        )
        .with_env("FANFARE__AUTH__ANONYMOUS", r##"{ subscribe = ["#"] }"##)
        .with_env("FANFARE__METRICS__PER_TOPIC", r#"["a/#", "b"]"#)
        .with_env("FANFARE__LOG__LEVEL", "info,fanfare=debug")
        .with_env(
            "FANFARE__TOPIC",
            r#"[{"filter": "chat/#", "history": {"messages": 5}, "presence": true}]"#,
        )
        .with_env("FANFARE_METRICS_KEY", "no setting")
        .with_env("PATH", "/bin")
        .config();
    assert_eq!(config.server.workers, 3);
    assert_eq!(config.session.queue, 65536);
    assert_eq!(config.heartbeat.interval, Duration::ZERO);
    let auth = config.auth.unwrap();
    let other = AllowedOrigin::Exact("https://a.example".to_owned());
    assert_eq!(auth.allowed_origins, [AllowedOrigin::SameOrigin, other]);
    assert_eq!(auth.anonymous.unwrap().subscribe, filters(&["#"]));
    assert_eq!(config.metrics.per_topic, filters(&["a/#", "b"]));
    assert_eq!(config.log.level, "info,fanfare=debug");
    let [rule] = config.topics.as_slice() else {
        panic!("one rule was set");
    };
    assert!(rule.presence && !rule.join_leave);
    assert_eq!(rule.history, Some(HistoryRule::last(5)));
}

#[test]
fn an_address_in_brackets_stays_a_text() {
    let config = Place::empty().with_env("FANFARE__SERVER__LISTEN", "[::1]:80");
    assert_eq!(config.config().server.listen.to_string(), "[::1]:80");
}

#[test]
fn an_empty_text_is_an_empty_list() {
    let place = Place::local("metrics.per_topic = ['a']");
    let config = place.with_env("FANFARE__METRICS__PER_TOPIC", "").config();
    assert_eq!(config.metrics.per_topic, filters(&[]));
}

#[test]
fn numbers_and_booleans_written_as_texts_are_taken_from_bare_text_only() {
    assert_eq!(Place::local("limits.batch = '5'").faults().len(), 1);
    assert_eq!(Place::empty().with_set("limits.batch", "5").faults(), []);
}

#[test]
fn rules_of_a_later_layer_stand_in_place_of_those_of_an_earlier() {
    let place = Place::local("[[topic]]\nfilter = 'b'").with_config("mine.toml");
    let place = place.with_file(
        "mine.toml",
        "[[topic]]\nfilter = 'a'\n[[topic]]\nfilter = 'c'",
    );
    let [rule] = filters(&["b"]).try_into().unwrap();
    assert_eq!(place.config().topics, [TopicRule::live(rule)]);
}

#[test]
fn tables_of_a_later_layer_add_to_those_of_an_earlier() {
    let place = Place::local("auth.anonymous.publish = ['b']").with_config("mine.toml");
    let place = place.with_file("mine.toml", "auth.anonymous.subscribe = ['a']");
    let anonymous = place.config().auth.unwrap().anonymous.unwrap();
    assert_eq!(anonymous.subscribe, filters(&["a"]));
    assert_eq!(anonymous.publish, filters(&["b"]));
}

#[test]
fn while_no_rule_is_set_there_is_one_for_the_demo() {
    let config = Config::default();
    let rule = config.rule_for(&topic("demo/chat")).unwrap();
    let history = rule.history.clone().unwrap();
    assert_eq!(history.messages, 30);
    assert_eq!(history.age, Some(Duration::from_hours(24)));
    assert!(rule.presence && rule.join_leave);
    assert_eq!(config.rule_for(&topic("chat")), None);
    assert_eq!(Place::local("topic = []").config().topics, []);
}

#[test]
fn the_first_rule_that_matches_applies() {
    let rules = "[[topic]]\nfilter = 'a/b'\npresence = true\n[[topic]]\nfilter = 'a/#'\n";
    let config = Place::local(rules).config();
    assert!(config.rule_for(&topic("a/b")).unwrap().presence);
    assert!(!config.rule_for(&topic("a/c")).unwrap().presence);
}

#[test]
fn a_rule_that_never_applies_is_noted() {
    let rules = "[[topic]]\nfilter = 'a/#'\n[[topic]]\nfilter = 'a/b'\n";
    let notes = Place::local(rules).load().unwrap().notes;
    let told = |note: &String| note.starts_with(r#"topic[1], "a/b", never applies"#);
    assert!(notes.iter().any(told), "{notes:?}");
}

#[test]
fn keys_are_known_by_their_hash_only() {
    let hash = "2C70E12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";
    let text = format!(
        "[[api.key]]\nname = 'a'\nsha256 = '{hash}'\nscopes = ['read']\n\
         [[api.key]]\nname = 'b'\nenv = 'KEY'\nscopes = ['admin', 'publish']\ntopics = ['x']"
    );
    let keys = Place::local(&text).with_env("KEY", "key").config().api.keys;
    let [a, b] = keys.as_slice() else {
        panic!("two keys were set");
    };
    assert_eq!(a.secret.sha256, b.secret.sha256);
    assert_eq!(a.secret.source, KeySource::Sha256);
    assert_eq!(
        b.secret,
        KeySecret::of("key", KeySource::Env("KEY".to_owned()))
    );
    assert_eq!((&a.topics, &b.topics), (&None, &Some(filters(&["x"]))));
    assert_eq!(b.scopes, [Scope::Admin, Scope::Publish]);
    assert!(!format!("{a:?}").contains("44"), "{a:?}");
}

#[test]
fn origins_take_the_form_that_browsers_send() {
    let text =
        "[auth]\nallowed_origins = ['*', 'HTTPS://A.example:443', 'http://b:8080', 'app://x']";
    let origins = Place::local(text).config().auth.unwrap().allowed_origins;
    let texts: Vec<&str> = origins.iter().map(AllowedOrigin::as_str).collect();
    assert_eq!(
        texts,
        ["*", "https://a.example", "http://b:8080", "app://x"]
    );
}

#[test]
fn a_directory_is_relative_to_the_file_that_names_it_else_to_where_the_broker_is_started() {
    let place = || {
        Place::empty()
            .with_file("site/fanfare.toml", "server.public = 'public'")
            .with_file("site/public/index.html", "")
            .with_file("here/index.html", "")
    };
    let named = place().with_config("site/fanfare.toml");
    let dir = named.dir.path().to_owned();
    let public = named.config().server.public;
    assert_eq!(public, Some(dir.join("site/public")));
    for set in [
        place().with_set("server.public", "here"),
        place().with_env("FANFARE__SERVER__PUBLIC", "here"),
    ] {
        let dir = set.dir.path().to_owned();
        assert_eq!(set.config().server.public, Some(dir.join("here")));
    }
    let faults = place().with_set("server.public", "nowhere").faults();
    let [fault] = faults.try_into().unwrap();
    assert!(fault.remedy.contains("is no directory"), "{fault}");
}

#[test]
fn on_disk_what_is_kept_outlives_the_process_unless_the_rule_says_otherwise() {
    let durability = |text: &str| {
        let config = Place::local(text).config();
        let rules = config.topics.iter();
        rules.map(|rule| rule.durability).collect::<Vec<_>>()
    };
    let rules = "[[topic]]\nfilter = 'a'\n[[topic]]\nfilter = 'b'\ndurability = 'synced'\n[[topic]]\nfilter = 'c'\ndurability = 'memory'\n";
    assert_eq!(
        durability(&format!("store.kind = 'disk'\n{rules}")),
        [Durability::Written, Durability::Synced, Durability::Memory]
    );
    assert_eq!(durability("store.kind = 'disk'"), [Durability::Written]);
    assert_eq!(durability(""), [Durability::Memory]);
}
