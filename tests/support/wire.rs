//! A WebSocket of which every byte is the test's.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{PATIENCE, packed, unpacked};

pub const CONTINUE: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// FIN.
const LAST: u8 = 0x80;

pub struct Wire {
    pub stream: TcpStream,
    /// What the handshake was answered.
    pub head: String,
    read: Vec<u8>,
}

/// The start of a masked frame: everything but the payload. The mask is zero.
pub fn header(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..126 => bytes.push(0x80 | length as u8),
        126..0x1_0000 => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0xff);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

/// A whole masked frame.
pub fn frame(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut bytes = header(LAST | opcode, payload.len() as u64);
    bytes.extend_from_slice(payload);
    bytes
}

/// What a close frame carries.
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

impl Wire {
    /// Opens a WebSocket; `more` are header lines that end in CRLF.
    #[track_caller]
    pub fn open(address: SocketAddr, path: &str, more: &str) -> Self {
        Self::over(TcpStream::connect(address).unwrap(), path, more)
    }

    /// The same with a receive buffer as small as the system allows.
    #[track_caller]
    pub fn narrow(address: SocketAddr, path: &str) -> Self {
        Self::narrow_with(address, path, "")
    }

    /// The same; `more` are header lines that end in CRLF.
    #[track_caller]
    pub fn narrow_with(address: SocketAddr, path: &str, more: &str) -> Self {
        Self::over(narrow(address), path, more)
    }

    /// The same on a connection that was opened before.
    #[track_caller]
    pub fn over(stream: TcpStream, path: &str, more: &str) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut wire = Self {
            stream,
            head: String::new(),
            read: Vec::new(),
        };
        let host = wire.stream.peer_addr().unwrap();
        wire.send(format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        ));
        let head = wire.until(|read| {
            let end = read.windows(4).position(|four| four == b"\r\n\r\n")?;
            Some(end + 4)
        });
        let head = String::from_utf8(head.expect("an answer")).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        // The key and its proof are those of RFC 6455 §1.3.
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        wire.head = head;
        wire
    }

    /// A session with `/ws`, whose welcome was read.
    #[track_caller]
    pub fn welcomed(mut self) -> Self {
        assert_eq!(self.json()["type"], "welcome");
        self
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    pub fn send_json(&mut self, value: &Value) {
        self.send(frame(TEXT, value.to_string()));
    }

    /// The next frame: its opcode and payload; `None` at the end of the connection.
    pub fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (first, payload) = self.frame_as_it_is()?;
        assert_eq!(first & 0xf0, LAST, "one whole frame");
        Some((first & 0x0f, payload))
    }

    /// The same with the whole first byte, for frames that may be compressed.
    pub fn frame_as_it_is(&mut self) -> Option<(u8, Vec<u8>)> {
        let bytes = self.until(whole_frame)?;
        let start = match bytes[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        Some((bytes[0], bytes[start..].to_vec()))
    }

    /// The next frame, which is JSON.
    #[track_caller]
    pub fn json(&mut self) -> Value {
        let (opcode, payload) = self.frame().expect("a frame");
        assert_eq!(opcode, TEXT);
        serde_json::from_slice(&payload).unwrap()
    }

    /// The next frame, in whichever encoding it came; `None` where it is a close frame.
    #[track_caller]
    pub fn value(&mut self) -> Option<Value> {
        let (opcode, payload) = self.frame().expect("a frame");
        match opcode {
            TEXT => Some(serde_json::from_slice(&payload).unwrap()),
            BINARY => Some(unpacked(&rmpv::decode::read_value(&mut &*payload).unwrap())),
            _ => {
                assert_eq!(opcode, CLOSE);
                None
            }
        }
    }

    /// Sends a frame in that encoding: [`TEXT`] for JSON, [`BINARY`] for MessagePack.
    pub fn send_as(&mut self, opcode: u8, value: &Value) {
        if opcode == TEXT {
            return self.send_json(value);
        }
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, &packed(value)).unwrap();
        self.send(frame(BINARY, bytes));
    }

    /// Reads up to the close frame, and expects that code.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) -> String {
        loop {
            let (opcode, payload) = self.frame().expect("a close frame");
            if opcode != CLOSE {
                continue;
            }
            let (found, reason) = payload.split_first_chunk::<2>().expect("a code");
            let reason = String::from_utf8(reason.to_vec()).unwrap();
            assert_eq!(u16::from_be_bytes(*found), code, "{reason}");
            return reason;
        }
    }

    /// Reads to the end of what the server sends, and tells how long that took.
    #[track_caller]
    pub fn expect_end(&mut self) -> Duration {
        let started = Instant::now();
        while self.frame().is_some() {}
        started.elapsed()
    }

    /// Waits until the connection is wholly gone: what is sent is answered by a reset.
    #[track_caller]
    pub fn expect_gone(&mut self) -> Duration {
        let started = Instant::now();
        self.stream
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        super::eventually("the connection is gone", || {
            if self.stream.write_all(&frame(PONG, "")).is_err() {
                return true;
            }
            let mut piece = [0; 4096];
            matches!(self.stream.read(&mut piece), Err(e) if e.kind() != ErrorKind::WouldBlock)
        });
        started.elapsed()
    }

    /// Ends the sending side.
    pub fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the connection by a reset.
    pub fn reset(self) {
        use rustix::net::sockopt::set_socket_linger;
        set_socket_linger(&self.stream, Some(Duration::ZERO)).unwrap();
    }

    /// Reads until there is a piece of that length.
    fn until(&mut self, piece: impl Fn(&[u8]) -> Option<usize>) -> Option<Vec<u8>> {
        let mut buffer = [0; 8192];
        loop {
            if let Some(end) = piece(&self.read) {
                return Some(self.read.drain(..end).collect());
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(n) => self.read.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return None,
                Err(e) => panic!("{e} instead of bytes"),
            }
        }
    }
}

/// A connection with a receive buffer as small as the system allows.
pub fn narrow(address: SocketAddr) -> TcpStream {
    use rustix::net::{
        AddressFamily, SocketType, connect, socket, sockopt::set_socket_recv_buffer_size,
    };
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    set_socket_recv_buffer_size(&socket, 4096).unwrap();
    connect(&socket, &address).unwrap();
    TcpStream::from(socket)
}

/// The length of the first frame, once it is whole.
fn whole_frame(read: &[u8]) -> Option<usize> {
    let (&[_, second], rest) = read.split_first_chunk::<2>()?;
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let end = match second {
        126 => 4 + usize::from(u16::from_be_bytes(*rest.first_chunk::<2>()?)),
        127 => 10 + usize::try_from(u64::from_be_bytes(*rest.first_chunk::<8>()?)).unwrap(),
        short => 2 + usize::from(short),
    };
    (read.len() >= end).then_some(end)
}
