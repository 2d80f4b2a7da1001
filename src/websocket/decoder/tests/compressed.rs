//! Messages that were compressed (RFC 7692 §6.2, §7.2.2).

use super::super::super::{Allowed, negotiate};
use super::*;

/// A connection that agreed on compression, where the client's messages may go on with those before.
fn agreed(takeover: bool) -> Negotiated {
    let allowed = Allowed {
        max_window_bits: 15,
        server_takeover: false,
        client_takeover: takeover,
    };
    negotiate([&b"permessage-deflate"[..]], allowed).unwrap()
}

fn decoder(takeover: bool) -> Decoder {
    Decoder::new(LIMITS, Some(&agreed(takeover)))
}

fn deflated(payload: &[u8]) -> Vec<u8> {
    Deflater::new(15, 6).deflate(payload, false)
}

/// The event, less how many bytes came.
fn message(event: &Event) -> &Incoming {
    match event {
        Event::Message(message, _) => message,
        event => panic!("{event:?} is no message"),
    }
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    let hello = Incoming::Text("Hello".into());
    for (payload, what) in [
        (&b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..], "one block (7.2.3.1)"),
        (
            b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
            "stored (7.2.3.3)",
        ),
        (
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
            "a last block (7.2.3.4)",
        ),
        (
            b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
            "two blocks (7.2.3.5)",
        ),
    ] {
        for takeover in [false, true] {
            let stream = frame(FIN | RSV1 | TEXT, payload);
            let (events, fault) = feed(&mut decoder(takeover), [&stream[..]]);
            assert_eq!((message(&events[0]), fault), (&hello, None), "{what}");
            assert_eq!(
                feed(&mut decoder(takeover), stream.chunks(1)).0,
                events,
                "{what}"
            );
        }
    }
    // In fragments (7.2.3.1), the second of which does not say so again; with a window that stays (7.2.3.2).
    let fragments = [
        frame(RSV1 | TEXT, b"\xf2\x48\xcd"),
        frame(FIN | PING, b""),
        frame(FIN, b"\xc9\xc9\x07\x00"),
    ];
    let (events, _) = feed(&mut decoder(false), [&fragments.concat()[..]]);
    assert_eq!(message(&events[2]), &hello);
    let twice = [
        frame(FIN | RSV1 | TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00"),
        frame(FIN | RSV1 | TEXT, b"\xf2\x00\x11\x00\x00"),
    ];
    let (events, fault) = feed(&mut decoder(true), [&twice.concat()[..]]);
    assert_eq!((message(&events[0]), message(&events[1])), (&hello, &hello));
    assert_eq!(fault, None);
    // Where nothing was to stay, the second refers to what is not there.
    let (events, fault) = feed(&mut decoder(false), [&twice.concat()[..]]);
    assert_eq!((events.len(), fault), (1, Some(1007)));
}

#[test]
fn plain_messages_and_compressed_ones_take_turns() {
    let stream = [
        frame(FIN | TEXT, b"plain"),
        frame(FIN | RSV1 | BINARY, &deflated(b"\xff\xff")),
        frame(FIN | RSV1 | TEXT, b"\0"),
        frame(FIN | RSV1 | TEXT, b""),
        frame(FIN | TEXT, b"plain"),
    ];
    let (events, fault) = feed(&mut decoder(false), [&stream.concat()[..]]);
    let messages: Vec<_> = events.iter().map(message).collect();
    let plain = Incoming::Text("plain".into());
    let empty = Incoming::Text("".into());
    let binary = Incoming::Binary(bytes(b"\xff\xff"));
    assert_eq!(messages, [&plain, &binary, &empty, &empty, &plain]);
    assert_eq!(fault, None);
}

#[test]
fn a_bomb_is_refused_for_no_more_memory_than_a_message_may_have() {
    let bomb = deflated(&vec![0; 800_000]);
    assert!(bomb.len() <= LIMITS.frame, "{}", bomb.len());
    for takeover in [false, true] {
        let stream = frame(FIN | RSV1 | TEXT, &bomb);
        assert_eq!(
            feed(&mut decoder(takeover), [&stream[..]]),
            (vec![], Some(1009))
        );
        let (start, end) = bomb.split_at(bomb.len() / 2);
        let stream = [frame(RSV1 | BINARY, start), frame(FIN, end)].concat();
        let (events, fault) = feed(&mut decoder(takeover), [&stream[..]]);
        assert_eq!((events.len(), fault), (1, Some(1009)));
    }
    // The limit itself, and one more.
    for (len, fault) in [(1500, None), (1501, Some(1009))] {
        let stream = frame(FIN | RSV1 | BINARY, &deflated(&vec![0; len]));
        assert_eq!(feed(&mut decoder(false), [&stream[..]]).1, fault);
    }
    let mut inflater = Inflater::new(15);
    let whole = inflater
        .inflate(&deflated(&[7; 1000]), 1500, false)
        .unwrap();
    assert!(whole.capacity() <= 1501);
}

