use std::collections::BTreeSet;

use super::*;
use crate::config::layer::Layer;
use crate::config::load::DEFAULTS;
use crate::config::load::known_keys;

/// The defaults with all that is off by default turned on: what stands behind "#" without a blank.
fn everything() -> String {
    let on = |line: &'static str| match line.strip_prefix('#') {
        Some(key) if !key.is_empty() && !key.starts_with(' ') => key,
        _ => line,
    };
    DEFAULTS.lines().map(on).collect::<Vec<_>>().join("\n")
}

fn keys() -> BTreeSet<String> {
    let layer = Layer::toml(Path::new("everything"), &everything()).unwrap();
    known_keys(layer)
}

#[test]
fn the_file_of_defaults_says_what_the_defaults_are() {
    let place = Place::local(DEFAULTS);
    assert_eq!(place.config(), Config::default());
}

#[test]
fn the_file_of_defaults_has_every_key_each_right_and_with_a_comment() {
    let text = everything();
    let config = Place::local(&text)
        .with_file("config/public/index.html", "")
        .with_env("FANFARE_OPERATOR_KEY", "k")
        .config();
    // The one key whose value is another's where it is not set.
    let mut built_in = Config::default().topics;
    for rule in &mut built_in {
        rule.max_message = Some(config.limits.message_bytes);
    }
    assert_eq!(config.topics, built_in);
    let named: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(key, _)| key)
        .filter(|key| !key.starts_with('#'))
        .collect();
    let inner = [
        "messages",
        "age",
        "bytes",
        "subscribe",
        "publish",
        "rate",
        "burst",
    ];
    for key in keys() {
        let name = key.rsplit('.').next().unwrap();
        let is_section = ["]", "."]
            .iter()
            .any(|end| text.contains(&format!("[{key}{end}")));
        assert!(
            is_section || named.contains(name) || inner.contains(&name),
            "{key}"
        );
    }
    let mut seen = BTreeSet::new();
    for pair in DEFAULTS.lines().collect::<Vec<_>>().windows(2) {
        let [above, line] = pair else { continue };
        let key = line.trim_start_matches('#').split(" = ").next().unwrap();
        if line.contains(" = ") && !line.starts_with("# ") && seen.insert(key) {
            assert!(above.starts_with("# "), "{line} has no comment");
        }
    }
}

#[test]
fn the_document_names_every_key() {
    let document = project_file("docs/configuration.md");
    let keys = keys();
    assert!(keys.len() > 50, "{keys:?}");
    for key in keys {
        let name = key.replace("[]", "");
        assert!(document.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn every_example_in_the_document_loads() {
    let document = project_file("docs/configuration.md");
    let mut examples = 0;
    for block in document.split("```toml\n").skip(1) {
        let example = block.split("```").next().unwrap();
        let place = Place::local(example).with_env("FANFARE_BACKEND_KEY", "k");
        assert_eq!(place.faults(), [], "{example}");
        examples += 1;
    }
    assert!(examples > 3);
}

#[test]
fn the_example_for_production_loads() {
    let text = project_file("config/production.toml");
    let place = Place::empty().with_file("config/production.toml", &text);
    let place = place.with_config("config/production.toml");
    let config = place.with_env("FANFARE_BACKEND_KEY", "k").config();
    assert!(config.auth.unwrap().anonymous.unwrap().publish.is_empty());
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.api.keys.len(), 1);
}
