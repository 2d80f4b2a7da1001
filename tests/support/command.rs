//! The program itself as a client, as a child.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

use super::{eventually, eventually_some};

/// A running command. Dropped, it is killed.
pub struct Running {
    pub stdin: Option<ChildStdin>,
    child: Child,
    stdout: Arc<Mutex<Vec<String>>>,
    stderr: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: Vec<String>,
    pub stderr: String,
}

/// The program with these arguments and nothing of this process's environment.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command
        .args(arguments)
        .env_clear()
        .env("TZ", "UTC")
        .env("PATH", std::env::var_os("PATH").unwrap());
    command
}

impl Running {
    #[track_caller]
    pub fn start(arguments: &[&str]) -> Self {
        Self::spawn(&mut command(arguments))
    }

    #[track_caller]
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let readers = vec![
            gather(child.stdout.take().unwrap(), &stdout),
            gather(child.stderr.take().unwrap(), &stderr),
        ];
        Self {
            stdin: child.stdin.take(),
            child,
            stdout,
            stderr,
            readers,
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Writes to its standard input.
    #[track_caller]
    pub fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// What it printed so far.
    pub fn lines(&self) -> Vec<String> {
        self.stdout.lock().unwrap().clone()
    }

    /// What it told so far.
    pub fn told(&self) -> String {
        self.stderr.lock().unwrap().join("\n")
    }

    /// Waits until it has printed so many lines.
    #[track_caller]
    pub fn await_lines(&self, count: usize) -> Vec<String> {
        eventually(&format!("{count} lines"), || self.lines().len() >= count);
        self.lines()
    }

    /// Waits until it has told of something.
    #[track_caller]
    pub fn await_told(&self, part: &str) {
        eventually(&format!("it tells {part:?}: {}", self.told()), || {
            self.told().contains(part)
        });
    }

    /// Closes its standard input and waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Ran {
        self.stdin = None;
        let status: ExitStatus =
            eventually_some("the command ends", || self.child.try_wait().unwrap());
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        Ran {
            code: status.code(),
            stdout: self.lines(),
            stderr: self.told(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end.
#[track_caller]
pub fn ran(arguments: &[&str]) -> Ran {
    Running::start(arguments).end()
}

/// The same, in that directory.
#[track_caller]
pub fn ran_in(dir: &Path, arguments: &[&str]) -> Ran {
    Running::spawn(command(arguments).current_dir(dir)).end()
}

fn gather(stream: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let line = String::from_utf8(line.unwrap()).unwrap();
            lines.lock().unwrap().push(line);
        }
    })
}