#[test]
fn what_cannot_be_inflated_is_told() {
    let good = deflated(b"a text of some length, of some length, that is cut");
    for (what, code, stream) in [
        ("garbage", 1007, frame(FIN | RSV1 | TEXT, &[0xff; 20])),
        (
            "a block of a reserved kind",
            1007,
            frame(FIN | RSV1 | TEXT, b"\x06"),
        ),
        (
            "a distance that is too far",
            1007,
            frame(FIN | RSV1 | TEXT, b"\xf2\x00\x11\x00\x00"),
        ),
        (
            "a block that was cut off",
            1007,
            frame(FIN | RSV1 | TEXT, &good[..good.len() / 2]),
        ),
        (
            "a stored block that was cut off",
            1007,
            frame(FIN | RSV1 | TEXT, b"\0\x40\0\xbf\xffabc"),
        ),
        (
            "ends and no end",
            1007,
            frame(FIN | RSV1 | TEXT, &[3, 0].repeat(200)),
        ),
        (
            "no UTF-8",
            1007,
            frame(FIN | RSV1 | TEXT, &deflated(b"\xff")),
        ),
        (
            "half a character",
            1007,
            frame(FIN | RSV1 | TEXT, &deflated(b"\xe2\x82")),
        ),
        ("a compressed ping", 1002, frame(FIN | RSV1 | PING, b"")),
        ("a compressed close", 1002, frame(FIN | RSV1 | CLOSE, b"")),
        ("RSV2", 1002, frame(FIN | 0x20 | TEXT, b"")),
        (
            "RSV1 on a continuation",
            1002,
            [frame(RSV1 | TEXT, &good), frame(FIN | RSV1, b"")].concat(),
        ),
    ] {
        for takeover in [false, true] {
            let (_, fault) = feed(&mut decoder(takeover), [&stream[..]]);
            assert_eq!(fault, Some(code), "{what}");
        }
    }
}

#[test]
fn what_one_connection_sent_is_nothing_to_another() {
    let bad = frame(FIN | RSV1 | TEXT, &[0xff; 20]);
    let good = frame(FIN | RSV1 | TEXT, &deflated(b"good"));
    for _ in 0..3 {
        assert_eq!(feed(&mut decoder(false), [&bad[..]]).1, Some(1007));
        let (events, fault) = feed(&mut decoder(false), [&good[..]]);
        assert_eq!(
            (message(&events[0]), fault),
            (&Incoming::Text("good".into()), None)
        );
    }
}

proptest! {
    #[test]
    fn messages_come_as_they_were_whatever_the_window_and_the_pieces(
        messages in vec(prop_oneof![vec(any::<u8>(), 0..300), vec(0u8..4, 0..900)], 1..8),
        window in 8u8..=15,
        level in 1u8..=9,
        takeover in any::<bool>(),
        cut in any::<Index>(),
        size in 1usize..200,
    ) {
        let mut deflater = Deflater::new(window, level);
        let mut stream = Vec::new();
        for message in &messages {
            let payload = deflater.deflate(message, takeover);
            let (start, end) = payload.split_at(cut.index(payload.len() + 1));
            stream.extend(frame(RSV1 | BINARY, start));
            stream.extend(frame(FIN, end));
        }
        let allowed = Allowed { max_window_bits: 15, server_takeover: false, client_takeover: takeover };
        let offer = format!("permessage-deflate; client_max_window_bits={window}");
        let agreed = negotiate([offer.as_bytes()], allowed).unwrap();
        prop_assert_eq!((agreed.client_window, agreed.client_takeover), (window, takeover));
        let (events, fault) = feed(&mut Decoder::new(LIMITS, Some(&agreed)), stream.chunks(size));
        prop_assert_eq!(fault, None);
        let read: Vec<_> = events.iter().filter(|e| !matches!(e, Event::Fragment(_))).map(message).collect();
        prop_assert_eq!(read.len(), messages.len());
        for (read, sent) in read.into_iter().zip(messages) {
            prop_assert_eq!(read, &Incoming::Binary(sent.into()));
        }
    }
}
