//! Compressed messages of clients, over a real socket (RFC 7692).

use fanfare::websocket::{Deflater, Inflater};
use serde_json::json;

use crate::support::{
    BINARY, CLOSE, CONTINUE, Client, Edit, PING, PONG, Process, Server, TEXT, Wire, config, frame,
    header,
};

const RSV1: u8 = 0x40;

/// The line of a request that offers that.
fn offering(extensions: &str) -> String {
    format!("Sec-WebSocket-Extensions: {extensions}\r\n")
}

/// What the answer says to these offers.
#[track_caller]
fn agreed(server: &Server, lines: &str) -> Option<String> {
    let wire = Wire::open(server.address, "/ws", lines);
    let mut headers = wire.head.lines().filter_map(|line| line.split_once(": "));
    let (_, value) = headers.find(|(name, _)| *name == "Sec-WebSocket-Extensions")?;
    Some(value.to_owned())
}

/// A session that agreed on compression.
#[track_caller]
fn compressing(server: &Server) -> Wire {
    Wire::open(server.address, "/ws", &offering("permessage-deflate")).welcomed()
}

fn deflated(data: impl AsRef<[u8]>) -> Vec<u8> {
    Deflater::new(15, 6).deflate(data.as_ref(), false)
}

/// A compressed message in one frame.
fn message(data: impl AsRef<[u8]>) -> Vec<u8> {
    frame(RSV1 | TEXT, deflated(data))
}

/// A fragment that is not the last.
fn fragment(first: u8, payload: &[u8]) -> Vec<u8> {
    [header(first, payload.len() as u64), payload.to_vec()].concat()
}

#[test]
fn the_first_offer_that_is_as_it_should_be_is_agreed_on() {
    let server = Server::start(config());
    let bad = "permessage-deflate; server_max_window_bits=16, ".repeat(9);
    let ten = format!("{bad}permessage-deflate; server_max_window_bits=9");
    for (offer, expected) in [
        ("permessage-deflate", ""),
        ("permessage-deflate; client_max_window_bits", ""),
        (
            "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
            "",
        ),
        (
            "permessage-deflate; server_max_window_bits=8",
            "; server_max_window_bits=8",
        ),
        (
            "permessage-deflate; server_max_window_bits=15",
            "; server_max_window_bits=15",
        ),
        (
            "permessage-deflate; client_max_window_bits=8",
            "; client_max_window_bits=8",
        ),
        (
            "permessage-deflate; client_max_window_bits=\"12\"",
            "; client_max_window_bits=12",
        ),
        ("x-webkit-deflate-frame, permessage-deflate", ""),
        (
            "permessage-deflate; server_max_window_bits=7, permessage-deflate; server_max_window_bits=11",
            "; server_max_window_bits=11",
        ),
        (ten.as_str(), "; server_max_window_bits=9"),
    ] {
        let fresh = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        let expected = Some(format!("{fresh}{expected}"));
        assert_eq!(agreed(&server, &offering(offer)), expected, "{offer}");
    }
    // Offers in headers of their own are one list.
    let lines = [
        offering("permessage-deflate; unknown"),
        offering("permessage-deflate; server_max_window_bits=10"),
        offering("permessage-deflate"),
    ];
    let answer = agreed(&server, &lines.concat()).unwrap();
    assert!(answer.ends_with("; server_max_window_bits=10"), "{answer}");
}

