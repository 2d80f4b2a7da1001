//! Any sequence of what happens to an outbox, against a list of frames that is too simple to be wrong.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::model::{Epoch, Message, Overflow, Payload, Position, Timestamp, TopicName};
use crate::protocol::{Opcode, Sent, message_bytes, put_frame};

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

/// A frame of the naive queue.
#[derive(Clone, Debug, PartialEq)]
struct Frame {
    what: What,
    /// Whether it told how many it stands for when it was last about to be written.
    told: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    Text(String),
    Urgent(String),
    Join(usize, u64),
    Message {
        topic: usize,
        offset: u64,
        key: Option<usize>,
        skipped: u64,
    },
    Gap {
        topic: usize,
        count: u64,
        from: u64,
        to: u64,
    },
}

impl Frame {
    fn topic(&self) -> Option<usize> {
        match self.what {
            What::Join(topic, _) | What::Message { topic, .. } | What::Gap { topic, .. } => {
                // What is never dropped does not say whose it is.
                (TOPICS[topic].2 != Overflow::Disconnect).then_some(topic)
            }
            _ => None,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let text = match &self.what {
            What::Text(text) | What::Urgent(text) => text.clone(),
            What::Join(topic, n) => format!(r#"{{"type":"join","topic":"{topic}","n":{n}}}"#),
            What::Message {
                topic,
                offset,
                key,
                skipped,
                ..
            } => {
                let (name, has_history, ..) = TOPICS[*topic];
                let mut text = format!(
                    r#"{{"type":"message","topic":"{name}","data":"{offset}","encoding":"text","time":0"#
                );
                if has_history {
                    text += &format!(r#","epoch":"e1","offset":{offset}"#);
                }
                if let Some(key) = key.and_then(|key| KEYS[key]) {
                    text += &format!(r#","key":"{key}""#);
                }
                if *skipped > 0 && self.told {
                    text += &format!(r#","skipped":{skipped}"#);
                }
                text + "}"
            }
            What::Gap {
                topic,
                count,
                from,
                to,
            } => {
                let (name, has_history, ..) = TOPICS[*topic];
                let mut text =
                    format!(r#"{{"type":"gap","topic":"{name}","reason":"slow","count":{count}"#);
                if has_history {
                    text += &format!(r#","epoch":"e1","from":{from},"to":{to}"#);
                }
                text + "}"
            }
        };
        let mut bytes = Vec::new();
        put_frame(&mut bytes, Opcode::Text, text.as_bytes());
        bytes
    }

    fn counts(&self) -> bool {
        matches!(self.what, What::Message { .. } | What::Join(..))
    }
}

/// The naive queue: whole frames in the order in which they leave.
#[derive(Default)]
struct Model {
    frames: VecDeque<Frame>,
    /// Bytes of the first that have gone.
    gone: usize,
    is_waiting: bool,
    /// Whether something was queued that is to be conflated, and has not been.
    has_loose: bool,
    out: Vec<u8>,
    delivered: usize,
    dropped: usize,
    conflated: usize,
    cleared: usize,
}

impl Model {
    fn queued(&self) -> usize {
        self.frames.iter().map(|f| f.bytes().len()).sum::<usize>() - self.gone
    }

    fn put(&mut self, what: What) {
        self.frames.push_back(Frame { what, told: false });
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.frames.is_empty() || self.queued() + bytes <= LIMIT
    }

    /// True where the session is too slow.
    fn take(&mut self, topic: usize, frames: Vec<What>) -> bool {
        let len = frames.iter();
        let len = len
            .map(|what| {
                Frame {
                    what: what.clone(),
                    told: false,
                }
                .bytes()
                .len()
            })
            .sum();
        let (_, _, overflow, subscription) = TOPICS[topic];
        match overflow {
            Overflow::Disconnect => {
                if !self.has_room(len) {
                    self.drop_until(LIMIT - len, None);
                }
                if !self.has_room(len) {
                    self.dropped += frames.len();
                    return true;
                }
                frames.into_iter().for_each(|what| self.put(what));
                false
            }
            Overflow::DropOldest => {
                let fits = self.has_room(len);
                frames.into_iter().for_each(|what| self.put(what));
                if !fits {
                    self.drop_until(LIMIT, Some(subscription));
                    self.drop_until(LIMIT, None);
                }
                let gaps = self
                    .frames
                    .iter()
                    .filter(|f| matches!(f.what, What::Gap { .. }));
                let gaps: usize = gaps.map(|f| f.bytes().len()).sum();
                !fits && self.queued() > LIMIT && gaps > LIMIT / 2
            }
            Overflow::Conflate => {
                let is_loose = !self.is_waiting && self.has_room(len);
                if !is_loose {
                    self.conflate();
                }
                frames.into_iter().for_each(|what| self.put(what));
                if is_loose {
                    self.has_loose = true;
                } else {
                    self.conflate();
                    let messages = self.frames.iter().filter(|f| f.counts()).count();
                    if self.queued() > LIMIT && messages > 1 {
                        self.drop_until(LIMIT, None);
                        let messages = self.frames.iter().filter(|f| f.counts()).count();
                        return self.queued() > LIMIT && messages > 1;
                    }
                }
                false
            }
        }
    }

    /// Of what may be conflated only the newest of each key stays.
    fn conflate(&mut self) {
        let begun = usize::from(self.gone > 0);
        if std::mem::take(&mut self.has_loose) {
            for frame in self.frames.iter_mut().skip(begun) {
                frame.told = false;
            }
        }
        let mut at = begun;
        while at < self.frames.len() {
            let What::Message { topic, key, .. } = self.frames[at].what else {
                at += 1;
                continue;
            };
            let is_same = |f: &Frame| match f.what {
                What::Message {
                    topic: t, key: k, ..
                } => t == topic && k == key,
                _ => false,
            };
            let newer = (at + 1..self.frames.len()).find(|newer| is_same(&self.frames[*newer]));
            match newer {
                Some(newer) if TOPICS[topic].2 == Overflow::Conflate => {
                    let Some(Frame {
                        what: What::Message { skipped: stood, .. },
                        ..
                    }) = self.frames.remove(at)
                    else {
                        unreachable!()
                    };
                    let newer = &mut self.frames[newer - 1];
                    newer.told = false;
                    if let What::Message { skipped, .. } = &mut newer.what {
                        *skipped += stood + 1;
                    }
                    self.conflated += 1;
                }
                _ => at += 1,
            }
        }
    }

    fn drop_until(&mut self, most: usize, of: Option<u32>) {
        let mut at = usize::from(self.gone > 0);
        while self.queued() > most && at < self.frames.len() {
            let goes = |topic: usize| {
                let (_, _, overflow, subscription) = TOPICS[topic];
                overflow == Overflow::DropOldest && of.is_none_or(|of| of == subscription)
            };
            match self.frames[at].what {
                What::Message { topic, offset, .. } if goes(topic) => {
                    self.frames.remove(at);
                    self.dropped += 1;
                    at += usize::from(self.tell(at, topic, offset));
                }
                _ => at += 1,
            }
        }
    }

    /// True where it takes another frame to tell it.
    fn tell(&mut self, at: usize, topic: usize, offset: u64) -> bool {
        for before in (0..at).rev() {
            match self.frames[before].topic() {
                None => break,
                Some(other) if other != topic => {}
                Some(_) if before == 0 && self.gone > 0 => break,
                Some(_) => {
                    let What::Gap { count, to, .. } = &mut self.frames[before].what else {
                        break;
                    };
                    *count += 1;
                    *to = offset;
                    return false;
                }
            }
        }
        let what = What::Gap {
            topic,
            count: 1,
            from: offset,
            to: offset,
        };
        self.frames.insert(at, Frame { what, told: false });
        true
    }

    fn overtake(&mut self, text: String) {
        let mut at = usize::from(self.gone > 0);
        let is_urgent = |f: &Frame| matches!(f.what, What::Urgent(_));
        while self.frames.get(at).is_some_and(is_urgent) {
            at += 1;
        }
        let what = What::Urgent(text);
        self.frames.insert(at, Frame { what, told: false });
    }

    fn flush(&mut self, mut room: usize) {
        for frame in &mut self.frames {
            frame.told = true;
        }
        while let Some(first) = self.frames.front() {
            let bytes = first.bytes();
            let step = room.min(bytes.len() - self.gone);
            self.out.extend(&bytes[self.gone..self.gone + step]);
            self.gone += step;
            room -= step;
            if self.gone < bytes.len() {
                self.is_waiting = true;
                if self.has_loose {
                    self.conflate();
                }
                return;
            }
            self.delivered += usize::from(first.counts());
            self.frames.pop_front();
            self.gone = 0;
        }
        self.is_waiting = false;
        self.has_loose = false;
    }

    fn clear(&mut self) {
        let kept = usize::from(self.gone > 0);
        self.cleared += self.frames.iter().skip(kept).filter(|f| f.counts()).count();
        self.frames.truncate(kept);
        self.is_waiting &= kept > 0;
        self.has_loose = false;
    }
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
                    let taken = outbox.take(segment(topic, &frames), Instant::now());
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
