//! What is printed: a table for people, JSON for programs.

use serde::Serialize;

use crate::round::Round;
use crate::scenario::{Goal, Scenario};
use crate::shows::Show;
use fanfare::bench::checker::Faults;
use fanfare::bench::histogram::Histogram;

/// One server in one scenario, over all its rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// "bare" or "broker".
    pub server: &'static str,
    /// Median of the rounds: deliveries in a second.
    pub deliveries_per_second: f64,
    /// Latency over all rounds in microseconds.
    pub latency_us: Latency,
    /// Median: microseconds of the server's CPU for a delivery.
    pub server_cpu_us_per_delivery: Option<f64>,
    /// Median: share of a core.
    pub server_cpu_share: Option<f64>,
    /// Median: share of a core.
    pub load_cpu_share: f64,
    /// What went wrong, over all rounds.
    pub faults: Faults,
    /// What stood behind the first fault.
    pub complaint: Option<String>,
}

/// Percentiles.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

/// Both servers in one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The scenario's name.
    pub scenario: &'static str,
    /// One or two.
    pub servers: Vec<Summary>,
    /// Median of the ratios, round by round: deliveries of the broker to those of the bare loop.
    pub ratio: Option<f64>,
    /// The lowest and the highest of them.
    pub ratio_range: Option<(f64, f64)>,
    /// The same of what a second of the server's CPU delivers. It stands firmer where other programs
    /// take a part of the machine.
    pub cpu_ratio: Option<f64>,
    /// Median of the ratios, round by round, of the time within which 99 % of the deliveries came.
    pub p99_ratio: Option<f64>,
    /// What is asked for.
    pub goal: Option<Goal>,
}

/// The memory of idle sessions.
#[derive(Clone, Debug, Serialize)]
pub struct Idle {
    /// The scenario's name.
    pub scenario: &'static str,
    /// How many sessions.
    pub sessions: usize,
    /// Bytes a session: the bare loop's.
    pub bare: Option<f64>,
    /// Bytes a session: the broker's.
    pub broker: Option<f64>,
    /// What it may be at most.
    pub target: f64,
    /// What went wrong.
    pub faults: Faults,
}

/// All of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Whether server and load had a core each.
    pub pinned: bool,
    /// The measurements of speed.
    pub scenarios: Vec<Comparison>,
    /// The measurements of memory.
    pub idle: Vec<Idle>,
    /// The measurements of other kinds.
    pub shows: Vec<Show>,
}

/// The middle one; of an even number the mean of the middle two. 0 for none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count => f64::midpoint(values[(count - 1) / 2], values[count / 2]),
    }
}

impl Summary {
    /// Puts the rounds of one server together.
    pub fn of(server: &'static str, rounds: &[Round]) -> Self {
        let mut latency = Histogram::default();
        let mut faults = Faults::default();
        for round in rounds {
            latency.add(&round.latency);
            faults.add(&round.outcome.faults);
        }
        let at = |share| latency.percentile(share) as f64 / 1e3;
        let known = |values: Vec<f64>| (!values.is_empty()).then(|| median(values));
        Self {
            server,
            deliveries_per_second: median(rounds.iter().map(|round| round.rate)),
            latency_us: Latency {
                p50: at(0.5),
                p90: at(0.9),
                p99: at(0.99),
                p999: at(0.999),
                max: at(1.0),
            },
            server_cpu_us_per_delivery: known(rounds.iter().filter_map(|r| r.cost).collect()),
            server_cpu_share: known(rounds.iter().filter_map(|r| r.server_share).collect()),
            load_cpu_share: median(rounds.iter().map(|round| round.load_share)),
            faults,
            complaint: rounds
                .iter()
                .find_map(|round| round.outcome.complaint.clone()),
        }
    }
}

impl Comparison {
    /// Compares the rounds of the two servers, of which one may have none.
    pub fn of(scenario: &Scenario, bare: &[Round], broker: &[Round]) -> Self {
        let servers = [("bare", bare), ("broker", broker)]
            .into_iter()
            .filter(|(_, rounds)| !rounds.is_empty())
            .map(|(server, rounds)| Summary::of(server, rounds))
            .collect();
        let pairs = || broker.iter().zip(bare);
        let mut ratios: Vec<f64> = pairs()
            .map(|(broker, bare)| broker.rate / bare.rate)
            .collect();
        let by_cpu: Vec<f64> = pairs()
            .filter_map(|(broker, bare)| Some(bare.cost? / broker.cost?))
            .collect();
        let p99 = |round: &Round| round.latency.percentile(0.99) as f64;
        let by_p99: Vec<f64> = pairs()
            .map(|(broker, bare)| p99(broker) / p99(bare))
            .collect();
        ratios.sort_by(f64::total_cmp);
        let range = ratios.first().copied().zip(ratios.last().copied());
        Self {
            scenario: scenario.name,
            servers,
            ratio: range.map(|_| median(ratios)),
            ratio_range: range,
            cpu_ratio: (!by_cpu.is_empty()).then(|| median(by_cpu)),
            p99_ratio: (!by_p99.is_empty()).then(|| median(by_p99)),
            goal: scenario.goal,
        }
    }