#[test]
fn an_offer_that_is_not_as_it_should_be_is_declined_and_the_session_goes_on_without() {
    let server = Server::start(config());
    for offer in [
        "permessage-bzip2",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=08",
        "permessage-deflate; client_max_window_bits=99",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate; mystery",
        "permessage-deflate; =",
        "permessage-deflate; server_max_window_bits=\"9",
    ] {
        let lines = offering(offer);
        assert_eq!(agreed(&server, &lines), None, "{offer}");
        let mut wire = Wire::open(server.address, "/ws", &lines).welcomed();
        wire.send(message(r#"{"type":"ping"}"#));
        wire.expect_close(1002);
    }
    assert_eq!(agreed(&server, ""), None);
}

#[test]
fn compression_is_agreed_on_as_the_configuration_says() {
    let off = Server::start(config().with(|c| c.websocket.compression.enabled = false));
    assert_eq!(agreed(&off, &offering("permessage-deflate")), None);
    let headers = [("Sec-WebSocket-Extensions", "permessage-deflate")];
    Client::open_with(off.address, "/ws", &headers).expect_nothing();
    let small = Server::start(config().with(|c| c.websocket.compression.max_window_bits = 10));
    let offer = "permessage-deflate; client_max_window_bits";
    let answer = agreed(&small, &offering(offer)).unwrap();
    let windows = "; server_max_window_bits=10; client_max_window_bits=10";
    assert!(answer.ends_with(windows), "{answer}");
}

#[test]
fn compressed_messages_are_read_whole_in_fragments_and_among_plain_ones() {
    let server = Server::start(config());
    let mut reader = server.connect();
    reader.subscribe("a").await_ok();
    let mut wire = compressing(&server);
    let publish = |n: usize| {
        let data = json!([n, "€ and so on, and so on, and so on".repeat(n * 100)]);
        json!({"type": "publish", "topic": "a", "data": data}).to_string()
    };
    for n in 0..5 {
        wire.send(message(publish(n)));
        wire.send(frame(TEXT, publish(n)));
        let payload = deflated(publish(n));
        let (start, end) = payload.split_at(payload.len() / 3);
        wire.send(fragment(RSV1 | TEXT, start));
        wire.send(frame(PING, "between"));
        wire.send(fragment(CONTINUE, b""));
        for byte in frame(CONTINUE, end) {
            wire.send([byte]);
        }
        assert_eq!(wire.frame(), Some((PONG, b"between".to_vec())));
        for _ in 0..3 {
            assert_eq!(reader.expect_message("a")["data"][0], n);
        }
    }
}

#[test]
fn what_cannot_be_inflated_or_is_too_much_closes_with_its_code() {
    let server = Server::start(config().with(|c| {
        c.websocket.max_frame = 2000;
        c.websocket.max_message = 3000;
    }));
    let bomb = deflated(vec![b' '; 1_000_000]);
    let (start, end) = bomb.split_at(bomb.len() / 2);
    let good = deflated(r#"{"type":"ping"}"#);
    for (what, code, bytes) in [
        ("a bomb", 1009, frame(RSV1 | TEXT, &bomb)),
        (
            "a bomb in fragments",
            1009,
            [fragment(RSV1 | TEXT, start), frame(CONTINUE, end)].concat(),
        ),
        ("a byte over the limit", 1009, message(vec![b' '; 3001])),
        (
            "a frame over the limit",
            1009,
            header(0x80 | RSV1 | TEXT, 2001),
        ),
        ("garbage", 1007, frame(RSV1 | TEXT, [0xff; 30])),
        (
            "half of a message",
            1007,
            frame(RSV1 | TEXT, &good[..good.len() / 2]),
        ),
        ("no UTF-8", 1007, message(b"\"\xff\"")),
        (
            "what refers to the message before",
            1007,
            [
                message(r#"{"type":"pong"}"#),
                frame(RSV1 | TEXT, b"\xf2\x00\x11\x00\x00"),
            ]
            .concat(),
        ),
        ("a compressed ping", 1002, frame(RSV1 | PING, "")),
        ("a compressed close", 1002, frame(RSV1 | CLOSE, "")),
        (
            "RSV1 on a continuation",
            1002,
            [fragment(RSV1 | TEXT, &good), frame(RSV1, "")].concat(),
        ),
        ("RSV2", 1002, frame(0x20 | TEXT, "")),
        ("RSV3", 1002, frame(0x10 | BINARY, "")),
    ] {
        let mut wire = compressing(&server);
        wire.send(&bytes);
        let reason = wire.expect_close(code);
        assert!(!reason.is_empty(), "{what}");
        wire.expect_end();
    }
    server.await_metric("fanfare_connections", 0);
}

#[test]
fn bombs_cost_no_memory() {
    const MIB: usize = 1024 * 1024;
    let server = Process::start("websocket.max_message = '64KiB'", &[]);
    let open = || Wire::open(server.address, "/ws", &offering("permessage-deflate")).welcomed();
    let bomb = deflated(vec![0; 60 * MIB]);
    assert!(bomb.len() < 64 * 1024);
    let explode = || {
        let mut wire = open();
        wire.send(frame(RSV1 | BINARY, &bomb));
        wire.expect_close(1009);
    };
    // What the first of them brings along, the inflater of each thread above all.
    (0..8).for_each(|_| explode());
    let before = server.resident();
    (0..100).for_each(|_| explode());
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 2 * MIB, "{grown} bytes more");
}

/// The payload of the next frame, and whether it came compressed.
#[track_caller]
fn next_payload(wire: &mut Wire, bits: u8) -> (Vec<u8>, bool) {
    let (first, payload) = wire.frame_as_it_is().unwrap();
    if first & RSV1 == 0 {
        return (payload, false);
    }
    let inflated = Inflater::new(bits).inflate(&payload, 1 << 20, false);
    (inflated.unwrap(), true)
}

#[test]
fn a_message_is_compressed_once_for_all_who_agreed_on_it() {
    let server = Server::start(config());
    let offers = [
        ("permessage-deflate", 15),
        ("permessage-deflate", 15),
        ("permessage-deflate; server_max_window_bits=9", 9),
        ("permessage-deflate; server_max_window_bits=8", 9),
        ("", 15),
    ];
    let mut readers: Vec<_> = offers
        .iter()
        .map(|(offer, bits)| {
            let lines = if offer.is_empty() {
                String::new()
            } else {
                offering(offer)
            };
            let mut wire = Wire::open(server.address, "/ws", &lines).welcomed();
            wire.send_json(&json!({"type": "subscribe", "topic": "a", "id": 1}));
            assert_eq!(wire.json()["type"], "ok");
            (wire, *bits, !offer.is_empty())
        })
        .collect();
    let mut writer = server.connect();
    for n in 0..10 {
        // Every other one is too short to be worth it.
        let is_long = n % 2 == 0;
        let text = "text that repeats itself, ".repeat(if is_long { 100 } else { 1 });
        writer.publish("a", json!([n, text])).await_ok();
        for (wire, bits, agreed) in &mut readers {
            let (payload, compressed) = next_payload(wire, *bits);
            let message: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!(message["data"], json!([n, text]));
            assert_eq!(compressed, *agreed && is_long, "{n} {bits}");
        }
    }
    // One for each of two windows.
    assert_eq!(server.metric("fanfare_compressed_messages_total"), 2 * 5);
    assert_eq!(server.metric("fanfare_compression_ratio_count"), 2 * 5);
    assert!(server.metric("fanfare_compression_saved_bytes_total") > 2 * 5 * 2000);
    assert_eq!(server.metric("fanfare_messages_delivered_total"), 50);
}
