//! What `store` takes.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

use super::ConfigOptions;
use crate::model::Filter;

pub(super) const STORE_EXAMPLES: &str = "\
Examples:
  fanfare store check                           the store of store.path, every record and every page
  fanfare store backup /backup/2026-11-21       a whole copy, while the broker runs
  fanfare store export --path data > all.ndjson
  fanfare store export --topic 'chat/#' | jq .data
  fanfare store import --path new all.ndjson
  fanfare store compact                         while no broker runs

Exit codes: 0 done, 1 failed or damaged, 2 misused: there is no store, for instance.";

#[derive(Subcommand)]
pub(in crate::cli) enum StoreCommand {
    /// Look at every record and every page, and name what is damaged; beside a broker too
    Check(StoreArgs),
    /// Give all free room back to the file system, while no broker runs
    Compact(StoreArgs),
    /// Write topics and their messages to standard output, one JSON object a line; beside a broker too
    Export(ExportArgs),
    /// Make a store of an export, with its epochs, offsets and times
    Import(ImportArgs),
    /// Copy the whole store into a directory, while a broker runs or not
    Backup(BackupArgs),
}

/// Which store.
#[derive(Args)]
pub(in crate::cli) struct StoreArgs {
    /// The store's directory [default: store.path of the configuration]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(in crate::cli) path: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) options: ConfigOptions,
}

#[derive(Args)]
pub(in crate::cli) struct ExportArgs {
    #[command(flatten)]
    pub(in crate::cli) store: StoreArgs,
    /// Only topics that this filter matches
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    pub(in crate::cli) topic: Option<Filter>,
    /// Only what is whole and was set aside, since something after it in its topic is damaged
    #[arg(long)]
    pub(in crate::cli) aside: bool,
}

#[derive(Args)]
pub(in crate::cli) struct ImportArgs {
    #[command(flatten)]
    pub(in crate::cli) store: StoreArgs,
    /// What an export wrote; "-" or nothing reads standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) file: Option<PathBuf>,
    /// Whether clients go on where they were (keep), or are told that they missed something (new)
    /// [default: new if a broker went on with what was exported]
    #[arg(long, value_name = "WHICH")]
    pub(in crate::cli) epochs: Option<Epochs>,
}

#[derive(Args)]
pub(in crate::cli) struct BackupArgs {
    /// Where to: a directory that is empty or not there
    #[arg(value_name = "DEST", value_hint = ValueHint::DirPath)]
    pub(in crate::cli) destination: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) store: StoreArgs,
    /// Whether clients go on with the copy where they were (keep), or are told that they missed
    /// something (new) [default: new if a broker goes on with the original]
    #[arg(long, value_name = "WHICH")]
    pub(in crate::cli) epochs: Option<Epochs>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(in crate::cli) enum Epochs {
    Keep,
    New,
}

fn filter(text: &str) -> Result<Filter, String> {
    Filter::new(text).map_err(|error| error.to_string())
}
