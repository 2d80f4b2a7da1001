//! The program itself, as a child.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use super::{Http, eventually_some};

/// How many sessions a test of many has: so many, or as many as `FANFARE_TEST_SESSIONS` says.
pub fn sessions(unless_said: usize) -> usize {
    let many = std::env::var("FANFARE_TEST_SESSIONS");
    many.map_or(unless_said, |many| many.parse().expect("a number"))
}

/// Lets the test, and what it starts, have as many descriptors as the system allows: it holds as many
/// sockets as the broker does.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}

/// A running `fanfare serve`. Dropped, it is killed.
pub struct Process {
    pub address: SocketAddr,
    child: Child,
    log: Option<JoinHandle<String>>,
    /// Where it looks for configuration.
    home: tempfile::TempDir,
}

impl Process {
    /// Starts it on a free port with that configuration file.
    #[track_caller]
    pub fn start(toml: &str, arguments: &[&str]) -> Self {
        let program = Command::new(env!("CARGO_BIN_EXE_fanfare"));
        Self::spawn(program, toml, arguments)
    }

    /// The same under that environment; or what it told, where it does not start.
    #[track_caller]
    pub fn try_start_under(environment: &[(&str, String)], toml: &str) -> Result<Self, String> {
        let mut program = Command::new("/usr/bin/env");
        program.args(
            environment
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
        program.arg(env!("CARGO_BIN_EXE_fanfare"));
        Self::try_spawn(program, toml, &[])
    }

    /// The same with so many descriptors at most.
    #[track_caller]
    pub fn start_with_descriptors(descriptors: usize, toml: &str) -> Self {
        let mut program = Command::new("/bin/sh");
        let script = format!(r#"ulimit -n {descriptors} && exec "$0" "$@""#);
        program.args(["-c", &script, env!("CARGO_BIN_EXE_fanfare")]);
        Self::spawn(program, toml, &[])
    }

    #[track_caller]
    fn spawn(program: Command, toml: &str, arguments: &[&str]) -> Self {
        Self::try_spawn(program, toml, arguments).unwrap_or_else(|told| panic!("{told}"))
    }

    /// What it told, where it does not start.
    #[track_caller]
    fn try_spawn(mut program: Command, toml: &str, arguments: &[&str]) -> Result<Self, String> {
        let home = tempfile::tempdir().unwrap();
        let mut file = String::new();
        writeln!(file, "{toml}").unwrap();
        std::fs::write(home.path().join("test.toml"), file).unwrap();
        let mut child = program
            .args(["--config", "test.toml", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .current_dir(home.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let Some(url) = line.strip_prefix("Fanfare is at http://") else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{line}\n{}", log.join().unwrap()));
        };
        let process = Self {
            address: url.trim_end().trim_end_matches('/').parse().unwrap(),
            child,
            log: Some(log),
            home,
        };
        super::eventually("it is ready", || {
            let answer = Http::new(process.address, "GET", "/readyz").try_send();
            answer.is_some_and(|answer| answer.status == 200)
        });
        Ok(process)
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        let listed = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        listed.unwrap().count()
    }

    /// How much processor time it has used.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks =
            |place: usize| -> u64 { fields.split(' ').nth(place).unwrap().parse().unwrap() };
        Duration::from_millis((ticks(12) + ticks(13)) * 10)
    }

    /// A metric, or the sum of its series.
    pub fn metric(&self, name: &str) -> u64 {
        super::server::sum(&self.metrics(), name)
    }

    /// Waits until a metric has that value; it need not have any yet.
    #[track_caller]
    pub fn await_metric(&self, name: &str, value: u64) {
        super::eventually(&format!("{name} is {value}"), || {
            super::server::find(&self.metrics(), name) == Some(value)
        });
    }

    fn metrics(&self) -> String {
        Http::new(self.address, "GET", "/metrics").send().text()
    }

    /// Puts another configuration in the place of the one it was started with.
    pub fn rewrite(&self, toml: &str) {
        let next = self.home.path().join("next.toml");
        std::fs::write(&next, toml).unwrap();
        // Renamed, so that it never sees half of one.
        std::fs::rename(next, self.home.path().join("test.toml")).unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The memory that it has resident, in bytes.
    pub fn resident(&self) -> usize {
        self.memory("VmRSS:")
    }

    /// The most memory that it ever had resident, in bytes.
    pub fn peak(&self) -> usize {
        self.memory("VmHWM:")
    }

    fn memory(&self, which: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix(which)).unwrap();
        let kib: usize = line.split_whitespace().next().unwrap().parse().unwrap();
        kib * 1024
    }

    /// Ends it as a crash does, and gives what it logged.
    #[track_caller]
    pub fn crash(self) -> String {
        self.signal(Signal::KILL);
        self.await_end().1
    }

    /// Ends it as an operator does, and gives what it logged.
    #[track_caller]
    pub fn stop(self) -> String {
        self.signal(Signal::TERM);
        let (status, log) = self.await_end();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }

    /// Waits for its end; gives its status and what it logged.
    #[track_caller]
    pub fn await_end(mut self) -> (ExitStatus, String) {
        let child = &mut self.child;
        let status = eventually_some("the process ends", || child.try_wait().unwrap());
        let log = self.log.take().unwrap().join().unwrap();
        (status, log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
