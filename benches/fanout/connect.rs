//! Opens the sessions of the load: many sockets, each with a WebSocket handshake.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tungstenite::handshake::derive_accept_key;

use crate::events;

/// How many handshakes are under way at a time: fewer than any server's backlog.
const AT_ONCE: usize = 128;
/// How many sockets share a source address. An address has about 28,000 ports to give.
const PER_ADDRESS: usize = 4000;
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// An open session: its socket, still blocking, and what came behind the handshake.
pub type Opened = (TcpStream, Vec<u8>);

/// Opens one session for each path, in that order.
pub fn open(address: SocketAddr, paths: &[String]) -> io::Result<Vec<Opened>> {
    let accept = derive_accept_key(KEY.as_bytes());
    let mut opened = Vec::with_capacity(paths.len());
    for paths in paths.chunks(AT_ONCE) {
        let mut batch = Vec::with_capacity(paths.len());
        for path in paths {
            let mut stream = connect(address, opened.len() + batch.len())?;
            let asks = if is_events(path) {
                String::from("Accept: text/event-stream\r\n")
            } else {
                format!(
                    "Upgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
                )
            };
            write!(
                stream,
                "GET {path} HTTP/1.1\r\nHost: {address}\r\n{asks}\r\n"
            )?;
            batch.push((stream, path));
        }
        for (mut stream, path) in batch {
            let (head, rest) = read_head(&mut stream)?;
            let is_open = if is_events(path) {
                head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream")
            } else {
                head.starts_with("HTTP/1.1 101") && head.contains(&accept)
            };
            if !is_open {
                return Err(io::Error::other(format!(
                    "the server refused a session: {head}"
                )));
            }
            opened.push((stream, rest));
        }
    }
    Ok(opened)
}

fn is_events(path: &str) -> bool {
    path.starts_with(events::PATH)
}

/// Whether the server says at /readyz that it is ready.
pub fn is_ready(address: SocketAddr) -> bool {
    let ask = || -> io::Result<String> {
        let mut stream = connect(address, 0)?;
        write!(
            stream,
            "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )?;
        Ok(read_head(&mut stream)?.0)
    };
    ask().is_ok_and(|head| head.starts_with("HTTP/1.1 200"))
}

/// A connected socket. On a loopback device every few thousand of them have a source address of their
/// own, and all are reset rather than closed in the end, so that no round leaves the ports used up.
fn connect(address: SocketAddr, number: usize) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) {
        let source = Ipv4Addr::new(127, 0, 0, 2 + (number / PER_ADDRESS) as u8);
        rustix::net::bind(&socket, &SocketAddrV4::new(source, 0))?;
    }
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    rustix::net::connect(&socket, &address)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(stream)
}

/// Reads an HTTP head; returns it and what came behind it.
fn read_head(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece)? {
            0 => return Err(io::Error::other("the server closed before it had answered")),
            count => bytes.extend_from_slice(&piece[..count]),
        }
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
    }
}
