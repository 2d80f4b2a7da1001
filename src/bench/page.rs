//! The report as a page of HTML with plots, which needs nothing else to be seen.

use std::fmt::Write;

use super::checker::Faults;
use super::figures::{grouped, short, time};
use super::histogram::coarse;
use super::measured::{Latency, Measured};
use super::plot::{Axis, Plot, escape};

/// The points of a line at most.
const POINTS: usize = 200;
/// The bars of a histogram for each power of ten.
const BARS: f64 = 8.0;

/// The page about these runs against a server, at that time.
pub fn page(server: &str, when: &str, runs: &[Measured]) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>fanfare bench: {0}</title>\n<style>\n{1}</style>\n\
         <h1>fanfare bench</h1>\n<p class=\"soft\">{0} · {2} · fanfare {3}</p>\n",
        escape(server),
        include_str!("page.css"),
        escape(when),
        env!("CARGO_PKG_VERSION"),
    );
    let faults = runs.iter().filter(|run| !run.is_faultless()).count();
    if faults == 0 {
        out.push_str("<p class=\"good\">Every message came, once and in order.</p>\n");
    } else {
        let _ = writeln!(
            out,
            "<p class=\"bad\">{faults} of the scenarios below broke a promise.</p>"
        );
    }
    put_table(&mut out, runs);
    for run in runs {
        put_run(&mut out, run);
    }
    out
}

fn put_table(out: &mut String, runs: &[Measured]) {
    out.push_str(
        "<div class=\"wide\"><table>\n<tr><th>scenario<th>topics<th>sessions<th>bytes<th>deliveries/s\
         <th>p50<th>p99<th>p99.9<th>max<th>load's core<th>correct</tr>\n",
    );
    for run in runs {
        let latency = |at: fn(&Latency) -> f64| {
            let told = run.latency_us.as_ref().map(|latency| time(at(latency)));
            told.unwrap_or_else(|| "–".to_owned())
        };
        let verdict = if run.is_faultless() {
            "<span class=\"good\">yes</span>"
        } else {
            "<span class=\"bad\">no</span>"
        };
        let _ = writeln!(
            out,
            "<tr><td><a href=\"#{0}\">{0}</a><td>{1}<td>{2}<td>{3}<td>{4}<td>{5}<td>{6}<td>{7}<td>{8}<td>{9:.0} %<td>{verdict}</tr>",
            run.scenario,
            grouped(run.topics as f64),
            grouped(run.sessions as f64),
            grouped(run.size as f64),
            grouped(run.deliveries_per_second),
            latency(|latency| latency.p50),
            latency(|latency| latency.p99),
            latency(|latency| latency.p999),
            latency(|latency| latency.max),
            run.load_cpu_share * 100.0,
        );
    }
    out.push_str("</table></div>\n");
}

fn put_run(out: &mut String, run: &Measured) {
    let _ = writeln!(
        out,
        "<section id=\"{0}\">\n<h2>{0}</h2>\n<p class=\"soft\">{1}</p>",
        run.scenario,
        escape(&run.about())
    );
    for line in run.lines() {
        let _ = writeln!(out, "<p>{}</p>", escape(&line));
    }
    let class = if run.is_faultless() { "good" } else { "bad" };
    let _ = writeln!(
        out,
        "<p class=\"{class}\">{}</p>",
        escape(&verdict(&run.faults))
    );
    if let Some(complaint) = run.complaint.as_ref().filter(|_| !run.is_faultless()) {
        let _ = writeln!(
            out,
            "<p class=\"soft\">The first: {}</p>",
            escape(complaint)
        );
    }
    out.push_str("<div class=\"plots\">\n");
    if run.timeline.len() > 1 {
        out.push_str(&over_time(run));
    }
    if let Some(latency) = run.latency_us {
        out.push_str(&by_share(run, &latency));
        out.push_str(&by_latency(run));
    }
    out.push_str("</div>\n</section>\n");
}

/// What went wrong, in words.
pub fn verdict(faults: &Faults) -> String {
    if faults.none() {
        return "correct: nothing was lost, doubled, out of order or damaged".to_owned();
    }
    format!(
        "FAULTS: {} lost, {} duplicated, {} disordered, {} damaged, {} closed, {} unexpected",
        faults.lost,
        faults.duplicated,
        faults.disordered,
        faults.damaged,
        faults.closed,
        faults.unexpected
    )
}

fn over_time(run: &Measured) -> String {
    let step = run.timeline.len().div_ceil(POINTS);
    let points: Vec<(f64, f64)> = run
        .timeline
        .chunks(step)
        .filter_map(|points| {
            let sum: f64 = points.iter().map(|point| point.deliveries_per_second).sum();
            Some((points.last()?.at, sum / points.len() as f64))
        })
        .collect();
    let last = points.last().map_or(1.0, |(at, _)| *at);
    let highest = points.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
    let mut plot = Plot::new(
        "Deliveries a second",
        Axis::linear("seconds", last, short),
        Axis::linear("", highest, short),
    );
    plot.line(points);
    plot.finish()
}

fn by_share(run: &Measured, latency: &Latency) -> String {
    let total: u64 = run.latencies.iter().map(|(_, count)| count).sum();
    let nines = total.checked_ilog10().unwrap_or(0).clamp(1, 6);
    let lowest = run.latencies.first().map_or(1.0, |(micros, _)| *micros);
    let mut plot = Plot::new(
        "Latency by share of messages",
        Axis::nines("share", nines),
        Axis::log("", lowest, latency.max, time),
    );
    let mut seen = 0;
    plot.line(run.latencies.iter().map(|(micros, count)| {
        seen += count;
        let rest = total.saturating_sub(seen).max(1) as f64;
        (total as f64 / rest, *micros)
    }));
    plot.finish()
}

fn by_latency(run: &Measured) -> String {
    let bars = coarse(&run.latencies, BARS);
    let lowest = bars.first().map_or(1.0, |bar| bar.from);
    let to = bars.last().map_or(10.0, |bar| bar.to);
    let highest = bars.iter().map(|bar| bar.count).max().unwrap_or(1);
    let total: u64 = bars.iter().map(|bar| bar.count).sum();
    let share = |count: u64| count as f64 / total.max(1) as f64 * 100.0;
    let mut plot = Plot::new(
        "Messages by latency",
        Axis::log("", lowest, to, time),
        Axis::linear("", share(highest), |at| format!("{} %", short(at))),
    );
    for bar in &bars {
        let says = format!(
            "{} to {}: {} messages, {:.2} %",
            time(bar.from),
            time(bar.to),
            grouped(bar.count as f64),
            share(bar.count)
        );
        plot.bar(bar.from, bar.to, share(bar.count), &says);
    }
    plot.finish()
}
