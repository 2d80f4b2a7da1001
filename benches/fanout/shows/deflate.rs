//! What compression costs: the same messages to sessions that all agreed on permessage-deflate, and to sessions that
//! did not ask.

use std::io;
use std::time::Duration;

use fanfare::bench::load::{Load, Outcome};

use super::compressed::Compressed;
use super::show::{Show, Target as Wanted};
use super::{Stretch, WARM_UP, each, memory, plan, ratios, rounds};
use crate::options::Options;
use crate::round;
use crate::scenario::{ONE_TOPIC, Scenario};
use crate::target::{Kind, Target};

/// Large enough to be compressed, and no larger than what pages get often.
const PAYLOAD: usize = 512;
/// Sessions whose memory is measured.
const IDLE: usize = 10_000;
/// How long a server may take to come to rest.
const SETTLE: Duration = Duration::from_secs(1);

/// One message after the other.
pub fn one(options: &Options) -> io::Result<Show> {
    speed(options, "deflate-w1", 1)
}

/// Sixteen outstanding.
pub fn burst(options: &Options) -> io::Result<Show> {
    speed(options, "deflate-w16", 16)
}

fn speed(options: &Options, name: &'static str, outstanding: usize) -> io::Result<Show> {
    let scenario = Scenario {
        name,
        payload: PAYLOAD,
        outstanding,
        ..ONE_TOPIC
    };
    let mut show = Show::new(name);
    let both = rounds(options, 2, |which| {
        let target = Target::start(&Kind::Broker, scenario.subscribers)?;
        let (mut load, counted) = open(&target, &scenario, which == 1)?;
        load.run_for(WARM_UP)?;
        let before = counted.get();
        let stretch = Stretch::of(&target, &mut load, options.time())?;
        check(which == 1, counted.get() - before, stretch.tally.deliveries)?;
        show.outcome(&load.finish()?);
        Ok(stretch)
    })?;
    let [plain, deflated] = [0, 1].map(|which| each(&both[which], Stretch::cost));
    show.figure("plain: the server's CPU for a delivery", &plain, "µs");
    show.figure("deflate: the server's CPU for a delivery", &deflated, "µs");
    for (which, what) in [(0, "plain"), (1, "deflate")] {
        let rates = each(&both[which], Stretch::rate);
        show.figure(format!("{what}: deliveries a second"), &rates, "");
        let shares = each(&both[which], |round| round.load_share() * 100.0);
        show.figure(
            format!("{what}: the load's share of its core"),
            &shares,
            "%",
        );
    }
    show.promise(
        "CPU for a delivery, deflate to plain",
        &ratios(&deflated, &plain),
        "",
        Wanted::AtMost(1.1),
    );
    Ok(show)
}

/// The memory of sessions that do nothing, before anything was published and after.
pub fn idle(options: &Options) -> io::Result<Show> {
    let scenario = Scenario {
        name: "deflate-idle",
        subscribers: IDLE.min(options.idle),
        payload: PAYLOAD,
        outstanding: 4,
        ..ONE_TOPIC
    };
    let mut show = Show::new(scenario.name);
    let both = rounds(options, 2, |which| {
        let (fresh, used, outcome) = growth(&scenario, which == 1)?;
        show.outcome(&outcome);
        Ok((fresh, used))
    })?;
    for (when, of) in [
        ("at first", (|round| round.0) as fn(&(f64, f64)) -> f64),
        ("after traffic", |round| round.1),
    ] {
        let [plain, deflated] = [0, 1].map(|which| each(&both[which], of));
        let kilobytes = |bytes: &[f64]| each(bytes, |bytes| bytes / 1024.0);
        show.figure(
            format!("plain, {when}: memory of a session"),
            &kilobytes(&plain),
            "KB",
        );
        show.figure(
            format!("deflate, {when}: memory of a session"),
            &kilobytes(&deflated),
            "KB",
        );
        let more: Vec<f64> = deflated
            .iter()
            .zip(&plain)
            .map(|(d, p)| (d - p) / 1024.0)
            .collect();
        show.promise(
            format!("{when}: what a session takes more with deflate"),
            &more,
            "KB",
            Wanted::AtMost(0.5),
        );
    }
    Ok(show)
}

/// By how much the server grew for each session: once all are there, and once they had messages.
fn growth(scenario: &Scenario, asks: bool) -> io::Result<(f64, f64, Outcome)> {
    let target = Target::start(&Kind::Broker, scenario.subscribers)?;
    let before = memory(&target)?;
    let (mut load, counted) = open(&target, scenario, asks)?;
    load.listen_for(SETTLE)?;
    let fresh = memory(&target)?;
    let tally = load.run_for(Duration::from_secs(1))?;
    load.drain()?;
    load.listen_for(SETTLE)?;
    let used = memory(&target)?;
    check(asks, counted.get(), tally.deliveries)?;
    let each = |bytes: f64| (bytes - before) / scenario.subscribers as f64;
    Ok((each(fresh), each(used), load.finish()?))
}

fn open(
    target: &Target,
    scenario: &Scenario,
    asks: bool,
) -> io::Result<(Load<Compressed>, super::compressed::Counted)> {
    let dialect = round::dialect(target, scenario);
    let (dialect, counted) = Compressed::new(dialect, asks);
    Ok((Load::open(dialect, plan(target, scenario))?, counted))
}

/// Whether every message came compressed that should, and none that should not.
fn check(asks: bool, compressed: u64, deliveries: u64) -> io::Result<()> {
    let is_right = if asks {
        compressed >= deliveries && deliveries > 0
    } else {
        compressed == 0
    };
    if is_right {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "of {deliveries} messages {compressed} were compressed: nothing was shown"
    )))
}
