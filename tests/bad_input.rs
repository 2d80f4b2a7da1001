//! What clients send that they should not.

use serde_json::json;
use tungstenite::Message;

use crate::support::{
    BINARY, CLOSE, CONTINUE, Edit, PING, PONG, Server, TEXT, close_payload, config, frame, header,
};

#[test]
fn a_frame_that_makes_no_sense_is_an_error_and_the_session_goes_on() {
    let server = Server::start(config().with(|c| c.limits.protocol_errors = 1000));
    let mut client = server.connect();
    for text in [
        "",
        " ",
        "x",
        "{",
        "null",
        "3",
        "\"ping\"",
        "[]",
        "[{\"type\":\"ping\"}]",
        "{}",
        r#"{"type":"ping"}{"type":"ping"}"#,
        r#"{"type":"ping",}"#,
        r#"{"Type":"ping"}"#,
        r#"{"type":null}"#,
        r#"{"type":1}"#,
        r#"{"type":"PING"}"#,
        r#"{"type":"nope"}"#,
        r#"{"type":"welcome"}"#,
        r#"{"type":"ping","id":-1}"#,
        r#"{"type":"ping","id":1.5}"#,
        r#"{"type":"ping","id":"1"}"#,
        r#"{"type":"ping","id":9007199254740992}"#,
        r#"{"type":"subscribe"}"#,
        r#"{"type":"subscribe","topic":1}"#,
        r#"{"type":"subscribe","topic":null}"#,
        r#"{"type":"subscribe","topic":["a"]}"#,
        r#"{"type":"subscribe","topic":"a","echo":"no"}"#,
        r#"{"type":"subscribe","topic":"a","overflow":"drop_oldest"}"#,
        r#"{"type":"subscribe","topic":"a","overflow":"conflate","min_interval_ms":100}"#,
        r#"{"type":"subscribe","topic":"a","min_interval_ms":100}"#,
        r#"{"type":"publish","topic":"a"}"#,
        r#"{"type":"publish","data":1}"#,
        r#"{"type":"publish","topic":"a","data":1,"retain":"x"}"#,
        r#"{"type":"publish","topic":"a","data":1,"key":7}"#,
        r#"{"type":"publish","topic":"a","data":1,"encoding":"base64"}"#,
        r#"{"type":"publish","topic":"a","data":"A","encoding":"base64"}"#,
        r#"{"type":"publish","topic":"a","data":1,"encoding":"text"}"#,
        r#"{"type":"publish","topic":"a","data":"x","encoding":"hex"}"#,
        r#"{"type":"history"}"#,
        r#"{"type":"presence"}"#,
        r#"{"type":"auth"}"#,
        r#"{"type":"auth","token":7}"#,
    ] {
        client.send_text(text);
        let error = client.frame();
        assert_eq!(error["type"], "error", "{text}: {error}");
        assert_eq!(error["code"], "bad_request", "{text}: {error}");
    }
    for topic in [
        "",
        "a/#/b",
        "#a",
        "a+",
        "+a/b",
        "a\u{0}",
        "a\nb",
        &"a".repeat(256),
    ] {
        client.subscribe(topic).await_error("invalid_topic");
        client.publish(topic, 1).await_error("invalid_topic");
    }
    for topic in ["a/+", "#"] {
        client.publish(topic, 1).await_error("invalid_topic");
    }
    // Fields that nobody knows are not minded; an id that is right comes back with the error.
    client
        .ask(json!({"type": "subscribe", "topic": "a", "colour": "red", "overflow": "disconnect"}))
        .await_ok();
    client
        .ask(json!({"type": "nope"}))
        .await_error("bad_request");
    client
        .ask(json!({"type": "publish", "topic": "a", "data": 1, "retain": false}))
        .await_ok();
    assert_eq!(client.expect_message("a")["data"], 1);
    assert_eq!(server.metric("fanfare_connections"), 1);
}

#[test]
fn a_deep_nest_of_json_is_taken_or_refused_and_ends_nothing() {
    let server = Server::start(config());
    let mut client = server.connect();
    let nest = format!(
        r#"{{"type":"publish","topic":"a","id":1,"data":{}{}}}"#,
        "[".repeat(25_000),
        "]".repeat(25_000)
    );
    client.send_text(&nest);
    let answer = client.frame();
    assert!(
        answer["type"] == "ok" || answer["code"] == "bad_request",
        "{answer}"
    );
    client.expect_nothing();
}

