//! The server under test: a child of its own on a core of its own, or one that runs already; and what the
//! kernel tells about a process.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::connect;

/// How long a server may take until it is ready.
const START: Duration = Duration::from_secs(10);
/// The kernel counts CPU time for user space in hundredths of a second on every machine.
const TICKS: f64 = 100.0;

/// Which server a round measures.
#[derive(Clone, Debug)]
pub enum Kind {
    /// The bare write loop: this program again, with another command.
    Bare {
        /// The bytes of a message's frame beside topic and data.
        envelope: usize,
    },
    /// The broker that was built beside this program.
    Broker,
    /// A server that runs already.
    Running {
        /// Where it listens, and the path of its WebSocket endpoint.
        address: SocketAddr,
        /// The path.
        path: String,
        /// Its process, if it is known.
        pid: Option<u32>,
    },
}

/// A server that is ready.
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// The path of its WebSocket endpoint.
    pub path: String,
    /// Its process, if it is known.
    pub pid: Option<u32>,
    child: Option<Child>,
}

impl Target {
    /// Starts a server of this kind for so many sessions, and waits until it is ready.
    pub fn start(kind: &Kind, sessions: usize) -> io::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let mut command = match kind {
            Kind::Running { address, path, pid } => {
                return Ok(Self {
                    address: *address,
                    path: path.clone(),
                    pid: *pid,
                    child: None,
                });
            }
            Kind::Bare { envelope } => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["bare", &port.to_string(), &envelope.to_string()]);
                command
            }
            Kind::Broker => broker(port, sessions),
        };
        // A directory without any configuration file, so that the defaults count.
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(directory)?;
        command
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = on_core(Core::Server, || command.spawn())?;
        let mut target = Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            path: "/ws".into(),
            pid: Some(child.id()),
            child: Some(child),
        };
        target.wait()?;
        Ok(target)
    }

    fn wait(&mut self) -> io::Result<()> {
        let start = Instant::now();
        while !connect::is_ready(self.address) {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                return Err(io::Error::other(format!("the server ended with {status}")));
            }
            if start.elapsed() > START {
                return Err(io::Error::other("the server was not ready in time"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The CPU time in seconds that the server took so far.
    pub fn cpu(&self) -> Option<f64> {
        cpu(&self.pid?.to_string())
    }

    /// The memory in bytes that the server has resident.
    pub fn memory(&self) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid?)).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0)
    }
}

impl Drop for Target {
    /// A round is over at once: no drain, no goodbye.
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn broker(port: u16, sessions: usize) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command
        .arg("serve")
        .env("FANFARE__SERVER__LISTEN", format!("127.0.0.1:{port}"))
        .env("FANFARE__SERVER__WORKERS", "1")
        .env(
            "FANFARE__SERVER__MAX_CONNECTIONS",
            (sessions + 64).to_string(),
        )
        .env("FANFARE__HEARTBEAT__INTERVAL", "0")
        .env("FANFARE__LOG__LEVEL", "warn");
    command
}

/// Takes `ws://HOST:PORT/PATH` apart; without a path it is `/ws`.
pub fn parse_url(url: &str) -> io::Result<(SocketAddr, String)> {
    let wrong = || io::Error::other(format!("{url}: not of the form ws://HOST:PORT/PATH"));
    let rest = url.strip_prefix("ws://").ok_or_else(wrong)?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, "ws"));
    let address = host.to_socket_addrs()?.next().ok_or_else(wrong)?;
    Ok((address, format!("/{path}")))
}

/// The CPU time in seconds that this process took so far.
pub fn own_cpu() -> f64 {
    cpu("self").unwrap_or_default()
}

fn cpu(process: &str) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which may hold anything, utime and stime are the twelfth and thirteenth.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}

/// Who has which core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Core {
    /// The first one.
    Server,
    /// The second one.
    Load,
}

/// Keeps this thread to a core. False: there are not two cores to part.
pub fn pin(core: Core) -> bool {
    // What was allowed when the program began, however this thread was pinned since.
    static ALLOWED: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
    let allowed = ALLOWED.get_or_init(|| {
        let set = sched_getaffinity(None).unwrap_or_default();
        (0..CpuSet::MAX_CPU)
            .filter(|core| set.is_set(*core))
            .collect()
    });
    let &[server, load, ..] = allowed.as_slice() else {
        return false;
    };
    let mut set = CpuSet::new();
    set.set(if core == Core::Server { server } else { load });
    sched_setaffinity(None, &set).is_ok()
}

/// Does something on a core; a process that is started there stays there.
fn on_core<T>(core: Core, act: impl FnOnce() -> T) -> T {
    pin(core);
    let result = act();
    pin(Core::Load);
    result
}

/// Allows this process, and those that it starts, as many descriptors as the system lets it.
pub fn raise_descriptors() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}
