//! `completions`: a script that completes the command line in a shell.

use clap::CommandFactory;
use clap_complete::generate;

use super::Process;
use super::args::{Cli, CompletionsArgs};
use super::exit::{Exit, Failure, print};

/// Writes the script of that shell.
pub(super) fn run(args: &CompletionsArgs, process: &mut Process<'_>) -> Result<Exit, Failure> {
    let mut command = Cli::command();
    let mut script = Vec::new();
    generate(args.shell, &mut command, "fanfare", &mut script);
    print(process.stdout, &String::from_utf8_lossy(&script))
}
