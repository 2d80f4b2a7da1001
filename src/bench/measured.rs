//! What a run of a scenario showed.

use std::fmt;

use serde::Serialize;

use super::checker::Faults;
use super::figures::{grouped, short, time};
use super::histogram::Histogram;
use super::load::Told;
use super::scenario::Shape;

/// What a run of a scenario showed: the object that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The scenario's name.
    pub scenario: &'static str,
    /// The sessions that subscribed.
    pub sessions: usize,
    /// The topics.
    pub topics: usize,
    /// The sessions or connections that published.
    pub publishers: usize,
    /// The bytes of a message's data.
    pub size: usize,
    /// The publishes that were outstanding at a time at most.
    pub outstanding: usize,
    /// How many were sent in a second, where they were not sent as fast as they were done.
    pub rate: Option<f64>,
    /// How long it was measured.
    pub seconds: f64,
    /// Messages that were published in this time.
    pub published: u64,
    /// Messages that came in this time.
    pub deliveries: u64,
    /// The same in a second.
    pub deliveries_per_second: f64,
    /// From publishing a message to having read it.
    pub latency_us: Option<Latency>,
    /// From publishing a message to having read that it was accepted.
    pub answer_us: Option<Latency>,
    /// How long opening a session took.
    pub opening_us: Option<Latency>,
    /// How long coming back took, from the first attempt until the subscription stood.
    pub return_us: Option<Latency>,
    /// The share of a core that this program took.
    pub load_cpu_share: f64,
    /// The broker's CPU time for a delivery, where its process is known.
    pub server_cpu_us_per_delivery: Option<f64>,
    /// By how much the broker's resident memory grew for each session, where it tells.
    pub memory_per_session: Option<f64>,
    /// What must not happen and did. All zero is the only good answer.
    pub faults: Faults,
    /// What was missed and told, as the protocol promises.
    pub told: Told,
    /// What stood behind the first fault.
    pub complaint: Option<String>,
    /// What else there is to say.
    pub notes: Vec<String>,
    /// Deliveries in a second over the time of the run.
    pub timeline: Vec<Point>,
    /// How many messages had a latency of at most so many microseconds, and more than those of the entry before.
    pub latencies: Vec<(f64, u64)>,
}

/// A moment of the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Seconds since its beginning.
    pub at: f64,
    /// Deliveries in a second.
    pub deliveries_per_second: f64,
}

/// Percentiles, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Half took at most so long.
    pub p50: f64,
    /// Nine of ten.
    pub p90: f64,
    /// Ninety-nine of a hundred.
    pub p99: f64,
    /// All but one of a thousand.
    pub p999: f64,
    /// All.
    pub max: f64,
}

impl Latency {
    /// The percentiles of what was recorded in nanoseconds; none where nothing was.
    pub fn of(histogram: &Histogram) -> Option<Self> {
        let at = |share| histogram.percentile(share) as f64 / 1e3;
        (histogram.total() > 0).then(|| Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1.0),
        })
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p50 {}, p90 {}, p99 {}, p99.9 {}, max {}",
            time(self.p50),
            time(self.p90),
            time(self.p99),
            time(self.p999),
            time(self.max)
        )
    }
}

impl Measured {
    /// A run of this shape that showed nothing yet.
    pub(super) fn new(scenario: &'static str, shape: &Shape) -> Self {
        Self {
            scenario,
            sessions: shape.topics * shape.subscribers,
            topics: shape.topics,
            publishers: shape.publishers,
            size: shape.size,
            outstanding: shape.outstanding,
            rate: shape.rate,
            seconds: 0.0,
            published: 0,
            deliveries: 0,
            deliveries_per_second: 0.0,
            latency_us: None,
            answer_us: None,
            opening_us: None,
            return_us: None,
            load_cpu_share: 0.0,
            server_cpu_us_per_delivery: None,
            memory_per_session: None,
            faults: Faults::default(),
            told: Told::default(),
            complaint: None,
            notes: Vec::new(),
            timeline: Vec::new(),
            latencies: Vec::new(),
        }
    }

    /// What was run, in words.
    pub fn about(&self) -> String {
        let many = |count: usize, what: &str| {
            let plural = if count == 1 { "" } else { "s" };
            format!("{} {what}{plural}", grouped(count as f64))
        };
        let pace = self.rate.map_or_else(
            || format!("{} outstanding", grouped(self.outstanding as f64)),
            |rate| format!("{} published a second", short(rate)),
        );
        format!(
            "{} of {} each, {}, {pace}, {:.1} s",
            many(self.topics, "topic"),
            many(self.sessions / self.topics.max(1), "session"),
            many(self.size, "byte"),
            self.seconds
        )
    }

    /// What it showed, a line each, but for the verdict.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.deliveries > 0 {
            lines.push(format!(
                "{} deliveries a second; {} messages published, {} delivered",
                grouped(self.deliveries_per_second),
                grouped(self.published as f64),
                grouped(self.deliveries as f64)
            ));
        }
        for (what, latency) in [
            ("latency", &self.latency_us),
            ("answers to publishes", &self.answer_us),
            ("opening a session", &self.opening_us),
            ("coming back", &self.return_us),
        ] {
            if let Some(latency) = latency {
                lines.push(format!("{what}: {latency}"));
            }
        }
        if let Some(cost) = self.server_cpu_us_per_delivery {
            lines.push(format!("the broker's CPU for a delivery: {cost:.2} µs"));
        }
        if let Some(bytes) = self.memory_per_session {
            let kb = bytes / 1024.0;
            lines.push(format!("the broker's memory for a session: {kb:.2} KB"));
        }
        lines.extend(self.notes.iter().cloned());
        if self.told != Told::default() {
            let Told {
                missing,
                recovered,
                unrecovered,
                ended,
                refused,
            } = self.told;
            lines.push(format!(
                "told, as promised: {missing} messages missing; sessions: {recovered} recovered, {unrecovered} not, {ended} ended for not reading, {refused} refused at first"
            ));
        }
        if self.load_cpu_share > 0.9 {
            lines.push(format!(
                "this program took {:.0} % of a core: the broker may do more than this",
                self.load_cpu_share * 100.0
            ));
        }
        lines
    }

    /// Whether every promise was kept.
    pub fn is_faultless(&self) -> bool {
        self.faults.none()
    }
}
