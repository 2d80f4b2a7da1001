//! What is told of the messages: how many were published, and which were not.

use std::fmt::Display;
use std::time::{Duration, Instant};

use super::super::Process;
use super::super::args::PubArgs;
use super::super::exit::{Exit, Failure, print};
use super::source::Place;

/// So many refused messages are told one by one.
const TOLD: u64 = 10;

/// The line that tells how far it is, written over and over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Live {
    /// Nobody watches.
    Never,
    Hidden,
    Shown,
}

/// What became of the messages.
pub(super) struct Report<'p, 'a> {
    process: &'p mut Process<'a>,
    quiet: bool,
    /// There is one message only: what becomes of it is the command's own end.
    is_single: bool,
    live: Live,
    begun: Instant,
    published: u64,
    refused: u64,
    /// Where the last message stands in its topic's history.
    offset: Option<u64>,
    /// Why the only message was refused.
    why: Option<String>,
    /// How many others were told one by one.
    told: u64,
}

impl<'p, 'a> Report<'p, 'a> {
    pub(super) fn new(args: &PubArgs, process: &'p mut Process<'a>) -> Self {
        Self {
            quiet: args.broker.quiet,
            is_single: !args.lines
                && args.repeat == 1
                && args.file.len() < 2
                && args.more_topics.is_empty(),
            live: if process.terminal.stderr && !args.broker.quiet {
                Live::Hidden
            } else {
                Live::Never
            },
            process,
            begun: Instant::now(),
            published: 0,
            refused: 0,
            offset: None,
            why: None,
            told: 0,
        }
    }

    /// The broker has stored a message.
    pub(super) fn published(&mut self, offset: Option<u64>) {
        self.published += 1;
        self.offset = offset;
    }

    /// That many messages of one place will not be published.
    pub(super) fn refused(&mut self, place: &Place, why: &dyn Display, count: usize) {
        if self.is_single {
            self.why = Some(format!("{place}: {why}"));
        } else {
            self.told += 1;
            match self.told {
                ..=TOLD => self.note(&format!("{place}: {why}")),
                told if told == TOLD + 1 => {
                    self.note("further messages that are not published are only counted");
                }
                _ => {}
            }
        }
        self.refused += count as u64;
    }

    /// A connection is lost, and another one is tried after that time.
    pub(super) fn lost(&mut self, why: &Failure, wait: Duration, unanswered: usize) {
        let seconds = wait.as_secs_f64();
        let again = match unanswered {
            0 => String::new(),
            1 => "; one message was not confirmed, is sent again, and may arrive twice".to_owned(),
            n => format!("; {n} messages were not confirmed, are sent again, and may arrive twice"),
        };
        if !self.quiet {
            self.note(&format!("{why}; connecting again in {seconds:.1} s{again}"));
        }
    }

    /// Tells how far it is, where somebody watches.
    pub(super) fn progress(&mut self) {
        if self.live != Live::Never && self.published > 1 {
            let (published, rate) = (self.published, self.rate());
            let _ = write!(
                self.process.stderr,
                "\r\x1b[K{published} messages published, {rate} a second"
            );
            let _ = self.process.stderr.flush();
            self.live = Live::Shown;
        }
    }

    fn note(&mut self, note: &str) {
        if self.live == Live::Shown {
            self.live = Live::Hidden;
            let _ = write!(self.process.stderr, "\r\x1b[K");
        }
        let _ = writeln!(self.process.stderr, "fanfare: {note}");
    }

    /// Tells the whole, and how the command ends.
    pub(super) fn end(
        &mut self,
        ended: Result<(), Failure>,
        unanswered: usize,
    ) -> Result<Exit, Failure> {
        let (published, refused) = (self.published, self.refused);
        if let Err(failure) = ended {
            if !self.is_single {
                self.note(&format!(
                    "published: {published}, refused: {refused}, sent and not confirmed: {unanswered}"
                ));
            }
            return Err(failure);
        }
        if let Some(why) = self.why.take() {
            return Err(Failure::failed(why));
        }
        if !self.is_single && !self.quiet {
            let (seconds, rate) = (self.begun.elapsed().as_secs_f64(), self.rate());
            self.note(&format!(
                "{published} messages published in {seconds:.2} s, {rate} a second"
            ));
        }
        if refused > 0 {
            return Err(Failure::failed(format!(
                "{refused} of {} messages were not published",
                published + refused
            )));
        }
        match self.offset.filter(|_| self.is_single && !self.quiet) {
            Some(offset) => print(self.process.stdout, &format!("offset {offset}\n")),
            None => Ok(Exit::Done),
        }
    }

    #[allow(clippy::cast_sign_loss, reason = "a count over a time")]
    fn rate(&self) -> u64 {
        let seconds = self.begun.elapsed().as_secs_f64().max(0.001);
        (self.published as f64 / seconds) as u64
    }
}
