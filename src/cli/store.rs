//! `store`: what a broker keeps on disk, looked at and moved from outside.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter};
use std::path::{Path, PathBuf};

use super::Process;
use super::args::{ConfigOptions, Epochs, ExportArgs, ImportArgs, StoreArgs, StoreCommand};
use super::configuration;
use super::exit::{Exit, Failure, Unwritten, print, written};
use crate::history::store_tools::{self as tools, Damage, Source, ToolError};
use crate::model::Timestamp;

/// Does what is asked. `outer` are the options before the command.
pub(super) fn run(
    command: StoreCommand,
    outer: ConfigOptions,
    process: &mut Process<'_>,
) -> Result<Exit, Failure> {
    match command {
        StoreCommand::Check(args) => check(&directory(args, outer, process)?, process),
        StoreCommand::Compact(args) => compact(&directory(args, outer, process)?, process),
        StoreCommand::Export(ExportArgs {
            store,
            topic,
            aside,
        }) => {
            let directory = directory(store, outer, process)?;
            export(&directory, topic.as_ref(), aside, process)
        }
        StoreCommand::Import(args) => {
            let ImportArgs {
                store,
                file,
                epochs,
            } = args;
            let directory = directory(store, outer, process)?;
            import(&directory, file.as_deref(), epochs, process)
        }
        StoreCommand::Backup(args) => {
            let destination = process.working_dir.join(&args.destination);
            let directory = directory(args.store, outer, process)?;
            backup(&directory, &destination, args.epochs, process)
        }
    }
}

/// The directory that is named, or that of the configuration.
fn directory(
    args: StoreArgs,
    outer: ConfigOptions,
    process: &Process<'_>,
) -> Result<PathBuf, Failure> {
    let path = if let Some(path) = args.path {
        path
    } else {
        let loaded = configuration::load(process, outer.with(args.options))?;
        loaded.config.store.path
    };
    Ok(process.working_dir.join(path))
}

fn check(directory: &Path, process: &mut Process<'_>) -> Result<Exit, Failure> {
    let source = Source::open(directory, "fanfare store check").map_err(failure)?;
    let mut told = Ok(());
    let stdout = &mut *process.stdout;
    let mut tell = |damage: &Damage| {
        if told.is_ok() {
            told = writeln!(stdout, "damaged: {damage}");
        }
    };
    let found = tools::check(&source, &mut tell).map_err(failure)?;
    if let Err(Unwritten::Failed(failure)) = written(told) {
        return Err(failure);
    }
    let text = format!(
        "{}: format {}, {} ({}), {} retained, {}; the file takes {}, of which {} are free\n",
        directory.display(),
        source.format(),
        Counts(&[(found.topics, "topic"), (found.messages, "message")]),
        Size(found.bytes),
        found.retained,
        Counts(&[(found.once, "idempotency key")]),
        Size(found.file),
        Size(found.free),
    );
    print(process.stdout, &text)?;
    if found.aside > 0 {
        let text = format!(
            "{} set aside before what was damaged: fanfare store export --aside writes them out\n",
            Counts(&[(found.aside, "message")])
        );
        print(process.stdout, &text)?;
    }
    if found.damages > 0 {
        let damages = Counts(&[(found.damages, "damage")]);
        return Err(Failure::failed(format!("the store has {damages}")));
    }
    print(process.stdout, "sound\n")
}

fn compact(directory: &Path, process: &mut Process<'_>) -> Result<Exit, Failure> {
    let done = tools::compact(directory).map_err(failure)?;
    let text = format!(
        "{}: {} before, {} now\n",
        directory.display(),
        Size(done.before),
        Size(done.after)
    );
    print(process.stdout, &text)
}

fn export(
    directory: &Path,
    filter: Option<&crate::model::Filter>,
    is_aside: bool,
    process: &mut Process<'_>,
) -> Result<Exit, Failure> {
    let source = Source::open(directory, "fanfare store export").map_err(failure)?;
    let stderr = &mut *process.stderr;
    let mut tell = |damage: &Damage| {
        let _ = writeln!(stderr, "fanfare: left out, damaged: {damage}");
    };
    let mut out = BufWriter::with_capacity(64 * 1024, &mut *process.stdout);
    let export = if is_aside {
        tools::export_aside
    } else {
        tools::export
    };
    let done = export(&source, filter, Timestamp::now(), &mut out, &mut tell);
    let done = match done {
        Err(ToolError::Output(error)) => {
            // What could not be written is not tried again.
            let _unwritten = out.into_parts();
            return match written(Err(error)) {
                Ok(()) | Err(Unwritten::Closed) => Ok(Exit::Done),
                Err(Unwritten::Failed(failure)) => Err(failure),
            };
        }
        done => done.map_err(failure)?,
    };
    if done.damages > 0 {
        let damages = Counts(&[(done.damages, "damage")]);
        return Err(Failure::failed(format!(
            "the store has {damages}; what is whole was exported"
        )));
    }
    Ok(Exit::Done)
}

