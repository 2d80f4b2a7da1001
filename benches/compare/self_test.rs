//! Checks of what reads the peers' protocols: however what a server sends is cut, the same messages are found.

use fanfare::bench::dialect::{Dialect, Message, Notice, Role, Sink};
use fanfare::bench::frames;

use crate::dialects::{Mqtt, Nats, Nchan, Pusher};

/// The data of two messages.
const DATA: [&str; 2] = ["one bit of it", "two bits more"];

#[derive(Default, PartialEq, Eq, Debug)]
struct Heard {
    messages: Vec<(String, bool)>,
    notices: Vec<String>,
}

impl Sink for Heard {
    fn message(&mut self, message: Message<'_>) {
        let data = &message.data[..message.data.len().min(DATA[0].len())];
        let data = String::from_utf8_lossy(data).into_owned();
        self.messages.push((data, message.is_whole));
    }

    fn notice(&mut self, notice: Notice<'_>) {
        self.notices.push(format!("{notice:?}"));
    }
}

/// Runs every check; one that fails ends the program with a panic.
pub fn run() {
    let payload = DATA[0].len();
    let text = |data: &str| data.as_bytes().to_vec();
    check(
        "nchan",
        &Nchan { payload },
        frames::TEXT,
        &DATA.map(text),
        false,
    );

    let lines = |data: &str| format!("MSG bench.0 1 {payload}\r\n{data}\r\n").into_bytes();
    let [one, two] = DATA.map(lines);
    let units = [b"INFO {}\r\nPONG\r\n".to_vec(), one, two];
    check("nats", &Nats { payload }, frames::BINARY, &units, true);

    let packet = |data: &str| {
        let mut packet = vec![0x30, (2 + 7 + payload) as u8, 0, 7];
        packet.extend_from_slice(b"bench/0");
        packet.extend_from_slice(data.as_bytes());
        packet
    };
    let [one, two] = DATA.map(packet);
    let units = [b"\x20\x02\x00\x00\x90\x03\x00\x01\x00".to_vec(), one, two];
    check("mqtt", &Mqtt { payload }, frames::BINARY, &units, true);

    let event =
        |data: &str| format!(r#"{{"event":"m","channel":"bench-0","data":"{data}"}}"#).into_bytes();
    let [one, two] = DATA.map(event);
    let stands = br#"{"event":"pusher_internal:subscription_succeeded","channel":"bench-0"}"#;
    let units = [stands.to_vec(), one, two];
    check("sockudo", &Pusher { payload }, frames::TEXT, &units, false);
}

/// Reads the units, a frame each, cut at every byte; and where they are a stream, cut into frames at every byte too.
fn check<D: Dialect>(name: &str, dialect: &D, opcode: u8, units: &[Vec<u8>], is_stream: bool) {
    let framed = |pieces: &[&[u8]]| {
        let mut bytes = Vec::new();
        for piece in pieces {
            frames::put_header(&mut bytes, opcode, piece.len(), None);
            bytes.extend_from_slice(piece);
        }
        bytes
    };
    let pieces: Vec<&[u8]> = units.iter().map(Vec::as_slice).collect();
    let bytes = framed(&pieces);
    let whole = heard(dialect, &[&bytes]);
    let expected = DATA.map(|data| (data.to_owned(), true));
    assert_eq!(whole.messages, expected, "{name}");
    for cut in 0..bytes.len() {
        let (one, two) = bytes.split_at(cut);
        assert_eq!(heard(dialect, &[one, two]), whole, "{name}, cut at {cut}");
    }
    let stream = units.concat();
    for cut in 1..stream.len() {
        if is_stream {
            let (one, two) = stream.split_at(cut);
            let bytes = framed(&[one, two]);
            assert_eq!(heard(dialect, &[&bytes]), whole, "{name}, frames at {cut}");
        }
    }
    println!("ok: {name} is read however it is cut");
}

fn heard<D: Dialect>(dialect: &D, reads: &[&[u8]]) -> Heard {
    let (mut heard, mut carry, mut held) = (Heard::default(), D::Carry::default(), Vec::new());
    for read in reads {
        held.extend_from_slice(read);
        let used = dialect.read(&mut carry, Role::Subscriber, &held, &mut heard);
        held.drain(..used.unwrap());
    }
    assert!(held.is_empty());
    heard
}
