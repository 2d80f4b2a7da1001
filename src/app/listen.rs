//! Sockets that are listened on, and how many connections the process can hold.

use std::io;
use std::net::{SocketAddr, TcpListener};

/// Descriptors that are not for sessions: listeners, files, plain HTTP.
const RESERVED_DESCRIPTORS: usize = 512;

/// Listens on an address; port 0 takes any that is free.
///
/// # Errors
/// What the system says.
pub fn listen(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart finds its own old connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// How many sessions there may be: as configured, else as the descriptors allow. The soft limit on
/// descriptors is raised to the hard one first: it is low for the sake of programs that use select.
pub fn max_connections(configured: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit on descriptors stays as it is");
    }
    if configured > 0 {
        return configured;
    }
    let descriptors = getrlimit(Resource::Nofile)
        .current
        .map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
    descriptors.saturating_sub(RESERVED_DESCRIPTORS).max(16)
}

/// What the system says, and what would do.
pub fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there; stop it, or set server.listen to another port".into()
        }
        io::ErrorKind::PermissionDenied => {
            "this user may not; choose a port above 1023, or give the process CAP_NET_BIND_SERVICE"
                .into()
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have that address; check server.listen".into()
        }
        _ => error.to_string(),
    }
}
