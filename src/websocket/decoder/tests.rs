use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::Deflater;
use super::*;

mod against_a_model;
mod compressed;

const LIMITS: Limits = Limits {
    frame: 1000,
    message: 1500,
    fragments: 8,
    overhead: 100,
};

/// What a decoder made of some input.
type Read = (Vec<Event>, Option<u16>);

/// The first byte of a frame, as it stands on the wire.
const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const CONTINUE: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A masked frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    masked(first, payload, [0x37, 0xfa, 0x21, 0x3d])
}

fn masked(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64);
    bytes.extend_from_slice(&key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k));
    bytes
}

/// A header up to its key.
fn header(first: u8, len: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match len {
        0..126 => bytes.push(0x80 | len as u8),
        126..0x1_0000 => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0xff);
            bytes.extend_from_slice(&len.to_be_bytes());
        }
    }
    bytes
}

/// Feeds the pieces of a stream one after the other.
fn feed<'a>(decoder: &mut Decoder, pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let mut events = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut input = Input::new(&mut piece);
        loop {
            match decoder.next(&mut input) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(fault) => return (events, Some(fault.code)),
            }
        }
        assert!(input.rest().is_empty(), "all of it was looked at");
    }
    (events, None)
}

fn plain() -> Decoder {
    Decoder::new(LIMITS, None)
}

/// What is read of a stream in one piece, and the same byte by byte.
fn read(stream: &[u8]) -> Read {
    let whole = feed(&mut plain(), [stream]);
    let cut = feed(&mut plain(), stream.chunks(1));
    assert_eq!(whole, cut, "{stream:x?}");
    whole
}

fn text(data: &str) -> Event {
    let carried = data.len();
    Event::Message(Incoming::Text(data.into()), carried)
}

fn joined(data: &[u8], carried: usize) -> Event {
    Event::Message(Incoming::Binary(Bytes::copy_from_slice(data)), carried)
}

fn bytes(data: &[u8]) -> Bytes {
    Bytes::copy_from_slice(data)
}

#[test]
fn frames_of_one_read_are_events_in_order() {
    let stream = [
        frame(FIN | TEXT, b"one"),
        frame(FIN | PING, b"?"),
        frame(FIN | BINARY, b"\xff"),
        frame(FIN | PONG, b""),
        frame(FIN | TEXT, b""),
        frame(FIN | CLOSE, b"\x03\xe8bye"),
    ];
    let events = vec![
        text("one"),
        Event::Ping(bytes(b"?")),
        joined(b"\xff", 1),
        Event::Pong(bytes(b"")),
        text(""),
        Event::Close(Some(1000)),
    ];
    assert_eq!(read(&stream.concat()), (events, None));
}

#[test]
fn fragments_are_joined_and_control_frames_stand_between_them() {
    let stream = [
        frame(BINARY, b"a\xe2"),
        frame(FIN | PING, b"1"),
        frame(CONTINUE, b""),
        frame(CONTINUE, b"\x82"),
        frame(FIN | PONG, b"2"),
        frame(FIN | CONTINUE, b"bc"),
        frame(TEXT, b"\xe2"),
        frame(FIN | CONTINUE, b"\x82\xac"),
    ];
    let euro = Event::Message(Incoming::Text("€".into()), 2);
    let events = vec![
        Event::Fragment(2),
        Event::Ping(bytes(b"1")),
        Event::Fragment(0),
        Event::Fragment(1),
        Event::Pong(bytes(b"2")),
        joined(b"a\xe2\x82bc", 2),
        Event::Fragment(1),
        euro,
    ];
    assert_eq!(read(&stream.concat()), (events, None));
}

#[test]
fn a_close_within_a_message_ends_it_and_what_follows_is_ignored() {
    for behind in [
        frame(FIN | TEXT, b"x"),
        frame(FIN | CLOSE, b""),
        vec![0xff; 40],
        vec![0xff],
    ] {
        let stream = [frame(TEXT, b"x"), frame(FIN | CLOSE, b""), behind].concat();
        let events = vec![Event::Fragment(1), Event::Close(None)];
        assert_eq!(read(&stream), (events, None));
    }
}

