//! What happens less often than messages do, counted at once.

use std::cmp::Reverse;
use std::time::Duration;

use prometheus::{IntCounter, IntGauge};

use super::labels::{
    AuthFailure, Each, ErrorCode, Label, Place, Protocol, RateLimit, Recovery, Refusal, Source,
    SubscriptionKind,
};
use super::{Held, Metrics, close_code};

/// So many topics have a series of their own at most, however many `metrics.per_topic` matches.
pub const MAX_TOPIC_SERIES: usize = 1000;

/// Sessions.
impl Metrics {
    /// A session connected; it counts as connected until what is returned is dropped.
    pub fn connected(&self, protocol: Protocol) -> Held {
        let series = self.series();
        count(&series.connections_total, protocol.transport());
        Held::new(series.connections.get(protocol))
    }

    /// A session ended with that close code: 1006 where there was no close frame.
    pub fn disconnected(&self, code: u16) {
        self.series()
            .disconnects
            .with_label_values(&[close_code::label(code)])
            .inc();
    }

    /// A connection was refused before it was a session.
    pub fn handshake_refused(&self, reason: Refusal) {
        count(&self.series().handshakes_refused, reason);
    }

    /// Credentials were not accepted.
    pub fn auth_failed(&self, reason: AuthFailure) {
        count(&self.series().auth_failures, reason);
    }

    /// A limit was exceeded, and what exceeded it was refused.
    pub fn rate_limited(&self, limit: RateLimit) {
        count(&self.series().rate_limited, limit);
    }

    /// A session was ended because it gave no sign of life.
    pub fn heartbeat_timed_out(&self) {
        self.series().heartbeat_timeouts.inc();
    }

    /// A session is slow until what is returned is dropped.
    pub fn slow_session(&self) -> Held {
        Held::new(Some(&self.series().slow))
    }
}

/// Topics.
impl Metrics {
    /// So many subscriptions more, or fewer.
    pub fn subscriptions_changed(&self, kind: SubscriptionKind, delta: i64) {
        if let Some(gauge) = self.series().subscriptions.get(kind) {
            gauge.add(delta);
        }
    }

    /// Whether the configuration that was read last holds.
    pub fn set_reloaded(&self, holds: bool) {
        self.series().reloaded.set(i64::from(holds));
    }

    /// There are so many topics.
    pub fn set_topics(&self, topics: usize) {
        set(&self.series().topics, topics);
    }

    /// So many idempotency keys are remembered.
    pub fn set_idempotency_keys(&self, keys: usize) {
        set(&self.series().idempotency_keys, keys);
    }

    /// Histories hold so much.
    pub fn set_history(&self, messages: usize, bytes: usize) {
        set(&self.series().history_messages, messages);
        set(&self.series().history_bytes, bytes);
    }

    /// Topics retain so much, beside their histories.
    pub fn set_retained(&self, messages: usize, bytes: usize) {
        set(&self.series().retained_messages, messages);
        set(&self.series().retained_bytes, bytes);
    }

    /// All that is stored in memory may take so much.
    pub fn set_store_limit(&self, bytes: usize) {
        set(&self.series().store_max_bytes, bytes);
    }

    /// So many messages wait for the registry of that shard.
    pub fn set_mailbox(&self, shard: usize, messages: usize) {
        let gauge = self
            .series()
            .mailbox
            .with_label_values(&[&shard.to_string()]);
        set(&gauge, messages);
    }

    /// These topics, and no others, have a series of their own: those that `metrics.per_topic`
    /// matches. Of more than [`MAX_TOPIC_SERIES`] the ones with the most subscribers are shown; the
    /// answer says how many are not.
    pub fn set_topic_subscribers<T: AsRef<str>>(
        &self,
        topics: impl IntoIterator<Item = (T, usize)>,
    ) -> usize {
        let mut topics: Vec<_> = topics.into_iter().collect();
        let omitted = topics.len().saturating_sub(MAX_TOPIC_SERIES);
        if omitted > 0 {
            // The order of names decides between equals, so that the choice stays the same.
            topics.sort_unstable_by(|(a, n), (b, m)| {
                (Reverse(n), a.as_ref()).cmp(&(Reverse(m), b.as_ref()))
            });
            topics.truncate(MAX_TOPIC_SERIES);
        }
        let gauges = &self.series().topic_subscribers;
        gauges.reset();
        for (topic, subscribers) in &topics {
            set(&gauges.with_label_values(&[topic.as_ref()]), *subscribers);
        }
        omitted
    }

    /// A client asked for what it had missed.
    pub fn recovery(&self, result: Recovery) {
        count(&self.series().recoveries, result);
    }

    /// A message that goes to sessions themselves was accepted.
    pub fn published(&self, source: Source, bytes: usize) {
        let series = self.series();
        count(&series.published, source);
        if let Some(counter) = series.published_bytes.get(source) {
            counter.inc_by(bytes as u64);
        }
    }

    /// A publish was refused.
    pub fn publish_failed(&self, code: ErrorCode) {
        count(&self.series().publish_errors, code);
    }
}

/// Requests and faults.
impl Metrics {
    /// Whether the broker takes sessions.
    pub fn set_ready(&self, ready: bool) {
        self.series().ready.set(i64::from(ready));
    }

    /// An HTTP request was answered. The route is the pattern, never the path that was asked for.
    pub fn http_request(&self, route: &'static str, method: &str, status: u16, took: Duration) {
        let status = match status {
            100..=599 => status.to_string(),
            _ => "other".to_owned(),
        };
        let labels = [route, known_method(method), &status];
        let series = self.series();
        series.http_requests.with_label_values(&labels).inc();
        series
            .http_seconds
            .with_label_values(&labels)
            .observe(took.as_secs_f64());
    }

    /// Descriptors have become short, or are no longer.
    pub fn descriptors_short(&self, short: bool) {
        let series = self.series();
        series.descriptors_short.set(i64::from(short));
        if short {
            series.descriptor_shortages.inc();
        }
    }

    /// The process may take so much memory; 0 is no limit.
    pub fn memory_limit(&self, bytes: u64) {
        self.series().memory_limit.set(bytes.cast_signed());
    }

    /// How short memory is now: 0, 1 or 2.
    pub fn memory_pressure(&self, pressure: u8) {
        self.series().memory_pressure.set(i64::from(pressure));
    }

    /// A panic was caught there.
    pub fn panicked(&self, place: Place) {
        count(&self.series().panics, place);
    }
}

/// A method, since a client may invent some.
fn known_method(method: &str) -> &'static str {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    METHODS
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or("other")
}

fn count<L: Label>(counters: &Each<L, IntCounter>, value: L) {
    if let Some(counter) = counters.get(value) {
        counter.inc();
    }
}

fn set(gauge: &IntGauge, value: usize) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}
