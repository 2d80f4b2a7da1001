//! Reading the configuration, and the commands that do only that.

use super::Process;
use super::args::ConfigOptions;
use super::exit::{Exit, Failure, print};
use crate::config::{self, ConfigError, Input, Loaded};

/// Reads every layer. Faults are told all at once; where all of them are in options, the command
/// line was misused.
pub(super) fn load(process: &Process<'_>, options: ConfigOptions) -> Result<Loaded, Failure> {
    let (file, overrides) = options.into_parts();
    let input = Input {
        working_dir: &process.working_dir,
        file,
        environment: process.environment.clone(),
        overrides,
    };
    config::load(input).map_err(|error| failure(&error))
}

/// `config check`: whether a broker would start with it.
pub(super) fn check(process: &mut Process<'_>, options: ConfigOptions) -> Result<Exit, Failure> {
    let loaded = load(process, options)?;
    let mut text = format!("configuration is good (files read: {})\n", files(&loaded));
    for note in loaded.notes.iter().filter(|note| !is_source(note)) {
        text.push_str("note: ");
        text.push_str(note);
        text.push('\n');
    }
    print(process.stdout, &text)
}

/// `config show`: the effective values.
pub(super) fn show(process: &mut Process<'_>, options: ConfigOptions) -> Result<Exit, Failure> {
    let loaded = load(process, options)?;
    print(process.stdout, &config::show(&loaded.config))
}

/// Whether a note says where values come from, rather than what is odd about them.
pub(super) fn is_source(note: &str) -> bool {
    note.starts_with("read ") || note.starts_with("took ")
}

fn files(loaded: &Loaded) -> String {
    let files: Vec<&str> = loaded
        .notes
        .iter()
        .filter_map(|note| note.strip_prefix("read "))
        .collect();
    if files.is_empty() {
        return "none".to_owned();
    }
    files.join(", ")
}

fn failure(error: &ConfigError) -> Failure {
    let ConfigError::Faults(faults) = error else {
        return Failure::failed(error);
    };
    let count = match faults.len() {
        1 => "one fault".to_owned(),
        count => format!("{count} faults"),
    };
    let message = format!("the configuration has {count}:\n{error}");
    if faults.iter().all(|fault| fault.source.starts_with("--")) {
        return Failure::misused(message);
    }
    Failure::failed(message)
}