#[test]
fn what_breaks_the_protocol_is_told_with_its_code() {
    let fragment = frame(TEXT, b"x");
    let after = |stream: Vec<u8>| [fragment.clone(), stream].concat();
    for (what, code, stream) in [
        (
            "RSV1, and nothing was agreed on",
            1002,
            header(FIN | RSV1 | TEXT, 1),
        ),
        ("a continuation of nothing", 1002, header(FIN | CONTINUE, 0)),
        ("a fragment of nothing", 1002, header(CONTINUE, 0)),
        ("a text in a text", 1002, after(header(FIN | TEXT, 0))),
        ("a text that starts in a text", 1002, after(header(TEXT, 0))),
        ("bytes in a text", 1002, after(header(FIN | BINARY, 0))),
        ("RSV1 in a text", 1002, after(header(FIN | RSV1, 0))),
        ("a close of one byte", 1002, frame(FIN | CLOSE, b"\x03")),
        ("a close with 1005", 1002, frame(FIN | CLOSE, b"\x03\xed")),
        (
            "a reason that is no UTF-8",
            1007,
            frame(FIN | CLOSE, b"\x03\xe8\xff"),
        ),
        ("a frame over the limit", 1009, header(FIN | TEXT, 1001)),
        ("a fragment over the limit", 1009, header(BINARY, 1001)),
        ("1 TiB", 1009, header(FIN | BINARY, 1 << 40)),
        ("2^62", 1009, header(FIN | BINARY, 1 << 62)),
        ("2^63", 1002, header(FIN | BINARY, 1 << 63)),
        (
            "fragments over the limit of the message",
            1009,
            [frame(BINARY, &[0; 1000]), header(FIN, 501)].concat(),
        ),
    ] {
        let (events, fault) = read(&stream);
        assert_eq!(fault, Some(code), "{what}");
        assert!(
            events.iter().all(|e| matches!(e, Event::Fragment(_))),
            "{what}"
        );
    }
}

#[test]
fn nothing_comes_after_a_fault() {
    let mut decoder = plain();
    let good = frame(FIN | TEXT, b"x");
    let stream = [good.clone(), vec![0xff; 8], good.clone()].concat();
    assert_eq!(
        feed(&mut decoder, [&stream[..]]),
        (vec![text("x")], Some(1002))
    );
    assert_eq!(feed(&mut decoder, [&good[..]]), (vec![], None));
}

#[test]
fn a_message_may_have_the_limit_and_not_a_byte_more() {
    for (first, second, accepted) in [(1000, 500, true), (1000, 501, false), (500, 1000, true)] {
        let stream = [frame(BINARY, &vec![7; first]), frame(FIN, &vec![7; second])].concat();
        let (events, fault) = read(&stream);
        if accepted {
            assert_eq!(
                events.last(),
                Some(&joined(&vec![7; first + second], second))
            );
            assert_eq!(fault, None);
        } else {
            assert_eq!((events.len(), fault), (1, Some(1009)));
        }
    }
    let (events, _) = read(&frame(FIN | BINARY, &[7; 1000]));
    assert_eq!(events.len(), 1);
}

#[test]
fn text_that_is_not_utf8_is_told_by_the_byte_that_shows_it() {
    // An overlong form and a surrogate show in their second byte, what is above U+10FFFF too.
    for bad in [
        &b"a\xff"[..],
        b"\xc0",
        b"\xe0\x80",
        b"\xed\xa0",
        b"\xf4\x90",
        b"\xf5",
        b"\xe2\x82a",
        b"\x80",
    ] {
        let behind = b"and so on";
        let payload = [bad, behind].concat();
        for first in [FIN | TEXT, TEXT] {
            let stream = frame(first, &payload);
            let shown = stream.len() - behind.len();
            let (events, fault) = feed(&mut plain(), stream[..shown].chunks(1));
            assert_eq!((events.len(), fault), (0, Some(1007)), "{bad:x?}");
            let before = feed(&mut plain(), stream[..shown - 1].chunks(1));
            assert_eq!(before, (vec![], None), "{bad:x?}");
        }
        assert_eq!(read(&frame(FIN | TEXT, &payload)), (vec![], Some(1007)));
        // The same in a fragment of its own, and cut within.
        for cut in 0..bad.len() {
            let stream = [frame(TEXT, &bad[..cut]), frame(CONTINUE, &bad[cut..])].concat();
            let (events, fault) = read(&stream);
            assert_eq!((events.len(), fault), (1, Some(1007)), "{cut} of {bad:x?}");
        }
    }
    // It ends within a character.
    assert_eq!(read(&frame(FIN | TEXT, b"a\xe2\x82")), (vec![], Some(1007)));
    let stream = [frame(TEXT, b"a\xe2"), frame(FIN, b"\x82")].concat();
    assert_eq!(read(&stream), (vec![Event::Fragment(2)], Some(1007)));
}

