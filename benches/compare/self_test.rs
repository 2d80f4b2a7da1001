//! Checks of what reads the peers' protocols: however what a server sends is cut, the same messages are found.

use fanfare::bench::dialect::{Dialect, Message, Notice, Opening, Role, Sink};
use fanfare::bench::frames;

use crate::dialects::{Mqtt, Nats, Nchan, Pusher};

/// The data of two messages.
const DATA: [&str; 2] = ["one bit of it", "two bits more"];

/// What Sockudo says first.
const GREETING: &[u8] = br#"{"event":"pusher:connection_established","data":"{\"activity_timeout\":120,\"socket_id\":\"12.34\"}"}"#;

#[derive(Default, PartialEq, Eq, Debug)]
struct Heard {
    messages: Vec<(String, bool)>,
    notices: Vec<String>,
    answer: Vec<u8>,
}

impl Sink for Heard {
    fn message(&mut self, message: Message<'_>) {
        let data = &message.data[..message.data.len().min(DATA[0].len())];
        let data = String::from_utf8_lossy(data).into_owned();
        self.messages.push((data, message.is_whole));
    }

    fn notice(&mut self, notice: Notice<'_>) {
        self.notices.push(format!("{notice:?}"));
        if let Notice::Answer(bytes) = notice {
            self.answer.extend(bytes);
        }
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

    let event = |data: &str| {
        format!(r#"{{"event":"client-m","channel":"private-bench-0","data":"{data}"}}"#)
            .into_bytes()
    };
    let [one, two] = DATA.map(event);
    let stands = br#"{"event":"pusher_internal:subscription_succeeded","channel":"private-bench-0","data":"{}"}"#;
    let units = [GREETING.to_vec(), stands.to_vec(), one, two];
    let topics = vec!["bench/0".to_owned(), "bench/1".to_owned()];
    let pusher = Pusher { payload, topics };
    check("sockudo", &pusher, frames::TEXT, &units, false);
    memberships(&pusher);
}

/// A session asks for its channels once it is greeted, with signatures, and stands with the last of them.
fn memberships(pusher: &Pusher) {
    let opening = Opening {
        role: Role::Publisher,
        topic: "bench/0",
        since: None,
    };
    let mut member = pusher.carry(opening);
    let mut tell = |text: &[u8]| {
        let (mut bytes, mut heard) = (Vec::new(), Heard::default());
        frames::put_header(&mut bytes, frames::TEXT, text.len(), None);
        bytes.extend_from_slice(text);
        let used = pusher.read(&mut member, Role::Publisher, &bytes, &mut heard);
        assert_eq!(used, Ok(bytes.len()));
        heard
    };
    let greeted = tell(GREETING);
    let mut asked = Vec::new();
    let (mut bytes, mut at) = (greeted.answer, 0);
    while let Some(frame) = frames::next(&bytes, at).unwrap() {
        frames::unmask(&mut bytes, frame);
        asked.push(String::from_utf8_lossy(&bytes[frame.start..frame.end]).into_owned());
        at = frame.end;
    }
    // What Python's hmac makes of it.
    let signed = [
        "private-bench-0\",\"auth\":\"bench-key:181f69128e72e6a214c353508e9a2983784d705eb96b1c4cacb529cd38c8c7d9\"",
        "private-bench-1\",\"auth\":\"bench-key:a97fe702b5e0e9b9e453154f5502d33298801379849fd1e6463a44cd25f6d35f\"",
    ];
    assert_eq!(asked.len(), signed.len());
    for (asked, signed) in asked.iter().zip(signed) {
        assert!(asked.contains(signed), "{asked}");
    }
    let stands = br#"{"event":"pusher_internal:subscription_succeeded","data":"{}"}"#;
    assert_eq!(tell(stands).notices, ["Nothing"]);
    let last = tell(stands).notices;
    assert!(last[0].starts_with("Stands"), "{last:?}");
    println!("ok: sockudo's channels are asked for, and awaited");
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
