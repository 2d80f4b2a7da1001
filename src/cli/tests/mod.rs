//! The command line from its arguments to its exit codes.

mod broker;
mod commands;
mod publish;
mod subscribe;

use super::*;

/// What a command wrote, and how it ended.
struct Ran {
    exit: Exit,
    stdout: Vec<u8>,
    stderr: String,
}

impl Ran {
    fn stdout(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

/// A command line, and what the process around it would give.
struct Line<'a> {
    arguments: &'a [&'a str],
    environment: &'a [(&'a str, &'a str)],
    stdin: &'a [u8],
    dir: Option<&'a std::path::Path>,
}

impl<'a> Line<'a> {
    fn new(arguments: &'a [&'a str]) -> Self {
        Self {
            arguments,
            environment: &[],
            stdin: b"",
            dir: None,
        }
    }

    fn environment(mut self, environment: &'a [(&'a str, &'a str)]) -> Self {
        self.environment = environment;
        self
    }

    fn stdin(mut self, stdin: &'a [u8]) -> Self {
        self.stdin = stdin;
        self
    }

    fn dir(mut self, dir: &'a std::path::Path) -> Self {
        self.dir = Some(dir);
        self
    }

    fn run(self) -> Ran {
        let empty = tempfile::tempdir().unwrap();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let pairs = self.environment.iter();
        let mut process = Process {
            environment: pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            working_dir: self.dir.unwrap_or(empty.path()).to_owned(),
            stdin: Box::new(std::io::Cursor::new(self.stdin.to_vec())),
            stdout: &mut stdout,
            stderr: &mut stderr,
            terminal: Terminal::default(),
            has_hung_up: || false,
        };
        let arguments = ["fanfare"].iter().chain(self.arguments);
        let exit = run(
            arguments.map(OsString::from),
            &mut process,
            |_config, _shutdown, _listening| async { Err("no broker in tests".into()) },
        );
        Ran {
            exit,
            stdout,
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }
}

fn ran(arguments: &[&str]) -> Ran {
    Line::new(arguments).run()
}
