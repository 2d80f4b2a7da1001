//! The servers: how each is started, and what it is called.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fanfare::bench::process;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::cores::{Core, on_core};
use crate::dialects::pusher_app;

/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(15);
/// How long it may take to be itself once it listens.
const SETTLE: Duration = Duration::from_millis(300);

/// A server that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    Bare,
    Fanfare,
    Uws,
    Nchan,
    Ws,
    Sockudo,
    Mosquitto,
    Nats,
}

const ALL: [Server; 8] = [
    Server::Fanfare,
    Server::Bare,
    Server::Uws,
    Server::Nchan,
    Server::Ws,
    Server::Sockudo,
    Server::Mosquitto,
    Server::Nats,
];

impl Server {
    /// How it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Fanfare => "fanfare",
            Self::Uws => "uws",
            Self::Nchan => "nchan",
            Self::Ws => "ws",
            Self::Sockudo => "sockudo",
            Self::Mosquitto => "mosquitto",
            Self::Nats => "nats",
        }
    }
}

/// Where the peers are, and which.
pub struct Place {
    peers: PathBuf,
    /// What is installed, and in which version.
    versions: HashMap<String, String>,
    /// Where servers put what they write.
    scratch: PathBuf,
}

/// A server that runs, until it is dropped.
pub struct Running {
    pub address: SocketAddr,
    child: Child,
}

impl Place {
    /// Reads what `benches/compare/run` says it installed there.
    pub fn new(peers: PathBuf) -> io::Result<Self> {
        let peers = fs::canonicalize(peers)?;
        let text = fs::read_to_string(peers.join("versions.txt"))?;
        let versions = text.lines().filter_map(|line| {
            let (name, version) = line.split_once(' ')?;
            Some((name.to_owned(), version.to_owned()))
        });
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compare");
        fs::create_dir_all(&scratch)?;
        Ok(Self {
            versions: versions.collect(),
            scratch,
            peers,
        })
    }

    /// The servers that are there.
    pub fn servers(&self) -> Vec<Server> {
        let is_there = |server: &Server| {
            matches!(server, Server::Bare | Server::Fanfare)
                || self.versions.contains_key(server.name())
        };
        ALL.into_iter().filter(is_there).collect()
    }

    /// What people call it, with its version.
    pub fn title(&self, server: Server) -> String {
        let version = self.versions.get(server.name()).map_or("", String::as_str);
        match server {
            Server::Bare => "bare write loop".into(),
            Server::Fanfare => format!("Fanfare {}", env!("CARGO_PKG_VERSION")),
            Server::Uws => format!("uWebSockets {version}"),
            Server::Nchan => format!("Nchan {version}"),
            Server::Ws => format!("Node.js, `ws` {version}"),
            Server::Sockudo => format!("Sockudo {version}"),
            Server::Mosquitto => format!("Mosquitto {version} over WebSocket"),
            Server::Nats => format!("NATS {version} over WebSocket"),
        }
    }

