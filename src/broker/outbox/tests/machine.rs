//! Any sequence of what happens to an outbox, against a list of frames that is too simple to be wrong.

mod model;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::model::{Epoch, Message, Overflow, Payload, Position, Timestamp, TopicName};
use crate::protocol::{Sent, message_bytes};
use crate::websocket::{Opcode, put_frame};

use model::{Frame, Model, What};

const LIMIT: usize = 1500;
const KEYS: [Option<&str>; 3] = [None, Some("k"), Some("l")];

/// Name, whether it keeps history, what becomes of it, of which subscription.
const TOPICS: [(&str, bool, Overflow, u32); 5] = [
    ("a", true, Overflow::DropOldest, 1),
    ("b", false, Overflow::DropOldest, 2),
    ("c", true, Overflow::DropOldest, 1),
    ("d", true, Overflow::Conflate, 3),
    ("e", true, Overflow::Disconnect, 4),
];

#[derive(Clone, Debug)]
enum Op {
    /// Messages of a topic, or joins: by the number of the key.
    Take(usize, Vec<Option<usize>>),
    Answer,
    Overtake,
    Flush(usize),
    Clear,
}

fn ops() -> impl Strategy<Value = Op> {
    let frame = prop_oneof![9 => (0..KEYS.len()).prop_map(Some), 1 => Just(None)];
    let frames = prop::collection::vec(frame, 1..4);
    prop_oneof![
        12 => (0..TOPICS.len(), frames).prop_map(|(topic, frames)| Op::Take(topic, frames)),
        1 => Just(Op::Answer),
        1 => Just(Op::Overtake),
        8 => (0..700_usize).prop_map(Op::Flush),
        1 => Just(Op::Clear),
    ]
}

/// Such frames of a topic, as one chunk.
fn segment(topic: usize, frames: &[What]) -> Segment {
    let (name, has_history, overflow, subscription) = TOPICS[topic];
    let epoch = Epoch::parse("e1").unwrap();
    let (mut bytes, mut ends, mut facts) = (Vec::new(), Vec::new(), Vec::new());
    for what in frames {
        let (kind, offset, key) = match what {
            What::Message { offset, key, .. } => (Kind::Message, *offset, *key),
            _ => (Kind::Presence, 0, None),
        };
        let key = key.and_then(|key| KEYS[key]);
        let position = (has_history && kind == Kind::Message).then_some(Position { epoch, offset });
        if kind == Kind::Message {
            let message = Message {
                topic: TopicName::new(name).unwrap(),
                payload: Payload::text(offset.to_string()),
                time: Timestamp(0),
                position,
                user: None,
                key: key.map(Into::into),
                publisher: None,
            };
            bytes.extend(message_bytes(WireFormat::Json, &message, Sent::Live));
        } else {
            let what = what.clone();
            bytes.extend(Frame { what, told: false }.bytes());
        }
        ends.push(FrameEnd(bytes.len() as u32));
        facts.push(Fact {
            kind,
            position,
            key: key.map(Into::into),
        });
    }
    let len = bytes.len();
    let run = Run {
        topic: TopicName::new(name).unwrap(),
        facts: facts.into(),
    };
    let handling = Handling {
        overflow,
        subscription,
        min_interval: None,
    };
    Segment::messages(&bytes.into(), &ends.into(), 0, len).handled(handling, || run.into())
}