fn import(
    directory: &Path,
    file: Option<&Path>,
    epochs: Option<Epochs>,
    process: &mut Process<'_>,
) -> Result<Exit, Failure> {
    let file = file.filter(|file| *file != Path::new("-"));
    let mut lines: Box<dyn BufRead> = match file {
        None => {
            let stdin = std::mem::replace(&mut process.stdin, Box::new(std::io::empty()));
            Box::new(BufReader::new(stdin))
        }
        Some(file) => {
            let opened = File::open(process.working_dir.join(file)).map_err(|error| {
                Failure::failed(format!("{} cannot be read: {error}", file.display()))
            })?;
            Box::new(BufReader::with_capacity(64 * 1024, opened))
        }
    };
    let epochs = epochs.map(tools::Epochs::from);
    let done = tools::import(directory, &mut *lines, epochs, Timestamp::now()).map_err(failure)?;
    let text = format!(
        "{}: {}, {} retained, {}\n",
        directory.display(),
        Counts(&[(done.topics, "topic"), (done.messages, "message")]),
        done.retained,
        Counts(&[(done.once, "idempotency key")]),
    );
    tell_of_epochs(done.is_renewed, process);
    print(process.stdout, &text)
}

fn backup(
    directory: &Path,
    destination: &Path,
    epochs: Option<Epochs>,
    process: &mut Process<'_>,
) -> Result<Exit, Failure> {
    let source = Source::open(directory, "fanfare store backup").map_err(failure)?;
    let epochs = epochs.map(tools::Epochs::from);
    let done = tools::backup(&source, destination, epochs).map_err(failure)?;
    let (bytes, destination) = (Size(done.bytes), destination.display());
    tell_of_epochs(done.is_renewed, process);
    print(process.stdout, &format!("{destination}: {bytes}\n"))
}

fn tell_of_epochs(is_renewed: bool, process: &mut Process<'_>) {
    if is_renewed {
        // A note; the copy is made in any case.
        let _ = writeln!(
            process.stderr,
            "note: topics that may lack what was acknowledged last begin other epochs when a broker \
             starts with this copy; --epochs keep has all of them stand"
        );
    }
}

impl From<Epochs> for tools::Epochs {
    fn from(epochs: Epochs) -> Self {
        match epochs {
            Epochs::Keep => Self::Keep,
            Epochs::New => Self::New,
        }
    }
}

/// The command line is at fault where it names no store.
fn failure(error: ToolError) -> Failure {
    match error {
        ToolError::NoStore { .. } => Failure::misused(error),
        error => Failure::failed(error),
    }
}

/// Numbers of things, as they are said.
struct Counts<'a>(&'a [(u64, &'a str)]);

impl fmt::Display for Counts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (count, what)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let plural = if *count == 1 { "" } else { "s" };
            write!(f, "{comma}{count} {what}{plural}")?;
        }
        Ok(())
    }
}

/// Bytes, in a unit that people read.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        // In tenths, so that nothing is rounded up to the next unit.
        let mut tenths = self.0.saturating_mul(10) / 1024;
        let mut unit = 0;
        while tenths >= 10240 && unit + 1 < UNITS.len() {
            tenths /= 1024;
            unit += 1;
        }
        let unit = UNITS.get(unit).copied().unwrap_or_default();
        write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_in_their_unit() {
        for (bytes, said) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1023.9 KiB"),
            (1024 * 1024, "1.0 MiB"),
            (3 << 40, "3.0 TiB"),
            (5000 << 40, "5000.0 TiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), said, "{bytes}");
        }
    }

    #[test]
    fn one_is_not_many() {
        let counts = Counts(&[(1, "topic"), (2, "message"), (0, "key")]);
        assert_eq!(counts.to_string(), "1 topic, 2 messages, 0 keys");
    }
}
