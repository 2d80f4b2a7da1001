//! The guard against slowing down: how many instructions the paths of a message take, counted by callgrind and compared with the figures
//! that stand beside this file. CONTRIBUTING.md says what to do when they differ, docs/capacity.md what they are.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::format_push_string,
    reason = "a program that measures may end with a panic where the broker must not"
)]

mod callgrind;
mod cases;
mod counted;
mod figures;
mod report;
mod self_test;
mod stage;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use clap::{Parser, Subcommand};

use crate::cases::{CASES, Case};
use crate::figures::{Figure, Figures};

/// Counts the instructions that the paths of a message take, and compares them with the figures in the repository.
#[derive(Debug, Parser)]
#[command(name = "instructions", disable_version_flag = true)]
struct Options {
    /// Only these cases (may be repeated); the others' figures stay as they are
    #[arg(long = "case", value_name = "NAME", global = true)]
    cases: Vec<String>,

    /// Cargo says so to every bench; without it and without a command, only the self-test runs
    #[arg(long, hide = true, global = true)]
    bench: bool,

    #[command(subcommand)]
    command: Option<Task>,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Task {
    /// Compare with the figures in the repository, and fail where they differ (the default)
    Check,
    /// Write the figures anew
    Accept,
    /// Check the checker: that profiles are read right and changes are told
    SelfTest,
    /// Do what is counted, once: what callgrind runs
    #[command(hide = true)]
    Count {
        /// The case.
        case: String,
    },
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.command {
        Some(Task::Count { case }) => count(case),
        Some(Task::SelfTest) => self_test::run().map(|()| true),
        // `cargo test --all-targets` starts a bench too, without this word: then there is no time to count.
        None if !options.bench => self_test::run().map(|()| true),
        Some(Task::Accept) => accept(&options.cases).map(|()| true),
        Some(Task::Check) | None => check(&options.cases),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does what is counted in this process, and says how often it was done.
fn count(name: &str) -> io::Result<bool> {
    let case = named(name)?;
    let times = (case.run)();
    writeln!(io::stdout(), "{times}")?;
    Ok(true)
}

/// Whether everything costs what the repository says.
fn check(names: &[String]) -> io::Result<bool> {
    self_test::run()?;
    let known = Figures::read()?;
    let counted = count_all(names)?;
    let is_all = names.is_empty();
    let report = report::Report::new(&known, &counted, is_all);
    print!("{report}");
    Ok(report.is_unchanged())
}

/// Writes what everything costs now.
fn accept(names: &[String]) -> io::Result<()> {
    let known = Figures::read().unwrap_or_default();
    let counted = count_all(names)?;
    let report = report::Report::new(&known, &counted, names.is_empty());
    print!("{}", report.table());
    let mut all = if names.is_empty() {
        Figures::default()
    } else {
        known
    };
    for (case, figure) in counted {
        all.set(case.name, figure);
    }
    let path = all.write()?;
    println!("written to {path}: say in the commit why they changed");
    Ok(())
}

/// The figures of these cases, or of all. As many are counted at a time as there are cores: what
/// callgrind counts does not depend on what else runs.
fn count_all(names: &[String]) -> io::Result<Vec<(&'static Case, Figure)>> {
    let mut wanted: Vec<&'static Case> = Vec::new();
    for name in names {
        wanted.push(named(name)?);
    }
    if names.is_empty() {
        wanted.extend(CASES);
    }
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads.min(wanted.len()) {
            scope.spawn(|| {
                while let Some(case) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let figure = callgrind::count(case);
                    results.lock().unwrap().push((*case, figure));
                }
            });
        }
    });
    let mut counted = Vec::new();
    for (case, figure) in results.into_inner().unwrap() {
        counted.push((case, figure?));
    }
    let place = |case: &Case| CASES.iter().position(|other| other.name == case.name);
    counted.sort_by_key(|(case, _)| place(case));
    Ok(counted)
}

fn named(name: &str) -> io::Result<&'static Case> {
    CASES.iter().find(|case| case.name == name).ok_or_else(|| {
        let known: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        io::Error::other(format!("no case {name}: {}", known.join(", ")))
    })
}
