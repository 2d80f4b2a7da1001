//! What can be written on the command line.
//!
//! The comments of the fields are what `--help` prints, as it stands.

#![allow(clippy::doc_markdown, rustdoc::bare_urls)]

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::auth::Secret;
use crate::config::Overrides;
use crate::model::{Filter, TopicName};

const EXAMPLES: &str = "\
Examples:
  fanfare                                       a broker on 127.0.0.1:8080 that needs nothing else
  fanfare --config fanfare.toml                 a broker as that file says
  fanfare sub 'chat/#'                          show what is published below chat
  fanfare pub chat/lobby 'Hello'                publish a text
  fanfare config check --config fanfare.toml    name every fault of a configuration

Exit codes: 0 done, 1 failed, 2 misused.";

const SERVE_EXAMPLES: &str = "\
Examples:
  fanfare serve
  fanfare serve --listen 127.0.0.1:9000 --log-level debug
  fanfare serve --config fanfare.toml --set session.queue=4MiB

SIGTERM or SIGINT (Ctrl-C) drains: sessions are told to go, and the broker ends with 0.
The same again ends it at once.";

const PUB_EXAMPLES: &str = "\
Examples:
  fanfare pub chat/lobby 'Hello'                a text
  fanfare pub --json sensors/1 '{\"celsius\":21.5}'
  fanfare pub --binary pictures/cat < cat.png   bytes, from standard input
  fanfare pub -- chat/lobby -dash               data that begins with a dash";

const SUB_EXAMPLES: &str = "\
Examples:
  fanfare sub chat/lobby 'sensors/+'
  fanfare sub --last 10 chat/lobby              the last ten messages, then live ones
  fanfare sub --json 'sensors/#' | jq .data     whole message objects, one a line
  fanfare sub --raw --count 1 pictures/cat > cat.png

Ctrl-C ends it with 0, a lost connection with 1.";

const HEALTH_EXAMPLES: &str = "\
Examples:
  fanfare health
  fanfare health http://10.0.0.5:8080";

/// A pub/sub message broker that gets messages from backend services to browsers.
///
/// Without a command it serves, as `fanfare serve` does.
#[derive(Parser)]
#[command(name = "fanfare", version, after_help = EXAMPLES)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) options: ConfigOptions,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Run the broker (the default)
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ConfigOptions),
    /// Check or show the configuration, without starting anything
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Publish a message
    #[command(after_help = PUB_EXAMPLES)]
    Pub(PubArgs),
    /// Subscribe, and print each message
    #[command(after_help = SUB_EXAMPLES)]
    Sub(SubArgs),
    /// Ask a broker whether it is well: exit code 0 if so, 1 if not
    #[command(after_help = HEALTH_EXAMPLES)]
    Health(HealthArgs),
}

impl Command {
    /// Whether the command reads the configuration.
    pub(super) fn is_configured(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Config(_))
    }
}

#[derive(Subcommand)]
pub(super) enum ConfigCommand {
    /// Name every fault at once, or say that there is none
    Check(ConfigOptions),
    /// Print the effective values as TOML, secrets hidden
    Show(ConfigOptions),
}

#[derive(Args, Default)]
pub(super) struct ConfigOptions {
    /// Read this file [env: FANFARE_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Listen there, in place of server.listen [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub(super) listen: Option<String>,
    /// off, error, warn, info, debug, trace, or by module: info,fanfare=debug
    #[arg(long, value_name = "L")]
    pub(super) log_level: Option<String>,
    /// Set any key of the configuration, such as session.queue=4MiB; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub(super) set: Vec<(String, String)>,
}

impl ConfigOptions {
    /// Whether none was given.
    pub(super) fn is_empty(&self) -> bool {
        self.config.is_none()
            && self.listen.is_none()
            && self.log_level.is_none()
            && self.set.is_empty()
    }

    /// These, and what was written after the command, which wins.
    pub(super) fn with(mut self, inner: Self) -> Self {
        self.set.extend(inner.set);
        Self {
            config: inner.config.or(self.config),
            listen: inner.listen.or(self.listen),
            log_level: inner.log_level.or(self.log_level),
            set: self.set,
        }
    }

    /// The file, and what overrides every file.
    pub(super) fn into_parts(self) -> (Option<PathBuf>, Overrides) {
        let overrides = Overrides {
            listen: self.listen,
            log_level: self.log_level,
            set: self.set,
        };
        (self.config, overrides)
    }
}

/// Which broker, and as whom.
#[derive(Args)]
pub(super) struct BrokerArgs {
    /// The broker's WebSocket [env: FANFARE_URL] [default: ws://127.0.0.1:8080/ws]
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// A token or API key. Others on this machine see it there: rather use the variable
    /// [env: FANFARE_TOKEN]
    #[arg(long, value_name = "T", value_parser = secret)]
    pub(super) token: Option<Secret>,
    /// Print only what was asked for, and errors
    #[arg(short, long)]
    pub(super) quiet: bool,
}

#[derive(Args)]
pub(super) struct PubArgs {
    /// The topic, such as chat/lobby
    #[arg(value_name = "TOPIC", value_parser = topic)]
    pub(super) topic: String,
    /// What to publish; "-" or nothing reads standard input to its end
    #[arg(value_name = "DATA", allow_negative_numbers = true)]
    pub(super) data: Option<OsString>,
    #[command(flatten)]
    pub(super) kind: KindArgs,
    /// The message's key, for subscribers that want only the newest of each
    #[arg(long, value_name = "KEY")]
    pub(super) key: Option<String>,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
}

#[derive(Args)]
#[group(multiple = false)]
pub(super) struct KindArgs {
    /// The data is JSON
    #[arg(long)]
    pub(super) json: bool,
    /// The data is text (the default)
    #[arg(long)]
    pub(super) text: bool,
    /// The data is bytes
    #[arg(long)]
    pub(super) binary: bool,
}

#[derive(Args)]
pub(super) struct SubArgs {
    /// Topics or filters: "+" stands for one level, "#" at the end for all below
    #[arg(value_name = "FILTER", required = true, value_parser = filter)]
    pub(super) filters: Vec<String>,
    /// Print each message object as the broker sent it, a line each
    #[arg(long, conflicts_with = "raw")]
    pub(super) json: bool,
    /// Print only the data: text and JSON a line each, bytes as they are with nothing added
    #[arg(long)]
    pub(super) raw: bool,
    /// Begin with the last N messages of each topic that keeps history
    #[arg(long, value_name = "N")]
    pub(super) last: Option<u32>,
    /// End with 0 after N messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
}

#[derive(Args)]
pub(super) struct HealthArgs {
    /// The broker's base URL
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub(super) url: String,
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if key.split('.').all(|level| !level.is_empty()) => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err("KEY=VALUE is needed, such as session.queue=4MiB".to_owned()),
    }
}

// The signature is clap's.
#[allow(clippy::unnecessary_wraps)]
fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

fn topic(text: &str) -> Result<String, String> {
    TopicName::new(text)
        .map(|topic| topic.as_str().to_owned())
        .map_err(|error| error.to_string())
}

fn filter(text: &str) -> Result<String, String> {
    Filter::new(text)
        .map(|filter| filter.as_str().to_owned())
        .map_err(|error| error.to_string())
}
