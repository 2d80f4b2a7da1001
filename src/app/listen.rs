//! Sockets that are listened on, and how many connections the process can hold.

use std::io;
use std::net::{SocketAddr, TcpListener};

/// Descriptors that are not for sessions: listeners, files, plain HTTP.
const RESERVED_DESCRIPTORS: usize = 512;

/// A socket that is listened on.
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// Where it is, whatever port was asked for.
    pub address: SocketAddr,
}

impl Listener {
    /// Listens on an address; port 0 takes any that is free.
    ///
    /// # Errors
    /// What the system says.
    pub fn on(address: SocketAddr, backlog: u32) -> io::Result<Self> {
        let socket = listen(address, backlog)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }
}

fn listen(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
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
    // Where there are few, half of them: some are left for requests and handshakes.
    let half = descriptors / 2;
    descriptors.saturating_sub(RESERVED_DESCRIPTORS).max(half)
}

/// Why that address cannot be listened on, and what would do.
pub fn explain(error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "it is in use: end what listens there, or choose another port, as with --listen"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE: grant it, or choose a higher port"
        }
        io::ErrorKind::AddrNotAvailable => "no interface of this machine has that address",
        _ => return error.to_string(),
    };
    format!("{remedy} ({error})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_cannot_be_had_is_explained() {
        let taken = Listener::on("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let error = Listener::on(taken.address, 1).err().unwrap();
        assert!(explain(&error).contains("in use"), "{error}");
        for (kind, word) in [
            (io::ErrorKind::PermissionDenied, "CAP_NET_BIND_SERVICE"),
            (io::ErrorKind::AddrNotAvailable, "no interface"),
        ] {
            assert!(explain(&kind.into()).contains(word), "{kind}");
        }
    }
}
