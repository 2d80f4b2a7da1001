//! The command line.

use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use fanfare::bench::process;

/// Measures what a message to many sessions costs, beside a bare write loop that does nothing else.
#[derive(Debug, Parser)]
#[command(name = "fanout", disable_version_flag = true)]
pub struct Options {
    /// Only these scenarios (may be repeated); see docs/capacity.md
    #[arg(long = "scenario", value_name = "NAME")]
    pub scenarios: Vec<String>,

    /// Rounds of each server, in turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,

    /// Seconds that a round is measured for
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,

    /// Two rounds of one second: to see that it works, not to quote
    #[arg(long)]
    pub quick: bool,

    /// Sessions of the scenarios "idle" and "heartbeat"
    #[arg(long, default_value_t = 19_000)]
    pub idle: usize,

    /// Seconds of silence after which the scenario "heartbeat" has sessions pinged
    #[arg(long, default_value_t = 5.0)]
    pub heartbeat: f64,

    /// Measure one server only
    #[arg(long)]
    pub only: Option<Only>,

    /// Measure the server that runs at ws://HOST:PORT/PATH instead of the broker that was built
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,

    /// The process of that server, for its CPU and memory
    #[arg(long, requires = "server")]
    pub pid: Option<u32>,

    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,

    /// Cargo says so to every bench; without it and without a command, only the self-test runs
    #[arg(long, hide = true, global = true)]
    pub bench: bool,

    /// What to do instead of measuring
    #[command(subcommand)]
    pub command: Option<Task>,
}

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Only {
    /// The bare write loop.
    Bare,
    /// The broker.
    Broker,
}

/// What to do instead of measuring.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Task {
    /// Check the checker: that loss, duplicates and disorder are seen
    SelfTest,
    /// Be the bare write loop
    #[command(hide = true)]
    Bare {
        /// The port on 127.0.0.1.
        port: u16,
        /// The bytes of a message's frame beside topic and data.
        envelope: usize,
    },
    /// Be the bare loop of heartbeats
    #[command(hide = true)]
    Pinging {
        /// The port on 127.0.0.1.
        port: u16,
        /// The interval in milliseconds.
        interval: u64,
    },
    /// Be the handler that reads a publish and answers 200
    #[command(hide = true)]
    Handler {
        /// The port on 127.0.0.1.
        port: u16,
    },
}

impl Options {
    /// How many rounds of each server.
    pub fn rounds(&self) -> u32 {
        if self.quick { 2 } else { self.rounds }
    }

    /// The sessions of the measurements of memory: what was asked for, or as many as there are descriptors for.
    pub fn sessions(&self) -> usize {
        let most = process::raise_descriptors().unwrap_or(1024);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        self.idle.min(most.saturating_sub(600))
    }

    /// How long a round is measured for.
    pub fn time(&self) -> Duration {
        Duration::from_secs_f64(if self.quick { 1.0 } else { self.seconds })
    }
}