/// Every message of every topic either came or was told to be missing, in order.
fn assert_told(out: &[u8], published: &[u64; TOPICS.len()]) {
    let mut next = [1_u64; TOPICS.len()];
    let mut skipped = 0;
    let mut conflated = 0;
    for payload in FakeWire::payloads_of(out) {
        let Ok(frame) = serde_json::from_str::<Value>(&payload) else {
            continue;
        };
        let Some(topic) = TOPICS.iter().position(|t| frame["topic"] == t.0) else {
            continue;
        };
        if frame["type"] == "gap" {
            let count = frame["count"].as_u64().unwrap();
            if TOPICS[topic].1 {
                assert_eq!(frame["from"], next[topic], "{frame}");
                assert_eq!(frame["to"], next[topic] + count - 1, "{frame}");
            }
            next[topic] += count;
        } else if frame["type"] == "message" {
            let number: u64 = frame["data"].as_str().unwrap().parse().unwrap();
            if TOPICS[topic].2 == Overflow::Conflate {
                assert!(number >= next[topic], "{frame}");
                skipped += frame["skipped"].as_u64().unwrap_or(0);
                conflated += 1;
                next[topic] = number + 1;
            } else {
                assert_eq!(number, next[topic], "{frame}");
                next[topic] += 1;
            }
        }
    }
    for (topic, (_, _, overflow, _)) in TOPICS.iter().enumerate() {
        assert_eq!(next[topic], published[topic] + 1, "{topic}");
        if *overflow == Overflow::Conflate {
            assert_eq!(skipped + conflated, published[topic]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn it_drops_and_conflates_as_a_plain_list_does_and_tells_all_of_it(
        ops in prop::collection::vec(ops(), 1..50),
    ) {
        let (mut outbox, wire) = (Outbox::new(LIMIT, WireFormat::Json), FakeWire::with_room(0));
        let mut model = Model::default();
        let mut published = [0; TOPICS.len()];
        let (mut delivered, mut dropped, mut conflated, mut cleared) = (0, 0, 0, 0);
        let (mut is_whole, mut pushed) = (true, 0);
        for (step, op) in ops.into_iter().enumerate() {
            match op {
                Op::Take(topic, kinds) => {
                    let frames: Vec<_> = kinds.into_iter().map(|key| {
                        let Some(key) = key else {
                            return What::Join(topic, step as u64);
                        };
                        published[topic] += 1;
                        What::Message {
                            topic,
                            offset: published[topic],
                            key: KEYS[key].map(|_| key),
                            skipped: 0,
                        }
                    }).collect();
                    pushed += frames.len();
                    let taken = outbox.take(segment(topic, &frames), 1, Instant::now());
                    dropped += taken.dropped;
                    conflated += taken.conflated;
                    prop_assert_eq!(taken.is_overfull, model.take(topic, frames));
                    if taken.is_overfull {
                        is_whole = false;
                        cleared += outbox.clear();
                        model.clear();
                    }
                }
                Op::Answer => {
                    let mut answer = Vec::new();
                    put_frame(&mut answer, Opcode::Text, format!("[{step}]").as_bytes());
                    outbox.push(Segment::control(answer.into()));
                    model.put(What::Text(format!("[{step}]")));
                }
                Op::Overtake => {
                    let mut ping = Vec::new();
                    put_frame(&mut ping, Opcode::Text, format!("({step})").as_bytes());
                    outbox.overtake(ping.into());
                    model.overtake(format!("({step})"));
                }
                Op::Flush(room) => {
                    wire.room.set(room);
                    let done = outbox.flush(&*wire, Instant::now());
                    delivered += done.messages;
                    conflated += done.conflated;
                    model.flush(room);
                }
                Op::Clear => {
                    is_whole = false;
                    cleared += outbox.clear();
                    model.clear();
                }
            }
            prop_assert_eq!(&*wire.taken.borrow(), &model.out);
            prop_assert_eq!(
                (delivered, dropped, conflated, cleared),
                (model.delivered, model.dropped, model.conflated, model.cleared)
            );
            prop_assert_eq!(outbox.queued(), model.queued());
            let left = outbox.messages();
            prop_assert_eq!(pushed, delivered + dropped + conflated + cleared + left);
        }
        wire.room.set(usize::MAX);
        outbox.flush(&*wire, Instant::now());
        model.flush(1_000_000);
        prop_assert_eq!(&*wire.taken.borrow(), &model.out);
        prop_assert!(outbox.is_empty() && outbox.aside.is_none());
        if is_whole {
            assert_told(&model.out, &published);
        }
    }
}
