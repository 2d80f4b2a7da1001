//! Sockets to the server, and the heads of HTTP answers on them.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tungstenite::handshake::derive_accept_key;

/// How many sockets share a source address. An address has about 28,000 ports to give.
const PER_ADDRESS: usize = 4000;
/// How long an answer may take, where one waits for it.
const PATIENCE: Duration = Duration::from_secs(10);
/// The key of every WebSocket handshake. It is no secret, and proves that the server speaks WebSocket.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The longest answer that is read.
const LONGEST: u64 = 16 << 20;
const HEAD_END: &[u8] = b"\r\n\r\n";

/// A socket that is being connected, or is already: it is when it can be written. On a loopback device
/// every few thousand of them have a source address of their own, by their number, and all are reset rather
/// than closed in the end, so that no round leaves the ports used up.
///
/// # Errors
/// The system has no socket, descriptor or port to give, or refuses at once.
pub fn begin(address: SocketAddr, number: usize) -> io::Result<TcpStream> {
    open(
        address,
        number,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
    )
}

fn open(address: SocketAddr, number: usize, flags: SocketFlags) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    if address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) {
        let source = Ipv4Addr::new(127, 0, 0, 2 + (number / PER_ADDRESS) as u8);
        rustix::net::bind(&socket, &SocketAddrV4::new(source, 0))?;
    }
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}

/// Has the kernel acknowledge late what comes. Otherwise every read sends an acknowledgement, which costs
/// the load more than the reading, and a server on this machine a part of it.
///
/// # Errors
/// The socket is no more.
pub fn acknowledge_late(stream: &TcpStream) -> io::Result<()> {
    Ok(sockopt::set_tcp_quickack(stream, false)?)
}

/// The headers with which a request becomes a WebSocket.
pub fn websocket_headers() -> String {
    format!(
        "Upgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
    )
}

/// Whether the head of an answer opens a WebSocket that was asked for with [`websocket_headers`].
pub fn is_websocket(head: &str) -> bool {
    is_status(head, "101") && head.contains(&derive_accept_key(KEY.as_bytes()))
}

/// Whether an answer's head has this status.
pub fn is_status(head: &str, status: &str) -> bool {
    head.split(' ').nth(1) == Some(status)
}

/// Where the head that these bytes begin with ends, if it is whole.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    let start = bytes
        .windows(HEAD_END.len())
        .position(|window| window == HEAD_END)?;
    Some(start + HEAD_END.len())
}

/// Asks for this path once and waits for the answer: its head, and its body.
///
/// # Errors
/// The server cannot be reached, or does not answer.
pub fn get(address: SocketAddr, path: &str, headers: &str) -> io::Result<(String, Vec<u8>)> {
    let mut stream = open(address, 0, SocketFlags::CLOEXEC)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n"
    )?;
    let mut bytes = Vec::new();
    stream.take(LONGEST).read_to_end(&mut bytes)?;
    let end = head_end(&bytes)
        .ok_or_else(|| io::Error::other("the server closed before it had answered"))?;
    let body = bytes.split_off(end);
    Ok((String::from_utf8_lossy(&bytes).into_owned(), body))
}