#[test]
fn only_protocol_errors_in_a_row_close_the_session() {
    let server = Server::start(config().with(|c| c.limits.protocol_errors = 4));
    let mut client = server.connect();
    for _ in 0..3 {
        for _ in 0..3 {
            client.send_text("nonsense");
            client.expect_error("bad_request");
        }
        client.ask(json!({"type": "ping"})).await_ok();
    }
    // Errors of another kind make sense.
    for _ in 0..10 {
        client.unsubscribe("nothing").await_error("not_subscribed");
    }
    for _ in 0..4 {
        client.send_text("nonsense");
    }
    let (closing, before) = client.expect_close(1008);
    assert_eq!(before.len(), 4, "{before:?}");
    assert_eq!(closing["reconnect"], false);
    server.await_metric(r#"fanfare_disconnects_total{code="1008"}"#, 1);
}

#[test]
fn binary_data_closes_a_json_session() {
    let server = Server::start(config());
    let mut client = server.connect();
    client.send_message(Message::binary(br#"{"type":"ping"}"#.to_vec()));
    client.expect_close(1003);
}

type Row = (&'static str, u16, Vec<u8>);

fn small() -> Server {
    Server::start(config().with(|c| {
        c.websocket.max_frame = 2000;
        c.websocket.max_message = 3000;
    }))
}

/// A fragment of a text that is not its last.
fn started(payload: &[u8]) -> Vec<u8> {
    [header(TEXT, payload.len() as u64), payload.to_vec()].concat()
}

/// A fragment that is neither the first nor the last.
fn middle(payload: &[u8]) -> Vec<u8> {
    [header(CONTINUE, payload.len() as u64), payload.to_vec()].concat()
}

fn join(frames: &[Vec<u8>]) -> Vec<u8> {
    frames.concat()
}

/// A text in two fragments.
fn split(first: &[u8], second: &[u8]) -> Vec<u8> {
    join(&[started(first), frame(CONTINUE, second)])
}

/// Each of these closes a session with that code.
#[track_caller]
fn expect_closed(server: &Server, rows: impl IntoIterator<Item = Row>) {
    for (what, code, bytes) in rows {
        let mut wire = server.wire().welcomed();
        wire.send(&bytes);
        // It is told at once, though the frame may never be whole.
        let (opcode, closing) = wire.frame().expect(what);
        assert_eq!(opcode, TEXT, "{what}");
        let closing: serde_json::Value = serde_json::from_slice(&closing).unwrap();
        assert_eq!(closing["type"], "closing", "{what}: {closing}");
        assert_eq!(closing["code"], code, "{what}: {closing}");
        assert_eq!(closing["reconnect"], false, "{what}");
        wire.expect_close(code);
        wire.expect_end();
    }
    server.await_metric("fanfare_connections", 0);
}

#[test]
fn frames_that_break_the_protocol_close_with_1002() {
    expect_closed(
        &small(),
        [
            ("unmasked", 1002, vec![0x81, 2, b'{', b'}']),
            ("rsv1", 1002, header(0xc1, 0)),
            ("rsv2", 1002, header(0xa1, 0)),
            ("rsv3", 1002, header(0x91, 0)),
            ("opcode 3", 1002, frame(3, "")),
            ("opcode 7", 1002, frame(7, "x")),
            ("opcode 11", 1002, frame(11, "")),
            ("opcode 15", 1002, frame(15, "")),
            ("a ping in fragments", 1002, header(PING, 0)),
            ("a close in fragments", 1002, header(CLOSE, 0)),
            ("a ping of 126 bytes", 1002, frame(PING, [0; 126])),
            ("a continuation of nothing", 1002, frame(CONTINUE, "x")),
            ("a middle of nothing", 1002, middle(b"x")),
            (
                "a text in a text",
                1002,
                join(&[started(b"x"), frame(TEXT, "x")]),
            ),
            (
                "a start in a text",
                1002,
                join(&[started(b"x"), started(b"y")]),
            ),
            (
                "a binary in a text",
                1002,
                join(&[started(b"x"), frame(BINARY, "x")]),
            ),
            ("close of one byte", 1002, frame(CLOSE, [3])),
            ("close with 999", 1002, frame(CLOSE, close_payload(999, ""))),
            (
                "close with 1004",
                1002,
                frame(CLOSE, close_payload(1004, "")),
            ),
            (
                "close with 1005",
                1002,
                frame(CLOSE, close_payload(1005, "")),
            ),
            (
                "close with 1006",
                1002,
                frame(CLOSE, close_payload(1006, "")),
            ),
            (
                "close with 1015",
                1002,
                frame(CLOSE, close_payload(1015, "")),
            ),
            (
                "close with 5000",
                1002,
                frame(CLOSE, close_payload(5000, "")),
            ),
        ],
    );
}

#[test]
fn texts_that_are_no_utf8_and_what_is_too_much_close_with_their_code() {
    let mut many = started(b"x");
    for _ in 0..1024 {
        many.extend_from_slice(&middle(b""));
    }
    expect_closed(
        &small(),
        [
            ("no UTF-8", 1007, frame(TEXT, [b'"', 0xff, b'"'])),
            ("half a character", 1007, frame(TEXT, [b'"', 0xe2, 0x82])),
            ("a surrogate", 1007, frame(TEXT, [0xed, 0xa0, 0x80])),
            (
                "no UTF-8 in the first fragment",
                1007,
                started(&[b'"', 0xff]),
            ),
            (
                "no UTF-8 in the second fragment",
                1007,
                split(b"\"a", &[0xc0, 0x80]),
            ),
            (
                "a character that never ends",
                1007,
                split(&[b'"', 0xe2], b"\""),
            ),
            (
                "half a character at the end",
                1007,
                split(b"\"a", &[0xe2, 0x82]),
            ),
            ("a header over the frame's limit", 1009, header(0x81, 2001)),
            ("a header of 2^62", 1009, header(0x82, 1 << 62)),
            ("a header of 2^63", 1002, header(0x82, 1 << 63)),
            (
                "fragments over the message's limit",
                1009,
                split(&[b' '; 2000], &[b' '; 1001]),
            ),
            ("too many fragments", 1008, many),
        ],
    );
}

#[test]
fn a_close_reason_that_is_no_utf8_is_no_good_close() {
    let server = Server::start(config());
    let mut wire = server.wire().welcomed();
    let mut payload = close_payload(1000, "");
    payload.push(0xff);
    wire.send(frame(CLOSE, payload));
    while let Some((opcode, payload)) = wire.frame() {
        if opcode == CLOSE {
            assert!([1002u16, 1007].contains(&u16::from_be_bytes([payload[0], payload[1]])));
            return;
        }
    }
    panic!("no close frame");
}

#[test]
fn a_message_may_come_in_fragments_with_pings_between_and_byte_by_byte() {
    let server = Server::start(config());
    let mut wire = server.wire().welcomed();
    let text = r#"{"type":"subscribe","topic":"€/é","id":1}"#.as_bytes();
    // Cut within a character.
    let cut = text.iter().position(|b| *b == 0xe2).unwrap() + 1;
    let mut bytes = header(TEXT, cut as u64);
    bytes.extend_from_slice(&text[..cut]);
    bytes.extend_from_slice(&frame(PING, "between"));
    bytes.extend_from_slice(&header(CONTINUE, 0));
    bytes.extend_from_slice(&frame(CONTINUE, &text[cut..]));
    for byte in bytes {
        wire.send([byte]);
    }
    assert_eq!(wire.frame(), Some((PONG, b"between".to_vec())));
    let ok = wire.json();
    assert_eq!((&ok["type"], &ok["topic"]), (&json!("ok"), &json!("€/é")));
    // Pings are answered with what they carried; pongs that nobody asked for are not minded.
    wire.send(frame(PONG, "x"));
    for payload in [&b""[..], &[0xff; 125]] {
        wire.send(frame(PING, payload));
        assert_eq!(wire.frame(), Some((PONG, payload.to_vec())));
    }
}

#[test]
fn data_over_the_limit_is_too_large_and_the_session_goes_on() {
    let server = Server::start(config().with(|c| c.limits.message_bytes = 10));
    let mut client = server.connect();
    client.subscribe("a").await_ok();
    client.publish("a", "12345678").await_ok();
    client.publish("a", "123456789").await_error("too_large");
    // What counts is the message, not how it is written.
    client
        .ask(json!({"type": "publish", "topic": "a", "data": "AAAAAAAAAAAAAA==", "encoding": "base64"}))
        .await_ok();
    client
        .ask(json!({"type": "publish", "topic": "a", "data": "AAAAAAAAAAAAAAA=", "encoding": "base64"}))
        .await_error("too_large");
    assert_eq!(client.expect_data(2).len(), 2);
    client.expect_nothing();
    server.await_metric(r#"fanfare_publish_errors_total{code="too_large"}"#, 2);
}

#[test]
fn a_frame_of_exactly_the_limit_is_taken() {
    let server = Server::start(config().with(|c| c.websocket.max_frame = 300));
    let text = |length: usize| {
        let empty = r#"{"type":"ping","id":1,"x":""}"#;
        let fill = "x".repeat(length - empty.len());
        format!(r#"{{"type":"ping","id":1,"x":"{fill}"}}"#)
    };
    let mut wire = server.wire().welcomed();
    wire.send(frame(TEXT, text(300)));
    assert_eq!(wire.json()["type"], "ok");
    wire.send(frame(TEXT, text(301)));
    wire.expect_close(1009);
}
