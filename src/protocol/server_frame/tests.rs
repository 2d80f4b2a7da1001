//! Every row of section 4, as JSON.

use std::time::Duration;

use super::*;
use crate::model::{Message, Payload};
use crate::protocol::json_out::Json;
use crate::protocol::{ErrorCode, Event};

fn json(frame: &ServerFrame<'_>) -> String {
    let mut out = Json(Vec::new());
    frame.put(&mut out);
    String::from_utf8(out.0).unwrap()
}

fn ok(answer: &Answer) -> String {
    json(&ServerFrame::Ok { id: 9, answer })
}

fn topic(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

fn epoch() -> Epoch {
    Epoch::parse("e1").unwrap()
}

fn position() -> Position {
    Position {
        epoch: epoch(),
        offset: 7,
    }
}

fn member(user: Option<&str>) -> Member {
    Member {
        session: SessionId(0xab),
        user: user.map(Arc::from),
        info: user.map(|_| Arc::from("{\"a\":1}")),
        since: Timestamp(5),
    }
}

fn subscription(topic: &str) -> SubscribeOk {
    SubscribeOk {
        topic: Filter::new(topic).unwrap(),
        time: Timestamp(1),
        position: None,
        recovered: None,
        replayed: None,
        gaps: vec![],
    }
}

#[test]
fn a_welcome_says_what_the_session_needs_to_know() {
    let welcome = |heartbeat, subscriptions, user, expires_at| {
        json(&ServerFrame::Welcome {
            session: SessionId(0xab),
            user,
            server: "fanfare/0.1.0",
            protocol: "fanfare.v1.json",
            heartbeat,
            max_message_bytes: 65536,
            subscriptions,
            expires_at,
        })
    };
    assert_eq!(
        welcome(25.0, &[], None, None),
        r#"{"type":"welcome","session":"00000000000000ab","user":null,"server":"fanfare/0.1.0","protocol":"fanfare.v1.json","heartbeat":25,"max_message_bytes":65536,"subscriptions":[]}"#
    );
    let subscriptions = [subscription("a"), subscription("b/#")];
    assert_eq!(
        welcome(0.5, &subscriptions, Some("u"), Some(Timestamp(3))),
        r#"{"type":"welcome","session":"00000000000000ab","user":"u","server":"fanfare/0.1.0","protocol":"fanfare.v1.json","heartbeat":0.5,"max_message_bytes":65536,"subscriptions":[{"topic":"a","time":1},{"topic":"b/#","time":1}],"expires_at":3}"#
    );
    assert!(welcome(0.0, &[], None, None).contains("\"heartbeat\":0,"));
    assert!(welcome(f64::NAN, &[], None, None).contains("\"heartbeat\":0,"));
}

#[test]
fn an_ok_has_the_fields_of_its_answer() {
    let recovered = SubscribeOk {
        position: Some(position()),
        recovered: Some(true),
        replayed: Some(0),
        gaps: vec![topic("a"), topic("b")],
        ..subscription("a")
    };
    let message = Message {
        topic: topic("t"),
        payload: Payload::json_checked("null"),
        time: Timestamp(2),
        position: Some(position()),
        user: None,
        key: None,
        publisher: None,
    };
    let join = Event::Join {
        topic: topic("t"),
        member: member(None),
    };
    let messages = [
        Event::Message(Arc::new(message.clone())),
        join,
        Event::Message(Arc::new(message)),
    ]
    .map(|event| Arc::new(Published::new(event)));
    for (answer, fields) in [
        (
            Answer::Subscribed(subscription("a/#")),
            r#","topic":"a/#","time":1"#,
        ),
        (
            Answer::Subscribed(recovered),
            r#","topic":"a","time":1,"epoch":"e1","offset":7,"recovered":true,"replayed":0,"gaps":["a","b"]"#,
        ),
        (Answer::Unsubscribed(None), ""),
        (
            Answer::Unsubscribed(Some(Filter::new("a/+").unwrap())),
            r#","topic":"a/+""#,
        ),
        (Answer::Published(None), ""),
        (
            Answer::Published(Some(position())),
            r#","epoch":"e1","offset":7"#,
        ),
        (
            Answer::History {
                epoch: epoch(),
                offset: 8,
                messages: messages.to_vec(),
            },
            r#","epoch":"e1","offset":8,"messages":[{"type":"message","topic":"t","data":null,"time":2,"epoch":"e1","offset":7},{"type":"message","topic":"t","data":null,"time":2,"epoch":"e1","offset":7}]"#,
        ),
        (
            Answer::Presence(vec![member(Some("u")), member(None)]),
            r#","sessions":[{"session":"00000000000000ab","user":"u","info":{"a":1},"since":5},{"session":"00000000000000ab","user":null,"info":null,"since":5}],"count":2"#,
        ),
        (Answer::Presence(vec![]), r#","sessions":[],"count":0"#),
        (
            Answer::Authenticated {
                user: Some("u".into()),
                expires_at: Some(Timestamp(4)),
            },
            r#","user":"u","expires_at":4"#,
        ),
        (
            Answer::Authenticated {
                user: None,
                expires_at: None,
            },
            r#","user":null"#,
        ),
        (Answer::Pong, ""),
    ] {
        assert_eq!(ok(&answer), format!("{{\"type\":\"ok\",\"id\":9{fields}}}"));
    }
}

#[test]
fn refusals_carry_code_message_and_waiting_time() {
    let refusal = Refusal::new(ErrorCode::RateLimited, "slow \"down\"");
    let waiting = refusal.clone().retry_after(Duration::from_millis(1500));
    let error = |id, refusal| json(&ServerFrame::Error { id, refusal });
    assert_eq!(
        error(None, &refusal),
        r#"{"type":"error","code":"rate_limited","message":"slow \"down\""}"#
    );
    assert_eq!(
        error(Some(0), &waiting),
        r#"{"type":"error","id":0,"code":"rate_limited","message":"slow \"down\"","retry_after_ms":1500}"#
    );
    let filter = Filter::new("a/#").unwrap();
    let unsubscribed = ServerFrame::Unsubscribed {
        topic: &filter,
        refusal: &refusal,
    };
    assert_eq!(
        json(&unsubscribed),
        r#"{"type":"unsubscribed","topic":"a/#","code":"rate_limited","message":"slow \"down\""}"#
    );
}

#[test]
fn notices_have_the_fields_of_the_table() {
    let topic = topic("t");
    let member = member(Some("u"));
    let gap = |reason, epoch| ServerFrame::Gap {
        topic: topic.as_str(),
        reason,
        count: 2,
        epoch,
        from: 3,
        to: 4,
    };
    let close = Close::new(CloseCode::GOING_AWAY, "bye").after(Duration::from_micros(1500));
    for (frame, expected) in [
        (
            ServerFrame::Join {
                topic: &topic,
                member: &member,
            },
            r#"{"type":"join","topic":"t","session":"00000000000000ab","user":"u","info":{"a":1}}"#,
        ),
        (
            ServerFrame::Leave {
                topic: &topic,
                member: &member,
            },
            r#"{"type":"leave","topic":"t","session":"00000000000000ab","user":"u","info":{"a":1}}"#,
        ),
        (
            gap(GapReason::Slow, None),
            r#"{"type":"gap","topic":"t","reason":"slow","count":2}"#,
        ),
        (
            gap(GapReason::Trimmed, Some(epoch())),
            r#"{"type":"gap","topic":"t","reason":"trimmed","count":2,"epoch":"e1","from":3,"to":4}"#,
        ),
        (
            gap(GapReason::Cleared, None),
            r#"{"type":"gap","topic":"t","reason":"cleared","count":2}"#,
        ),
        (ServerFrame::Pong, r#"{"type":"pong"}"#),
        (
            ServerFrame::closing(&close),
            r#"{"type":"closing","code":1001,"reason":"bye","reconnect":true,"after_ms":2}"#,
        ),
    ] {
        assert_eq!(json(&frame), expected);
    }
}
