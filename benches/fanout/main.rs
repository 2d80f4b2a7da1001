//! The yardstick: what a message to many sessions costs the broker, as a ratio to a bare write loop that
//! does nothing but accept handshakes and write one ready frame to each socket. docs/capacity.md says
//! how to read it.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a program that measures may end with a panic where the broker must not"
)]

mod bare;
mod cores;
mod options;
mod report;
mod round;
mod scenario;
mod self_test;
mod shows;
mod target;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use fanfare::bench::{checker, message, process};

use crate::options::{Only, Options, Task};
use crate::report::{Comparison, Idle, Report};
use crate::scenario::{IDLE, SCENARIOS, Scenario, Transport};
use crate::shows::SHOWS;
use crate::target::Kind;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.command {
        Some(Task::Bare { port, envelope }) => bare::serve(port, envelope).map(|()| true),
        Some(Task::Pinging { port, interval }) => {
            shows::pinging::serve(port, Duration::from_millis(interval)).map(|()| true)
        }
        Some(Task::Handler { port }) => shows::http::serve(port).map(|()| true),
        Some(Task::SelfTest) => self_test::run().map(|()| true),
        // `cargo test --all-targets` starts a bench too, without this word: then there is no time to measure.
        None if !options.bench => self_test::run().map(|()| true),
        None => measure(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fanout: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what the options ask for; false if a message was lost, doubled or out of order.
fn measure(options: &Options) -> io::Result<bool> {
    for name in &options.scenarios {
        let known = SCENARIOS.iter().map(|scenario| scenario.name);
        let known = known.chain(IDLE.map(|(name, ..)| name));
        let known: Vec<&str> = known.chain(SHOWS.map(|(name, _)| name)).collect();
        if !known.contains(&name.as_str()) {
            let known = known.join(", ");
            return Err(io::Error::other(format!("no scenario {name}: {known}")));
        }
    }
    let chosen =
        |name| options.scenarios.is_empty() || options.scenarios.iter().any(|one| one == name);
    process::sharpen_naps()?;
    process::raise_descriptors()?;
    let broker = match &options.server {
        None => Kind::Broker,
        Some(url) => {
            let (address, path) = target::parse_url(url)?;
            Kind::Running {
                address,
                path,
                pid: options.pid,
            }
        }
    };
    let mut report = Report {
        pinned: cores::pin(cores::Core::Load),
        ..Report::default()
    };
    if !options.json {
        report::print_head(report.pinned);
    }
    for scenario in SCENARIOS.iter().filter(|scenario| chosen(scenario.name)) {
        let comparison = compare(options, &broker, scenario)?;
        if !options.json {
            comparison.print();
        }
        report.scenarios.push(comparison);
    }
    for (name, transport, most) in IDLE {
        if !chosen(name) {
            continue;
        }
        let idle = measure_idle(options, &broker, name, transport, most)?;
        if !options.json {
            idle.print();
        }
        report.idle.push(idle);
    }
    // They start the servers that they compare themselves.
    let is_whole = options.server.is_none() && options.only.is_none();
    for (name, measure) in SHOWS {
        if !is_whole || !chosen(name) {
            continue;
        }
        let show = measure(options)?;
        if !options.json {
            show.print();
        }
        report.shows.push(show);
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    }
    Ok(report.faultless())
}

/// Rounds of both servers in turn. Every other pair goes the other way round, so that a machine that
/// grows slower or faster favours neither; the broker goes first, since the bare loop's frames shall be as
/// long as the broker's are.
fn compare(options: &Options, broker: &Kind, scenario: &Scenario) -> io::Result<Comparison> {
    let (mut bare_rounds, mut broker_rounds) = (Vec::new(), Vec::new());
    let mut envelope = message::ENVELOPE;
    for number in 0..options.rounds() {
        let order = [Only::Broker, Only::Bare];
        for turn in 0..order.len() {
            let which = order[(turn + number as usize) % order.len()];
            if options.only.is_some_and(|only| only != which) {
                continue;
            }
            if which == Only::Bare {
                let kind = Kind::Bare { envelope };
                bare_rounds.push(round::run(&kind, scenario, options.time())?);
            } else {
                let round = round::run(broker, scenario, options.time())?;
                envelope = round.outcome.envelope.unwrap_or(envelope);
                broker_rounds.push(round);
            }
        }
    }
    Ok(Comparison::of(scenario, &bare_rounds, &broker_rounds))
}

fn measure_idle(
    options: &Options,
    broker: &Kind,
    name: &'static str,
    transport: Transport,
    most: f64,
) -> io::Result<Idle> {
    let sessions = options.sessions();
    // Where a session has a heartbeat, its deadline takes room too.
    let beating = Kind::Set(vec!["heartbeat.interval=25s".into()]);
    let broker = match broker {
        Kind::Broker => &beating,
        other => other,
    };
    let mut idle = Idle {
        scenario: name,
        sessions,
        bare: None,
        broker: None,
        target: most,
        faults: checker::Faults::default(),
    };
    if options.only != Some(Only::Broker) {
        let (bytes, outcome) = round::idle(
            &Kind::Bare {
                envelope: message::ENVELOPE,
            },
            sessions,
            transport,
        )?;
        idle.bare = bytes;
        idle.faults.add(&outcome.faults);
    }
    if options.only != Some(Only::Bare) {
        let (bytes, outcome) = round::idle(broker, sessions, transport)?;
        idle.broker = bytes;
        idle.faults.add(&outcome.faults);
    }
    Ok(idle)
}
