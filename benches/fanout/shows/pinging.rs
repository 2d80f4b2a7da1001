//! The bare loop of heartbeats: a server that accepts handshakes, pings whom it has not heard for as long as the broker
//! would, and reads the pongs. Nothing else: who does not answer stays.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use fanfare::bench::connect::head_end;
use fanfare::bench::poll::{Poll, Ready};
use tungstenite::handshake::derive_accept_key;

const LISTENER: usize = usize::MAX;
/// An empty ping (RFC 6455 §5.5.2).
const PING: [u8; 2] = [0x89, 0];
/// The broker's timer is no finer.
const TICK: Duration = Duration::from_millis(1);

struct Session {
    stream: TcpStream,
    /// The request, until it is answered.
    asked: Option<Vec<u8>>,
    /// Silence after which it is pinged: a part of the interval that is its own.
    patience: Duration,
}

/// Serves until it is killed.
pub fn serve(port: u16, interval: Duration) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    rustix::net::listen(&listener, 4096)?;
    listener.set_nonblocking(true)?;
    let mut poll = Poll::new()?;
    poll.add(&listener, LISTENER)?;
    let mut sessions: Vec<Option<Session>> = Vec::new();
    let mut due: BinaryHeap<Reverse<(Instant, usize)>> = BinaryHeap::new();
    let mut ready: Vec<Ready> = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let next = due.peek().map(|Reverse((when, _))| *when);
        let wait = next.map(|when| when.saturating_duration_since(Instant::now()).max(TICK));
        poll.wait(&mut ready, wait)?;
        let now = Instant::now();
        for event in &ready {
            if event.token == LISTENER {
                accept(&listener, &poll, &mut sessions, interval)?;
                continue;
            }
            let Some(session) = &mut sessions[event.token] else {
                continue;
            };
            if !session.read(&mut buffer)? {
                sessions[event.token] = None;
            } else if session.asked.is_none() {
                due.push(Reverse((now + session.patience, event.token)));
            }
        }
        while let Some(Reverse((when, token))) = due.peek().copied()
            && when <= now
        {
            due.pop();
            if let Some(session) = &mut sessions[token] {
                // An error shows when the socket is read. Its pong sets the next time.
                let _ = session.stream.write(&PING);
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    sessions: &mut Vec<Option<Session>>,
    interval: Duration,
) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let number = sessions.len();
        poll.add(&stream, number)?;
        // Spread over a quarter of the interval, as the broker spreads them.
        let spread = f64::from((number as u32).wrapping_mul(0x9e37_79b9)) / f64::from(u32::MAX);
        sessions.push(Some(Session {
            stream,
            asked: Some(Vec::new()),
            patience: interval.mul_f64(1.0 - spread / 4.0),
        }));
    }
}

impl Session {
    /// Reads once. False: the session is over.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let read = match self.stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => &buffer[..count],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(_) => return Ok(false),
        };
        let Some(asked) = &mut self.asked else {
            // Whatever it says is a sign of life.
            return Ok(true);
        };
        asked.extend_from_slice(read);
        if head_end(asked).is_none() {
            return Ok(true);
        }
        let head = String::from_utf8_lossy(asked);
        let key = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-key")
                .then(|| value.trim().to_owned())
        });
        self.asked = None;
        let Some(key) = key else {
            self.stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
            return Ok(false);
        };
        let accept = derive_accept_key(key.as_bytes());
        write!(
            self.stream,
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-accept: {accept}\r\n\r\n"
        )?;
        Ok(true)
    }
}
