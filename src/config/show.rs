//! The effective values as TOML, without secrets.

use std::fmt::{Display, Write};

use super::units::{format_duration, format_size};
use super::{
    AllowedOrigin, Anonymous, ApiKey, ApiRate, Auth, Config, Endpoint, HistoryRule, KeySource,
    LogFormat, Rate, Rates, StoreKind, TopicRule,
};
use crate::model::Overflow;

/// The effective values as TOML that loads back to the same configuration.
///
/// Secrets are not in it: where the configuration holds a key's SHA-256, a comment stands in its
/// place, and the text does not load until the hash is put there again.
pub fn show(config: &Config) -> String {
    let mut text = Text::default();
    // No rules and no endpoints have to be said before the first section begins.
    if config.topics.is_empty() {
        text.key("topic", "[]");
    }
    text.key("watch", config.watch);
    if config.endpoints.is_empty() {
        text.key("endpoint", "[]");
    }
    plain_sections(config, &mut text);
    if let Some(auth) = &config.auth {
        show_auth(auth, &mut text);
    }
    for key in &config.api.keys {
        show_key(key, &mut text);
    }
    for rule in &config.topics {
        show_rule(rule, &mut text);
    }
    for endpoint in &config.endpoints {
        show_endpoint(endpoint, &mut text);
    }
    text.0
}

/// TOML that grows line by line.
#[derive(Default)]
struct Text(String);

impl Text {
    fn section(&mut self, header: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.line(header);
    }

    fn key(&mut self, key: &str, value: impl Display) {
        self.line(&format!("{key} = {value}"));
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }
}

fn plain_sections(config: &Config, text: &mut Text) {
    let duration = |duration| quote(&format_duration(duration));
    let size = |bytes| quote(&format_size(bytes));

    text.section("[server]");
    text.key("listen", quote(&config.server.listen.to_string()));
    text.key("workers", config.server.workers);
    text.key("max_connections", config.server.max_connections);
    text.key("backlog", config.server.backlog);
    text.key("drain", duration(config.server.drain));
    text.key("trusted_proxies", list(&config.server.trusted_proxies));
    if let Some(public) = &config.server.public {
        text.key("public", quote(&public.display().to_string()));
    }

    if let Some(listen) = config.admin.listen {
        text.section("[admin]");
        text.key("listen", quote(&listen.to_string()));
    }

    text.section("[websocket]");
    text.key("path", quote(&config.websocket.path));
    text.key("max_frame", size(config.websocket.max_frame));
    text.key("max_message", size(config.websocket.max_message));
    text.key("flush_interval", duration(config.websocket.flush_interval));

    text.section("[websocket.compression]");
    let compression = config.websocket.compression;
    text.key("enabled", compression.enabled);
    text.key("level", compression.level);
    text.key("min_bytes", size(compression.min_bytes));
    text.key("max_window_bits", compression.max_window_bits);

    text.section("[heartbeat]");
    text.key("interval", duration(config.heartbeat.interval));
    text.key("timeout", duration(config.heartbeat.timeout));

    text.section("[session]");
    text.key("queue", size(config.session.queue));
    text.key("subscriptions", config.session.subscriptions);
    text.key("write_timeout", duration(config.session.write_timeout));

    text.section("[limits]");
    text.key("message_bytes", size(config.limits.message_bytes));
    text.key("replay_messages", config.limits.replay_messages);
    text.key("protocol_errors", config.limits.protocol_errors);
    text.key("batch", config.limits.batch);
    text.key("topics", config.limits.topics);
    text.key("memory", config.limits.memory);
    show_rates(&config.limits.rates, text);

    text.section("[api]");
    text.key(
        "idempotency_window",
        duration(config.api.idempotency_window),
    );
    text.key("idempotency_keys", config.api.idempotency_keys);

    text.section("[store]");
    let kind = match config.store.kind {
        StoreKind::Memory => "memory",
        StoreKind::Disk => "disk",
    };
    text.key("kind", quote(kind));
    text.key("path", quote(&config.store.path.display().to_string()));
    text.key("memory", size(config.store.memory));

    text.section("[metrics]");
    text.key("path", quote(&config.metrics.path));
    text.key("per_topic", list(&config.metrics.per_topic));

    text.section("[log]");
    let format = match config.log.format {
        LogFormat::Pretty => "pretty",
        LogFormat::Json => "json",
    };
    text.key("level", quote(&config.log.level));
    text.key("format", quote(format));
}

