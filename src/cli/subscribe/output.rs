//! Where messages are printed, and notes about them.

use std::future::pending;

use jiff::tz::TimeZone;

use super::super::Process;
use super::super::args::SubArgs;
use super::super::exit::{Unwritten, written};
use super::super::lines::{Form, Lines};

/// So much is gathered before it is written, where more is there already.
const BUFFER: usize = 64 * 1024;

/// What is printed, and how much of it is still to come.
pub(super) struct Output<'p, 'a> {
    lines: Lines,
    /// How many messages are still to be printed.
    left: Option<u64>,
    quiet: bool,
    /// What is printed and not written yet.
    unwritten: Vec<u8>,
    process: &'p mut Process<'a>,
}

impl<'p, 'a> Output<'p, 'a> {
    pub(super) fn new(args: &SubArgs, process: &'p mut Process<'a>) -> Self {
        Self {
            lines: Lines {
                form: Form::of(args),
                colour: process.terminal.stdout && process.variable("NO_COLOR").is_none(),
                zone: TimeZone::system(),
            },
            left: args.count,
            quiet: args.broker.quiet,
            unwritten: Vec::new(),
            process,
        }
    }

    /// How many messages are still asked for; `None` where no number was.
    pub(super) fn left(&self) -> Option<u64> {
        self.left.filter(|left| *left > 0)
    }

    /// Whether all that was asked for is printed.
    pub(super) fn is_enough(&self) -> bool {
        self.left == Some(0)
    }

    /// Prints a message; it is written when no other is there at once.
    pub(super) fn print(&mut self, frame: &str) -> Result<(), Unwritten> {
        let Some(line) = self.lines.print(frame) else {
            self.warn("a message of a kind that this version does not know was left out");
            return Ok(());
        };
        self.unwritten.extend_from_slice(&line);
        self.left = self.left.map(|left| left.saturating_sub(1));
        if self.unwritten.len() >= BUFFER || self.is_enough() {
            return self.flush();
        }
        Ok(())
    }

    /// Writes what is printed, if there is anything; else waits for good.
    pub(super) async fn flush_printed(&mut self) -> Result<(), Unwritten> {
        if self.unwritten.is_empty() {
            return pending().await;
        }
        self.flush()
    }

    /// Writes what is printed.
    pub(super) fn flush(&mut self) -> Result<(), Unwritten> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let stdout = &mut self.process.stdout;
        let result = stdout
            .write_all(&self.unwritten)
            .and_then(|()| stdout.flush());
        self.unwritten.clear();
        written(result)
    }

    /// Whether anybody reads: a pipe's reader may have gone long before the next message comes.
    pub(super) fn check_reader(&self) -> Result<(), Unwritten> {
        if (self.process.has_hung_up)() {
            return Err(Unwritten::Closed);
        }
        Ok(())
    }

    /// A note for people, unless they want none.
    pub(super) fn say(&mut self, note: &str) {
        if !self.quiet {
            self.warn(note);
        }
    }

    /// What people need to know.
    pub(super) fn warn(&mut self, note: &str) {
        let _ = writeln!(self.process.stderr, "fanfare: {note}");
    }
}
