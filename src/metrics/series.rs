//! Every series there is: its name, its help, its labels, and where it stands in the registry.

use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};

use super::MetricsError;
use super::close_code;
use super::labels::{
    AuthFailure, DropReason, Durability, Each, ErrorCode, Label, Place, Protocol, RateLimit,
    Recovery, Refusal, Source, SubscriptionKind, Transport,
};
use super::registrar::Registrar;
use super::store::StoreMetrics;

/// The handles of all series of one broker.
pub(super) struct Series {
    pub ready: IntGauge,
    pub connections: Each<Protocol, IntGauge>,
    pub connections_total: Each<Transport, IntCounter>,
    pub handshakes_refused: Each<Refusal, IntCounter>,
    pub disconnects: IntCounterVec,
    pub reloaded: IntGauge,
    pub topics: IntGauge,
    pub subscriptions: Each<SubscriptionKind, IntGauge>,
    pub topic_subscribers: IntGaugeVec,
    pub published: Each<Source, IntCounter>,
    pub published_bytes: Each<Source, IntCounter>,
    pub delivered: Each<Protocol, IntCounter>,
    pub delivered_bytes: Each<Protocol, IntCounter>,
    pub dropped: Each<DropReason, IntCounter>,
    pub repeated: IntCounter,
    pub idempotency_keys: IntGauge,
    pub publish_errors: Each<ErrorCode, IntCounter>,
    pub delivery: Histogram,
    pub publish: Each<Durability, Histogram>,
    pub heartbeat_rtt: Histogram,
    pub heartbeat_timeouts: IntCounter,
    pub queued_bytes: IntGauge,
    pub slow: IntGauge,
    pub mailbox: IntGaugeVec,
    pub turn: HistogramVec,
    pub history_messages: IntGauge,
    pub history_bytes: IntGauge,
    pub retained_messages: IntGauge,
    pub retained_bytes: IntGauge,
    pub store_max_bytes: IntGauge,
    pub store: StoreMetrics,
    pub recoveries: Each<Recovery, IntCounter>,
    pub auth_failures: Each<AuthFailure, IntCounter>,
    pub rate_limited: Each<RateLimit, IntCounter>,
    pub descriptors_short: IntGauge,
    pub compressed: IntCounter,
    pub compression_saved: IntCounter,
    pub compression_ratio: Histogram,
    pub memory_limit: IntGauge,
    pub memory_pressure: IntGauge,
    pub descriptor_shortages: IntCounter,
    pub http_requests: IntCounterVec,
    pub http_seconds: HistogramVec,
    pub panics: Each<Place, IntCounter>,
}

/// 50 µs to 10 s: from one kernel write to a queue that nobody reads.
const DELIVERY: [f64; 15] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
    2.5, 10.0,
];
/// 10 µs to 1 s: a turn should stay well below a millisecond.
const TURN: [f64; 10] = [
    0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.25, 1.0,
];
/// 1 ms to 60 s: a network's round trip, or a client that sleeps.
const ROUND_TRIP: [f64; 12] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0, 60.0,
];
/// 250 µs to 10 s. Few, since there is a histogram for each route, method and status.
const REQUEST: [f64; 9] = [0.000_25, 0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0];
/// What is not shorter is not sent compressed; JSON that repeats itself comes to ten.
const RATIO: [f64; 9] = [1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0];

