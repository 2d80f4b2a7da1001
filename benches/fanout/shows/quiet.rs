//! A quiet topic beside a hot one: how long its messages take while a topic with 10,000 subscribers is published to
//! without a pause, on the same worker. A server that writes a message to all before it looks at anything else keeps
//! the quiet topic waiting for all of it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fanfare::bench::histogram::Histogram;
use fanfare::bench::load::{Load, Outcome, Plan, Tally};
use rustix::process::{Pid, setpriority_process};

use super::show::{Show, Target as Wanted};
use super::{WARM_UP, each, plan, ratios, rounds};
use crate::cores::{Core, pin};
use crate::options::Options;
use crate::round;
use crate::scenario::{ONE_TOPIC, Scenario};
use crate::target::{Kind, Target};

const HOT: Scenario = Scenario {
    name: "quiet",
    subscribers: 10_000,
    outstanding: 1,
    ..ONE_TOPIC
};
const QUIET: Scenario = Scenario {
    name: "quiet",
    subscribers: 10,
    outstanding: 256,
    rate: Some(100.0),
    ..ONE_TOPIC
};

/// What one round showed, in milliseconds.
struct Round {
    p50: f64,
    p99: f64,
    /// How long a message of the hot topic took to all of its subscribers, on average.
    hot: f64,
}

/// Measures the broker without a hot topic, the broker with one, and the bare loop with one, in turn.
pub fn measure(options: &Options) -> io::Result<Show> {
    let bare = Kind::Bare {
        envelope: fanfare::bench::message::ENVELOPE,
    };
    let mut show = Show::new(QUIET.name);
    let all = rounds(options, 3, |which| {
        let kind = if which == 2 { &bare } else { &Kind::Broker };
        let (round, outcomes) = round(options, kind, which > 0)?;
        for outcome in &outcomes {
            show.outcome(outcome);
        }
        Ok(round)
    })?;
    for (rounds, what) in all.iter().zip([
        "broker, no hot topic",
        "broker, hot topic",
        "bare loop, hot topic",
    ]) {
        show.figure(format!("{what}: p50"), &each(rounds, |r| r.p50), "ms");
        show.figure(format!("{what}: p99"), &each(rounds, |r| r.p99), "ms");
    }
    let whole = each(&all[1], |round| round.hot);
    show.figure("broker: a message of the hot topic, to all", &whole, "ms");
    let [beside, bare] = [1, 2].map(|which| each(&all[which], |round| round.p99));
    show.promise(
        "p99 beside the hot topic, to that topic's whole fan-out",
        &ratios(&beside, &whole),
        "",
        Wanted::AtMost(0.5),
    );
    show.figure(
        "p99 beside the hot topic, broker to bare loop",
        &ratios(&beside, &bare),
        "",
    );
    Ok(show)
}

fn round(options: &Options, kind: &Kind, is_hot: bool) -> io::Result<(Round, Vec<Outcome>)> {
    let sessions = HOT.subscribers + QUIET.subscribers + 1;
    let target = Target::start(kind, sessions)?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let hot = is_hot.then(|| scope.spawn(|| hammer(&target, &is_over)));
        let quiet = scope.spawn(|| whisper(&target, options.time()));
        let quiet = quiet.join().expect("the quiet load panicked");
        is_over.store(true, Ordering::Relaxed);
        let hot = hot.map(|hot| hot.join().expect("the hot load panicked"));
        let (latency, outcome) = quiet?;
        let mut outcomes = vec![outcome];
        let mut whole = f64::NAN;
        if let Some(hot) = hot {
            let (each, outcome) = hot?;
            whole = each.as_secs_f64() * 1e3;
            outcomes.push(outcome);
        }
        let round = Round {
            p50: milliseconds(&latency, 0.5),
            p99: milliseconds(&latency, 0.99),
            hot: whole,
        };
        Ok((round, outcomes))
    })
}

/// Publishes to the hot topic until it is over, one message after the other; tells how long each took.
fn hammer(target: &Target, is_over: &AtomicBool) -> io::Result<(Duration, Outcome)> {
    pin(Core::Load);
    let mut load = Load::open(round::dialect(target, &HOT), plan(target, &HOT))?;
    let mut all = Tally::default();
    while !is_over.load(Ordering::Relaxed) {
        all.add(&load.run_for(Duration::from_millis(100))?);
    }
    let messages = all.deliveries as f64 / HOT.subscribers as f64;
    Ok((all.time.div_f64(messages.max(1.0)), load.finish()?))
}

/// Publishes to the quiet one.
fn whisper(target: &Target, time: Duration) -> io::Result<(Histogram, Outcome)> {
    pin(Core::Load);
    // It is not to wait for the hot one's load, which has the same core: that would be no wait of the server's.
    // Without the right to it the figures are higher, for both servers.
    let _ = setpriority_process(None::<Pid>, -20);
    let plan = Plan {
        prefix: "quiet".into(),
        ..plan(target, &QUIET)
    };
    let mut load = Load::open(round::dialect(target, &QUIET), plan)?;
    // Until the hot one's sessions are there.
    load.run_for(Duration::from_secs(4))?;
    load.run_for(WARM_UP)?;
    let tally = load.run_for(time.max(Duration::from_secs(4)))?;
    Ok((tally.latency, load.finish()?))
}

fn milliseconds(latency: &Histogram, share: f64) -> f64 {
    latency.percentile(share) as f64 / 1e6
}
