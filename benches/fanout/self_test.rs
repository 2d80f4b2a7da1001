//! Checks of what checks: made-up streams, and servers that lie. A bench has no test harness, so this is
//! a command of its own: `cargo bench --bench fanout -- self-test`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use tungstenite::handshake::derive_accept_key;

use crate::report::median;
use crate::shows::self_test::CHECKS;
use fanfare::bench::checker::{Checker, Faults, Verdict};
use fanfare::bench::events;
use fanfare::bench::fanfare::Fanfare;
use fanfare::bench::frames::{self, Frame};
use fanfare::bench::histogram::Histogram;
use fanfare::bench::load::{Load, Plan};
use fanfare::bench::message;

/// What a check shows, and the check.
type Check = (&'static str, fn());

/// Runs every check, and names it; one that fails ends the program with a panic.
pub fn run() -> io::Result<()> {
    let checks: [Check; 10] = [
        (
            "frames of every size are walked, and only when they are whole",
            frames_are_walked,
        ),
        (
            "what is no whole message is refused",
            bad_frames_are_refused,
        ),
        ("masking twice is nothing", masking_twice_is_nothing),
        ("a stamp is read as it was written", stamps_are_read),
        (
            "a publish becomes a message of the asked length",
            publishes_become_messages,
        ),
        ("a publish becomes an event", publishes_become_events),
        ("the checker tells loss, duplicates and disorder", verdicts),
        ("what never came is counted", losses_are_counted),
        ("percentiles are right to 3 %", percentiles),
        ("the median is in the middle", medians),
    ];
    for (name, check) in checks.into_iter().chain(CHECKS) {
        check();
        println!("ok: {name}");
    }
    let none = Faults::default();
    for (lie, faults) in [
        (Lie::None, none),
        (Lie::Drop, Faults { lost: 1, ..none }),
        (
            Lie::Double,
            Faults {
                duplicated: 1,
                ..none
            },
        ),
        (
            Lie::Swap,
            Faults {
                disordered: 1,
                ..none
            },
        ),
        (
            Lie::Cut,
            Faults {
                lost: 1,
                damaged: 1,
                ..none
            },
        ),
        (
            Lie::Complain,
            Faults {
                unexpected: 1,
                ..none
            },
        ),
    ] {
        assert_eq!(faults_of(lie)?, faults, "a server that lies: {lie:?}");
        println!("ok: a server that lies is caught: {lie:?}");
    }
    Ok(())
}

fn frames_are_walked() {
    for size in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
        for key in [None, Some(frames::KEY)] {
            let mut bytes = vec![0xff; 3];
            frames::put_header(&mut bytes, frames::TEXT, size, key);
            let start = bytes.len();
            bytes.resize(start + size, b'x');
            let whole = Frame {
                opcode: frames::TEXT,
                masked: key.is_some(),
                start,
                end: start + size,
            };
            assert_eq!(frames::next(&bytes, 3), Ok(Some(whole)));
            for cut in (3..start).chain([bytes.len() - 1]) {
                assert_eq!(frames::next(&bytes[..cut], 3), Ok(None));
            }
        }
    }
}

fn bad_frames_are_refused() {
    assert!(frames::next(&[0x01, 0], 0).is_err(), "a fragment");
    assert!(frames::next(&[0xc1, 0], 0).is_err(), "a reserved bit");
    assert!(
        frames::next(&[&[0x81, 127][..], &[0xff; 8]].concat(), 0).is_err(),
        "no such size"
    );
}

fn masking_twice_is_nothing() {
    for size in 0..40 {
        let plain: Vec<u8> = (0..size).collect();
        let mut masked = plain.clone();
        frames::mask(&mut masked, frames::KEY);
        for (at, byte) in masked.iter().enumerate() {
            assert_eq!(*byte, plain[at] ^ frames::KEY[at % 4]);
        }
        frames::mask(&mut masked, frames::KEY);
        assert_eq!(masked, plain);
    }
}

fn stamps_are_read() {
    let mut data = message::data(0xfeed_0042, 128);
    assert_eq!(data.len(), 128);
    for count in [
        0,
        1,
        9,
        10,
        15,
        16,
        0x9a9a_fafa,
        0x0123_4567,
        0x89ab_cdef,
        u32::MAX,
    ] {
        message::set_stamp(&mut data, count);
        assert_eq!(message::read_stamp(&data, *b"feed0042"), Some(count));
        assert_eq!(message::read_stamp(&data, *b"feed0043"), None);
        assert_eq!(message::read_stamp(&data[..15], *b"feed0042"), None);
    }
}

fn publishes_become_messages() {
    for spaces in [0, 7] {
        let data = message::data(1, 200);
        let mut publish = Vec::new();
        message::put_publish(&mut publish, "bench/7", &data);
        let frame = frames::next(&publish, 0).unwrap().unwrap();
        frames::unmask(&mut publish, frame);
        let (topic, read) = message::read_publish(&publish[frame.start..frame.end]).unwrap();
        assert_eq!((topic, read), (&b"bench/7"[..], &data[..]));

        let mut bytes = Vec::new();
        message::put_message(&mut bytes, topic, read, message::ENVELOPE + spaces);
        let frame = frames::next(&bytes, 0).unwrap().unwrap();
        let payload = &bytes[frame.start..frame.end];
        assert_eq!(payload.len(), message::ENVELOPE + spaces + 7 + 200);
        let object: serde_json::Value = serde_json::from_slice(payload).unwrap();
        assert_eq!(object["topic"], "bench/7");
        assert_eq!(object["data"].as_str().unwrap().as_bytes(), data);
        let at = message::find_data(payload).unwrap();
        assert!(payload[at..].starts_with(&data) && message::is_data(payload, at));
        assert!((0..payload.len()).all(|other| other == at || !message::is_data(payload, other)));
    }
}

