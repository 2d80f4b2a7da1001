//! Where the messages come from: read on a thread of its own, since a read may wait for good.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::super::Process;
use super::super::args::PubArgs;
use super::super::exit::Failure;

/// More than any broker takes.
const LONGEST: u64 = 1 << 30;

/// How many messages wait to be sent; more are not read.
const AHEAD: usize = 256;

/// One message's data, and where it was found.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) place: Place,
    pub(super) bytes: Vec<u8>,
}

/// For people: `line 7 of standard input`.
#[derive(Clone, Debug)]
pub(super) struct Place {
    name: Arc<str>,
    line: Option<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line} of {}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// The messages, in their order. An error is the last.
pub(super) type Pieces = mpsc::Receiver<Result<Piece, Failure>>;

/// Begins to read.
pub(super) fn open(args: &PubArgs, process: &mut Process<'_>) -> Result<Pieces, Failure> {
    let data = args.data.as_ref().filter(|data| *data != "-");
    if args.lines && data.is_some() {
        return Err(Failure::misused(
            "--lines reads standard input or files; DATA is one message",
        ));
    }
    let (sender, pieces) = mpsc::channel(AHEAD);
    let mut reading = Reading {
        sender,
        repeat: args.repeat,
        lines: args.lines.then_some(Lines {
            skip_blank: args.kind.json,
        }),
    };
    let work: Box<dyn FnOnce() + Send> = if let Some(data) = data {
        let bytes = data.clone().into_encoded_bytes();
        Box::new(move || {
            reading.hand_over("the data", None, bytes);
        })
    } else if args.file.is_empty() {
        let stdin = std::mem::replace(&mut process.stdin, Box::new(io::empty()));
        Box::new(move || {
            reading.read("standard input", stdin);
        })
    } else {
        let dir = process.working_dir.clone();
        let files: Vec<PathBuf> = args.file.clone();
        Box::new(move || reading.read_files(&dir, &files))
    };
    let thread = std::thread::Builder::new().name("input".to_owned());
    thread
        .spawn(work)
        .map_err(|error| Failure::failed(format!("no thread can be had: {error}")))?;
    Ok(pieces)
}

struct Lines {
    /// Blank lines are no JSON, and common at the end of files.
    skip_blank: bool,
}

struct Reading {
    sender: mpsc::Sender<Result<Piece, Failure>>,
    repeat: u64,
    lines: Option<Lines>,
}

impl Reading {
    fn read_files(&mut self, dir: &Path, files: &[PathBuf]) {
        for file in files {
            let name = file.display().to_string();
            let go_on = match File::open(dir.join(file)) {
                Ok(file) => self.read(&name, file),
                Err(error) => self.fail(&name, &error),
            };
            if !go_on {
                return;
            }
        }
    }

    /// Hands over what is there; whether more is wanted.
    fn read(&mut self, name: &str, input: impl Read) -> bool {
        let Some(Lines { skip_blank }) = self.lines else {
            let mut bytes = Vec::new();
            return match input.take(LONGEST + 1).read_to_end(&mut bytes) {
                Ok(_) if bytes.len() as u64 > LONGEST => self.fail(name, &TooLong),
                Ok(_) => self.hand_over(name, None, bytes),
                Err(error) => self.fail(name, &error),
            };
        };
        let name: Arc<str> = name.into();
        let mut input = BufReader::with_capacity(64 * 1024, input);
        for number in 1.. {
            let mut bytes = Vec::new();
            let mut bounded = (&mut input).take(LONGEST + 1);
            match bounded.read_until(b'\n', &mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return self.fail(&name, &error),
            }
            if bytes.last() == Some(&b'\n') {
                bytes.pop();
            } else if bytes.len() as u64 > LONGEST {
                return self.fail(&name, &TooLong);
            }
            if skip_blank && bytes.trim_ascii().is_empty() {
                continue;
            }
            if !self.hand_over(Arc::clone(&name), Some(number), bytes) {
                return false;
            }
        }
        true
    }

    fn hand_over(&mut self, name: impl Into<Arc<str>>, line: Option<u64>, bytes: Vec<u8>) -> bool {
        let name = name.into();
        let place = Place { name, line };
        let piece = Piece { place, bytes };
        for _ in 1..self.repeat {
            if self.sender.blocking_send(Ok(piece.clone())).is_err() {
                return false;
            }
        }
        self.sender.blocking_send(Ok(piece)).is_ok()
    }

    fn fail(&mut self, name: &str, error: &dyn fmt::Display) -> bool {
        let failure = Failure::failed(format!("{name} cannot be read: {error}"));
        let _ = self.sender.blocking_send(Err(failure));
        false
    }
}

#[derive(Debug, thiserror::Error)]
#[error("it is longer than any message")]
struct TooLong;
