//! The bare write loop: the yardstick. A server that accepts handshakes and, for each publish, writes one
//! ready frame to each subscriber's socket; what was read in one go leaves in one write. It has no limits,
//! no protocol and no faults but the kernel's, and trusts whoever connects.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use tungstenite::handshake::derive_accept_key;

use fanfare::bench::events;
use fanfare::bench::frames;
use fanfare::bench::message;
use fanfare::bench::poll::{Poll, Ready};

const LISTENER: usize = usize::MAX;

/// A client's connection.
struct Session {
    stream: TcpStream,
    open: bool,
    /// What was read of a request or frame that is not whole yet.
    partial: Vec<u8>,
    /// What the socket did not take.
    backlog: Vec<u8>,
}

#[derive(Default)]
struct Topic {
    name: Vec<u8>,
    subscribers: Vec<usize>,
    /// Whether they get events rather than frames.
    is_events: bool,
    /// The frames of this turn.
    pending: Vec<u8>,
}

struct Bare {
    poll: Poll,
    envelope: usize,
    /// A place stays empty when its session ends; nobody comes for it in the life of a round.
    sessions: Vec<Option<Session>>,
    topics: Vec<Topic>,
    names: HashMap<Vec<u8>, usize>,
    /// The topics that have something pending.
    due: Vec<usize>,
    buffer: Vec<u8>,
}

/// Serves until it is killed, with message frames of `envelope` bytes beside topic and data.
pub fn serve(port: u16, envelope: usize) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    // The standard library's backlog of 128 is short for thousands that come at once.
    rustix::net::listen(&listener, 4096)?;
    listener.set_nonblocking(true)?;
    let mut bare = Bare {
        poll: Poll::new()?,
        envelope,
        sessions: Vec::new(),
        topics: Vec::new(),
        names: HashMap::new(),
        due: Vec::new(),
        buffer: vec![0; 256 * 1024],
    };
    bare.poll.add(&listener, LISTENER)?;
    let mut ready = Vec::new();
    loop {
        bare.poll.wait(&mut ready, None)?;
        for event in &ready {
            if event.token == LISTENER {
                bare.accept(&listener)?;
            } else {
                bare.turn(*event)?;
            }
        }
        bare.flush()?;
    }
}

impl Bare {
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            self.poll.add(&stream, self.sessions.len())?;
            let (partial, backlog) = (Vec::new(), Vec::new());
            self.sessions.push(Some(Session {
                stream,
                open: false,
                partial,
                backlog,
            }));
        }
    }

    /// What one socket is ready for. A session that breaks is dropped, as its client wanted.
    fn turn(&mut self, event: Ready) -> io::Result<()> {
        let Some(session) = &mut self.sessions[event.token] else {
            return Ok(());
        };
        if event.writable {
            send_backlog(&self.poll, session, event.token)?;
        }
        if event.readable && !self.read(event.token)? {
            self.sessions[event.token] = None;
        }
        Ok(())
    }

    /// Reads once. False: the session is over.
    fn read(&mut self, token: usize) -> io::Result<bool> {
        let Some(session) = &mut self.sessions[token] else {
            return Ok(false);
        };
        let held = session.partial.len();
        if self.buffer.len() < held + 65536 {
            self.buffer.resize(held + 65536, 0);
        }
        let end = match session.stream.read(&mut self.buffer[held..]) {
            Ok(0) => return Ok(false),
            Ok(count) => held + count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(_) => return Ok(false),
        };
        self.buffer[..held].copy_from_slice(&session.partial);
        session.partial.clear();

        let mut buffer = std::mem::take(&mut self.buffer);
        let used = if session.open {
            self.walk(&mut buffer[..end])
        } else {
            self.shake_hands(token, &buffer[..end])?
        };
        if let (Some(used), Some(session)) = (used, &mut self.sessions[token]) {
            session.partial.extend_from_slice(&buffer[used..end]);
        }
        self.buffer = buffer;
        Ok(used.is_some())
    }

    /// Takes the publishes out of what was read; returns how far the whole frames went, or none at a
    /// close frame or an error.
    fn walk(&mut self, bytes: &mut [u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(frame) = frames::next(bytes, at).ok()? {
            frames::unmask(bytes, frame);
            at = frame.end;
            if frame.opcode == frames::CLOSE {
                return None;
            }
            let Some((name, data)) = message::read_publish(&bytes[frame.start..frame.end]) else {
                continue;
            };
            let Some(&index) = self.names.get(name) else {
                continue;
            };
            let topic = &mut self.topics[index];
            if topic.pending.is_empty() {
                self.due.push(index);
            }
            let put = if topic.is_events {
                events::put_message
            } else {
                message::put_message
            };
            put(&mut topic.pending, &topic.name, data, self.envelope);
        }
        Some(at)
    }

    /// Answers a request once it is whole: the handshake, or the question whether the server is ready.
    fn shake_hands(&mut self, token: usize, bytes: &[u8]) -> io::Result<Option<usize>> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(Some(0));
        };
        let Some(session) = &mut self.sessions[token] else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(&bytes[..end]);
        let key = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-key")
                .then(|| value.trim())
        });
        let target = head.split(' ').nth(1).unwrap_or_default();
        let is_events = target.starts_with(events::PATH);
        let answer = if let Some(key) = key {
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                 sec-websocket-accept: {}\r\n\r\n",
                derive_accept_key(key.as_bytes())
            )
        } else if is_events {
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n".into()
        } else {
            // The connection is fresh, so its socket has room for a short answer.
            session
                .stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
            return Ok(None);
        };
        session.stream.write_all(answer.as_bytes())?;
        session.open = true;
        if let Some((_, name)) = target.split_once("?topic=") {
            let index = *self.names.entry(name.into()).or_insert_with(|| {
                self.topics.push(Topic {
                    name: name.into(),
                    is_events,
                    ..Topic::default()
                });
                self.topics.len() - 1
            });
            self.topics[index].subscribers.push(token);
        }
        Ok(Some(end + 4))
    }

    /// Writes what is pending to whom it concerns: one write each.
    fn flush(&mut self) -> io::Result<()> {
        for index in self.due.drain(..) {
            let topic = &mut self.topics[index];
            for token in &topic.subscribers {
                let Some(session) = &mut self.sessions[*token] else {
                    continue;
                };
                let written = if session.backlog.is_empty() {
                    // An error shows when the socket is read.
                    session.stream.write(&topic.pending).unwrap_or(0)
                } else {
                    0
                };
                if written < topic.pending.len() {
                    if session.backlog.is_empty() {
                        self.poll.set_writing(&session.stream, *token, true)?;
                    }
                    session.backlog.extend_from_slice(&topic.pending[written..]);
                }
            }
            topic.pending.clear();
        }
        Ok(())
    }
}

fn send_backlog(poll: &Poll, session: &mut Session, token: usize) -> io::Result<()> {
    let written = session.stream.write(&session.backlog).unwrap_or(0);
    session.backlog.drain(..written);
    if session.backlog.is_empty() {
        session.backlog = Vec::new();
        poll.set_writing(&session.stream, token, false)?;
    }
    Ok(())
}
