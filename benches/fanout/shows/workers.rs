//! One hot topic with 10,000 subscribers and one worker, or two. Two workers and the load share two cores here, so
//! deliveries a second say little: what a second of CPU delivers does, and whether both workers write.

use std::fs;
use std::io;

use fanfare::bench::load::Load;

use super::show::{Show, Target as Wanted};
use super::{Stretch, WARM_UP, each, plan, ratios, rounds};
use crate::options::Options;
use crate::round;
use crate::scenario::{ONE_TOPIC, Scenario};
use crate::target::{Kind, Target};

/// What one round showed.
struct Round {
    stretch: Stretch,
    /// The share of the workers' CPU time that the one took which took least.
    least: f64,
    /// The threads that took a part of it worth telling.
    busy: f64,
}

/// One message after the other.
pub fn one(options: &Options) -> io::Result<Show> {
    measure(options, "workers-w1", 1)
}

/// Sixteen outstanding.
pub fn burst(options: &Options) -> io::Result<Show> {
    measure(options, "workers-w16", 16)
}

fn measure(options: &Options, name: &'static str, outstanding: usize) -> io::Result<Show> {
    let scenario = Scenario {
        name,
        subscribers: 10_000,
        outstanding,
        ..ONE_TOPIC
    };
    let mut show = Show::new(name);
    let both = rounds(options, 2, |which| {
        let workers = which + 1;
        let kind = Kind::Spread(vec![format!("server.workers={workers}")]);
        let target = Target::start(&kind, scenario.subscribers)?;
        let dialect = round::dialect(&target, &scenario);
        let mut load = Load::open(dialect, plan(&target, &scenario))?;
        load.run_for(WARM_UP)?;
        let before = threads(&target)?;
        let stretch = Stretch::of(&target, &mut load, options.time())?;
        let after = threads(&target)?;
        show.outcome(&load.finish()?);
        let mut took: Vec<f64> = after
            .iter()
            .map(|(thread, ticks)| {
                let before = before.iter().find(|(known, _)| known == thread);
                ticks - before.map_or(0.0, |(_, ticks)| *ticks)
            })
            .collect();
        took.sort_by(|a, b| b.total_cmp(a));
        let all: f64 = took.iter().sum();
        let share = |ticks: &f64| ticks / all;
        Ok(Round {
            stretch,
            least: took.get(workers - 1).map_or(0.0, share),
            busy: took.iter().filter(|ticks| share(ticks) > 0.05).count() as f64,
        })
    })?;
    for (which, what) in [(0, "1 worker"), (1, "2 workers")] {
        let rounds = &both[which];
        let rate = each(rounds, |round| round.stretch.rate());
        show.figure(format!("{what}: deliveries a second"), &rate, "");
        let cost = each(rounds, |round| round.stretch.cost());
        show.figure(format!("{what}: CPU for a delivery"), &cost, "µs");
        let cores = each(rounds, |round| round.stretch.server_share());
        show.figure(format!("{what}: cores that the broker took"), &cores, "");
        let load = each(rounds, |round| round.stretch.load_share());
        show.figure(format!("{what}: cores that the load took"), &load, "");
        let busy = each(rounds, |round| round.busy);
        show.figure(
            format!("{what}: threads with a part of the work"),
            &busy,
            "",
        );
    }
    let least = each(&both[1], |round| round.least);
    show.promise(
        "2 workers: the lesser one's share of the CPU time",
        &least,
        "",
        Wanted::AtLeast(0.4),
    );
    let [one, two] = [0, 1].map(|which| each(&both[which], |round| round.stretch.cost()));
    show.promise(
        "deliveries for a second of CPU, 2 workers to 1",
        &ratios(&one, &two),
        "",
        Wanted::AtLeast(0.9),
    );
    let [one, two] = [0, 1].map(|which| each(&both[which], |round| round.stretch.rate()));
    show.figure(
        "deliveries a second, 2 workers to 1",
        &ratios(&two, &one),
        "",
    );
    Ok(show)
}

/// The CPU time of each of the server's threads, in hundredths of a second.
fn threads(target: &Target) -> io::Result<Vec<(String, f64)>> {
    let pid = target.pid.ok_or_else(|| io::Error::other("no process"))?;
    let mut threads = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let entry = entry?;
        let stat = fs::read_to_string(entry.path().join("stat"))?;
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        // utime and stime are the twelfth and thirteenth behind the name.
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks = ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
        threads.push((entry.file_name().to_string_lossy().into_owned(), ticks));
    }
    Ok(threads)
}
