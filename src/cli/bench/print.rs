//! What the runs showed, for a terminal and for programs.

use std::fmt::Write;

use serde::Serialize;

use crate::bench::figures::{grouped, time};
use crate::bench::histogram::coarse;
use crate::bench::measured::Measured;
use crate::bench::page::verdict;
use crate::cli::lines::escape;

/// The bars of a histogram for each power of ten.
const BARS: f64 = 4.0;
/// The longest bar, in characters.
const LONGEST: u64 = 40;
/// A bar that says less than this share is left out at either end.
const LEAST: f64 = 0.0005;

#[derive(Serialize)]
struct Report<'a> {
    program: &'static str,
    version: &'static str,
    broker: &'a str,
    faultless: bool,
    scenarios: &'a [Measured],
}

/// All of it as JSON.
pub(super) fn json(broker: &str, runs: &[Measured]) -> String {
    let report = Report {
        program: "fanfare bench",
        version: env!("CARGO_PKG_VERSION"),
        broker,
        faultless: runs.iter().all(Measured::is_faultless),
        scenarios: runs,
    };
    // Numbers and texts: nothing in it can fail.
    let mut text = serde_json::to_string_pretty(&report).unwrap_or_default();
    text.push('\n');
    text
}

/// What one run showed.
pub(super) fn text(run: &Measured) -> String {
    let mut out = format!("{}: {}\n", run.scenario, run.about());
    for line in run.lines() {
        let _ = writeln!(out, "  {line}");
    }
    put_bars(&mut out, run);
    let _ = writeln!(out, "  {}", verdict(&run.faults));
    if let Some(complaint) = run.complaint.as_ref().filter(|_| !run.is_faultless()) {
        let _ = writeln!(out, "  the first: {}", escape(complaint));
    }
    out.push('\n');
    out
}

fn put_bars(out: &mut String, run: &Measured) {
    let bars = coarse(&run.latencies, BARS);
    let total: u64 = bars.iter().map(|bar| bar.count).sum();
    let share = |count: u64| count as f64 / total.max(1) as f64;
    let counts = |count: u64| share(count) >= LEAST;
    let first = bars.iter().position(|bar| counts(bar.count));
    let last = bars.iter().rposition(|bar| counts(bar.count));
    let (Some(first), Some(last)) = (first, last) else {
        return;
    };
    let highest = bars.iter().map(|bar| bar.count).max().unwrap_or(1);
    for bar in bars.get(first..=last).unwrap_or_default() {
        let length = bar.count.saturating_mul(LONGEST).div_ceil(highest.max(1));
        let _ = writeln!(
            out,
            "  {:>8} to {:>8}  {:>5.1} %  {:>12}  {}",
            time(bar.from),
            time(bar.to),
            share(bar.count) * 100.0,
            grouped(bar.count as f64),
            "▇".repeat(length as usize)
        );
    }
}
