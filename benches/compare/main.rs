//! Fanfare beside its peers: each server in turn has one core and the same load has another, and what each delivers is told as a
//! ratio to a bare write loop of the same round. `benches/compare/run` installs the peers and starts this; docs/capacity.md says how
//! to read it.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::format_push_string,
    reason = "a program that measures may end with a panic where the broker must not"
)]

#[path = "../fanout/bare.rs"]
mod bare;
#[path = "../fanout/cores.rs"]
mod cores;
mod dialects;
mod drawing;
mod figures;
mod readme;
mod round;
mod self_test;
mod server;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fanfare::bench::process;

use crate::figures::Figures;
use crate::round::{COLUMNS, Column};
use crate::server::Place;

/// Measures Fanfare and its peers, as benches/compare/run installed them.
#[derive(Debug, Parser)]
#[command(name = "compare", disable_version_flag = true)]
struct Options {
    /// Where the peers were installed
    #[arg(long, value_name = "DIR", default_value = "target/compare")]
    peers: PathBuf,

    /// Only these servers (may be repeated)
    #[arg(long = "server", value_name = "NAME")]
    servers: Vec<String>,

    /// Only these columns (may be repeated)
    #[arg(long = "column", value_name = "NAME")]
    columns: Vec<String>,

    /// Rounds of each server in each column, in turn
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Seconds that a round is measured for
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,

    /// Sessions whose memory is measured
    #[arg(long, default_value_t = 5000)]
    idle: usize,

    /// One round of half a second, few idle sessions: to see that it works, not to quote
    #[arg(long)]
    quick: bool,

    /// Put the table between the markers of this file
    #[arg(long, value_name = "FILE")]
    readme: Option<PathBuf>,

    /// Draw the plot there
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Cargo says so to every bench; without it and without a command, only the self-test runs
    #[arg(long, hide = true, global = true)]
    bench: bool,

    #[command(subcommand)]
    command: Option<Task>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Task {
    /// Be the bare write loop
    #[command(hide = true)]
    Bare { port: u16, envelope: usize },
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.command {
        Some(Task::Bare { port, envelope }) => bare::serve(port, envelope),
        // `cargo test --all-targets` starts a bench too, without this word: then there is no time to measure.
        None if !options.bench => {
            self_test::run();
            Ok(())
        }
        None => measure(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> io::Result<()> {
    process::sharpen_naps()?;
    process::raise_descriptors()?;
    if !cores::pin(cores::Core::Load) {
        println!("server and load share a core: these figures say little");
    }
    let place = Place::new(options.peers.clone())?;
    let servers = chosen(&place.servers(), &options.servers, |server| server.name())?;
    let columns: Vec<Column> = chosen(&COLUMNS, &options.columns, |column| column.name)?;
    let (rounds, seconds, idle) = if options.quick {
        (1, 0.5, 500)
    } else {
        (options.rounds, options.seconds, options.idle)
    };
    let mut figures = Figures::default();
    for column in &columns {
        for number in 0..rounds as usize {
            for turn in 0..servers.len() {
                // Every other round goes the other way round, so that a machine that grows slower or faster favours
                // nobody.
                let turn = if number % 2 == 0 {
                    turn
                } else {
                    servers.len() - 1 - turn
                };
                let server = servers[turn];
                let envelope = figures.envelope();
                let round = round::run(&place, server, column, envelope, seconds);
                figures.add(column.name, number, server, round);
            }
        }
        figures.print(column.name, &servers);
    }
    if options.columns.is_empty() {
        for server in &servers {
            figures.add_idle(*server, round::idle(&place, *server, idle));
        }
        figures.print_idle(&servers);
    }
    if let Some(file) = &options.svg {
        std::fs::write(file, drawing::draw(&place, &servers, &figures))?;
    }
    if let Some(file) = &options.readme {
        let how = readme::How {
            rounds,
            seconds,
            idle,
            picture: options.svg.as_deref(),
        };
        let block = readme::block(&place, &servers, &figures, &how);
        readme::put(file, &block)?;
    }
    Ok(())
}

fn chosen<T: Copy>(
    all: &[T],
    names: &[String],
    name: impl Fn(&T) -> &'static str,
) -> io::Result<Vec<T>> {
    if let Some(other) = names
        .iter()
        .find(|wanted| all.iter().all(|one| name(one) != *wanted))
    {
        let known: Vec<&str> = all.iter().map(&name).collect();
        return Err(io::Error::other(format!(
            "there is no {other}: {}",
            known.join(", ")
        )));
    }
    let is_chosen = |one: &&T| names.is_empty() || names.iter().any(|wanted| wanted == name(one));
    Ok(all.iter().filter(is_chosen).copied().collect())
}
