//! What can be written on the command line.
//!
//! The comments of the fields are what `--help` prints, as it stands.

#![allow(clippy::doc_markdown, rustdoc::bare_urls)]

#[cfg(target_os = "linux")]
mod bench;
mod clients;
mod store;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

use crate::config::Overrides;

#[cfg(target_os = "linux")]
use bench::BENCH_EXAMPLES;
#[cfg(target_os = "linux")]
pub(super) use bench::{BenchArgs, Protocol};
pub(super) use clients::{BrokerArgs, KindArgs, PubArgs, SubArgs};
use clients::{PUB_EXAMPLES, SUB_EXAMPLES};
use store::STORE_EXAMPLES;
pub(super) use store::{Epochs, ExportArgs, ImportArgs, StoreArgs, StoreCommand};

const EXAMPLES: &str = "\
Examples:
  fanfare                                       a broker on 127.0.0.1:8080 that needs nothing else
  fanfare --config fanfare.toml                 a broker as that file says
  fanfare sub 'chat/#'                          show what is published below chat
  fanfare pub chat/lobby 'Hello'                publish a text
  fanfare init chat                             write a configuration, a page and a backend to begin with
  fanfare config check --config fanfare.toml    name every fault of a configuration

Exit codes: 0 done, 1 failed, 2 misused.";

const SERVE_EXAMPLES: &str = "\
Examples:
  fanfare serve
  fanfare serve --listen 127.0.0.1:9000 --log-level debug
  fanfare serve --config fanfare.toml --set session.queue=4MiB

SIGTERM or SIGINT (Ctrl-C) drains: sessions are told to go, and the broker ends with 0.
The same again ends it at once.";

const INIT_EXAMPLES: &str = "\
Examples:
  fanfare init chat
  fanfare serve --config chat/fanfare.toml

What is there already is never overwritten: nothing is written then, and the exit code is 1.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  fanfare completions bash > ~/.local/share/bash-completion/completions/fanfare
  fanfare completions zsh > ~/.zfunc/_fanfare        with fpath+=~/.zfunc before compinit in ~/.zshrc
  fanfare completions fish > ~/.config/fish/completions/fanfare.fish";

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
    /// Publish a message, or many
    #[command(after_help = PUB_EXAMPLES)]
    Pub(PubArgs),
    /// Subscribe, and print each message
    #[command(after_help = SUB_EXAMPLES)]
    Sub(SubArgs),
    /// Put a broker under load, and check that every message comes, once and in order
    #[cfg(target_os = "linux")]
    #[command(after_help = BENCH_EXAMPLES)]
    Bench(BenchArgs),
    /// Check, copy, move or compact what a broker keeps on disk
    #[command(subcommand, after_help = STORE_EXAMPLES)]
    Store(StoreCommand),
    /// Write a configuration, a chat page and a backend to begin with
    #[command(after_help = INIT_EXAMPLES)]
    Init(InitArgs),
    /// Print a script that completes this command line in a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
    /// Ask a broker whether it is well: exit code 0 if so, 1 if not
    #[command(after_help = HEALTH_EXAMPLES)]
    Health(HealthArgs),
}

impl Command {
    /// Whether the command reads the configuration.
    pub(super) fn is_configured(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Config(_) | Self::Store(_))
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

#[derive(Args)]
pub(super) struct InitArgs {
    /// Where to; it is made if it is not there
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(super) dir: PathBuf,
}

#[derive(Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(super) shell: Shell,
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
