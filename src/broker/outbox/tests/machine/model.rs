//! The naive queue: a list of frames, and what the protocol says of them.

use std::collections::VecDeque;
use std::fmt::Write as _;

use super::{KEYS, LIMIT, TOPICS};
use crate::model::Overflow;
use crate::websocket::{Opcode, put_frame};

/// A frame of the naive queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    pub what: What,
    /// Whether it told how many it stands for when it was last about to be written.
    pub told: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
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

    pub fn bytes(&self) -> Vec<u8> {
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
                    let _ = write!(text, r#","epoch":"e1","offset":{offset}"#);
                }
                if let Some(key) = key.and_then(|key| KEYS[key]) {
                    let _ = write!(text, r#","key":"{key}""#);
                }
                if *skipped > 0 && self.told {
                    let _ = write!(text, r#","skipped":{skipped}"#);
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
                    let _ = write!(text, r#","epoch":"e1","from":{from},"to":{to}"#);
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
pub struct Model {
    frames: VecDeque<Frame>,
    /// Bytes of the first that have gone.
    gone: usize,
    is_waiting: bool,
    /// Whether something was queued that is to be conflated, and has not been.
    has_loose: bool,
    pub out: Vec<u8>,
    pub delivered: usize,
    pub dropped: usize,
    pub conflated: usize,
    pub cleared: usize,
}

impl Model {
    pub fn queued(&self) -> usize {
        self.frames.iter().map(|f| f.bytes().len()).sum::<usize>() - self.gone
    }

    pub fn put(&mut self, what: What) {
        self.frames.push_back(Frame { what, told: false });
    }

    fn put_all(&mut self, frames: Vec<What>) {
        for what in frames {
            self.put(what);
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.frames.is_empty() || self.queued() + bytes <= LIMIT
    }

    /// True where the session is too slow.
    pub fn take(&mut self, topic: usize, frames: Vec<What>) -> bool {
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
                self.put_all(frames);
                false
            }
            Overflow::DropOldest => {
                let fits = self.has_room(len);
                self.put_all(frames);
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
                self.put_all(frames);
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

    pub fn overtake(&mut self, text: String) {
        let mut at = usize::from(self.gone > 0);
        let is_urgent = |f: &Frame| matches!(f.what, What::Urgent(_));
        while self.frames.get(at).is_some_and(is_urgent) {
            at += 1;
        }
        let what = What::Urgent(text);
        self.frames.insert(at, Frame { what, told: false });
    }

    pub fn flush(&mut self, mut room: usize) {
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

    pub fn clear(&mut self) {
        let kept = usize::from(self.gone > 0);
        self.cleared += self.frames.iter().skip(kept).filter(|f| f.counts()).count();
        self.frames.truncate(kept);
        self.is_waiting &= kept > 0;
        self.has_loose = false;
    }
}
