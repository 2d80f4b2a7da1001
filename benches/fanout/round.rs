//! One round: a fresh server, fresh sessions, a stretch of load, and what it cost.

use std::io;
use std::time::Duration;

use crate::scenario::{Scenario, Transport};
use crate::target::{Kind, Target};
use fanfare::bench::fanfare::{Fanfare, Speech};
use fanfare::bench::histogram::Histogram;
use fanfare::bench::load::{Load, Outcome, Plan};
use fanfare::bench::process::own_cpu;

/// The load runs for so long before anything counts.
const WARM_UP: Duration = Duration::from_millis(300);
/// How long a server may keep still while it owes messages, before they count as lost.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many sessions are being opened at a time: fewer than any server's backlog.
const AT_ONCE: usize = 128;
/// How long a server may take to come to rest once all sessions are there.
const SETTLE: Duration = Duration::from_secs(1);

/// What one round showed.
#[derive(Clone, Debug)]
pub struct Round {
    /// Deliveries in a second.
    pub rate: f64,
    /// Latencies in nanoseconds.
    pub latency: Histogram,
    /// The server's CPU time for one delivery in microseconds, where its process is known.
    pub cost: Option<f64>,
    /// The share of its core that the server took.
    pub server_share: Option<f64>,
    /// The share of its core that the load took.
    pub load_share: f64,
    /// How it ended.
    pub outcome: Outcome,
}

/// Measures the speed of one server once.
pub fn run(kind: &Kind, scenario: &Scenario, time: Duration) -> io::Result<Round> {
    let sessions = scenario.topics * scenario.subscribers + 1;
    let target = Target::start(kind, sessions)?;
    let mut load = Load::open(dialect(&target, scenario), plan(&target, scenario))?;
    load.run_for(WARM_UP)?;
    let (server_before, load_before) = (target.cpu(), own_cpu());
    let tally = load.run_for(time)?;
    let load_took = own_cpu() - load_before;
    let server_took = target
        .cpu()
        .zip(server_before)
        .map(|(after, before)| after - before);
    // Finish before the server goes: what it still owes counts.
    let outcome = load.finish()?;
    let seconds = tally.time.as_secs_f64();
    Ok(Round {
        rate: tally.deliveries as f64 / seconds,
        cost: server_took.map(|took| took * 1e6 / tally.deliveries.max(1) as f64),
        server_share: server_took.map(|took| took / seconds),
        load_share: load_took / seconds,
        latency: tally.latency,
        outcome,
    })
}

/// The memory in bytes that each of so many idle subscribed sessions takes of a server.
pub fn idle(
    kind: &Kind,
    sessions: usize,
    transport: Transport,
) -> io::Result<(Option<f64>, Outcome)> {
    let target = Target::start(kind, sessions)?;
    let before = target.memory();
    let scenario = Scenario {
        name: "idle",
        topics: 1,
        subscribers: sessions,
        payload: 128,
        outstanding: 1,
        rate: None,
        transport,
        goal: None,
    };
    let plan = Plan {
        publishers: 0,
        ..plan(&target, &scenario)
    };
    let mut load = Load::open(dialect(&target, &scenario), plan)?;
    load.listen_for(SETTLE)?;
    let after = target.memory();
    let each = after
        .zip(before)
        .map(|(after, before)| (after - before) / sessions as f64);
    Ok((each, load.finish()?))
}

/// What the load speaks in this scenario.
pub fn dialect(target: &Target, scenario: &Scenario) -> Fanfare {
    let host = target.address.to_string();
    let dialect = Fanfare::new(host, target.path.clone(), scenario.payload);
    Fanfare {
        speech: match scenario.transport {
            Transport::WebSocket => Speech::Json,
            Transport::Events => Speech::Events,
        },
        ..dialect
    }
}

/// What the load does in it.
pub fn plan(target: &Target, scenario: &Scenario) -> Plan {
    Plan {
        address: target.address,
        publish_at: None,
        prefix: "bench".into(),
        topics: scenario.topics,
        subscribers: scenario.subscribers,
        publishers: 1,
        payload: scenario.payload,
        outstanding: scenario.outstanding,
        rate: scenario.rate,
        is_answered: false,
        at_once: AT_ONCE,
        patience: PATIENCE,
    }
}