    /// Starts a server on a core of its own, and waits until it listens.
    pub fn start(&self, server: Server, envelope: usize, sessions: usize) -> io::Result<Running> {
        let port = free_port()?;
        let mut command = self.command(server, port, envelope, sessions)?;
        let log = fs::File::create(self.scratch.join(format!("{}.log", server.name())))?;
        command
            .current_dir(&self.scratch)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // So that all of its processes are ended together.
            .process_group(0);
        let child = on_core(Core::Server, || command.spawn())?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut running = Running { address, child };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = running.child.try_wait()? {
                return Err(io::Error::other(format!("it ended with {status}")));
            }
            if start.elapsed() > START {
                return Err(io::Error::other("it does not listen"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(SETTLE);
        Ok(running)
    }

    fn command(
        &self,
        server: Server,
        port: u16,
        envelope: usize,
        sessions: usize,
    ) -> io::Result<Command> {
        let most = sessions + 1100;
        let command = match server {
            Server::Bare => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["bare", &port.to_string(), &envelope.to_string()]);
                command
            }
            Server::Fanfare => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
                command
                    .arg("serve")
                    .args(["--listen", &format!("127.0.0.1:{port}")])
                    .args(["--log-level", "warn", "--set", "server.workers=1"])
                    .args(["--set", "heartbeat.interval=0"])
                    .args(["--set", &format!("server.max_connections={most}")]);
                command
            }
            Server::Uws => {
                let mut command = Command::new(self.peers.join("uws"));
                command.arg(port.to_string());
                command
            }
            Server::Ws => {
                let mut command = Command::new("node");
                command
                    .arg(self.peers.join("ws/ws.mjs"))
                    .arg(port.to_string());
                command
            }
            Server::Nchan => {
                let file = self.write("nginx.conf", &nginx(port, most, &self.scratch))?;
                let mut command = Command::new("/usr/sbin/nginx");
                command.arg("-c").arg(file).arg("-p").arg(&self.scratch);
                command
            }
            Server::Nats => {
                let text = format!(
                    "listen: \"127.0.0.1:{}\"\nmax_connections: {most}\n\
                     websocket {{ listen: \"127.0.0.1:{port}\", no_tls: true }}\n",
                    free_port()?
                );
                let file = self.write("nats.conf", &text)?;
                let mut command = Command::new("nats-server");
                command.arg("-c").arg(file).env("GOMAXPROCS", "1");
                command
            }
            Server::Mosquitto => {
                // It does not start with a listener for WebSockets alone.
                let text = format!(
                    "listener {} 127.0.0.1\nlistener {port} 127.0.0.1\nprotocol websockets\n\
                     allow_anonymous true\nset_tcp_nodelay true\nuser root\nlog_type error\n",
                    free_port()?
                );
                let file = self.write("mosquitto.conf", &text)?;
                let mut command = Command::new("mosquitto");
                command.arg("-c").arg(file);
                command
            }
            Server::Sockudo => {
                let file = self.write("sockudo.json", &pusher_app(port, free_port()?, most))?;
                let mut command = Command::new(self.peers.join("bin/sockudo"));
                command.arg("--config").arg(file).env("RUST_LOG", "warn");
                command
            }
        };
        Ok(command)
    }

    fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let file = self.scratch.join(name);
        fs::write(&file, text)?;
        Ok(file)
    }
}

impl Running {
    /// The memory in bytes that its processes have resident.
    pub fn memory(&self) -> Option<f64> {
        let mut total = process::memory(self.child.id())?;
        for entry in fs::read_dir("/proc").ok()?.flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // Behind the name, which may hold anything, the parent is the second.
            let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
            if fields.split_whitespace().nth(1) == Some(self.child.id().to_string().as_str()) {
                total += process::memory(pid).unwrap_or_default();
            }
        }
        Some(total)
    }
}

impl Drop for Running {
    /// A round is over at once: no drain, no goodbye.
    fn drop(&mut self) {
        if let Some(group) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

fn nginx(port: u16, most: usize, scratch: &Path) -> String {
    let scratch = scratch.display();
    format!(
        r"load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile {files};
pid {scratch}/nginx.pid;
error_log stderr error;
events {{ worker_connections {files}; }}
http {{
  access_log off;
  client_body_temp_path {scratch}/nginx-body;
  proxy_temp_path {scratch}/nginx-proxy;
  fastcgi_temp_path {scratch}/nginx-fastcgi;
  uwsgi_temp_path {scratch}/nginx-uwsgi;
  scgi_temp_path {scratch}/nginx-scgi;
  nchan_shared_memory_size 512M;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /sub {{
      nchan_subscriber websocket;
      nchan_channel_id $arg_topic;
      nchan_store_messages off;
      nchan_subscriber_first_message newest;
      nchan_websocket_ping_interval 0;
    }}
    location = /pub {{
      nchan_publisher websocket;
      nchan_channel_id $arg_topic;
      nchan_store_messages off;
    }}
  }}
}}
",
        files = 2 * most,
    )
}
