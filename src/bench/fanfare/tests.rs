use rmp::encode;

use super::*;
use crate::bench::dialect::{Gap, Standing};
use crate::model::{Epoch, Position};

/// What a sink was told, in words that compare.
#[derive(Default)]
struct Told(Vec<String>);

impl Sink for Told {
    fn message(&mut self, message: Message<'_>) {
        let data = message.data.get(..4).unwrap_or_default();
        self.0.push(format!(
            "{} {} {:?}",
            String::from_utf8_lossy(data),
            message.is_whole,
            message.offset
        ));
    }

    fn notice(&mut self, notice: Notice<'_>) {
        self.0.push(format!("{notice:?}"));
    }
}

fn speaking(speech: Speech) -> Fanfare {
    Fanfare {
        speech,
        recovers: true,
        ..Fanfare::new("h:1".into(), "/ws".into(), 4)
    }
}

/// What is made of these bytes by who subscribed.
fn read(dialect: &Fanfare, bytes: &[u8]) -> (usize, Vec<String>) {
    let mut told = Told::default();
    let used = dialect.read(&mut 0, Role::Subscriber, bytes, &mut told);
    (used.unwrap(), told.0)
}

fn framed(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frames::put_header(&mut out, opcode, payload.len(), None);
    out.extend_from_slice(payload);
    out
}

fn position() -> Position {
    Position {
        epoch: Epoch::parse("abc").unwrap(),
        offset: 300,
    }
}

/// The fields of a frame, as MessagePack has them.
fn packed(fields: &serde_json::Value) -> Vec<u8> {
    let fields = fields.as_object().unwrap();
    let mut out = Vec::new();
    encode::write_map_len(&mut out, fields.len() as u32).unwrap();
    for (name, value) in fields {
        encode::write_str(&mut out, name).unwrap();
        match value {
            serde_json::Value::String(text) => encode::write_str(&mut out, text).unwrap(),
            serde_json::Value::Bool(value) => encode::write_bool(&mut out, *value).unwrap(),
            serde_json::Value::Null => encode::write_nil(&mut out).unwrap(),
            value => {
                encode::write_uint(&mut out, value.as_u64().unwrap()).unwrap();
            }
        }
    }
    out
}

#[test]
fn a_message_is_the_same_in_either_encoding() {
    for (data, is_whole) in [("1234", true), ("123", false), ("12345", false)] {
        let frame = serde_json::json!({
            "type": "message", "topic": "t", "data": data, "time": 1_795_256_175_507_u64,
            "epoch": "abc", "offset": 70_000, "replay": true,
        });
        let as_json = framed(frames::TEXT, frame.to_string().as_bytes());
        let as_msgpack = framed(frames::BINARY, &packed(&frame));
        for (speech, bytes) in [(Speech::Json, as_json), (Speech::Msgpack, as_msgpack)] {
            let (used, told) = read(&speaking(speech), &bytes);
            assert_eq!(used, bytes.len());
            let [message] = told.as_slice() else {
                panic!("{told:?}")
            };
            let whole = message.starts_with("1234 true Some(70000)");
            assert_eq!(whole, is_whole, "{speech:?} {data}: {message}");
        }
    }
}

