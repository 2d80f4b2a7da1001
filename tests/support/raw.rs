//! A client that speaks raw: a frame is a payload.

use std::net::{SocketAddr, TcpStream};

use tungstenite::{Message, WebSocket};

use super::base;

pub struct Raw {
    socket: WebSocket<TcpStream>,
}

impl Raw {
    /// Connects with the subprotocol `fanfare.v1.raw` where the path is `/ws`, else without.
    #[track_caller]
    pub fn open(address: SocketAddr, path: &str) -> Self {
        let offer = [("Sec-WebSocket-Protocol", "fanfare.v1.raw")];
        let headers = if path.starts_with("/ws") {
            &offer[..]
        } else {
            &[]
        };
        let socket = base(address, path, headers)
            .unwrap_or_else(|answer| panic!("{path} is refused: {answer:?}"));
        Self { socket }
    }

    pub fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    pub fn send_binary(&mut self, data: &'static [u8]) {
        self.socket.send(Message::binary(data)).unwrap();
    }

    /// The next frame: a text or binary one.
    #[track_caller]
    pub fn frame(&mut self) -> Message {
        loop {
            match self.socket.read().unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                frame => return frame,
            }
        }
    }

    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        assert_eq!(self.frame(), Message::text(text));
    }

    #[track_caller]
    pub fn expect_close(&mut self, code: u16) -> String {
        match self.frame() {
            Message::Close(Some(close)) => {
                assert_eq!(u16::from(close.code), code, "{close:?}");
                close.reason.to_string()
            }
            other => panic!("{other:?} instead of a close with {code}"),
        }
    }
}
