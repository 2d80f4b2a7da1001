//! `bench`: a broker under load.

mod print;
mod progress;

use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};

use jiff::Zoned;

use super::Process;
use super::args::{BenchArgs, Protocol};
use super::exit::{Exit, Failure, Unwritten, written};
use super::target::Target;
use crate::bench::fanfare::Speech;
use crate::bench::measured::Measured;
use crate::bench::page::page;
use crate::bench::process::{raise_descriptors, sharpen_naps};
use crate::bench::run::{Settings, run as run_scenario};
use crate::bench::scenario::{Asked, Scenario};
use progress::Progress;

/// Descriptors that are none of a session's.
const SPARE: usize = 64;

/// Runs the scenarios one after the other, prints what each showed, and fails where a message did not come as promised.
pub(super) fn run(args: &BenchArgs, process: &mut Process<'_>) -> Result<Exit, Failure> {
    let settings = settings(args, process)?;
    let scenarios = scenarios(args)?;
    check_descriptors(&scenarios, settings.asked)?;
    // Without it the naps last longer, and that is all.
    let _ = sharpen_naps();
    let mut progress = Progress::new(process.terminal.stderr && !args.broker.quiet);
    let mut runs: Vec<Measured> = Vec::new();
    let mut failure = None;
    for scenario in scenarios {
        progress.begin(scenario.name(), settings.time);
        let ran = run_scenario(scenario, &settings, &mut progress);
        progress.end();
        match ran {
            Ok(measured) => {
                if !args.json && !say(process, &print::text(&measured))? {
                    return Ok(exit(&runs));
                }
                runs.push(measured);
            }
            Err(error) => {
                let name = scenario.name();
                failure = Some(Failure::failed(format!("{name}: {error}")));
                break;
            }
        }
    }
    if args.json {
        say(process, &print::json(&settings.host, &runs))?;
    }
    if let Some(file) = &args.html {
        let when = Zoned::now().strftime("%Y-%m-%d %H:%M %Z").to_string();
        let page = page(&settings.host, &when, &runs);
        std::fs::write(process.working_dir.join(file), page).map_err(|error| {
            Failure::failed(format!("{} cannot be written: {error}", file.display()))
        })?;
    }
    failure.map_or_else(|| Ok(exit(&runs)), Err)
}

fn exit(runs: &[Measured]) -> Exit {
    if runs.iter().all(Measured::is_faultless) {
        Exit::Done
    } else {
        Exit::Failed
    }
}

/// Writes a piece of the result; false where nobody reads it any more.
fn say(process: &mut Process<'_>, text: &str) -> Result<bool, Failure> {
    let stdout = &mut process.stdout;
    match written(
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush()),
    ) {
        Ok(()) => Ok(true),
        Err(Unwritten::Closed) => Ok(false),
        Err(Unwritten::Failed(failure)) => Err(failure),
    }
}

fn settings(args: &BenchArgs, process: &Process<'_>) -> Result<Settings, Failure> {
    let url = process.url(args.broker.url.as_deref());
    let target = Target::parse(url)?.or_path("/ws");
    let api = match &args.api {
        Some(url) => Target::parse(url)?,
        None => Target::parse(url)?.at_path(""),
    };
    Ok(Settings {
        address: address(&target)?,
        api: address(&api)?,
        host: target.authority(),
        path: target.path_and_query(),
        base: api.path_and_query().trim_end_matches('/').to_owned(),
        token: process.token(&args.broker)?,
        speech: match args.protocol {
            Protocol::Json => Speech::Json,
            Protocol::Msgpack => Speech::Msgpack,
            Protocol::Sse => Speech::Events,
        },
        asked: Asked {
            sessions: args.sessions,
            topics: args.topics,
            size: args.size,
            outstanding: args.outstanding,
            rate: args.rate,
        },
        time: args.time,
        prefix: args.topic.clone(),
        at_once: args.at_once,
        pid: args.pid,
    })
}

/// The first address of the host; all sessions go to the same.
fn address(target: &Target) -> Result<SocketAddr, Failure> {
    let unreachable = |error: &dyn std::fmt::Display| {
        Failure::failed(format!("{} cannot be reached: {error}", target.authority()))
    };
    let mut addresses = target
        .host_and_port()
        .to_socket_addrs()
        .map_err(|error| unreachable(&error))?;
    addresses
        .next()
        .ok_or_else(|| unreachable(&"the name has no address"))
}

/// The scenarios that were asked for. An event stream learns its position from the browser, which this is none of.
fn scenarios(args: &BenchArgs) -> Result<Vec<Scenario>, Failure> {
    let is_possible =
        |scenario: &Scenario| args.protocol != Protocol::Sse || !scenario.needs_history();
    if args.scenarios.is_empty() {
        return Ok(Scenario::ALL.into_iter().filter(is_possible).collect());
    }
    match args
        .scenarios
        .iter()
        .find(|scenario| !is_possible(scenario))
    {
        Some(scenario) => Err(Failure::misused(format!(
            "{} goes over a WebSocket: --protocol json or msgpack",
            scenario.name()
        ))),
        None => Ok(args.scenarios.clone()),
    }
}

fn check_descriptors(scenarios: &[Scenario], asked: Asked) -> Result<(), Failure> {
    let most = raise_descriptors()
        .map_err(|error| Failure::failed(format!("no descriptors can be had: {error}")))?;
    let needed = scenarios.iter().map(|scenario| {
        let shape = scenario.shape(asked);
        shape.topics * shape.subscribers + shape.publishers + SPARE
    });
    let needed = needed.max().unwrap_or(0) as u64;
    if needed <= most {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "this needs {needed} descriptors, and the system allows {most}: see 'ulimit -Hn'"
    )))
}
