mod machine;

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::newest::{Newest, Slot};
use super::*;
use crate::broker::testing::FakeWire;
use crate::model::{Epoch, Overflow, Position, TopicName};

/// Messages of these texts, as one chunk.
fn chunk<T: AsRef<str>>(texts: &[T]) -> Segment {
    let mut bytes = Vec::new();
    let mut ends = Vec::new();
    for text in texts {
        bytes.extend_from_slice(text.as_ref().as_bytes());
        ends.push(FrameEnd(bytes.len() as u32));
    }
    let len = bytes.len();
    Segment::messages(&Bytes::from(bytes), &ends.into(), 0, len)
}

fn text(text: impl Into<String>) -> Bytes {
    Bytes::from(text.into())
}

/// Lets so many bytes go; says how many messages that ended and how the flush did.
fn let_go(outbox: &mut Outbox, wire: &FakeWire, room: usize) -> (usize, FlushEnd) {
    wire.room.set(room);
    let done = outbox.flush(wire, Instant::now());
    (done.messages, done.end)
}

fn written(wire: &FakeWire) -> String {
    String::from_utf8_lossy(&wire.taken.borrow()).into_owned()
}

#[test]
fn a_message_counts_when_its_last_byte_has_gone() {
    let (mut outbox, wire) = (Outbox::new(100, WireFormat::Json), FakeWire::with_room(0));
    outbox.push(chunk(&["abc", "de", "f"]));
    assert_eq!(let_go(&mut outbox, &wire, 2), (0, FlushEnd::Blocked));
    assert_eq!((outbox.messages(), outbox.queued()), (3, 4));
    assert_eq!(let_go(&mut outbox, &wire, 3), (2, FlushEnd::Blocked));
    assert_eq!(outbox.messages(), 1);
    assert_eq!(let_go(&mut outbox, &wire, 9), (1, FlushEnd::Empty));
    assert_eq!(written(&wire), "abcdef");
}

#[test]
fn an_urgent_frame_overtakes_what_waits_but_splits_nothing() {
    for (gone, expected) in [
        (0, "PQabcdefok"),
        (1, "abPQcdefok"),
        (2, "abPQcdefok"),
        (3, "abcdPQefok"),
        (6, "abcdefPQok"),
        (7, "abcdefokPQ"),
    ] {
        let (mut outbox, wire) = (Outbox::new(100, WireFormat::Json), FakeWire::with_room(0));
        outbox.push(chunk(&["ab", "cd", "ef"]));
        outbox.push(Segment::control(text("ok")));
        let_go(&mut outbox, &wire, gone);
        outbox.overtake(text("P"));
        outbox.overtake(text("Q"));
        assert_eq!(outbox.queued(), 10 - gone);
        let_go(&mut outbox, &wire, 100);
        assert_eq!(written(&wire), expected, "{gone} bytes had gone");
    }
}

#[test]
fn urgent_frames_that_are_not_taken_do_not_pile_up() {
    let (mut outbox, wire) = (Outbox::new(100, WireFormat::Json), FakeWire::with_room(0));
    outbox.push(chunk(&["ab"]));
    for _ in 0..1000 {
        outbox.overtake(text("P"));
    }
    outbox.overtake(text("Q"));
    assert!(outbox.queued() < 100, "{}", outbox.queued());
    let queued = outbox.queued();
    let_go(&mut outbox, &wire, 1000);
    let written = written(&wire);
    assert_eq!(written.len(), queued);
    assert!(written.ends_with("PQab"), "{written}");
}

#[test]
fn nothing_overtakes_what_opens_the_stream() {
    for gone in [0, 1, 3] {
        let (mut outbox, wire) = (Outbox::new(100, WireFormat::Json), FakeWire::with_room(0));
        outbox.push(chunk(&["ab"]));
        outbox.push_first(text("101"));
        let_go(&mut outbox, &wire, gone);
        outbox.overtake(text("P"));
        outbox.overtake(text("Q"));
        let_go(&mut outbox, &wire, 100);
        assert_eq!(written(&wire), "101PQab");
    }
}

#[test]
fn an_empty_opening_is_no_broken_wire() {
    let (mut outbox, wire) = (Outbox::new(100, WireFormat::Json), FakeWire::with_room(9));
    outbox.push_first(Bytes::new());
    outbox.overtake(Bytes::new());
    outbox.push(Segment::control(Bytes::new()));
    assert_eq!(outbox.flush(&*wire, Instant::now()).end, FlushEnd::Empty);
    assert_eq!(wire.writes.get(), 0);
}

