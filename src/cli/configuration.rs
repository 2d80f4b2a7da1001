//! Reading the configuration, and the commands that do only that.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Process;
use super::args::ConfigOptions;
use super::exit::{Exit, Failure, print};
use crate::config::{self, ConfigError, Input, Loaded, Overrides};

/// Reads every layer. Faults are told all at once; where all of them are in options, the command
/// line was misused.
pub(super) fn load(process: &Process<'_>, options: ConfigOptions) -> Result<Loaded, Failure> {
    Source::new(process, options)
        .load()
        .map_err(|error| failure(&error))
}

/// Where a configuration is read from, as often as it is asked to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    working_dir: PathBuf,
    environment: BTreeMap<String, String>,
    file: Option<PathBuf>,
    overrides: Overrides,
}

impl Source {
    /// What the process and the command line name.
    pub(super) fn new(process: &Process<'_>, options: ConfigOptions) -> Self {
        let (file, overrides) = options.into_parts();
        Self {
            working_dir: process.working_dir.clone(),
            environment: process.environment.clone(),
            file,
            overrides,
        }
    }

    /// What the files hold now, where they are there.
    pub(super) fn contents(&self) -> Vec<Option<Vec<u8>>> {
        config::files(self.file.clone(), &self.environment)
            .into_iter()
            .map(|(name, _)| std::fs::read(self.working_dir.join(name)).ok())
            .collect()
    }

    /// Reads every layer.
    pub(super) fn load(&self) -> Result<Loaded, ConfigError> {
        config::load(Input {
            working_dir: &self.working_dir,
            file: self.file.clone(),
            environment: self.environment.clone(),
            overrides: self.overrides.clone(),
        })
    }
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

pub(super) fn failure(error: &ConfigError) -> Failure {
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
