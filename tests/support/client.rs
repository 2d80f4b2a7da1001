//! A client of `fanfare.v1.json`.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Error, Message, WebSocket};

use super::PATIENCE;

/// A session that speaks JSON. Frames that are not waited for at the moment are kept in order.
pub struct Client {
    pub welcome: Value,
    socket: WebSocket<TcpStream>,
    kept: VecDeque<Value>,
    next_id: u64,
}

/// A question whose answer has not been read.
#[must_use]
pub struct Asked<'a> {
    client: &'a mut Client,
    id: u64,
}

/// A WebSocket, or the HTTP answer that refuses it.
pub type Opened = Result<WebSocket<TcpStream>, Box<tungstenite::http::Response<Option<Vec<u8>>>>>;

/// Opens a WebSocket with these headers, or gives the HTTP answer that refuses it.
pub fn base(address: SocketAddr, path: &str, headers: &[(&'static str, &str)]) -> Opened {
    try_base(address, path, headers).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// As [`base`], of a server that may end connections before they say anything.
///
/// # Errors
/// How the connection ended without an answer.
pub fn try_base(
    address: SocketAddr,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<Opened, String> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut request = format!("ws://{address}{path}")
        .into_client_request()
        .unwrap();
    for (name, value) in headers {
        request
            .headers_mut()
            .insert(*name, HeaderValue::from_str(value).unwrap());
    }
    match tungstenite::client(request, stream) {
        Ok((socket, _)) => Ok(Ok(socket)),
        Err(tungstenite::HandshakeError::Failure(Error::Http(answer))) => Ok(Err(answer)),
        Err(error) => Err(error.to_string()),
    }
}

impl Client {
    /// Connects, and reads the welcome.
    #[track_caller]
    pub fn open(address: SocketAddr, path: &str) -> Self {
        Self::open_with(address, path, &[])
    }

    #[track_caller]
    pub fn open_with(address: SocketAddr, path: &str, headers: &[(&'static str, &str)]) -> Self {
        let socket = base(address, path, headers)
            .unwrap_or_else(|answer| panic!("{path} is refused: {answer:?}"));
        Self::over(socket)
    }

    /// A client on a connection that was opened before.
    #[track_caller]
    pub fn over(socket: WebSocket<TcpStream>) -> Self {
        let mut client = Self {
            welcome: Value::Null,
            socket,
            kept: VecDeque::new(),
            next_id: 1,
        };
        let welcome = client.frame();
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        client.welcome = welcome;
        client
    }

    /// What the broker calls this session.
    pub fn session(&self) -> Value {
        self.welcome["session"].clone()
    }

    /// Sends a frame that asks for no answer.
    pub fn send(&mut self, frame: &Value) {
        self.send_text(&frame.to_string());
    }

    pub fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    pub fn send_message(&mut self, message: Message) {
        self.socket.send(message).unwrap();
    }

    /// Sends a frame with an `id`.
    pub fn ask(&mut self, mut frame: Value) -> Asked<'_> {
        let id = self.next_id;
        self.next_id += 1;
        frame["id"] = id.into();
        self.send(&frame);
        Asked { client: self, id }
    }

    pub fn subscribe(&mut self, topic: &str) -> Asked<'_> {
        self.ask(json!({"type": "subscribe", "topic": topic}))
    }

    /// Subscribes with the other fields of that object.
    pub fn subscribe_with(&mut self, topic: &str, mut fields: Value) -> Asked<'_> {
        fields["type"] = "subscribe".into();
        fields["topic"] = topic.into();
        self.ask(fields)
    }

    pub fn unsubscribe(&mut self, topic: &str) -> Asked<'_> {
        self.ask(json!({"type": "unsubscribe", "topic": topic}))
    }

    pub fn publish(&mut self, topic: &str, data: impl Into<Value>) -> Asked<'_> {
        self.ask(json!({"type": "publish", "topic": topic, "data": data.into()}))
    }

    /// Publishes without asking for an answer.
    pub fn cast(&mut self, topic: &str, data: impl Into<Value>) {
        self.send(&json!({"type": "publish", "topic": topic, "data": data.into()}));
    }

    /// Who is there, by name of session.
    pub fn presence(&mut self, topic: &str) -> Vec<Value> {
        let ok = self
            .ask(json!({"type": "presence", "topic": topic}))
            .await_ok();
        let sessions = ok["sessions"].as_array().unwrap();
        assert_eq!(ok["count"], sessions.len());
        sessions.iter().map(|s| s["session"].clone()).collect()
    }

    /// The next frame, whatever it is.
    #[track_caller]
    pub fn frame(&mut self) -> Value {
        match self.kept.pop_front() {
            Some(frame) => frame,
            None => self.read(),
        }
    }

    /// The next frame, which is a message.
    #[track_caller]
    pub fn expect_message(&mut self, topic: &str) -> Value {
        let frame = self.frame();
        assert_eq!(frame["type"], "message", "{frame}");
        assert_eq!(frame["topic"], topic, "{frame}");
        frame
    }

    /// The data of the next so many frames, which are messages.
    #[track_caller]
    pub fn expect_data(&mut self, count: usize) -> Vec<Value> {
        (0..count)
            .map(|_| {
                let frame = self.frame();
                assert_eq!(frame["type"], "message", "{frame}");
                frame["data"].clone()
            })
            .collect()
    }

    /// The next frame, which is an error with that code.
    #[track_caller]
    pub fn expect_error(&mut self, code: &str) -> Value {
        let frame = self.frame();
        assert_eq!(frame["type"], "error", "{frame}");
        assert_eq!(frame["code"], code, "{frame}");
        assert!(
            frame["message"].as_str().is_some_and(|m| !m.is_empty()),
            "{frame}"
        );
        frame
    }

    /// Nothing but the answer to a question comes: what was on its way to this session is there.
    #[track_caller]
    pub fn expect_nothing(&mut self) {
        self.ask(json!({"type": "ping"})).await_ok();
        assert!(self.kept.is_empty(), "{:?}", self.kept);
    }

    /// Reads on until the server closes; gives the `closing` frame and what came before it.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) -> (Value, Vec<Value>) {
        let mut before: Vec<_> = self.kept.drain(..).collect();
        let close = loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => before.push(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(close)) => break close.expect("a close with a code"),
                Ok(_) => {}
                Err(error) => panic!("{error} instead of a close with {code}; {before:?}"),
            }
        };
        assert_eq!(u16::from(close.code), code, "{close:?}");
        let closing = before.pop().expect("a closing frame");
        assert_eq!(closing["type"], "closing", "{closing}");
        assert_eq!(closing["code"], code);
        // The library answers the close; then the connection ends.
        loop {
            match self.socket.read() {
                Ok(_) => {}
                Err(Error::ConnectionClosed) => break,
                Err(error) => panic!("{error} instead of an orderly end"),
            }
        }
        (closing, before)
    }

    /// Closes the session with that code, and waits for the end.
    pub fn close(mut self, code: u16) {
        self.socket
            .close(Some(tungstenite::protocol::CloseFrame {
                code: code.into(),
                reason: "".into(),
            }))
            .unwrap();
        while self.socket.read().is_ok() {}
    }

    #[track_caller]
    fn read(&mut self) -> Value {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return serde_json::from_str(&text).unwrap(),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(other) => panic!("{other:?} instead of a frame"),
                Err(error) => panic!("{error} instead of a frame"),
            }
        }
    }
}

impl Asked<'_> {
    /// The fields of the `ok`.
    #[track_caller]
    pub fn await_ok(self) -> Value {
        let answer = self.answer();
        assert_eq!(answer["type"], "ok", "{answer}");
        answer
    }

    /// The `error`, which has that code.
    #[track_caller]
    pub fn await_error(self, code: &str) -> Value {
        let answer = self.answer();
        assert_eq!(answer["type"], "error", "{answer}");
        assert_eq!(answer["code"], code, "{answer}");
        answer
    }

    #[track_caller]
    pub fn answer(self) -> Value {
        loop {
            let frame = self.client.read();
            if frame["id"] == self.id {
                return frame;
            }
            self.client.kept.push_back(frame);
        }
    }
}
