//! What `websocket.flush_interval` brings: publishes that come one by one at a fixed rate, written as they come or
//! once a millisecond.

use std::io;

use fanfare::bench::load::Load;

use super::show::{Show, Target as Wanted};
use super::{Stretch, WARM_UP, each, plan, ratios, rounds};
use crate::options::Options;
use crate::report::median;
use crate::round;
use crate::scenario::{ONE_TOPIC, Scenario};
use crate::target::{Kind, Target};

const RATE: f64 = 2000.0;

/// As many sessions as the others have. Writing to all takes longer than the interval, and what comes meanwhile goes
/// together anyhow: nothing is to be gained here.
pub fn thousand(options: &Options) -> io::Result<Show> {
    measure(options, "interval-1000", 1000, RATE, None)
}

/// A tenth of that.
pub fn hundred(options: &Options) -> io::Result<Show> {
    measure(
        options,
        "interval-100",
        100,
        RATE,
        Some(Wanted::AtMost(1.0)),
    )
}

/// Few sessions, many messages.
pub fn ten(options: &Options) -> io::Result<Show> {
    measure(
        options,
        "interval-10",
        10,
        10.0 * RATE,
        Some(Wanted::AtMost(0.5)),
    )
}

fn measure(
    options: &Options,
    name: &'static str,
    subscribers: usize,
    rate: f64,
    wanted: Option<Wanted>,
) -> io::Result<Show> {
    let scenario = Scenario {
        name,
        subscribers,
        // Nothing but the rate holds it back.
        outstanding: 65_536,
        rate: Some(rate),
        ..ONE_TOPIC
    };
    let kinds = [
        (
            "bare loop",
            Kind::Bare {
                envelope: fanfare::bench::message::ENVELOPE,
            },
        ),
        ("0", Kind::Broker),
        (
            "1ms",
            Kind::Set(vec!["websocket.flush_interval=1ms".into()]),
        ),
    ];
    let mut show = Show::new(name);
    let all = rounds(options, kinds.len(), |which| {
        let target = Target::start(&kinds[which].1, subscribers + 1)?;
        let dialect = round::dialect(&target, &scenario);
        let mut load = Load::open(dialect, plan(&target, &scenario))?;
        load.run_for(WARM_UP)?;
        let stretch = Stretch::of(&target, &mut load, options.time())?;
        show.outcome(&load.finish()?);
        Ok(stretch)
    })?;
    for ((what, _), rounds) in kinds.iter().zip(&all) {
        let cost = each(rounds, Stretch::cost);
        show.figure(format!("{what}: CPU for a delivery"), &cost, "µs");
        let share = each(rounds, |round| round.server_share() * 100.0);
        show.figure(format!("{what}: share of its core"), &share, "%");
        let p50 = each(rounds, |round| {
            round.tally.latency.percentile(0.5) as f64 / 1e6
        });
        show.figure(format!("{what}: p50"), &p50, "ms");
        let p99 = each(rounds, |round| {
            round.tally.latency.percentile(0.99) as f64 / 1e6
        });
        show.figure(format!("{what}: p99"), &p99, "ms");
        let rate = each(rounds, Stretch::rate);
        let wanted = rate_of(&scenario);
        show.figure(
            format!("{what}: deliveries, to what was asked for"),
            &[median(rate) / wanted],
            "",
        );
    }
    let [bare, zero, one] = [0, 1, 2].map(|which| each(&all[which], Stretch::cost));
    show.figure("CPU, 0 to the bare loop", &ratios(&zero, &bare), "");
    show.figure("CPU, 1ms to the bare loop", &ratios(&one, &bare), "");
    let less = ratios(&one, &zero);
    match wanted {
        Some(wanted) => show.promise("CPU, 1ms to 0", &less, "", wanted),
        None => show.figure("CPU, 1ms to 0", &less, ""),
    }
    Ok(show)
}

fn rate_of(scenario: &Scenario) -> f64 {
    scenario.rate.unwrap_or(0.0) * scenario.subscribers as f64
}
