//! What the broker counts, for Prometheus.
//!
//! Every broker has a registry of its own, so that several may run in one process. Counters of what
//! happens per message are kept by each worker for itself ([`WorkerMetrics`]) and handed in once a
//! turn; gauges change at once, before anyone is told of what they count. Labels have values from
//! fixed lists ([`labels`](Label)); topics become labels only where the operator asks for it.

mod close_code;
mod held;
mod labels;
mod occurrences;
#[cfg(test)]
mod promtool;
mod rates;
mod registrar;
mod series;
mod store;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use prometheus::process_collector::ProcessCollector;
use prometheus::{IntGaugeVec, Opts, Registry, TextEncoder};
use thiserror::Error;

pub use held::Held;
pub use labels::{
    AuthFailure, DropReason, Durability, ErrorCode, Label, Place, Protocol, RateLimit, Recovery,
    Refusal, Source, SubscriptionKind, Transport,
};
pub use occurrences::MAX_TOPIC_SERIES;
pub use rates::{PerSecond, Totals};
pub use store::StoreMetrics;
pub use worker::WorkerMetrics;

use rates::Rates;
use series::Series;

/// The metrics of one broker. Clones are handles of the same.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

/// Fills in gauges that are worked out only when somebody looks.
pub type OnScrape = Box<dyn Fn(&Metrics) + Send + Sync>;

/// Why there are no metrics.
#[derive(Debug, Error)]
pub enum MetricsError {
    /// A series could not be made, or not be written.
    #[error("metrics: {0}")]
    Prometheus(#[from] prometheus::Error),
}

struct Shared {
    registry: Registry,
    series: Series,
    on_scrape: RwLock<Vec<Arc<OnScrape>>>,
    rendering: Mutex<()>,
    rates: Mutex<Rates>,
}

impl Metrics {
    /// The media type of what [`render`](Self::render) returns.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// The metrics of a broker of that version, built from that revision of the source.
    pub fn new(version: &str, revision: &str) -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let series = Series::register(&registry)?;
        let build_info = IntGaugeVec::new(
            Opts::new("build_info", "Always 1; the labels say what runs.").namespace("fanfare"),
            &["version", "revision"],
        )?;
        build_info.with_label_values(&[version, revision]).set(1);
        registry.register(Box::new(build_info))?;
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self {
            shared: Arc::new(Shared {
                registry,
                series,
                on_scrape: RwLock::default(),
                rendering: Mutex::default(),
                rates: Mutex::default(),
            }),
        })
    }

    /// The counters of one worker, whose registry is the shard of that number.
    pub fn worker(&self, shard: usize) -> WorkerMetrics {
        WorkerMetrics::new(self.series(), shard)
    }

    /// Calls this before each scrape, to set the gauges that are worked out only then. It may not
    /// render itself, and it should hold what it looks at weakly where that holds these metrics.
    pub fn on_scrape(&self, fill: OnScrape) {
        self.shared
            .on_scrape
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::new(fill));
    }

    /// What was counted so far.
    pub fn totals(&self) -> Totals {
        let series = self.series();
        Totals {
            published: series
                .published
                .iter()
                .map(prometheus::core::GenericCounter::get)
                .sum(),
            delivered: series
                .delivered
                .iter()
                .map(prometheus::core::GenericCounter::get)
                .sum(),
        }
    }

    /// How many sessions are connected now: neither those whose handshake is under way, nor those that
    /// have ended and are given time to read why.
    pub fn sessions(&self) -> u64 {
        let gauges = self.series().connections.iter();
        let connected: i64 = gauges.map(prometheus::core::GenericGauge::get).sum();
        connected.max(0).unsigned_abs()
    }

    /// Takes note of the totals, for the rates. To be called about once a second.
    pub fn sample(&self) {
        let totals = self.totals();
        self.rates().sample(Instant::now(), totals);
    }

    /// What happens per second, averaged over the last ten.
    pub fn per_second(&self) -> PerSecond {
        let totals = self.totals();
        self.rates().per_second(Instant::now(), totals)
    }

    fn rates(&self) -> std::sync::MutexGuard<'_, Rates> {
        self.shared
            .rates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything in the Prometheus text format 0.0.4.
    ///
    /// # Errors
    /// If a series cannot be written, which would be a fault of this module.
    pub fn render(&self) -> Result<String, MetricsError> {
        // One at a time, since filling in takes what was there away first.
        let _one = self
            .shared
            .rendering
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let fillers = self
            .shared
            .on_scrape
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for fill in &fillers {
            fill(self);
        }
        Ok(TextEncoder::new().encode_to_string(&self.shared.registry.gather())?)
    }

    fn series(&self) -> &Series {
        &self.shared.series
    }
}
