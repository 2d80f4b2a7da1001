//! The golden vectors of `tests/vectors`: every frame in both encodings, and what is refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::frame::walk;
use super::*;
use crate::model::{
    Epoch, Filter, Member, Message, Payload, Position, SessionId, Timestamp, TopicName,
};

#[derive(Deserialize)]
struct Vector<'a> {
    name: &'a str,
    #[serde(borrow)]
    json: &'a RawValue,
    msgpack: &'a str,
}

#[derive(Deserialize)]
struct Refused<'a> {
    name: String,
    #[serde(borrow)]
    msgpack: &'a str,
    id: Option<u64>,
    says: String,
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digit = |at: usize| char::from(hex.as_bytes()[at]).to_digit(16).unwrap() as u8;
    (0..hex.len() / 2)
        .map(|at| digit(2 * at) << 4 | digit(2 * at + 1))
        .collect()
}

fn hex_of(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[test]
fn a_frame_asks_for_the_same_in_either_encoding() {
    let vectors: Vec<Vector<'_>> =
        serde_json::from_str(include_str!("../../tests/vectors/client.json")).unwrap();
    let mut types = BTreeMap::new();
    for vector in vectors {
        let in_json = parse_json(vector.json.get()).unwrap();
        let in_msgpack = parse_msgpack(&bytes_of(vector.msgpack)).unwrap();
        *types.entry(in_json.action.name()).or_insert(0) += 1;
        match (&in_json.action, &in_msgpack.action) {
            // Only MessagePack can tell that a string inside data was bytes.
            (Action::Publish(json), Action::Publish(msgpack)) => {
                assert_eq!(in_json.id, in_msgpack.id, "{}", vector.name);
                assert_eq!(json.topic, msgpack.topic, "{}", vector.name);
                assert_eq!(json.key, msgpack.key, "{}", vector.name);
                assert_eq!(json.payload.kind, msgpack.payload.kind, "{}", vector.name);
                assert_eq!(json.payload.data, msgpack.payload.data, "{}", vector.name);
                let inside = msgpack.payload.bytes_at().len();
                let expected = if vector.name.contains("inside") { 2 } else { 0 };
                assert_eq!(inside, expected, "{}", vector.name);
            }
            _ => assert_eq!(in_json, in_msgpack, "{}", vector.name),
        }
    }
    let all = [
        "auth",
        "history",
        "ping",
        "presence",
        "publish",
        "subscribe",
        "unsubscribe",
    ];
    assert!(types.keys().eq(&all), "{types:?}");
}

#[test]
fn what_is_no_frame_is_refused_with_its_id_and_a_sentence() {
    let vectors: Vec<Refused<'_>> =
        serde_json::from_str(include_str!("../../tests/vectors/refused.json")).unwrap();
    for vector in vectors {
        let bad = match parse_msgpack(&bytes_of(vector.msgpack)) {
            Err(bad) => bad,
            Ok(request) => panic!("{}: {request:?}", vector.name),
        };
        let (refusal, name) = (bad.refusal, vector.name);
        assert_eq!(refusal.code, ErrorCode::BadRequest, "{name}: {refusal}");
        assert!(refusal.message.contains(&vector.says), "{name}: {refusal}");
        assert_eq!(bad.id, vector.id, "{name}: {refusal}");
    }
}

#[test]
fn every_frame_of_the_server_has_the_bytes_of_its_vector() {
    let vectors: Vec<Vector<'_>> =
        serde_json::from_str(include_str!("../../tests/vectors/server.json")).unwrap();
    let mut written = server_frames();
    for vector in vectors {
        let [json, msgpack] = written
            .remove(vector.name)
            .unwrap_or_else(|| panic!("{} is not written here", vector.name));
        let (opcode, json) = walk::only(&json);
        assert_eq!(opcode, Opcode::Text.bits());
        assert_eq!(
            str::from_utf8(json),
            Ok(vector.json.get()),
            "{}",
            vector.name
        );
        let (opcode, msgpack) = walk::only(&msgpack);
        assert_eq!(opcode, Opcode::Binary.bits());
        assert_eq!(hex_of(msgpack), vector.msgpack, "{}", vector.name);
    }
    assert!(written.is_empty(), "no vector for {:?}", written.keys());
}

const NOW: Timestamp = Timestamp(1_700_000_000_123);
const SOON: Timestamp = Timestamp(1_700_000_060_000);

fn topic(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

fn filter(text: &str) -> Filter {
    Filter::new(text).unwrap()
}

fn at(offset: u64) -> Position {
    Position {
        epoch: Epoch::parse("e1").unwrap(),
        offset,
    }
}

fn member(user: Option<&str>) -> Member {
    Member {
        session: SessionId(0xab),
        user: user.map(Arc::from),
        info: user.map(|_| Arc::from(r#"{"colour":"red","n":[1.5]}"#)),
        since: NOW,
    }
}

fn standing(text: &str) -> SubscribeOk {
    SubscribeOk {
        topic: filter(text),
        time: NOW,
        position: None,
        recovered: None,
        replayed: None,
        gaps: vec![],
    }
}

fn message(payload: Payload) -> Message {
    Message {
        topic: topic("a/b"),
        payload,
        time: NOW,
        position: None,
        user: None,
        key: None,
        publisher: None,
    }
}

/// The payload of a publish, as a MessagePack client sent it.
fn published(name: &str) -> Payload {
    let vectors: Vec<Vector<'_>> =
        serde_json::from_str(include_str!("../../tests/vectors/client.json")).unwrap();
    let vector = vectors.iter().find(|vector| vector.name == name).unwrap();
    match parse_msgpack(&bytes_of(vector.msgpack)).unwrap().action {
        Action::Publish(publish) => publish.payload,
        other => panic!("{other:?}"),
    }
}

/// Each frame by its name, in both encodings.
fn server_frames() -> BTreeMap<&'static str, [Bytes; 2]> {
    let formats = [WireFormat::Json, WireFormat::Msgpack];
    let mut written = BTreeMap::new();
    let mut put = |name, frame: ServerFrame<'_>| {
        written.insert(
            name,
            formats.map(|format| control_bytes(format, &frame).unwrap()),
        );
    };
    put_answers(&mut put);
    put_notices(&mut put);
    for (name, message, replay) in messages() {
        let sent = if replay { Sent::Replayed } else { Sent::Live };
        written.insert(
            name,
            formats.map(|format| message_bytes(format, &message, sent)),
        );
    }
    written
}

fn put_answers(put: &mut impl FnMut(&'static str, ServerFrame<'_>)) {
    let recovered = SubscribeOk {
        position: Some(at(7)),
        recovered: Some(true),
        replayed: Some(0),
        ..standing("a/b")
    };
    let missing = SubscribeOk {
        recovered: Some(false),
        gaps: vec![topic("a/b"), topic("a/c")],
        ..standing("a/#")
    };
    let history = |offset, messages: Vec<Message>| Answer::History {
        epoch: at(offset).epoch,
        offset,
        messages: messages
            .into_iter()
            .map(|message| Arc::new(Published::new(Event::Message(Arc::new(message)))))
            .collect(),
    };
    let placed = |payload, offset| Message {
        position: Some(at(offset)),
        ..message(payload)
    };
    for (name, id, answer) in [
        ("ok", 1, Answer::Pong),
        ("ok to subscribe", 2, Answer::Subscribed(recovered)),
        ("ok to subscribe with gaps", 3, Answer::Subscribed(missing)),
        (
            "ok to unsubscribe",
            4,
            Answer::Unsubscribed(Some(filter("a/#"))),
        ),
        ("ok to publish", 5, Answer::Published(Some(at(7)))),
        (
            "ok to history",
            6,
            history(
                7,
                vec![
                    placed(Payload::json_checked(r#"{"n":1}"#), 6),
                    placed(Payload::binary(Bytes::from_static(b"\xff")), 7),
                ],
            ),
        ),
        (
            "ok to a long history",
            6,
            history(7, vec![message(Payload::json_checked("1")); 16]),
        ),
        (
            "ok to presence",
            7,
            Answer::Presence(vec![member(Some("zoë")), member(None)]),
        ),
        (
            "ok to auth",
            8,
            Answer::Authenticated {
                user: Some("zoë".into()),
                expires_at: Some(SOON),
            },
        ),
    ] {
        put(
            name,
            ServerFrame::Ok {
                id,
                answer: &answer,
            },
        );
    }
}

fn put_notices(put: &mut impl FnMut(&'static str, ServerFrame<'_>)) {
    let topic = topic("a/b");
    let subscriptions = [
        SubscribeOk {
            position: Some(at(7)),
            replayed: Some(1),
            ..standing("a/b")
        },
        SubscribeOk {
            replayed: Some(0),
            ..standing("a/#")
        },
    ];
    let welcome = |user, heartbeat, subscriptions, expires_at| ServerFrame::Welcome {
        session: SessionId(0xab),
        user,
        server: "fanfare/0.1.0",
        protocol: WireFormat::Msgpack.subprotocol(),
        heartbeat,
        max_message_bytes: 65536,
        subscriptions,
        expires_at,
    };
    put("welcome", welcome(None, 25.0, &[], None));
    let all = welcome(Some("zoë"), 0.5, &subscriptions, Some(SOON));
    put("welcome with everything", all);
    let refusal = |code, message| Refusal::new(code, message);
    let please = refusal(ErrorCode::BadRequest, "say \"please\"");
    put(
        "error",
        ServerFrame::Error {
            id: None,
            refusal: &please,
        },
    );
    let wait = refusal(ErrorCode::Unavailable, "wait").retry_after(Duration::from_millis(1500));
    put(
        "error with an id",
        ServerFrame::Error {
            id: Some(9),
            refusal: &wait,
        },
    );
    put(
        "join",
        ServerFrame::Join {
            topic: &topic,
            member: &member(Some("zoë")),
        },
    );
    put(
        "leave",
        ServerFrame::Leave {
            topic: &topic,
            member: &member(None),
        },
    );
    for (name, reason, count, epoch, from, to) in [
        ("gap", GapReason::Trimmed, 2, Some(at(0).epoch), 3, 4),
        ("gap without positions", GapReason::Slow, 70_000, None, 0, 0),
        (
            "gap of a history that was cleared",
            GapReason::Cleared,
            0,
            Some(at(0).epoch),
            0,
            7,
        ),
    ] {
        put(
            name,
            ServerFrame::Gap {
                topic: &topic,
                reason,
                count,
                epoch,
                from,
                to,
            },
        );
    }
    put(
        "unsubscribed",
        ServerFrame::Unsubscribed {
            topic: &filter("a/#"),
            refusal: &refusal(ErrorCode::Forbidden, "no more"),
        },
    );
    put("pong", ServerFrame::Pong);
    let close = Close::new(CloseCode::GOING_AWAY, "the server is going away");
    let close = close.after(Duration::from_millis(563));
    put("closing", ServerFrame::closing(&close));
}

fn messages() -> [(&'static str, Message, bool); 5] {
    let everything = Message {
        position: Some(at(7)),
        user: Some("zoë".into()),
        key: Some("k".into()),
        ..message(Payload::text("x"))
    };
    let json = Payload::json_checked(r#"{"text":"Hello","n":[1,-2,0.5,true,null]}"#);
    [
        ("message", message(json), false),
        ("message of text", message(Payload::text("a\n\"é\"")), false),
        (
            "message of bytes",
            message(published("publish bytes")),
            false,
        ),
        (
            "message with bytes inside",
            message(published("publish bytes inside data")),
            false,
        ),
        ("message with everything", everything, true),
    ]
}
