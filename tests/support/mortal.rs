//! Connections to a broker that may be killed at any moment: whatever is asked of one then is `None`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::wire::header;
use super::{Answer, PATIENCE, TEXT};

/// A connection, of whichever protocol.
pub struct Mortal {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    host: SocketAddr,
    /// Of answers to lines, what is there of them.
    answered: std::collections::VecDeque<u8>,
}

/// An event of a stream.
#[derive(Debug, Default)]
pub struct Told {
    pub id: Option<String>,
    pub name: Option<String>,
    pub data: Value,
}

impl Mortal {
    pub fn connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.set_write_timeout(Some(PATIENCE)).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self {
            reader: BufReader::with_capacity(64 * 1024, stream.try_clone().ok()?),
            stream,
            host: address,
            answered: std::collections::VecDeque::new(),
        })
    }

    /// A session that has its welcome.
    pub fn session(address: SocketAddr) -> Option<Self> {
        let mut mortal = Self::connect(address)?;
        let host = mortal.host;
        mortal.send(format!(
            "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ))?;
        mortal.expect(101)?;
        let welcome = mortal.frame()?;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        Some(mortal)
    }

    /// An event stream that goes on from that id.
    pub fn events(address: SocketAddr, query: &str, last: Option<&str>) -> Option<Self> {
        let mut mortal = Self::connect(address)?;
        let host = mortal.host;
        let last = last.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        mortal.send(format!(
            "GET /sse?{query} HTTP/1.1\r\nHost: {host}\r\n{last}\r\n"
        ))?;
        mortal.expect(200)?;
        Some(mortal)
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Option<()> {
        self.stream.write_all(bytes.as_ref()).ok()
    }

    /// Sends a frame of a session.
    pub fn tell(&mut self, frame: &Value) -> Option<()> {
        let text = frame.to_string();
        let mut bytes = header(0x80 | TEXT, text.len() as u64);
        bytes.extend_from_slice(text.as_bytes());
        self.send(bytes)
    }

    /// The next frame that is no ping.
    pub fn frame(&mut self) -> Option<Value> {
        loop {
            let (opcode, payload) = self.any_frame()?;
            match opcode {
                TEXT => return Some(serde_json::from_slice(&payload).unwrap()),
                super::CLOSE => return None,
                _ => {}
            }
        }
    }

    /// The answer with that `id`; what comes before it is given to `other`.
    pub fn answer(&mut self, id: u64, mut other: impl FnMut(Value)) -> Option<Value> {
        loop {
            let frame = self.frame()?;
            if frame["id"] == id {
                return Some(frame);
            }
            other(frame);
        }
    }

    /// Sends a request on a connection that is kept; `more` are header lines that end in CRLF.
    pub fn send_request(&mut self, method: &str, path: &str, more: &str, body: &str) -> Option<()> {
        let (host, length) = (self.host, body.len());
        self.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n{more}\r\n{body}"
        ))
    }

    /// The same, and its answer.
    pub fn ask(&mut self, method: &str, path: &str, more: &str, body: &str) -> Option<Answer> {
        self.send_request(method, path, more, body)?;
        let (status, headers) = self.head()?;
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        let length = answer.header("content-length")?.parse().unwrap();
        answer.body = vec![0; length];
        self.reader.read_exact(&mut answer.body).ok()?;
        Some(answer)
    }

    /// Begins to publish lines, of which each is sent by [`line`](Self::line).
    pub fn lines(address: SocketAddr) -> Option<Self> {
        let mut mortal = Self::connect(address)?;
        let host = mortal.host;
        mortal.send(format!(
            "POST /v1/publish HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-ndjson\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        ))?;
        Some(mortal)
    }

    /// Sends lines, as one chunk.
    pub fn line(&mut self, text: &str) -> Option<()> {
        self.send(format!("{:x}\r\n{text}\r\n", text.len()))
    }

    /// Reads a head that says this, or that the broker is about to go.
    #[track_caller]
    pub fn expect(&mut self, wanted: u16) -> Option<()> {
        let (status, _) = self.head()?;
        if status == 503 {
            return None;
        }
        assert_eq!(status, wanted);
        Some(())
    }

    /// The head of the answer to what was asked.
    pub fn head(&mut self) -> Option<(u16, Vec<(String, String)>)> {
        let status = self.text_line()?;
        let status = status.split(' ').nth(1)?.parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.text_line()?;
            if line.is_empty() {
                return Some((status, headers));
            }
            let (name, value) = line.split_once(':')?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The next answer to a line, after the head.
    pub fn answered_line(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.answered.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.answered.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let size = self.text_line()?;
            let size = usize::from_str_radix(&size, 16).ok()?;
            if size == 0 {
                return None;
            }
            let mut chunk = vec![0; size + 2];
            self.reader.read_exact(&mut chunk).ok()?;
            self.answered.extend(&chunk[..size]);
        }
    }

    /// The next event of a stream.
    pub fn event(&mut self) -> Option<Told> {
        let mut told = Told::default();
        loop {
            let line = self.text_line()?;
            match line.split_once(": ") {
                _ if line.is_empty() => return Some(told),
                Some(("id", id)) => told.id = Some(id.to_owned()),
                Some(("event", name)) => told.name = Some(name.to_owned()),
                Some(("data", data)) => told.data = serde_json::from_str(data).unwrap(),
                _ => {}
            }
        }
    }

    /// A whole line; half of one is none.
    fn text_line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line).ok()?;
        let line = line.strip_suffix('\n')?;
        Some(line.strip_suffix('\r').unwrap_or(line).to_owned())
    }

    fn any_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut start = [0; 2];
        self.reader.read_exact(&mut start).ok()?;
        let mut longer = [0; 8];
        let length = match start[1] {
            126 => {
                self.reader.read_exact(&mut longer[6..]).ok()?;
                u64::from_be_bytes(longer)
            }
            127 => {
                self.reader.read_exact(&mut longer).ok()?;
                u64::from_be_bytes(longer)
            }
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.reader.read_exact(&mut payload).ok()?;
        Some((start[0] & 0x0f, payload))
    }
}
