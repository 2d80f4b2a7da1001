//! What `bench` takes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};

use super::clients::{BrokerArgs, duration, topic};
use crate::bench::message::STAMP;
use crate::bench::scenario::Scenario;
use crate::config::units::parse_size;

pub(super) const BENCH_EXAMPLES: &str = "\
Examples:
  fanfare bench                                 every scenario, on the broker of this machine
  fanfare bench fan-out --sessions 5000 --time 30s
  fanfare bench fan-out --outstanding 1 --rate 20         latency at 20 messages a second
  fanfare bench reconnect --topic news --html report.html
  fanfare bench --url ws://10.0.0.5:8080/ws --token-file key --json > figures.json

Exit codes: 0 every message came as promised, 1 one did not or the broker cannot be reached, 2 misused.
What reconnect needs: topics that keep a history, demo/bench unless --topic names others. Nobody else may
publish to the topics.";

#[derive(Args)]
pub(in crate::cli) struct BenchArgs {
    /// What to run; all of them unless said
    #[arg(value_name = "SCENARIO")]
    pub(in crate::cli) scenarios: Vec<Scenario>,
    /// How long each is measured
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5s")]
    pub(in crate::cli) time: Duration,
    /// How many sessions subscribe [default: the scenario's, 1000 for most]
    #[arg(long, value_name = "N", value_parser = count)]
    pub(in crate::cli) sessions: Option<usize>,
    /// How many topics they are spread over
    #[arg(long, value_name = "N", value_parser = count)]
    pub(in crate::cli) topics: Option<usize>,
    /// The size of a message, such as 16KiB [default: 128B]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(in crate::cli) size: Option<usize>,
    /// How many publishes are on their way at a time at most
    #[arg(long, value_name = "N", value_parser = count)]
    pub(in crate::cli) outstanding: Option<usize>,
    /// How many to publish in a second, in place of as many as the broker takes
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(in crate::cli) rate: Option<f64>,
    /// What subscribers speak
    #[arg(long, value_name = "PROTOCOL", default_value = "json")]
    pub(in crate::cli) protocol: Protocol,
    /// The topics lie below this one [default: bench, or demo/bench for what needs a history]
    #[arg(long, value_name = "TOPIC", value_parser = topic)]
    pub(in crate::cli) topic: Option<String>,
    /// The HTTP API, if it is not where the WebSocket is
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(in crate::cli) api: Option<String>,
    /// How many sessions are being opened at a time at most
    #[arg(long, value_name = "N", value_parser = count, default_value = "128")]
    pub(in crate::cli) at_once: usize,
    /// The broker's process, where it runs on this machine: for its CPU time and memory
    #[arg(long, value_name = "PID")]
    pub(in crate::cli) pid: Option<u32>,
    /// Write a page with plots there
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) html: Option<PathBuf>,
    /// Print JSON in place of text
    #[arg(long)]
    pub(in crate::cli) json: bool,
    #[command(flatten)]
    pub(in crate::cli) broker: BrokerArgs,
}

/// What subscribers speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Protocol {
    /// A WebSocket, fanfare.v1.json.
    Json,
    /// A WebSocket, fanfare.v1.msgpack.
    Msgpack,
    /// Event streams; what is published goes over a WebSocket.
    Sse,
}

fn count(text: &str) -> Result<usize, String> {
    let count = text
        .parse()
        .ok()
        .filter(|count| (1..=10_000_000).contains(count));
    count.ok_or_else(|| "a whole number from 1 to 10000000 is needed".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text
        .parse()
        .ok()
        .filter(|rate| (0.001..=1e7).contains(rate));
    rate.ok_or_else(|| "a number from 0.001 to 10000000 is needed".to_owned())
}

fn size(text: &str) -> Result<usize, String> {
    let size = parse_size(text).map_err(|error| error.to_string())?;
    let size = Some(size).filter(|size| *size >= STAMP);
    size.ok_or_else(|| format!("a message is numbered, which takes {STAMP} bytes"))
}