#[test]
fn a_message_comes_in_a_bounded_number_of_fragments() {
    let fragments = |n: usize| [frame(TEXT, b"x"), frame(CONTINUE, b"").repeat(n - 1)].concat();
    let enough = [fragments(7), frame(FIN, b"")].concat();
    let (events, fault) = read(&enough);
    assert_eq!((events.len(), fault), (8, None));
    let too_many = [fragments(8), frame(FIN | PING, b""), header(FIN, 0)].concat();
    let (events, fault) = read(&too_many);
    assert_eq!((events.len(), fault), (9, Some(1008)));
}

#[test]
fn the_headers_of_fragments_are_bounded_by_what_they_carry() {
    let limits = Limits {
        fragments: 1_000_000,
        ..LIMITS
    };
    let read = |payload: &[u8]| {
        let stream = [
            frame(BINARY, payload),
            frame(CONTINUE, payload).repeat(1000),
        ]
        .concat();
        let (events, fault) = feed(&mut Decoder::new(limits, None), [&stream[..]]);
        (events.len(), fault)
    };
    // Six bytes each: of those that are empty, sixteen fit into 100 bytes.
    assert_eq!(read(b""), (16, Some(1008)));
    assert_eq!(read(b"12345"), (100, Some(1008)));
    // What carries as much as it costs is bounded by the message's length alone.
    assert_eq!(read(b"123456"), (250, Some(1009)));
}

#[test]
fn no_memory_is_taken_for_what_was_only_declared() {
    let mut decoder = Decoder::new(
        Limits {
            frame: 1 << 30,
            message: 1 << 30,
            ..LIMITS
        },
        None,
    );
    let mut stream = header(FIN | BINARY, 1 << 30);
    stream.extend_from_slice(&[0; 4 + 10]);
    feed(&mut decoder, [&stream[..]]);
    let held = |decoder: &Decoder| {
        let open = decoder.open.as_ref().unwrap();
        open.message.as_ref().unwrap().capacity()
    };
    assert!(held(&decoder) <= 64);
    feed(&mut decoder, [&[0; 10_000][..]]);
    assert!(held(&decoder) <= 20_020);
}

#[test]
fn between_messages_nothing_is_held() {
    assert!(size_of::<Decoder>() <= 64);
    for stream in [
        frame(FIN | TEXT, b"x"),
        frame(FIN | PING, b"x"),
        [frame(TEXT, b"x"), frame(FIN | PING, b"x"), frame(FIN, b"y")].concat(),
    ] {
        let mut decoder = plain();
        feed(&mut decoder, stream.chunks(1));
        assert!(decoder.open.is_none(), "{stream:x?}");
        feed(&mut decoder, [&stream[..1], &stream[1..]]);
        assert!(decoder.open.is_none(), "{stream:x?}");
    }
}

#[test]
fn a_message_has_memory_of_its_own_size() {
    let stream = [frame(FIN | BINARY, &[7; 700]), frame(FIN | TEXT, b"x")].concat();
    let (events, _) = feed(&mut plain(), stream.chunks(64));
    let Some(Event::Message(Incoming::Binary(data), _)) = events.into_iter().next() else {
        panic!("bytes");
    };
    // What was given all of its memory is unique, and of just that size.
    let data = data.try_into_mut().unwrap();
    assert_eq!((data.len(), data.capacity()), (700, 700));
}
