//! The counters of one worker, handed in once a turn.

use std::cell::Cell;
use std::time::Duration;

use prometheus::core::{AtomicU64, GenericLocalCounter};
use prometheus::local::LocalHistogram;
use prometheus::{IntCounter, IntGauge};

use super::labels::{DropReason, Durability, Each, Label, Protocol, Source};
use super::series::Series;

type Counter = GenericLocalCounter<AtomicU64>;

/// What one worker counts of messages, without touching memory that other workers write: it lies in
/// the worker's thread until [`flush`](Self::flush) hands it in, once a turn of the event loop.
///
/// A worker that sleeps has handed in everything, so in a broker at rest the sums are exact.
pub struct WorkerMetrics {
    published: Each<Source, Counter>,
    published_bytes: Each<Source, Counter>,
    repeated: Counter,
    delivered: Each<Protocol, Counter>,
    delivered_bytes: Each<Protocol, Counter>,
    dropped: Each<DropReason, Counter>,
    delivery: LocalHistogram,
    publish: Each<Durability, LocalHistogram>,
    heartbeat_rtt: LocalHistogram,
    turn: LocalHistogram,
    compressed: Counter,
    compression_saved: Counter,
    compression_ratio: LocalHistogram,
    queued_bytes: Cell<i64>,
    queued_bytes_sum: IntGauge,
    mailbox: IntGauge,
}

impl WorkerMetrics {
    pub(super) fn new(series: &Series, shard: usize) -> Self {
        let shard = shard.to_string();
        Self {
            published: local(&series.published),
            published_bytes: local(&series.published_bytes),
            repeated: series.repeated.local(),
            delivered: local(&series.delivered),
            delivered_bytes: local(&series.delivered_bytes),
            dropped: local(&series.dropped),
            delivery: series.delivery.local(),
            publish: series.publish.map(prometheus::Histogram::local),
            heartbeat_rtt: series.heartbeat_rtt.local(),
            turn: series.turn.with_label_values(&[&shard]).local(),
            compressed: series.compressed.local(),
            compression_saved: series.compression_saved.local(),
            compression_ratio: series.compression_ratio.local(),
            queued_bytes: Cell::new(0),
            queued_bytes_sum: series.queued_bytes.clone(),
            mailbox: series.mailbox.with_label_values(&[&shard]),
        }
    }

    /// A message of so many payload bytes was accepted from a publisher of that protocol.
    pub fn published(&self, source: Source, bytes: usize) {
        add(&self.published, source, 1);
        add(&self.published_bytes, source, bytes as u64);
    }

    /// A publish came again, and was not done again.
    pub fn repeated(&self) {
        self.repeated.inc();
    }

    /// The kernel took so many messages whole, for sessions of that protocol.
    pub fn delivered(&self, protocol: Protocol, messages: u64, bytes: u64) {
        add(&self.delivered, protocol, messages);
        add(&self.delivered_bytes, protocol, bytes);
    }

    /// So many messages were queued for a session and will not be delivered.
    pub fn dropped(&self, reason: DropReason, messages: u64) {
        add(&self.dropped, reason, messages);
    }

    /// A sample: from the accepting of a publish to the kernel's taking of its frame.
    pub fn delivery_latency(&self, took: Duration) {
        self.delivery.observe(took.as_secs_f64());
    }

    /// From the arrival of a publish to its acknowledgement.
    pub fn publish_latency(&self, durability: Durability, took: Duration) {
        if let Some(histogram) = self.publish.get(durability) {
            histogram.observe(took.as_secs_f64());
        }
    }

    /// A client answered a ping after that time.
    pub fn heartbeat_rtt(&self, took: Duration) {
        self.heartbeat_rtt.observe(took.as_secs_f64());
    }

    /// A message of `plain` bytes was compressed to `deflated`.
    pub fn compressed(&self, plain: usize, deflated: usize) {
        self.compressed.inc();
        let saved = plain.saturating_sub(deflated) as u64;
        self.compression_saved.inc_by(saved);
        let ratio = plain as f64 / deflated.max(1) as f64;
        self.compression_ratio.observe(ratio);
    }

    /// A turn of this worker's registry took that long.
    pub fn turn(&self, took: Duration) {
        self.turn.observe(took.as_secs_f64());
    }

    /// The outbound queues of this worker's sessions grew or shrank by so many bytes.
    pub fn queued_bytes(&self, delta: i64) {
        self.queued_bytes.set(self.queued_bytes.get() + delta);
    }

    /// So many messages wait for this worker's registry now; seen at once.
    pub fn mailbox(&self, messages: usize) {
        self.mailbox
            .set(i64::try_from(messages).unwrap_or(i64::MAX));
    }

    /// Hands everything in.
    pub fn flush(&self) {
        for counters in [&self.published, &self.published_bytes] {
            counters.iter().for_each(Counter::flush);
        }
        for counters in [&self.delivered, &self.delivered_bytes] {
            counters.iter().for_each(Counter::flush);
        }
        for counter in [&self.repeated, &self.compressed, &self.compression_saved] {
            counter.flush();
        }
        self.dropped.iter().for_each(Counter::flush);
        self.publish.iter().for_each(LocalHistogram::flush);
        let histograms = [
            &self.delivery,
            &self.heartbeat_rtt,
            &self.turn,
            &self.compression_ratio,
        ];
        for histogram in histograms {
            histogram.flush();
        }
        let queued = self.queued_bytes.take();
        if queued != 0 {
            self.queued_bytes_sum.add(queued);
        }
    }
}

impl Drop for WorkerMetrics {
    fn drop(&mut self) {
        self.flush();
    }
}

fn local<L: Label>(counters: &Each<L, IntCounter>) -> Each<L, Counter> {
    counters.map(IntCounter::local)
}

fn add<L: Label>(counters: &Each<L, Counter>, value: L, n: u64) {
    if let Some(counter) = counters.get(value) {
        counter.inc_by(n);
    }
}
