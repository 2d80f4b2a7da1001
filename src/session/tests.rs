use bytes::Bytes;
use bytestring::ByteString;

use crate::auth::Access;
use crate::broker::Rules;

use super::*;

fn session(format: WireFormat) -> Session {
    opened(format, Access::everything(), Some("room"))
}

fn opened(format: WireFormat, access: Access, publish_to: Option<&str>) -> Session {
    let profile = Profile {
        format,
        id: SessionId(7),
        user: None,
        rights: Rights::to(access),
        rules: Arc::new(LiveRules::new(Rules::default())),
        must_authenticate: false,
        publish_to: publish_to.map(|topic| TopicName::new(topic).unwrap()),
        max_chars: Some(5),
    };
    let limits = Limits {
        message_bytes: 10,
        protocol_errors: 3,
    };
    Session::new(profile, limits)
}

fn text(text: &str) -> Incoming {
    Incoming::Text(text.into())
}

/// What comes of it, in a word or two.
fn outcome(step: &Step) -> String {
    match step {
        Step::Subscribe(id, ask) => format!("subscribe {id:?} {}", ask.filter),
        Step::Unsubscribe(id, filter) => format!("unsubscribe {id:?} {filter:?}"),
        Step::Publish(id, publication) => format!("publish {id:?} {}", publication.topic),
        Step::History(id, query) => format!("history {id:?} {}", query.topic),
        Step::Presence(id, topic) => format!("presence {id:?} {topic}"),
        Step::Authenticate(id, _) => format!("authenticate {id:?}"),
        Step::Pong(id) => format!("pong {id:?}"),
        Step::Refuse(id, refusal) | Step::RefusePublish(id, refusal) => {
            format!("refuse {id:?} {}", refusal.code)
        }
        Step::RefuseAndClose(id, refusal, close) => {
            format!("refuse {id:?} {} and close {}", refusal.code, close.code.0)
        }
        Step::Close(close) => format!("close {}", close.code.0),
    }
}