impl Series {
    /// Registers every series, those of bounded labels at 0.
    #[expect(clippy::too_many_lines, reason = "a table, one series after another")]
    pub(super) fn register(registry: &Registry) -> Result<Self, MetricsError> {
        let r = Registrar::new(registry);
        let series = Self {
            ready: r.gauge(
                "ready",
                "1 while the broker takes sessions, 0 while it starts or drains.",
            )?,
            connections: {
                let family = r.gauge_vec(
                    "connections",
                    "Sessions that are connected now.",
                    &["transport", "protocol"],
                )?;
                Each::make(|protocol: Protocol| {
                    let transport = protocol.transport().as_str();
                    family.with_label_values(&[transport, protocol.as_str()])
                })
            },
            connections_total: r.counters(
                "connections_total",
                "Sessions that ever connected.",
                "transport",
            )?,
            handshakes_refused: r.counters(
                "handshakes_refused_total",
                "Connections refused before they were sessions, by reason.",
                "reason",
            )?,
            disconnects: r.counter_vec(
                "disconnects_total",
                "Sessions that ended, by close code; app: a code of the application's own.",
                &["code"],
            )?,
            reloaded: r.gauge(
                "config_last_reload_successful",
                "Whether the configuration that was read last holds: 1, or 0 where it has faults.",
            )?,
            topics: r.gauge("topics", "Topics that the broker holds anything of.")?,
            subscriptions: r.gauges("subscriptions", "Subscriptions that stand now.", "kind")?,
            topic_subscribers: r.gauge_vec(
                "topic_subscribers",
                "Subscribers of the topics that metrics.per_topic names.",
                &["topic"],
            )?,
            published: r.counters(
                "messages_published_total",
                "Messages accepted, by the publisher's protocol.",
                "protocol",
            )?,
            published_bytes: r.counters(
                "published_bytes_total",
                "Payload bytes of the messages accepted, by the publisher's protocol.",
                "protocol",
            )?,
            delivered: r.counters(
                "messages_delivered_total",
                "Messages of which the kernel took the last byte, by the subscriber's protocol.",
                "protocol",
            )?,
            delivered_bytes: r.counters(
                "delivered_bytes_total",
                "Frame bytes of the messages delivered, by the subscriber's protocol.",
                "protocol",
            )?,
            dropped: r.counters(
                "messages_dropped_total",
                "Messages queued for a session and not delivered, by reason.",
                "reason",
            )?,
            repeated: r.counter(
                "publishes_repeated_total",
                "Publishes that came again with their idempotency key, and were not done again.",
            )?,
            idempotency_keys: r
                .gauge("idempotency_keys", "Idempotency keys that are remembered.")?,
            publish_errors: r.counters(
                "publish_errors_total",
                "Publishes that were refused, by error code.",
                "code",
            )?,
            delivery: r.histogram(
                "delivery_seconds",
                "From the accepting of a publish to the kernel's taking of the frame, sampled.",
                &DELIVERY,
            )?,
            publish: r.histograms(
                "publish_seconds",
                "From the arrival of a publish to its acknowledgement.",
                "durability",
                &DELIVERY,
            )?,
            heartbeat_rtt: r.histogram(
                "heartbeat_rtt_seconds",
                "Round trips of the pings to clients.",
                &ROUND_TRIP,
            )?,
            heartbeat_timeouts: r.counter(
                "heartbeat_timeouts_total",
                "Sessions ended because they gave no sign of life.",
            )?,
            queued_bytes: r.gauge(
                "session_queued_bytes",
                "Bytes waiting in the outbound queues of all sessions.",
            )?,
            slow: r.gauge(
                "sessions_slow",
                "Sessions whose outbound queue is not empty because the peer does not read.",
            )?,
            mailbox: r.gauge_vec(
                "registry_mailbox_messages",
                "Messages waiting for a topic registry.",
                &["shard"],
            )?,
            turn: r.histogram_vec(
                "registry_turn_seconds",
                "How long the turns of a topic registry take.",
                &["shard"],
                &TURN,
            )?,
            history_messages: r.gauge("history_messages", "Messages held in histories.")?,
            history_bytes: r.gauge("history_bytes", "Bytes held in histories.")?,
            retained_messages: r.gauge("retained_messages", "Messages that topics retain.")?,
            retained_bytes: r.gauge(
                "retained_bytes",
                "Bytes of the messages that topics retain.",
            )?,
            store_max_bytes: r.gauge(
                "store_max_bytes",
                "Bytes that histories and retained messages may take together.",
            )?,
            store: StoreMetrics::register(&r)?,
            recoveries: r.counters(
                "recoveries_total",
                "Requests for what was missed, by whether all of it was there.",
                "result",
            )?,
            auth_failures: r.counters(
                "auth_failures_total",
                "Credentials that were not accepted, by reason.",
                "reason",
            )?,
            rate_limited: r.counters(
                "rate_limited_total",
                "Frames, publishes, handshakes and sessions refused by a limit, by limit.",
                "limit",
            )?,
            descriptors_short: r.gauge(
                "descriptors_short",
                "1 while the process is short of file descriptors, else 0.",
            )?,
            descriptor_shortages: r.counter(
                "descriptor_shortages_total",
                "How often the process has become short of file descriptors.",
            )?,
            compressed: r.counter(
                "compressed_messages_total",
                "Messages that were compressed, each once for all sessions that agreed on the same.",
            )?,
            compression_saved: r.counter(
                "compression_saved_bytes_total",
                "Bytes by which compressed messages are shorter, each counted once.",
            )?,
            compression_ratio: r.histogram(
                "compression_ratio",
                "How many times longer compressed messages were before.",
                &RATIO,
            )?,
            memory_limit: r.gauge(
                "memory_limit_bytes",
                "What the process may take of memory; 0 is no limit.",
            )?,
            memory_pressure: r.gauge(
                "memory_pressure",
                "0 while there is memory enough, 1 while it is short and new sessions are refused, 2 while it \
                 is very short and outbound queues are shorter.",
            )?,
            http_requests: r.counter_vec(
                "http_requests_total",
                "HTTP requests answered.",
                &["route", "method", "status"],
            )?,
            http_seconds: r.histogram_vec(
                "http_request_seconds",
                "How long HTTP requests took.",
                &["route", "method", "status"],
                &REQUEST,
            )?,
            panics: r.counters(
                "panics_total",
                "Faults in the broker that were caught, by place.",
                "place",
            )?,
        };
        for (_, code) in close_code::CODES {
            series.disconnects.with_label_values(&[code]);
        }
        series.disconnects.with_label_values(&[close_code::APP]);
        Ok(series)
    }
}
