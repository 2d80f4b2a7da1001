//! The frames of a WebSocket, byte by byte, over a real socket: what the codec does with them is seen
//! from outside.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::support::{
    CLOSE, CONTINUE, Edit, PING, PONG, Process, Server, TEXT, close_payload, config, frame, header,
};

/// A request frame of just that length.
fn ping_of(length: usize) -> String {
    let empty = r#"{"type":"ping","id":1,"x":""}"#;
    let fill = "x".repeat(length - empty.len());
    format!(r#"{{"type":"ping","id":1,"x":"{fill}"}}"#)
}

/// A text in fragments of so many bytes.
fn in_fragments(text: &str, size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let pieces: Vec<_> = text.as_bytes().chunks(size).collect();
    for (place, piece) in pieces.iter().enumerate() {
        let opcode = if place == 0 { TEXT } else { CONTINUE };
        let last = if place + 1 == pieces.len() { 0x80 } else { 0 };
        bytes.extend(header(last | opcode, piece.len() as u64));
        bytes.extend_from_slice(piece);
    }
    bytes
}

#[test]
fn a_message_in_fragments_has_the_limit_of_a_whole_one() {
    let server = Server::start(config().with(|c| {
        c.websocket.max_frame = 1000;
        c.websocket.max_message = 3000;
    }));
    for size in [1000, 999, 60] {
        let mut wire = server.wire().welcomed();
        wire.send(in_fragments(&ping_of(3000), size));
        assert_eq!(wire.json()["type"], "ok");
        wire.send(in_fragments(&ping_of(3001), size));
        wire.expect_close(1009);
    }
}

#[test]
fn a_frame_that_declares_a_tebibyte_is_refused_at_its_header_for_no_memory() {
    const MIB: usize = 1024 * 1024;
    let server = Process::start("", &[]);
    let open = || crate::support::Wire::open(server.address, "/ws", "").welcomed();
    // Whatever the first of them brings along is there.
    drop(open());
    let before = server.resident();
    for opcode in [0x82, 0x02, 0x81] {
        let mut wire = open();
        wire.send(header(opcode, 1 << 40));
        // It is told before any of it has come.
        wire.expect_close(1009);
        let mut stream: TcpStream = wire.stream;
        let piece = vec![b'x'; MIB];
        for _ in 0..300 {
            if stream.write_all(&piece).is_err() {
                break;
            }
        }
        let grown = server.resident().saturating_sub(before);
        assert!(grown < MIB, "{grown} bytes more");
    }
    for length in [1u64 << 62, (1 << 63) - 1] {
        let mut wire = open();
        wire.send(header(0x82, length));
        wire.expect_close(1009);
    }
    let mut wire = open();
    wire.send(header(0x82, u64::MAX));
    wire.expect_close(1002);
}

#[test]
fn what_is_no_utf8_is_told_by_the_byte_that_shows_it() {
    let server = Server::start(config());
    // Neither the frame nor the message comes to its end.
    for first in [0x81, 0x01] {
        let mut wire = server.wire().welcomed();
        wire.send(header(first, 1000));
        wire.send(b"\"\xed");
        wire.send(b"\xa0");
        wire.expect_close(1007);
    }
    let mut wire = server.wire().welcomed();
    wire.send(frame(
        CLOSE,
        [&close_payload(1000, "")[..], b"\xff"].concat(),
    ));
    wire.expect_close(1007);
}

#[test]
fn fragments_for_ever_end_the_session_and_pings_among_them_are_answered() {
    let server = Server::start(config());
    let mut wire = server.wire().welcomed();
    wire.send(header(TEXT, 0));
    for round in 0u8..11 {
        wire.send(header(CONTINUE, 0).repeat(93));
        wire.send(frame(PING, [round]));
        assert_eq!(wire.frame(), Some((PONG, vec![round])));
    }
    wire.send(header(CONTINUE, 0));
    wire.expect_close(1008);
    wire.expect_end();
    server.await_metric(r#"fanfare_disconnects_total{code="1008"}"#, 1);
}

#[test]
fn pings_by_the_thousand_are_answered_to_the_last_and_nobody_waits_for_them() {
    let server = Server::start(config().workers(1));
    let mut reader = server.connect();
    reader.subscribe("a").await_ok();
    let mut wire = server.wire().welcomed();
    for round in 1u16..=10 {
        let pings = (1u16..=5000).map(|n| frame(PING, (round * 5000 + n).to_be_bytes()));
        wire.send(pings.collect::<Vec<_>>().concat());
        server.publish("a", &json!(round));
        assert_eq!(reader.expect_message("a")["data"], round);
        // Of many that wait some may go unanswered (RFC 6455 §5.5.3); those that are come in order.
        let mut newest = round * 5000;
        while newest < round * 5000 + 5000 {
            let (opcode, payload) = wire.frame().expect("a pong");
            let answered = u16::from_be_bytes(payload.try_into().unwrap());
            assert_eq!(opcode, PONG);
            assert!(newest < answered, "{newest} before {answered}");
            newest = answered;
        }
    }
}

#[test]
fn pings_of_one_who_does_not_read_fill_nothing() {
    let server = Server::start(config().workers(1).with(|c| c.session.queue = 64 * 1024));
    let mut deaf = crate::support::Wire::narrow(server.address, "/ws");
    let patience = Duration::from_millis(500);
    deaf.stream.set_write_timeout(Some(patience)).unwrap();
    let pings = frame(PING, [7; 125]).repeat(500);
    // It may be that it is not read any more, or that only its last pings are answered.
    let taken = (0..200).take_while(|_| deaf.stream.write_all(&pings).is_ok());
    assert!(taken.count() > 1);
    let mut other = server.connect();
    other.ask(json!({"type": "ping"})).await_ok();
    let queued = server.metric("fanfare_session_queued_bytes");
    assert!(queued <= 128 * 1024, "{queued}");
}

#[test]
fn many_frames_of_one_write_and_one_frame_of_many_are_read_alike() {
    let server = Server::start(config());
    let mut wire = server.wire().welcomed();
    let request = |id: u32| json!({"type": "ping", "id": id}).to_string();
    let all: Vec<u8> = (0..2000).flat_map(|id| frame(TEXT, request(id))).collect();
    wire.send(&all);
    for id in 0..2000 {
        assert_eq!(wire.json()["id"], id);
    }
    // Cut so that the pieces end everywhere in a frame.
    for size in [1, 7, 31, 1000] {
        for piece in all[..frame(TEXT, request(0)).len() * 10].chunks(size) {
            wire.send(piece);
        }
        for id in 0..10 {
            assert_eq!(wire.json()["id"], id, "{size}");
        }
    }
}

#[test]
fn frames_that_come_with_the_handshake_are_read() {
    let server = Server::start(config());
    let mut stream = TcpStream::connect(server.address).unwrap();
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        server.address
    );
    let ping = frame(TEXT, r#"{"type":"ping","id":7}"#);
    let close = frame(CLOSE, close_payload(1000, ""));
    let all = [request.into_bytes(), ping, close].concat();
    stream.write_all(&all).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains(r#""id":7"#), "{answer}");
}
