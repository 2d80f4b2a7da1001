//! Messages as each format writes them.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::model::{Epoch, Member, Payload, Position, SessionId, Timestamp, TopicName};
use crate::protocol::{Close, CloseCode, ErrorCode, Event, GapReason, Published, Refusal};
use crate::websocket::walk;

fn message(payload: Payload) -> Message {
    Message {
        topic: TopicName::new("a/\"b\"").unwrap(),
        payload,
        time: Timestamp(1_700_000_000_123),
        position: None,
        user: None,
        key: None,
        publisher: Some(SessionId(7)),
    }
}

fn with_everything(payload: Payload) -> Message {
    Message {
        position: Some(Position {
            epoch: Epoch::parse("ep1").unwrap(),
            offset: 42,
        }),
        user: Some("Zoë\n".into()),
        key: Some("k\r".into()),
        ..message(payload)
    }
}

fn member() -> Member {
    Member {
        session: SessionId(255),
        user: None,
        info: Some("{\n\"colour\": \"red\"\r\n}".into()),
        since: Timestamp(5),
    }
}

fn text_of(bytes: &[u8]) -> &str {
    let (opcode, payload) = walk::only(bytes);
    assert_eq!(opcode, Opcode::Text.bits());
    std::str::from_utf8(payload).unwrap()
}

#[test]
fn a_json_message_has_its_fields_in_order() {
    for (message, sent, expected) in [
        (
            message(Payload::json_checked("{\"n\":1.50}")),
            Sent::Live,
            r#"{"type":"message","topic":"a/\"b\"","data":{"n":1.50},"time":1700000000123}"#,
        ),
        (
            message(Payload::text("a\n\"")),
            Sent::Replayed,
            r#"{"type":"message","topic":"a/\"b\"","data":"a\n\"","encoding":"text","time":1700000000123,"replay":true}"#,
        ),
        (
            with_everything(Payload::binary(Bytes::from_static(b"\xff\xef"))),
            Sent::Replayed,
            r#"{"type":"message","topic":"a/\"b\"","data":"/+8=","encoding":"base64","time":1700000000123,"epoch":"ep1","offset":42,"user":"Zoë\n","key":"k\r","replay":true}"#,
        ),
        (
            message(Payload::json_checked("1")),
            Sent::Retained,
            r#"{"type":"message","topic":"a/\"b\"","data":1,"time":1700000000123,"retain":true}"#,
        ),
    ] {
        let bytes = message_bytes(WireFormat::Json, &message, sent);
        assert_eq!(text_of(&bytes), expected);
        assert_eq!(message_json(&message, sent), expected);
    }
}

#[test]
fn a_raw_message_is_its_payload() {
    for (payload, opcode, data) in [
        (Payload::json_checked("[1]"), 1, b"[1]".as_slice()),
        (Payload::text("é"), 1, "é".as_bytes()),
        (Payload::text(""), 1, b""),
        (Payload::binary(Bytes::from_static(b"\xff")), 2, b"\xff"),
    ] {
        let message = with_everything(payload);
        for sent in [Sent::Live, Sent::Replayed, Sent::Retained] {
            let bytes = message_bytes(WireFormat::Raw, &message, sent);
            assert_eq!(walk::only(&bytes), (opcode, data));
        }
    }
}

#[test]
fn an_event_has_the_id_of_its_message() {
    for (message, id) in [
        (
            with_everything(Payload::text("a\r\n\nb\u{2028}")),
            "ep1:42:1700000000123",
        ),
        (message(Payload::json_checked("1")), "-:0:1700000000123"),
    ] {
        let bytes = message_bytes(WireFormat::Sse, &message, Sent::Replayed);
        let json = message_json(&message, Sent::Replayed);
        let expected = format!("id: {id}\nevent: message\ndata: {json}\n\n");
        assert_eq!(std::str::from_utf8(&bytes).unwrap(), expected);
        assert_eq!(expected.matches(['\n', '\r']).count(), 4);
    }
}

#[test]
fn frames_of_every_length_have_the_right_header() {
    for len in [
        0, 60, 61, 62, 125, 126, 3_900, 4_200, 8_190, 65_480, 65_535, 65_536, 100_000,
    ] {
        let message = message(Payload::text("x".repeat(len)));
        for format in [WireFormat::Json, WireFormat::Msgpack, WireFormat::Raw] {
            let bytes = message_bytes(format, &message, Sent::Live);
            let (opcode, payload) = walk::only(&bytes);
            assert_eq!(opcode, if format == WireFormat::Msgpack { 2 } else { 1 });
            assert!(payload.len() >= len);
        }
    }
}

