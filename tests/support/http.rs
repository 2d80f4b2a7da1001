//! HTTP, a request a connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::PATIENCE;

/// A request that is being put together.
#[must_use]
pub struct Http {
    address: SocketAddr,
    line: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    announced: bool,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Http {
    pub fn new(address: SocketAddr, method: &str, path: &str) -> Self {
        Self {
            address,
            line: format!("{method} {path} HTTP/1.1"),
            headers: Vec::new(),
            body: None,
            announced: true,
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With that API key.
    pub fn key(self, key: &str) -> Self {
        self.header("Authorization", &format!("Bearer {key}"))
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// A body of which no length is announced.
    pub fn body_as_it_is(self, body: impl Into<Vec<u8>>) -> Self {
        Self {
            announced: false,
            ..self.body(body)
        }
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json")
            .body(body.to_string())
    }

    #[track_caller]
    pub fn send(self) -> Answer {
        self.try_send().expect("an answer")
    }

    /// The answer, if there was one.
    pub fn try_send(mut self) -> Option<Answer> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let named = |name: &str| self.headers.iter().any(|(n, _)| n == name);
        let mut more = Vec::new();
        if !named("Host") {
            more.push(("Host".to_owned(), self.address.to_string()));
        }
        if !named("Connection") {
            more.push(("Connection".to_owned(), "close".to_owned()));
        }
        if let Some(body) = &self.body
            && self.announced
            && !named("Content-Length")
        {
            more.push(("Content-Length".to_owned(), body.len().to_string()));
        }
        self.headers.extend(more);
        let mut text = self.line;
        for (name, value) in self.headers {
            text = text + "\r\n" + &name + ": " + &value;
        }
        text.push_str("\r\n\r\n");
        stream.write_all(text.as_bytes()).ok()?;
        // A refused body may not be read to its end.
        let _ = stream.write_all(&self.body.unwrap_or_default());
        read_answer(&mut stream)
    }
}

/// Reads an answer to the end of the connection, or of its announced length.
pub fn read_answer(stream: &mut TcpStream) -> Option<Answer> {
    let mut read = Vec::new();
    let mut piece = [0; 8192];
    loop {
        if let Some(answer) = parse(&read) {
            return Some(answer);
        }
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => read.extend_from_slice(&piece[..n]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error} instead of an answer"),
        }
    }
    None
}

/// The answer, once it is whole.
fn parse(read: &[u8]) -> Option<Answer> {
    let end = read.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&read[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
    let headers: Vec<_> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer {
        status,
        headers,
        body: read[end + 4..].to_vec(),
    };
    match answer.header("content-length") {
        Some(length) if answer.body.len() < length.parse::<usize>().unwrap() => None,
        None if answer.header("transfer-encoding") == Some("chunked") => {
            answer.body = super::events::unchunked(&answer.body)?;
            Some(answer)
        }
        _ => Some(answer),
    }
}

impl Answer {
    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Expects a problem body that says the same as the status, and gives its `code`.
    #[track_caller]
    pub fn expect_problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(problem["status"], status, "{problem}");
        for field in ["type", "title", "detail"] {
            assert!(problem[field].is_string(), "{field} of {problem}");
        }
        problem["code"].as_str().unwrap().to_owned()
    }
}
