//! A broker of a few lines, that does as a test says.

use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::http::HeaderValue;
use tungstenite::{Message, WebSocket};

/// The broker's side of a session.
pub(super) struct Session {
    socket: WebSocket<TcpStream>,
    pub(super) path: String,
    pub(super) authorization: Option<String>,
}

impl Session {
    pub(super) fn send(&mut self, frame: &str) {
        self.socket.send(Message::text(frame)).unwrap();
    }

    pub(super) fn receive(&mut self) -> Value {
        serde_json::from_str(self.socket.read().unwrap().to_text().unwrap()).unwrap()
    }

    pub(super) fn close(&mut self, code: u16, reason: &'static str) {
        let frame = tungstenite::protocol::frame::CloseFrame {
            code: code.into(),
            reason: reason.into(),
        };
        self.socket.close(Some(frame)).unwrap();
        while self.socket.read().is_ok() {}
    }

    /// The code with which the client says goodbye.
    pub(super) fn parting(&mut self) -> Option<u16> {
        loop {
            match self.socket.read() {
                Ok(Message::Close(frame)) => {
                    let _ = self.socket.flush();
                    return frame.map(|frame| frame.code.into());
                }
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}

/// A broker that has taken one connection, or will.
pub(super) struct Broker<T> {
    pub(super) url: String,
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> Broker<T> {
    /// Takes one connection, welcomes it, and does as `script` says.
    pub(super) fn start(script: impl FnOnce(&mut Session) -> T + Send + 'static) -> Self {
        Self::with_welcome(
            r#"{"type":"welcome","heartbeat":25,"max_message_bytes":64}"#,
            script,
        )
    }

    pub(super) fn with_welcome(
        welcome: &'static str,
        script: impl FnOnce(&mut Session) -> T + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/ws", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let mut session = accept(&listener);
            session.send(welcome);
            script(&mut session)
        });
        Self { url, thread }
    }

    /// What the script gave.
    pub(super) fn end(self) -> T {
        self.thread.join().unwrap()
    }
}

fn accept(listener: &TcpListener) -> Session {
    let (stream, _) = listener.accept().unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let (mut path, mut authorization) = (String::new(), None);
    // The callback's error type is the library's.
    #[allow(clippy::result_large_err)]
    let look = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        path = request.uri().to_string();
        let header = request.headers().get("authorization");
        authorization = header.map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(
            request.headers()["sec-websocket-protocol"],
            "fanfare.v1.json"
        );
        response.headers_mut().insert(
            "sec-websocket-protocol",
            HeaderValue::from_static("fanfare.v1.json"),
        );
        Ok(response)
    };
    let socket = tungstenite::accept_hdr(stream, look).unwrap();
    Session {
        socket,
        path,
        authorization,
    }
}

/// A server that answers one request with that text and closes; its base URL.
pub(super) fn http(answer: &'static str) -> String {
    use std::io::{Read, Write};

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut piece = [0; 512];
            let count = stream.read(&mut piece).unwrap();
            assert_ne!(count, 0, "a whole request");
            request.extend_from_slice(&piece[..count]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
    });
    url
}

/// An address where nothing listens.
pub(super) fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}