#[test]
fn each_format_has_its_own_control_frames() {
    let topic = TopicName::new("t").unwrap();
    let member = member();
    let refusal = Refusal::new(ErrorCode::Internal, "no");
    let close = Close::new(CloseCode::SLOW, "slow");
    let gap = ServerFrame::Gap {
        topic: topic.as_str(),
        reason: GapReason::Trimmed,
        count: 3,
        epoch: None,
        from: 0,
        to: 0,
    };
    let join = ServerFrame::Join {
        topic: &topic,
        member: &member,
    };
    let leave = ServerFrame::Leave {
        topic: &topic,
        member: &member,
    };
    let error = ServerFrame::Error {
        id: None,
        refusal: &refusal,
    };
    for (frame, event) in [
        (gap, Some("gap")),
        (join, Some("join")),
        (leave, Some("leave")),
        (ServerFrame::closing(&close), Some("closing")),
        (error, None),
        (ServerFrame::Pong, None),
    ] {
        let json = control_bytes(WireFormat::Json, &frame).unwrap();
        let json = text_of(&json);
        assert!(json.starts_with(&format!("{{\"type\":\"{}\"", frame.name())));
        assert_eq!(control_bytes(WireFormat::Raw, &frame), None);
        let found = control_bytes(WireFormat::Sse, &frame);
        let expected = event.map(|event| format!("event: {event}\ndata: {json}\n\n"));
        assert_eq!(found.as_deref(), expected.as_deref().map(str::as_bytes));
    }
}

#[test]
fn an_event_is_encoded_once_for_all() {
    let published = Published::new(Event::Message(message(Payload::text("x")).into()));
    for format in WireFormat::ALL {
        let first = published.frame(format).unwrap().clone();
        let second = published.frame(format).unwrap();
        assert_eq!(first.as_ptr(), second.as_ptr());
        let Event::Message(message) = published.event() else {
            panic!("a message");
        };
        assert_eq!(first, message_bytes(format, message, Sent::Live));
    }
    assert_eq!(published.publisher(), Some(SessionId(7)));
    assert_eq!(published.subject(), None);
}

#[test]
fn coming_and_going_has_no_raw_frame() {
    let topic = TopicName::new("t").unwrap();
    for event in [
        Event::Join {
            topic: topic.clone(),
            member: member(),
        },
        Event::Leave {
            topic,
            member: member(),
        },
    ] {
        let published = Published::new(event);
        assert_eq!(published.frame(WireFormat::Raw), None);
        assert!(published.frame(WireFormat::Json).is_some());
        let event = published.frame(WireFormat::Sse).unwrap();
        assert_eq!(
            event.iter().filter(|b| matches!(b, b'\r' | b'\n')).count(),
            3
        );
        assert_eq!(published.publisher(), None);
        assert_eq!(published.subject(), Some(SessionId(255)));
        assert_eq!(published.topic().as_str(), "t");
    }
}

#[test]
fn formats_have_their_names_and_a_place_each() {
    for (place, format) in WireFormat::ALL.into_iter().enumerate() {
        assert_eq!(format.index(), place);
    }
    let names = WireFormat::ALL.map(WireFormat::subprotocol);
    assert_eq!(
        names,
        [
            "fanfare.v1.json",
            "fanfare.v1.msgpack",
            "fanfare.v1.raw",
            "fanfare.v1.json",
        ]
    );
}

fn payloads() -> impl Strategy<Value = Payload> {
    prop_oneof![
        any::<String>().prop_map(Payload::text),
        proptest::collection::vec(any::<u8>(), 0..400)
            .prop_map(|bytes| Payload::binary(Bytes::from(bytes))),
        any::<String>()
            .prop_map(|text| Payload::json_checked(&serde_json::to_string(&[text]).unwrap())),
    ]
}

proptest! {
    #[test]
    fn what_is_published_is_what_is_received(
        payload in payloads(),
        key in proptest::option::of(any::<String>()),
    ) {
        let sent = Message {
            key: key.as_deref().map(Arc::from),
            ..with_everything(payload)
        };
        let bytes = message_bytes(WireFormat::Json, &sent, Sent::Live);
        let text = text_of(&bytes);
        let value: Value = serde_json::from_str(text).unwrap();
        prop_assert_eq!(value["key"].as_str(), key.as_deref());
        prop_assert_eq!(value["offset"].as_u64(), Some(42));
        // A message's fields are those of a publish, so that the reader can read it back.
        let read = crate::protocol::parse_publish(text).unwrap();
        prop_assert_eq!(read.payload, sent.payload);
        prop_assert_eq!(read.topic, sent.topic);
        prop_assert_eq!(read.key, sent.key);
    }
}