#[test]
fn what_is_cleared_is_counted_and_a_begun_frame_is_finished() {
    for (gone, dropped, expected) in [(0, 3, ""), (1, 2, "ab"), (2, 2, "ab"), (3, 1, "abcd")] {
        let (mut outbox, wire) = (Outbox::new(100, WireFormat::Json), FakeWire::with_room(0));
        outbox.push(chunk(&["ab", "cd", "ef"]));
        outbox.push(Segment::control(text("ok")));
        let_go(&mut outbox, &wire, gone);
        assert_eq!(outbox.clear(), dropped, "{gone} bytes had gone");
        let_go(&mut outbox, &wire, 100);
        assert_eq!(written(&wire), expected);
    }
    let mut outbox = Outbox::new(100, WireFormat::Json);
    outbox.push(chunk(&["ab"]));
    outbox.push_first(text("101"));
    assert_eq!((outbox.clear(), outbox.queued()), (1, 3));
    assert_eq!((outbox.discard(), outbox.queued()), (0, 0));
}

#[test]
fn a_queue_that_is_empty_takes_anything_and_one_that_is_not_keeps_its_bound() {
    let mut outbox = Outbox::new(4, WireFormat::Json);
    assert!(outbox.has_room(9, 1));
    outbox.push(chunk(&["abc"]));
    assert!(outbox.has_room(1, 1));
    assert!(!outbox.has_room(2, 1));
}

/// Messages 1 to 3 of a topic with history, of which the oldest may go.
fn droppable() -> Segment {
    let epoch = Epoch::parse("e1").unwrap();
    let fact = |offset| Fact {
        kind: Kind::Message,
        position: Some(Position { epoch, offset }),
        key: None,
    };
    let run = Run {
        topic: TopicName::new("t").unwrap(),
        facts: [1, 2, 3].map(fact).into(),
    };
    let handling = Handling {
        overflow: Overflow::DropOldest,
        ..Handling::default()
    };
    let texts = ["a", "b", "c"].map(|text| text.repeat(100));
    chunk(&texts).handled(handling, || run.into())
}