#[test]
fn what_is_no_message_is_understood_in_either_encoding() {
    let newest = Some(position());
    let standing = |recovered| Notice::Stands(Standing { newest, recovered });
    for (frame, notice) in [
        (
            serde_json::json!({"type": "ok", "id": 1, "topic": "t", "time": 5, "epoch": "abc", "offset": 300, "recovered": false, "replayed": 0}),
            standing(Some(false)),
        ),
        (
            serde_json::json!({"type": "ok", "id": 1, "epoch": "abc", "offset": 300}),
            standing(None),
        ),
        (
            serde_json::json!({"type": "gap", "topic": "t", "reason": "trimmed", "count": 3, "epoch": "abc", "from": 5, "to": 7}),
            Notice::Gap(Gap {
                count: 3,
                offsets: Some((5, 7)),
            }),
        ),
        (
            serde_json::json!({"type": "welcome", "session": "s", "user": null}),
            Notice::Nothing,
        ),
        (
            serde_json::json!({"type": "join", "session": "s"}),
            Notice::Nothing,
        ),
        (
            serde_json::json!({"type": "error", "code": "forbidden"}),
            Notice::Unexpected(b""),
        ),
    ] {
        let told = |notice: &Notice<'_>| match notice {
            Notice::Unexpected(_) => "Unexpected".to_owned(),
            other => format!("{other:?}"),
        };
        let text = frame.to_string();
        let bytes = packed(&frame);
        assert_eq!(
            told(&json::understand(text.as_bytes())),
            told(&notice),
            "{text}"
        );
        assert_eq!(told(&msgpack::understand(&bytes)), told(&notice), "{text}");
    }
    for bytes in [&b"\x81"[..], b"\xff", b"", b"{", b"\x82\xa4type"] {
        assert!(matches!(msgpack::understand(bytes), Notice::Unexpected(_)));
        assert!(matches!(json::understand(bytes), Notice::Unexpected(_)));
    }
}

#[test]
fn the_broker_understands_what_is_sent() {
    let since = position();
    for since in [None, Some(&since)] {
        let text = json::subscribe("a/b", since);
        let bytes = msgpack::subscribe("a/b", since);
        let of_json = crate::protocol::parse_json(&text).unwrap();
        let of_msgpack = crate::protocol::parse_msgpack(&bytes).unwrap();
        assert_eq!(format!("{of_json:?}"), format!("{of_msgpack:?}"));
        assert_eq!(format!("{of_json:?}").contains("300"), since.is_some());
    }
    let mut frame = Vec::new();
    message::put_publish(&mut frame, "a/b", b"data");
    let at = frames::next(&frame, 0).unwrap().unwrap();
    frames::unmask(&mut frame, at);
    let text = std::str::from_utf8(&frame[at.start..at.end]).unwrap();
    let of_json = crate::protocol::parse_json(text).unwrap();
    let of_msgpack = crate::protocol::parse_msgpack(&msgpack::publish("a/b", b"data")).unwrap();
    assert_eq!(format!("{of_json:?}"), format!("{of_msgpack:?}"));
}

#[test]
fn a_request_names_topic_and_credentials_as_they_are_to_be_written() {
    let opening = Opening {
        role: Role::Subscriber,
        topic: "bench & more/1",
        since: None,
    };
    let mut dialect = Fanfare {
        path: "/ws?a=b".into(),
        token: Some(Secret::new("s3cret")),
        ..Fanfare::new("h:1".into(), "/ws".into(), 4)
    };
    let text = |dialect: &Fanfare| String::from_utf8(dialect.request(opening)).unwrap();
    let asked = text(&dialect);
    assert!(
        asked.starts_with("GET /ws?a=b&topic=bench%20%26%20more/1 HTTP/1.1\r\n"),
        "{asked}"
    );
    assert!(
        asked.contains("\r\nAuthorization: Bearer s3cret\r\n"),
        "{asked}"
    );
    dialect.recovers = true;
    assert!(text(&dialect).starts_with("GET /ws?a=b HTTP"));
    dialect.speech = Speech::Events;
    assert!(text(&dialect).starts_with("GET /sse?topic=bench%20%26%20more/1 HTTP"));
}

#[test]
fn answers_over_http_are_counted_once_they_are_whole() {
    let dialect = Fanfare {
        publishing: Publishing::Http,
        ..Fanfare::new("h:1".into(), "/ws".into(), 4)
    };
    let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\n\r\n1234HTTP/1.1 200";
    let mut told = Told::default();
    let used = dialect.read(&mut 0, Role::Publisher, bytes, &mut told);
    assert_eq!(used, Ok(bytes.len() - b"HTTP/1.1 200".len()));
    assert_eq!(told.0.len(), 2);
    assert_eq!(told.0[0], "Accepted");
    assert!(told.0[1].starts_with("Unexpected"), "{:?}", told.0);
    let endless = b"HTTP/1.1 200 OK\r\n\r\n";
    assert!(
        dialect
            .read(&mut 0, Role::Publisher, endless, &mut told)
            .is_err()
    );
}