fn publishes_become_events() {
    let data = message::data(1, 200);
    let mut bytes = b": a comment\n\n".to_vec();
    let comment = events::next(&bytes, 0).unwrap();
    assert_eq!((comment.opcode, comment.end), (frames::PONG, bytes.len()));
    let envelope = message::ENVELOPE + 9;
    events::put_message(&mut bytes, b"bench/7", &data, envelope);
    let event = events::next(&bytes, comment.end).unwrap();
    assert_eq!((event.opcode, event.end), (frames::TEXT, bytes.len()));
    let payload = &bytes[event.start..event.end];
    assert_eq!(payload.len(), envelope + 7 + 200);
    let object: serde_json::Value = serde_json::from_slice(payload).unwrap();
    assert_eq!(object["data"].as_str().unwrap().as_bytes(), data);
    for cut in comment.end..bytes.len() {
        assert_eq!(events::next(&bytes[..cut], comment.end), None);
    }
}

fn verdicts() {
    use Verdict::{Ahead, Duplicate, Late, Next};
    let mut checker = Checker::default();
    for (count, verdict) in [
        (0, Next),
        (1, Next),
        (1, Duplicate),
        (4, Ahead),
        (2, Late),
        (2, Duplicate),
        (5, Next),
        (0, Duplicate),
        (3, Late),
        (6, Next),
    ] {
        assert_eq!(checker.see(count), verdict, "{count}");
    }
    assert_eq!(checker.lost(7), 0);
}

fn losses_are_counted() {
    let mut checker = Checker::default();
    assert_eq!(checker.lost(3), 3);
    for count in [0, 3, 4, 1] {
        checker.see(count);
    }
    assert_eq!(checker.lost(5), 1, "the one in between");
    assert_eq!(checker.lost(8), 4, "and three at the end");
}

fn percentiles() {
    let mut histogram = Histogram::default();
    assert_eq!(histogram.percentile(0.5), 0);
    (1..=100_000).for_each(|value| histogram.record(value, 1));
    for share in [0.001, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0] {
        let (right, told) = (share * 100_000.0, histogram.percentile(share) as f64);
        assert!(told >= right && told <= right * 1.033, "{share}: {told}");
    }
    let mut other = Histogram::default();
    other.record(u64::MAX, 100_000);
    histogram.add(&other);
    assert_eq!(histogram.percentile(1.0), u64::MAX);
    assert!(histogram.percentile(0.5) < 103_300);
}

fn medians() {
    assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
}

/// What a server does wrong with one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    None,
    Drop,
    Double,
    Swap,
    Cut,
    Complain,
}

/// What the load finds at a server that lies in this way.
fn faults_of(lie: Lie) -> io::Result<Faults> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || serve(&listener, lie));
    let plan = Plan {
        address,
        publish_at: None,
        prefix: "bench".into(),
        topics: 1,
        subscribers: 1,
        publishers: 1,
        payload: 128,
        outstanding: 4,
        rate: None,
        is_answered: false,
        at_once: 2,
        patience: Duration::from_millis(200),
    };
    let dialect = Fanfare::new(address.to_string(), "/ws".into(), 128);
    let mut load = Load::open(dialect, plan)?;
    // The message that is lied about, and those that may be outstanding behind it.
    let (mut published, start) = (0, Instant::now());
    while published < 9 {
        published += load.run_for(Duration::from_millis(50))?.published;
        assert!(start.elapsed().as_secs() < 10, "it does not get on");
    }
    let outcome = load.finish()?;
    // The sessions are gone, so the server's reads fail: that is its end.
    let _ = server.join();
    Ok(outcome.faults)
}

/// Serves one subscriber and one publisher until they go, and lies about the sixth message.
fn serve(listener: &TcpListener, lie: Lie) -> io::Result<()> {
    let mut subscriber = shake_hands(listener)?;
    let mut publisher = shake_hands(listener)?;
    let (mut bytes, mut count) = (Vec::new(), 0);
    let mut kept = Vec::new();
    loop {
        let mut piece = [0; 4096];
        match publisher.read(&mut piece)? {
            0 => return Ok(()),
            size => bytes.extend_from_slice(&piece[..size]),
        }
        let mut at = 0;
        while let Some(frame) = frames::next(&bytes, at).map_err(io::Error::other)? {
            at = frame.end;
            frames::unmask(&mut bytes, frame);
            let (topic, data) = message::read_publish(&bytes[frame.start..frame.end]).unwrap();
            let mut out = Vec::new();
            message::put_message(&mut out, topic, data, message::ENVELOPE);
            if count == 5 {
                match lie {
                    Lie::None => {}
                    Lie::Drop => out.clear(),
                    Lie::Double => out.extend_from_within(..),
                    Lie::Swap => std::mem::swap(&mut kept, &mut out),
                    Lie::Cut => {
                        out.clear();
                        message::put_message(&mut out, topic, &data[..100], message::ENVELOPE);
                    }
                    Lie::Complain => {
                        let error = br#"{"type":"error","code":"internal"}"#;
                        frames::put_header(&mut out, frames::TEXT, error.len(), None);
                        out.extend_from_slice(error);
                    }
                }
            } else {
                out.append(&mut kept);
            }
            subscriber.write_all(&out)?;
            count += 1;
        }
        bytes.drain(..at);
    }
}

fn shake_hands(listener: &TcpListener) -> io::Result<TcpStream> {
    let (mut stream, _) = listener.accept()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
    }
    let head = String::from_utf8_lossy(&head);
    let key = head
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
        .unwrap();
    let accept = derive_accept_key(key.as_bytes());
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )?;
    Ok(stream)
}
