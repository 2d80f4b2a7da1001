//! A client of `fanfare.v1.msgpack`.

use std::net::{SocketAddr, TcpStream};

use rmpv::Value;
use serde_json::json;
use tungstenite::{Message, WebSocket};

use super::base;

/// A session that speaks MessagePack.
pub struct Packed {
    pub welcome: Value,
    socket: WebSocket<TcpStream>,
    next_id: u64,
}

/// A map, written as JSON is; `rmpv` has no words of its own for it.
#[track_caller]
pub fn packed(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(value) => Value::Boolean(*value),
        serde_json::Value::Number(number) => number
            .as_u64()
            .map(Value::from)
            .or_else(|| number.as_i64().map(Value::from))
            .unwrap_or_else(|| Value::from(number.as_f64().unwrap())),
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => Value::Array(items.iter().map(packed).collect()),
        serde_json::Value::Object(members) => Value::Map(
            members
                .iter()
                .map(|(name, value)| (Value::from(name.as_str()), packed(value)))
                .collect(),
        ),
    }
}

/// The same, the other way round; without bytes.
#[track_caller]
pub fn unpacked(value: &Value) -> serde_json::Value {
    match value {
        Value::Nil => serde_json::Value::Null,
        Value::Boolean(value) => (*value).into(),
        Value::Integer(number) => number
            .as_u64()
            .map(Into::into)
            .or_else(|| number.as_i64().map(Into::into))
            .unwrap(),
        Value::String(text) => text.as_str().unwrap().into(),
        Value::Array(items) => items.iter().map(unpacked).collect(),
        Value::Map(members) => members
            .iter()
            .map(|(name, value)| (name.as_str().unwrap().to_owned(), unpacked(value)))
            .collect(),
        other => panic!("{other}"),
    }
}

impl Packed {
    /// Connects, and reads the welcome.
    #[track_caller]
    pub fn open(address: SocketAddr, path: &str) -> Self {
        let offer = [("Sec-WebSocket-Protocol", "fanfare.v1.msgpack")];
        let socket = base(address, path, &offer)
            .unwrap_or_else(|answer| panic!("{path} is refused: {answer:?}"));
        let mut client = Self {
            welcome: Value::Nil,
            socket,
            next_id: 1,
        };
        client.welcome = client.expect("welcome");
        client
    }

    pub fn send_message(&mut self, message: Message) {
        self.socket.send(message).unwrap();
    }

    /// Sends a frame of these fields, with that data where there is some.
    pub fn send(&mut self, fields: &serde_json::Value, data: Option<Value>) {
        let Value::Map(mut members) = packed(fields) else {
            panic!("{fields} is no object");
        };
        members.extend(data.map(|data| (Value::from("data"), data)));
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, &Value::Map(members)).unwrap();
        self.send_message(Message::binary(bytes));
    }

    /// Sends a frame with an `id`; gives what answers it, which must be what comes next.
    #[track_caller]
    pub fn ask(&mut self, mut fields: serde_json::Value, data: Option<Value>) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        fields["id"] = id.into();
        self.send(&fields, data);
        let answer = self.frame();
        assert_eq!(answer["id"], Value::from(id), "{answer}");
        answer
    }

    #[track_caller]
    pub fn subscribe(&mut self, topic: &str) -> Value {
        let ok = self.ask(json!({"type": "subscribe", "topic": topic}), None);
        assert_eq!(ok["type"], Value::from("ok"), "{ok}");
        ok
    }

    /// The next frame.
    #[track_caller]
    pub fn frame(&mut self) -> Value {
        loop {
            match self.socket.read().unwrap() {
                Message::Binary(bytes) => {
                    let mut rest = &bytes[..];
                    let value = rmpv::decode::read_value(&mut rest).unwrap();
                    assert!(rest.is_empty(), "one value in {bytes:x?}");
                    return value;
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?} instead of a frame"),
            }
        }
    }

    /// The next frame, which is of that type.
    #[track_caller]
    pub fn expect(&mut self, kind: &str) -> Value {
        let frame = self.frame();
        assert_eq!(frame["type"], Value::from(kind), "{frame}");
        frame
    }

    /// The next frames, which are `closing` and the close frame.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) {
        let closing = self.expect("closing");
        assert_eq!(closing["code"], Value::from(code), "{closing}");
        match self.socket.read().unwrap() {
            Message::Close(Some(close)) => assert_eq!(u16::from(close.code), code, "{close:?}"),
            other => panic!("{other:?} instead of a close with {code}"),
        }
    }
}
