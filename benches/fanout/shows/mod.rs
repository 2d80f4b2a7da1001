//! Measurements beside fan-out: each shows a promise of the broker's that is no ratio of deliveries to the bare
//! loop's. They stand by a ratio to something else that is measured in the same run, in turn with it.

mod asking;
mod compressed;
mod deflate;
mod durable;
mod heartbeat;
pub mod http;
mod interval;
pub mod pinging;
mod quiet;
pub mod self_test;
mod show;
mod slow;
mod workers;

use std::io;
use std::time::Duration;

use fanfare::bench::connect;
use fanfare::bench::dialect::Dialect;
use fanfare::bench::load::{Load, Plan, Tally};
use fanfare::bench::process::own_cpu;

use crate::options::Options;
use crate::round;
use crate::scenario::Scenario;
use crate::target::Target;

pub use show::Show;

/// One of them: its name, and how it is measured.
type Measurement = (&'static str, fn(&Options) -> io::Result<Show>);

/// All of them, in the order in which they are run.
pub const SHOWS: [Measurement; 19] = [
    ("deflate-w1", deflate::one),
    ("deflate-w16", deflate::burst),
    ("deflate-idle", deflate::idle),
    ("heartbeat", heartbeat::measure),
    ("http", http::live),
    ("http-history", http::kept),
    ("written", durable::written),
    ("written-frames", durable::written_by_frames),
    ("synced", durable::synced),
    ("synced-frames", durable::synced_by_frames),
    ("synced-spread", durable::synced_on_both_cores),
    ("live-beside-disk", durable::live),
    ("slow-reader", slow::measure),
    ("workers-w1", workers::one),
    ("workers-w16", workers::burst),
    ("quiet", quiet::measure),
    ("interval-1000", interval::thousand),
    ("interval-100", interval::hundred),
    ("interval-10", interval::ten),
];

/// The load runs for so long before anything counts.
const WARM_UP: Duration = Duration::from_millis(300);

/// What a stretch of time cost.
struct Stretch {
    tally: Tally,
    /// The server's CPU time in seconds.
    server: f64,
    /// The load's.
    load: f64,
}

impl Stretch {
    /// The load publishes and reads for that long.
    fn of<D: Dialect>(target: &Target, load: &mut Load<D>, time: Duration) -> io::Result<Self> {
        let (server, own) = (cpu(target)?, own_cpu());
        let tally = load.run_for(time)?;
        Ok(Self {
            tally,
            server: cpu(target)? - server,
            load: own_cpu() - own,
        })
    }

    fn seconds(&self) -> f64 {
        self.tally.time.as_secs_f64()
    }

    /// Deliveries in a second.
    fn rate(&self) -> f64 {
        self.tally.deliveries as f64 / self.seconds()
    }

    /// The server's CPU time for a delivery, in microseconds.
    fn cost(&self) -> f64 {
        self.server * 1e6 / self.tally.deliveries.max(1) as f64
    }

    /// The share of its core that the server took.
    fn server_share(&self) -> f64 {
        self.server / self.seconds()
    }

    /// The share of its core that the load took.
    fn load_share(&self) -> f64 {
        self.load / self.seconds()
    }
}

/// The CPU time in seconds that the server took so far.
fn cpu(target: &Target) -> io::Result<f64> {
    let known = target.cpu();
    known.ok_or_else(|| io::Error::other("the server's CPU time is not known: has it ended?"))
}

/// The memory in bytes that the server has resident.
fn memory(target: &Target) -> io::Result<f64> {
    let known = target.memory();
    known.ok_or_else(|| io::Error::other("the server's memory is not known: has it ended?"))
}

/// A series of the broker's metrics, or the sum of those of that name; 0 where there is none yet.
fn metric(target: &Target, wanted: &str) -> io::Result<f64> {
    let (head, body) = connect::get(target.address, "/metrics", "")?;
    if !connect::is_status(&head, "200") {
        return Err(io::Error::other(format!("no metrics: {head}")));
    }
    let body = String::from_utf8_lossy(&body);
    let values = body.lines().filter_map(|line| {
        let rest = line.strip_prefix(wanted)?;
        let (_, value) = rest.rsplit_once(' ')?;
        rest.starts_with(['{', ' ']).then(|| value.parse::<f64>())
    });
    values.sum::<Result<_, _>>().map_err(io::Error::other)
}

/// A load of that shape at a server.
fn plan(target: &Target, scenario: &Scenario) -> Plan {
    round::plan(target, scenario)
}

/// Has each of so many have its turn in each round; every other round goes the other way round, so that a machine
/// that grows slower or faster favours none. Returns what came of each, round by round.
fn rounds<T>(
    options: &Options,
    of: usize,
    mut measure: impl FnMut(usize) -> io::Result<T>,
) -> io::Result<Vec<Vec<T>>> {
    let mut results: Vec<Vec<T>> = (0..of).map(|_| Vec::new()).collect();
    for number in 0..options.rounds() {
        for turn in 0..of {
            let which = if number % 2 == 0 { turn } else { of - 1 - turn };
            results[which].push(measure(which)?);
        }
    }
    Ok(results)
}

/// Something of each round.
fn each<T>(rounds: &[T], what: impl Fn(&T) -> f64) -> Vec<f64> {
    rounds.iter().map(what).collect()
}

/// The ratio of each round's first to its second.
fn ratios(of: &[f64], to: &[f64]) -> Vec<f64> {
    of.iter().zip(to).map(|(of, to)| of / to).collect()
}
