//! Checks of what these measurements check with.

use fanfare::bench::dialect::{Dialect, Message, Notice, Opening, Role, Sink};
use fanfare::bench::fanfare::Fanfare;
use fanfare::bench::frames;
use fanfare::bench::message;
use fanfare::websocket::{Deflater, Opcode, put_deflated};

use super::compressed::{Compressed, Place};
use super::show::{Show, Target};
use super::slow::skipped;

/// What each check shows, and the check.
pub const CHECKS: [(&str, fn()); 5] = [
    (
        "compressed frames are told from others",
        compressed_frames_are_told_from_others,
    ),
    (
        "a compressed message is read as what it was",
        a_compressed_message_is_read_as_what_it_was,
    ),
    (
        "what cannot be inflated is refused",
        what_cannot_be_inflated_is_refused,
    ),
    (
        "the number of skipped messages is read",
        skipped_messages_are_counted,
    ),
    ("a target is met or it is not", targets),
];

const PAYLOAD: usize = 512;

/// Keeps the stamps of the messages that it was told of.
#[derive(Default)]
struct Heard(Vec<Vec<u8>>);

impl Sink for Heard {
    fn message(&mut self, message: Message<'_>) {
        assert!(message.is_whole);
        self.0.push(message.data[..message::STAMP].to_vec());
    }

    fn notice(&mut self, notice: Notice<'_>) {
        panic!("no message: {notice:?}");
    }
}

fn dialect(asks: bool) -> Compressed {
    let inner = Fanfare::new("localhost".into(), "/ws".into(), PAYLOAD);
    Compressed::new(inner, asks).0
}

/// The frames of so many messages, as a server sends them that compresses all but the first.
fn stream(count: u32) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut deflater = Deflater::new(15, 1);
    let mut data = message::data(7, PAYLOAD);
    let (mut bytes, mut stamps) = (Vec::new(), Vec::new());
    for number in 0..count {
        message::set_stamp(&mut data, number);
        stamps.push(data[..message::STAMP].to_vec());
        let mut plain = Vec::new();
        message::put_message(&mut plain, b"bench/0", &data, message::ENVELOPE);
        if number == 0 {
            bytes.extend_from_slice(&plain);
        } else {
            let frame = frames::next(&plain, 0).unwrap().unwrap();
            let payload = deflater.deflate(&plain[frame.start..frame.end], false);
            put_deflated(&mut bytes, Opcode::Text, &payload);
        }
    }
    (bytes, stamps)
}

fn compressed_frames_are_told_from_others() {
    let (bytes, _) = stream(2);
    let (first, is_compressed) = frames::next_compressible(&bytes, 0).unwrap().unwrap();
    assert!(!is_compressed);
    let (second, is_compressed) = frames::next_compressible(&bytes, first.end)
        .unwrap()
        .unwrap();
    assert!(is_compressed && second.end == bytes.len());
    assert!(frames::next(&bytes, first.end).is_err(), "nobody agreed");
    assert!(
        frames::next_compressible(&[0xa1, 0], 0).is_err(),
        "another reserved bit"
    );
}

fn a_compressed_message_is_read_as_what_it_was() {
    let dialect = dialect(true);
    let (bytes, stamps) = stream(700);
    // Two sessions get the same; the second begins where the first is long past what is remembered.
    for _ in 0..2 {
        let (mut place, mut heard) = (Place::default(), Heard::default());
        let half = bytes.len() / 2;
        let read = |bytes: &[u8], place: &mut Place, heard: &mut Heard| {
            dialect.read(place, Role::Subscriber, bytes, heard).unwrap()
        };
        let used = read(&bytes[..half], &mut place, &mut heard);
        assert_eq!(
            used + read(&bytes[used..], &mut place, &mut heard),
            bytes.len()
        );
        assert_eq!(heard.0, stamps);
    }
}

fn what_cannot_be_inflated_is_refused() {
    let mut bytes = Vec::new();
    put_deflated(&mut bytes, Opcode::Text, &[0xff; 40]);
    let (mut place, mut heard) = (Place::default(), Heard::default());
    let read = dialect(true).read(&mut place, Role::Subscriber, &bytes, &mut heard);
    assert!(read.is_err() && heard.0.is_empty());

    let opening = Opening {
        role: Role::Subscriber,
        topic: "bench/0",
        since: None,
    };
    for asks in [true, false] {
        let request = String::from_utf8(dialect(asks).request(opening)).unwrap();
        assert!(request.ends_with("\r\n\r\n"));
        assert_eq!(request.contains("permessage-deflate"), asks);
    }
}

fn skipped_messages_are_counted() {
    assert_eq!(skipped(br#"","time":17,"skipped":42}"#), Some(42));
    assert_eq!(skipped(br#"","time":17}"#), None);
}

fn targets() {
    let mut show = Show::new("targets");
    show.promise("", &[1.0, 3.0, 2.0], "", Target::AtMost(2.0));
    show.promise("", &[1.0, 3.0, 2.0], "", Target::AtLeast(2.5));
    let told: Vec<_> = show.figures.iter().map(|figure| figure.is_met).collect();
    assert_eq!(told, [Some(true), Some(false)]);
}
