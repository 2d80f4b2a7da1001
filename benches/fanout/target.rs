//! The server under test: a child of its own on a core of its own, or one that runs already; and what the
//! kernel tells about a process.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::cores::{Core, on_core};

use fanfare::bench::connect::{self, is_status};
use fanfare::bench::process;

/// How long a server may take until it is ready.
const START: Duration = Duration::from_secs(10);

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
    /// The same with settings of its own, `KEY=VALUE`.
    Set(Vec<String>),
    /// The same, on the load's core too.
    Spread(Vec<String>),
    /// The same with this file of configuration.
    Configured {
        /// What is in the file.
        text: String,
        /// Where it runs.
        core: Core,
    },
    /// Another server of this program's: its command and what goes behind the port.
    Own(Vec<String>),
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
        // A directory without any configuration file, so that the defaults count.
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(directory)?;
        let mut core = Core::Server;
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
            Kind::Own(arguments) => {
                let mut command = Command::new(std::env::current_exe()?);
                let (name, rest) = arguments.split_first().expect("a command");
                command.arg(name).arg(port.to_string()).args(rest);
                command
            }
            Kind::Broker => broker(port, sessions),
            Kind::Set(settings) => broker_with(port, sessions, settings),
            Kind::Spread(settings) => {
                core = Core::Both;
                broker_with(port, sessions, settings)
            }
            Kind::Configured { text, core: given } => {
                core = *given;
                let file = directory.join(format!("fanout-{port}.toml"));
                fs::write(&file, text)?;
                let mut command = broker(port, sessions);
                command.arg("--config").arg(file);
                command
            }
        };
        command
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = on_core(core, || command.spawn())?;
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
        while !is_ready(self.address) {
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
        process::cpu(self.pid?)
    }

    /// The memory in bytes that the server has resident.
    pub fn memory(&self) -> Option<f64> {
        process::memory(self.pid?)
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

fn broker_with(port: u16, sessions: usize, settings: &[String]) -> Command {
    let mut command = broker(port, sessions);
    for setting in settings {
        command.args(["--set", setting]);
    }
    command
}

/// Whether the server says at /readyz that it is ready.
fn is_ready(address: SocketAddr) -> bool {
    connect::get(address, "/readyz", "").is_ok_and(|(head, _)| is_status(&head, "200"))
}

/// Takes `ws://HOST:PORT/PATH` apart; without a path it is `/ws`.
pub fn parse_url(url: &str) -> io::Result<(SocketAddr, String)> {
    let wrong = || io::Error::other(format!("{url}: not of the form ws://HOST:PORT/PATH"));
    let rest = url.strip_prefix("ws://").ok_or_else(wrong)?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, "ws"));
    let address = host.to_socket_addrs()?.next().ok_or_else(wrong)?;
    Ok((address, format!("/{path}")))
}
