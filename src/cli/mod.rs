//! The command line: `serve`, `config`, `pub`, `sub`, `bench`, `store`, `init`, `completions` and `health`.
//!
//! [`main`] takes arguments, environment and streams from the process; everything below is given them.

mod args;
#[cfg(target_os = "linux")]
mod bench;
mod completions;
mod configuration;
mod connection;
mod event;
mod exit;
mod health;
mod init;
mod interrupt;
mod lines;
mod lost;
mod publish;
mod reload;
mod serve;
mod store;
mod subscribe;
mod target;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use args::{BrokerArgs, Cli, Command, ConfigCommand, ConfigOptions};
use configuration::Source;
use exit::{Exit, Failure};
pub use serve::{Listening, StartResult};

use crate::auth::Secret;
use crate::config::LiveConfig;
use crate::shutdown::Shutdown;

/// What a command has of the process.
struct Process<'a> {
    environment: BTreeMap<String, String>,
    working_dir: PathBuf,
    /// Taken by the thread that reads it.
    stdin: Box<dyn Read + Send>,
    stdout: &'a mut dyn Write,
    stderr: &'a mut dyn Write,
    terminal: Terminal,
    /// Whether nobody reads standard output any more.
    has_hung_up: fn() -> bool,
}

/// What is shown to people at once.
#[derive(Clone, Copy, Default)]
struct Terminal {
    stdout: bool,
    stderr: bool,
}

impl Process<'_> {
    /// That variable of the environment; an empty one is none.
    fn variable(&self, name: &str) -> Option<&str> {
        let value = self.environment.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// What `--token` or `--token-file` gives, or else `FANFARE_TOKEN`.
    fn token(&self, options: &BrokerArgs) -> Result<Option<Secret>, Failure> {
        if let Some(file) = &options.token_file {
            let text = std::fs::read_to_string(self.working_dir.join(file));
            let text = text.map_err(|error| {
                Failure::failed(format!("{} cannot be read: {error}", file.display()))
            })?;
            return Ok(Some(Secret::new(text.trim())));
        }
        let variable = || self.variable("FANFARE_TOKEN").map(Secret::new);
        Ok(options.token.clone().or_else(variable))
    }

    /// What `--url` gives, or else `FANFARE_URL`, or else the broker of this machine.
    fn url<'u>(&'u self, option: Option<&'u str>) -> &'u str {
        let variable = || self.variable("FANFARE_URL");
        option.or_else(variable).unwrap_or("ws://127.0.0.1:8080/ws")
    }
}

/// Runs the command that the process's arguments ask for.
///
/// `start` runs the broker for `serve`: it builds it, tells [`Listening`] where it listens, and ends
/// when it has stopped. It runs inside an actix system.
pub fn main<Start, Running>(start: Start) -> ExitCode
where
    Start: FnOnce(LiveConfig, Shutdown, Listening) -> Running,
    Running: Future<Output = StartResult>,
{
    let mut stderr = std::io::stderr();
    let working_dir = match std::env::current_dir() {
        Ok(dir) => dir,
        Err(error) => {
            let failure = Failure::failed(format!("the working directory is not there: {error}"));
            return failure.tell(&mut stderr).into();
        }
    };
    let mut process = Process {
        environment: environment(std::env::vars_os()),
        working_dir,
        stdin: Box::new(std::io::stdin()),
        stdout: &mut std::io::stdout().lock(),
        stderr: &mut stderr,
        terminal: Terminal {
            stdout: std::io::stdout().is_terminal(),
            stderr: std::io::stderr().is_terminal(),
        },
        has_hung_up,
    };
    run(std::env::args_os(), &mut process, start).into()
}

/// Whether the reader of a pipe or socket that standard output writes to has gone.
fn has_hung_up() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let stdout = std::io::stdout();
    let mut looked_at = [PollFd::new(&stdout, PollFlags::empty())];
    let gone = PollFlags::ERR | PollFlags::HUP;
    let found = poll(&mut looked_at, Some(&Timespec::default()));
    found.is_ok() && looked_at.iter().any(|fd| fd.revents().intersects(gone))
}

/// The variables that are text. One of ours that is not is kept, mended, so that it is a fault where
/// it is read rather than overlooked.
fn environment(variables: impl Iterator<Item = (OsString, OsString)>) -> BTreeMap<String, String> {
    let text = |(name, value): (OsString, OsString)| {
        let name = name.into_string().ok()?;
        match value.into_string() {
            Ok(value) => Some((name, value)),
            Err(value) if name.starts_with("FANFARE") => {
                Some((name, value.to_string_lossy().into_owned()))
            }
            Err(_) => None,
        }
    };
    variables.filter_map(text).collect()
}

fn run<Start, Running>(
    arguments: impl IntoIterator<Item = OsString>,
    process: &mut Process<'_>,
    start: Start,
) -> Exit
where
    Start: FnOnce(LiveConfig, Shutdown, Listening) -> Running,
    Running: Future<Output = StartResult>,
{
    let parsed = Cli::try_parse_from(arguments).and_then(|cli| {
        if cli.options.is_empty() || cli.command.as_ref().is_none_or(Command::is_configured) {
            return Ok(cli);
        }
        Err(Cli::command().error(
            ErrorKind::ArgumentConflict,
            "--config, --listen, --log-level and --set go with serve, config and store only",
        ))
    });
    let outcome = match parsed {
        Ok(cli) => dispatch(cli, process, start),
        Err(error) => Ok(say_usage(&error, process)),
    };
    outcome.unwrap_or_else(|failure| failure.tell(process.stderr))
}

/// Help and version go to standard output and are what was asked for; the rest is misuse.
fn say_usage(error: &clap::Error, process: &mut Process<'_>) -> Exit {
    let text = error.render();
    if error.use_stderr() {
        let _ = write!(process.stderr, "{text}");
        return Exit::Misused;
    }
    let _ = write!(process.stdout, "{text}").and_then(|()| process.stdout.flush());
    Exit::Done
}

fn dispatch<Start, Running>(
    cli: Cli,
    process: &mut Process<'_>,
    start: Start,
) -> Result<Exit, Failure>
where
    Start: FnOnce(LiveConfig, Shutdown, Listening) -> Running,
    Running: Future<Output = StartResult>,
{
    let outer = cli.options;
    let command = cli
        .command
        .unwrap_or_else(|| Command::Serve(ConfigOptions::default()));
    match command {
        Command::Serve(inner) => {
            let source = Source::new(process, outer.with(inner));
            serve::run(source, start)
        }
        Command::Config(ConfigCommand::Check(inner)) => {
            configuration::check(process, outer.with(inner))
        }
        Command::Config(ConfigCommand::Show(inner)) => {
            configuration::show(process, outer.with(inner))
        }
        Command::Pub(args) => publish::run(&args, process, interrupt::watch),
        Command::Sub(args) => subscribe::run(&args, process, interrupt::watch()?),
        #[cfg(target_os = "linux")]
        Command::Bench(args) => bench::run(&args, process),
        Command::Store(command) => store::run(command, outer, process),
        Command::Init(args) => init::run(&args, process),
        Command::Completions(args) => completions::run(&args, process),
        Command::Health(args) => health::run(&args, process),
    }
}