#[test]
fn a_bound_that_shrinks_drops_what_may_go_and_else_ends_the_session() {
    let mut outbox = Outbox::new(1000, WireFormat::Json);
    outbox.push(droppable());
    assert_eq!(outbox.shrink(1), Taken::default());
    let taken = outbox.shrink(4);
    assert_eq!((taken.dropped, taken.is_overfull), (2, false));
    let wire = FakeWire::with_room(usize::MAX);
    outbox.push(chunk(&["x".repeat(300)]));
    assert!(outbox.shrink(4).is_overfull);
    outbox.flush(&*wire, Instant::now());
    assert!(written(&wire).contains(r#""count":3,"epoch":"e1","from":1,"to":3}"#));
}

#[test]
fn only_as_many_tell_how_many_they_stand_for_as_the_kernel_may_take() {
    let mut outbox = Outbox::new(usize::MAX, WireFormat::Sse);
    let message = Bytes::from(format!("data: {{{}}}\n\n", " ".repeat(40_000)));
    for _ in 0..2 {
        for key in ["k", "l", "m"] {
            let slot = Slot {
                topic: TopicName::new("t").unwrap(),
                key: Some(key.into()),
            };
            outbox.put_newest(Newest::new(slot), message.clone());
        }
    }
    let wire = FakeWire::with_room(0);
    outbox.flush(&*wire, Instant::now());
    let told = r#","skipped":1"#.len();
    assert_eq!(outbox.queued(), 3 * message.len() + 2 * told);
    assert_eq!(let_go(&mut outbox, &wire, usize::MAX), (3, FlushEnd::Empty));
    assert_eq!(wire.taken.borrow().len(), 3 * (message.len() + told));
}

#[test]
fn messages_that_are_rewritten_are_still_known() {
    let shorter = droppable().rewritten(|frame, bytes| bytes.extend_from_slice(&frame[..90]));
    assert_eq!((shorter.len(), shorter.messages_held()), (270, 3));
    let mut outbox = Outbox::new(1000, WireFormat::Sse);
    outbox.push(shorter);
    assert_eq!(outbox.shrink(5).dropped, 2);
    let wire = FakeWire::with_room(usize::MAX);
    outbox.flush(&*wire, Instant::now());
    let written = written(&wire);
    assert!(written.starts_with("event: gap\n"), "{written}");
    assert!(written.contains(r#""count":2,"epoch":"e1","from":1,"to":2}"#));
    assert!(written.ends_with(&"c".repeat(90)), "{written}");
}

#[test]
fn it_waits_from_the_first_blocked_flush_until_it_is_empty() {
    let (mut outbox, wire) = (Outbox::new(100, WireFormat::Json), FakeWire::with_room(1));
    let start = Instant::now();
    outbox.push(chunk(&["abc"]));
    assert_eq!(outbox.waiting_since(), None);
    outbox.flush(&*wire, start);
    wire.room.set(1);
    outbox.flush(&*wire, start + Duration::from_secs(1));
    assert_eq!(outbox.waiting_since(), Some(start));
    let_go(&mut outbox, &wire, 9);
    assert_eq!(outbox.waiting_since(), None);
}

#[derive(Clone, Debug)]
enum Op {
    Push(usize),
    Answer,
    Overtake,
    Flush(usize),
    Clear,
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1..5_usize).prop_map(Op::Push),
        2 => Just(Op::Answer),
        2 => Just(Op::Overtake),
        4 => (0..12_usize).prop_map(Op::Flush),
        1 => Just(Op::Clear),
    ]
}

/// The naive queue: whole frames in the order in which they must leave.
#[derive(Default)]
struct Model {
    /// Text, whether it is a message, whether it has overtaken.
    frames: VecDeque<(String, bool, bool)>,
    /// Bytes of the first that have gone.
    gone: usize,
    out: String,
    delivered: usize,
    dropped: usize,
}

impl Model {
    fn overtake(&mut self, text: String) {
        let mut at = usize::from(self.gone > 0);
        while self.frames.get(at).is_some_and(|(_, _, urgent)| *urgent) {
            at += 1;
        }
        self.frames.insert(at, (text, false, true));
    }

    fn flush(&mut self, mut room: usize) {
        while let Some((text, is_message, _)) = self.frames.front() {
            let step = room.min(text.len() - self.gone);
            self.out.push_str(&text[self.gone..self.gone + step]);
            self.gone += step;
            room -= step;
            if self.gone < text.len() {
                return;
            }
            self.delivered += usize::from(*is_message);
            self.frames.pop_front();
            self.gone = 0;
        }
    }

    fn clear(&mut self) {
        let kept = usize::from(self.gone > 0);
        self.dropped += self.frames.iter().skip(kept).filter(|f| f.1).count();
        self.frames.truncate(kept);
    }
}

proptest! {
    #[test]
    fn it_does_what_a_plain_list_of_frames_does(ops in prop::collection::vec(ops(), 1..80)) {
        let (mut outbox, wire) = (Outbox::new(usize::MAX, WireFormat::Json), FakeWire::with_room(0));
        let mut model = Model::default();
        let (mut delivered, mut dropped, mut pushed) = (0, 0, 0);
        for (step, op) in ops.into_iter().enumerate() {
            match op {
                Op::Push(count) => {
                    let texts: Vec<_> =
                        (0..count).map(|i| format!("<{step}.{}>", "m".repeat(i))).collect();
                    outbox.push(chunk(&texts));
                    pushed += count;
                    model.frames.extend(texts.into_iter().map(|text| (text, true, false)));
                }
                Op::Answer => {
                    outbox.push(Segment::control(text(format!("[{step}]"))));
                    model.frames.push_back((format!("[{step}]"), false, false));
                }
                Op::Overtake => {
                    outbox.overtake(text(format!("({step})")));
                    model.overtake(format!("({step})"));
                }
                Op::Flush(room) => {
                    delivered += let_go(&mut outbox, &wire, room).0;
                    model.flush(room);
                }
                Op::Clear => {
                    dropped += outbox.clear();
                    model.clear();
                }
            }
            prop_assert_eq!(written(&wire), model.out.clone());
            prop_assert_eq!((delivered, dropped), (model.delivered, model.dropped));
            prop_assert_eq!(pushed, delivered + dropped + outbox.messages());
            let left: usize = model.frames.iter().map(|frame| frame.0.len()).sum();
            prop_assert_eq!(outbox.queued(), left - model.gone);
        }
        let_go(&mut outbox, &wire, 100_000);
        model.flush(100_000);
        prop_assert_eq!(written(&wire), model.out);
    }
}
