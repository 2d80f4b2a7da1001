//! The server's frames that the golden vectors hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::published;
use crate::model::{
    Epoch, Filter, Member, Message, Payload, Position, SessionId, Timestamp, TopicName,
};
use crate::protocol::*;

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

/// Each frame by its name, in both encodings.
pub fn frames() -> BTreeMap<&'static str, [Bytes; 2]> {
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
    for (name, message, sent) in messages() {
        written.insert(
            name,
            formats.map(|format| message_bytes(format, &message, sent)),
        );
    }
    let newest = Message {
        position: Some(at(19)),
        key: Some("ACME".into()),
        ..message(Payload::json_checked(r#"{"price":101.5}"#))
    };
    let stands_for_others =
        |format| with_skipped(format, &message_bytes(format, &newest, Sent::Live), 11);
    written.insert(
        "message that stands for others",
        formats.map(stands_for_others),
    );
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
            "gap of a subscriber that was too slow",
            GapReason::Slow,
            18,
            Some(at(0).epoch),
            231,
            248,
        ),
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
                topic: topic.as_str(),
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

fn messages() -> [(&'static str, Message, Sent); 6] {
    let everything = Message {
        position: Some(at(7)),
        user: Some("zoë".into()),
        key: Some("k".into()),
        ..message(Payload::text("x"))
    };
    let retained = Message {
        position: Some(at(6)),
        ..message(Payload::json_checked(r#""on""#))
    };
    let json = Payload::json_checked(r#"{"text":"Hello","n":[1,-2,0.5,true,null]}"#);
    [
        ("message", message(json), Sent::Live),
        (
            "message of text",
            message(Payload::text("a\n\"é\"")),
            Sent::Live,
        ),
        (
            "message of bytes",
            message(published("publish bytes")),
            Sent::Live,
        ),
        (
            "message with bytes inside",
            message(published("publish bytes inside data")),
            Sent::Live,
        ),
        ("message with everything", everything, Sent::Replayed),
        ("message that was retained", retained, Sent::Retained),
    ]
}