    /// What is asked for, and whether it came; nothing where the bare loop was not measured.
    fn verdict(&self) -> Option<String> {
        let (asked, met) = match self.goal? {
            Goal::Deliveries(least) => (format!("at least {least}"), self.ratio? >= least),
            Goal::P99(most) => {
                let ratio = self.p99_ratio?;
                (format!("p99 {ratio:.2}, at most {most}"), ratio <= most)
            }
        };
        Some(format!("{asked}: {}", if met { "met" } else { "MISSED" }))
    }

    /// Prints the lines of the table.
    pub fn print(&self) {
        for server in &self.servers {
            let cost = server.server_cpu_us_per_delivery;
            let share = server.server_cpu_share.map(|share| share * 100.0);
            println!(
                "{:<12} {:<7} {:>12.0} {:>9.0} {:>9.0} {:>9.0} {:>9} {:>7} {:>5.0} %",
                self.scenario,
                server.server,
                server.deliveries_per_second,
                server.latency_us.p50,
                server.latency_us.p99,
                server.latency_us.p999,
                cost.map_or("-".into(), |cost| format!("{cost:.2}")),
                share.map_or("-".into(), |share| format!("{share:.0} %")),
                server.load_cpu_share * 100.0,
            );
            if server
                .server_cpu_share
                .is_some_and(|share| server.load_cpu_share > share)
            {
                println!("    the load was busier than the server: it may do more than this");
            }
            print_faults(&server.faults, server.complaint.as_deref());
        }
        if let (Some(ratio), Some((low, high))) = (self.ratio, self.ratio_range) {
            let verdict = self.verdict().unwrap_or_default();
            let by_cpu = self
                .cpu_ratio
                .map_or(String::new(), |ratio| format!(", {ratio:.3} by CPU"));
            println!(
                "{:<12} ratio   {ratio:>12.3}   ({low:.3} to {high:.3}{by_cpu})   {verdict}",
                ""
            );
        }
    }
}

impl Idle {
    /// Prints the lines of the table.
    pub fn print(&self) {
        println!(
            "\n{}: memory of each of {} idle subscribed sessions",
            self.scenario, self.sessions
        );
        for (server, bytes) in [("bare", self.bare), ("broker", self.broker)] {
            let Some(bytes) = bytes else { continue };
            let met = if bytes <= self.target {
                "met"
            } else {
                "MISSED"
            };
            let target = format!("   at most {:.1} KB: {met}", self.target / 1024.0);
            let verdict = if server == "broker" {
                target
            } else {
                String::new()
            };
            println!(
                "{:<12} {server:<7} {:>12.2} KB{verdict}",
                "",
                bytes / 1024.0
            );
        }
        print_faults(&self.faults, None);
    }
}

impl Report {
    /// Whether every message came, once and in order.
    pub fn faultless(&self) -> bool {
        self.idle.iter().all(|idle| idle.faults.none())
            && self.shows.iter().all(|show| show.faults.none())
            && self
                .scenarios
                .iter()
                .flat_map(|scenario| &scenario.servers)
                .all(|s| s.faults.none())
    }
}

/// Prints the head of the table.
pub fn print_head(pinned: bool) {
    if !pinned {
        println!("server and load share a core: these figures say little");
    }
    println!(
        "{:<12} {:<7} {:>12} {:>9} {:>9} {:>9} {:>9} {:>7} {:>7}",
        "scenario",
        "server",
        "deliveries/s",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "us/deliv.",
        "server",
        "load"
    );
}

/// Prints what went wrong, if anything did.
pub fn print_faults(faults: &Faults, complaint: Option<&str>) {
    if !faults.none() {
        println!(
            "    FAULTS: {} lost, {} duplicated, {} disordered, {} damaged, {} closed, {} unexpected",
            faults.lost,
            faults.duplicated,
            faults.disordered,
            faults.damaged,
            faults.closed,
            faults.unexpected
        );
        if let Some(complaint) = complaint {
            println!("    the first: {complaint}");
        }
    }
}