#[test]
fn each_frame_asks_for_one_step() {
    for (frame, expected) in [
        (
            r#"{"type":"subscribe","id":1,"topic":"a/#"}"#,
            "subscribe Some(1) a/#",
        ),
        (
            r#"{"type":"unsubscribe","topic":"a"}"#,
            "unsubscribe None Some(\"a\")",
        ),
        (
            r#"{"type":"unsubscribe","id":2}"#,
            "unsubscribe Some(2) None",
        ),
        (
            r#"{"type":"publish","topic":"a","data":1}"#,
            "publish None a",
        ),
        (
            r#"{"type":"history","id":3,"topic":"a"}"#,
            "history Some(3) a",
        ),
        (
            r#"{"type":"presence","id":4,"topic":"a"}"#,
            "presence Some(4) a",
        ),
        (
            r#"{"type":"auth","id":5,"token":"t"}"#,
            "authenticate Some(5)",
        ),
        (r#"{"type":"ping"}"#, "pong None"),
        (
            r#"{"type":"publish","id":6,"topic":"a","data":"12345678901"}"#,
            "refuse Some(6) too_large",
        ),
        (
            r#"{"type":"publish","id":7,"topic":"$sys/x","data":1}"#,
            "refuse Some(7) forbidden",
        ),
        (
            r#"{"type":"subscribe","id":8,"topic":"$sys/#"}"#,
            "refuse Some(8) forbidden",
        ),
        (r#"{"type":"dance","id":9}"#, "refuse Some(9) bad_request"),
    ] {
        let step = session(WireFormat::Json).on_message(text(frame));
        assert_eq!(outcome(&step), expected, "{frame}");
    }
}

#[test]
fn each_encoding_comes_in_frames_of_its_own_kind() {
    let text = ByteString::from_static(r#"{"type":"ping","id":1}"#);
    let json = text.clone().into_bytes();
    let msgpack = Bytes::from_static(b"\x82\xa4type\xa4ping\xa2id\x01");
    for (format, message, expected) in [
        (
            WireFormat::Json,
            Incoming::Text(text.clone()),
            "pong Some(1)",
        ),
        (
            WireFormat::Json,
            Incoming::Binary(json.clone()),
            "close 1003",
        ),
        (
            WireFormat::Json,
            Incoming::Binary(msgpack.clone()),
            "close 1003",
        ),
        (
            WireFormat::Msgpack,
            Incoming::Binary(msgpack.clone()),
            "pong Some(1)",
        ),
        (
            WireFormat::Msgpack,
            Incoming::Text(text.clone()),
            "close 1003",
        ),
        (
            WireFormat::Msgpack,
            Incoming::Binary(json),
            "refuse None bad_request",
        ),
    ] {
        let step = session(format).on_message(message);
        assert_eq!(outcome(&step), expected, "{format:?}");
    }
}

#[test]
fn a_publish_over_msgpack_is_held_to_the_size_that_json_clients_get() {
    let publish = |data: &[u8]| {
        let frame = [
            &b"\x83\xa4type\xa7publish\xa5topic\xa4room\xa4data"[..],
            data,
        ]
        .concat();
        session(WireFormat::Msgpack).on_message(Incoming::Binary(frame.into()))
    };
    let Step::Publish(None, publication) = publish(b"\xc4\x0a0123456789") else {
        panic!("a publish");
    };
    assert_eq!(publication.origin, Origin::Msgpack);
    assert_eq!(publication.payload, Payload::binary("0123456789".into()));
    // [base64 in quotes]: four characters for every three bytes.
    assert_eq!(outcome(&publish(b"\x91\xc4\x03abc")), "publish None room");
    assert_eq!(
        outcome(&publish(b"\x91\xc4\x04abcd")),
        "refuse None too_large"
    );
}

#[test]
fn too_many_errors_in_a_row_close_and_a_good_frame_forgives() {
    let mut session = session(WireFormat::Json);
    let said: Vec<String> = ["x", "[]", r#"{"type":"ping"}"#, "x", "x", "x"]
        .iter()
        .map(|frame| outcome(&session.on_message(text(frame))))
        .collect();
    assert_eq!(
        said,
        [
            "refuse None bad_request",
            "refuse None bad_request",
            "pong None",
            "refuse None bad_request",
            "refuse None bad_request",
            "refuse None bad_request and close 1008",
        ]
    );
}

#[test]
fn nothing_is_done_before_credentials_come_where_they_must() {
    let mut session = session(WireFormat::Json);
    session.must_authenticate = true;
    let ask = r#"{"type":"subscribe","id":1,"topic":"a"}"#;
    assert_eq!(
        outcome(&session.on_message(text(ask))),
        "refuse Some(1) unauthorized"
    );
    assert_eq!(
        outcome(&session.on_message(text(r#"{"type":"auth","token":"t"}"#))),
        "authenticate None"
    );
    session.authenticated(&Caller::that_may(Access::everything()));
    assert_eq!(
        outcome(&session.on_message(text(ask))),
        "subscribe Some(1) a"
    );
}

#[test]
fn a_session_may_what_its_grant_says() {
    let grant = |filter: &str| vec![Filter::new(filter).unwrap()];
    let access = Access::anonymous(grant("news/#"), grant("chat/+"));
    let mut session = opened(WireFormat::Json, access, None);
    for (frame, expected) in [
        (
            r#"{"type":"subscribe","id":1,"topic":"news/+"}"#,
            "subscribe Some(1) news/+",
        ),
        (
            r##"{"type":"subscribe","id":1,"topic":"#"}"##,
            "refuse Some(1) forbidden",
        ),
        (
            r#"{"type":"publish","id":1,"topic":"chat/a","data":1}"#,
            "publish Some(1) chat/a",
        ),
        (
            r#"{"type":"publish","id":1,"topic":"news/a","data":1}"#,
            "refuse Some(1) forbidden",
        ),
        (
            r#"{"type":"history","id":1,"topic":"chat/a"}"#,
            "refuse Some(1) forbidden",
        ),
        (
            r#"{"type":"presence","id":1,"topic":"news/a"}"#,
            "presence Some(1) news/a",
        ),
    ] {
        assert_eq!(
            outcome(&session.on_message(text(frame))),
            expected,
            "{frame}"
        );
    }
}

#[test]
fn a_raw_session_publishes_what_it_sends() {
    let mut raw = session(WireFormat::Raw);
    let Step::Publish(None, publication) = raw.on_message(text("héllo")) else {
        panic!("not published");
    };
    assert_eq!(publication.payload, Payload::text("héllo"));
    assert_eq!(publication.publisher, Some(SessionId(7)));
    let binary = Incoming::Binary(Bytes::from_static(b"\0\xff"));
    assert_eq!(outcome(&raw.on_message(binary)), "publish None room");
    assert_eq!(outcome(&raw.on_message(text("sechs!"))), "close 1009");
    let long = Incoming::Binary(Bytes::from_static(&[0; 11]));
    assert_eq!(outcome(&raw.on_message(long)), "refuse None too_large");
    let mut silent = opened(WireFormat::Raw, Access::everything(), None);
    assert_eq!(outcome(&silent.on_message(text("x"))), "close 1003");
}