fn show_rates(rates: &Rates, text: &mut Text) {
    let shown = |rate: Option<Rate>, unit: fn(usize) -> String| match rate {
        None => "0".to_owned(),
        Some(Rate { per_second, burst }) => {
            let (rate, burst) = (per_second.get() as usize, burst.get() as usize);
            format!("{{ rate = {}, burst = {} }}", unit(rate), unit(burst))
        }
    };
    let number = |number: usize| number.to_string();
    let size = |bytes: usize| quote(&format_size(bytes));
    text.key("publishes_per_second", shown(rates.publishes, number));
    if let ApiRate::Own(rate) = rates.api_publishes {
        text.key("api_publishes_per_second", shown(rate, number));
    }
    text.key("frames_per_second", shown(rates.frames, number));
    text.key("bytes_per_second", shown(rates.bytes, size));
    text.key("handshakes_per_second", shown(rates.handshakes, number));
    text.key(
        "auth_failures_per_second",
        shown(rates.auth_failures, number),
    );
    text.key("connections_per_ip", rates.connections_per_ip);
    text.key("connections_per_user", rates.connections_per_user);
}

fn show_auth(auth: &Auth, text: &mut Text) {
    text.section("[auth]");
    text.key("timeout", quote(&format_duration(auth.timeout)));
    if let Some(Anonymous { subscribe, publish }) = &auth.anonymous {
        let (subscribe, publish) = (list(subscribe), list(publish));
        text.key(
            "anonymous",
            format!("{{ subscribe = {subscribe}, publish = {publish} }}"),
        );
    }
    let origins = auth.allowed_origins.iter().map(AllowedOrigin::as_str);
    text.key("allowed_origins", list(origins));
}

fn show_key(key: &ApiKey, text: &mut Text) {
    text.section("[[api.key]]");
    text.key("name", quote(&key.name));
    match &key.secret.source {
        KeySource::Sha256 => text.line("# sha256 is hidden"),
        KeySource::Env(variable) => text.key("env", quote(variable)),
    }
    text.key(
        "scopes",
        list(key.scopes.iter().map(|scope| scope.as_str())),
    );
    if let Some(topics) = &key.topics {
        text.key("topics", list(topics));
    }
}

fn show_rule(rule: &TopicRule, text: &mut Text) {
    text.section("[[topic]]");
    text.key("filter", quote(rule.filter.as_str()));
    if let Some(HistoryRule {
        messages,
        age,
        bytes,
    }) = &rule.history
    {
        let age = age.map(|age| format!("age = {}, ", quote(&format_duration(age))));
        let age = age.unwrap_or_default();
        let bytes = quote(&format_size(*bytes));
        text.key(
            "history",
            format!("{{ messages = {messages}, {age}bytes = {bytes} }}"),
        );
    }
    text.key("durability", quote(rule.durability.as_str()));
    text.key("presence", rule.presence);
    text.key("join_leave", rule.join_leave);
    text.key("retain", rule.retain);
    text.key("subscribe", quote(rule.subscribe.as_str()));
    text.key("publish", quote(rule.publish.as_str()));
    text.key("expose_user", rule.expose_user);
    if let Some(max) = rule.max_message {
        text.key("max_message", quote(&format_size(max)));
    }
    text.key("overflow", list(rule.overflow.iter().map(Overflow::as_str)));
}

fn show_endpoint(endpoint: &Endpoint, text: &mut Text) {
    text.section("[[endpoint]]");
    text.key("path", quote(&endpoint.path));
    text.key("topic", quote(endpoint.topic.as_str()));
    text.key("last", endpoint.last);
    for (key, message) in [
        ("on_join", &endpoint.on_join),
        ("on_leave", &endpoint.on_leave),
    ] {
        if let Some(message) = message {
            text.key(key, quote(message));
        }
    }
    if let Some(max_chars) = endpoint.max_chars {
        text.key("max_chars", max_chars);
    }
}

fn list<I>(items: I) -> String
where
    I: IntoIterator<Item: ToString>,
{
    let items: Vec<String> = items
        .into_iter()
        .map(|item| quote(&item.to_string()))
        .collect();
    format!("[{}]", items.join(", "))
}

/// A text as a TOML string.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
