//! A reader of event streams.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::PATIENCE;

/// An event stream.
pub struct Events {
    pub head: String,
    opened: Vec<Event>,
    reader: BufReader<TcpStream>,
}

/// What stands between two empty lines.
#[derive(Debug, Default)]
pub struct Event {
    pub id: Option<String>,
    pub name: Option<String>,
    pub data: Value,
    /// Comments and other fields, as they stand.
    pub other: Vec<String>,
}

impl Events {
    /// Opens a stream, and reads up to the id that it opens with.
    #[track_caller]
    pub fn open(address: SocketAddr, query: &str, headers: &[(&str, &str)]) -> Self {
        let mut events = Self::raw(TcpStream::connect(address).unwrap(), query, headers);
        events.opened = events.until_id();
        events
    }

    /// Opens a stream over that connection, and reads only the head of its answer.
    #[track_caller]
    pub fn raw(mut stream: TcpStream, query: &str, headers: &[(&str, &str)]) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let host = stream.peer_addr().unwrap();
        let mut request = format!("GET /sse?{query} HTTP/1.1\r\nHost: {host}\r\n");
        for (name, value) in headers {
            request = request + name + ": " + value + "\r\n";
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        Self {
            head: head.to_ascii_lowercase(),
            opened: Vec::new(),
            reader,
        }
    }

    /// What came before the id that the stream opens with: gaps. The id itself is the last.
    fn until_id(&mut self) -> Vec<Event> {
        let first = self.next().expect("a first block");
        let retry = first
            .other
            .first()
            .and_then(|line| line.strip_prefix("retry: "));
        let retry: u64 = retry.expect("a retry").parse().unwrap();
        assert!((2000..=3000).contains(&retry), "{retry}");
        let mut opened = Vec::new();
        loop {
            let event = self.next().expect("a block");
            let is_last = event.name.is_none() && event.id.is_some();
            opened.push(event);
            if is_last {
                return opened;
            }
        }
    }

    /// The id that the stream opened with.
    pub fn first_id(&self) -> &str {
        self.opened.last().and_then(|e| e.id.as_deref()).unwrap()
    }

    /// The gaps that it was told of on opening.
    pub fn gaps(&self) -> Vec<&Value> {
        let named = self.opened.iter().filter(|e| e.name.is_some());
        named
            .inspect(|event| assert_eq!(event.name.as_deref(), Some("gap")))
            .map(|event| &event.data)
            .collect()
    }

    /// The next event or comment; `None` at the end of the stream.
    pub fn next(&mut self) -> Option<Event> {
        let mut event = Event::default();
        loop {
            let mut line = String::new();
            // A connection that is reset is over as well.
            if self.reader.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            // Half a line is one that was cut off.
            let line = line.strip_suffix('\n')?;
            if line.is_empty() {
                return Some(event);
            }
            match line.split_once(": ") {
                Some(("id", id)) => event.id = Some(id.to_owned()),
                Some(("event", name)) => event.name = Some(name.to_owned()),
                Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                _ => event.other.push(line.to_owned()),
            }
        }
    }

    /// The next event that is no comment.
    #[track_caller]
    pub fn expect(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().expect("an event");
            if event.name.is_some() {
                assert_eq!(event.name.as_deref(), Some(name), "{event:?}");
                return event;
            }
        }
    }
}

/// The body of a whole chunked answer; `None` where it is not whole.
pub fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let length = std::str::from_utf8(&rest[..end]).ok()?;
        let length = usize::from_str_radix(length, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + length)?);
        rest = rest.get(end + 4 + length..)?;
    }
}
