//! A history against the plainest thing that could be one: a list that is searched from end to end.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::{ALL, BEGUN, Bounds, Limit, Open, Retain, Subject, message, offsets};
use crate::model::{Message, Timestamp};

#[derive(Clone, Debug)]
enum Op {
    Append { size: usize, retain: Retain },
    Pass { ms: u64 },
    StepBack { ms: u64 },
    Trim,
    Clear,
    Read { after: u64, limit: Limit },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let limit = (0_usize..8, 0_usize..2000).prop_map(|(messages, bytes)| Limit { messages, bytes });
    let retain = prop_oneof![
        4 => Just(Retain::Leave),
        2 => Just(Retain::Set),
        1 => Just(Retain::Clear),
    ];
    let op = prop_oneof![
        12 => (0_usize..600, retain).prop_map(|(size, retain)| Op::Append { size, retain }),
        6 => (0_u64..80).prop_map(|ms| Op::Pass { ms }),
        1 => (0_u64..40).prop_map(|ms| Op::StepBack { ms }),
        2 => Just(Op::Trim),
        1 => Just(Op::Clear),
        6 => (0_u64..60, limit).prop_map(|(after, limit)| Op::Read { after, limit }),
    ];
    prop::collection::vec(op, 1..100)
}

fn bounds() -> impl Strategy<Value = Bounds> {
    let age = prop::option::of((0_u64..200).prop_map(Duration::from_millis));
    let bytes = prop_oneof![Just(usize::MAX), 0_usize..4000];
    (1_usize..20, age, bytes).prop_map(|(messages, age, bytes)| Bounds {
        messages,
        age,
        bytes,
    })
}

struct Entry {
    offset: u64,
    time: u64,
    weight: usize,
}

struct Plain {
    bounds: Bounds,
    held: Vec<Entry>,
    lost: Vec<Entry>,
    retained: Option<u64>,
    newest: u64,
    last_time: u64,
}

impl Plain {
    fn is_old(&self, entry: &Entry, now: u64) -> bool {
        let age = self.bounds.age.map(|age| age.as_millis());
        age.is_some_and(|age| u128::from(now.saturating_sub(entry.time)) > age)
    }

    fn trim(&mut self, now: u64) {
        while self.held.first().is_some_and(|e| self.is_old(e, now)) {
            self.lost.push(self.held.remove(0));
        }
    }

    fn append(&mut self, message: &Message, retain: Retain, now: u64) {
        self.last_time = now.max(self.last_time);
        self.trim(self.last_time);
        self.newest += 1;
        match retain {
            Retain::Leave => {}
            Retain::Set => self.retained = Some(self.newest),
            Retain::Clear => self.retained = None,
        }
        self.held.push(Entry {
            offset: self.newest,
            time: self.last_time,
            weight: message.weight(),
        });
        while self.held.len() > 1
            && (self.held.len() > self.bounds.messages || self.bytes() > self.bounds.bytes)
        {
            self.lost.push(self.held.remove(0));
        }
    }

    fn clear(&mut self) {
        self.lost.append(&mut self.held);
        self.retained = None;
        self.newest = 0;
    }

    fn bytes(&self) -> usize {
        self.held.iter().map(|entry| entry.weight).sum()
    }

    fn read(&self, after: u64, limit: Limit, now: u64) -> Vec<u64> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        for entry in &self.held {
            if entry.offset <= after || self.is_old(entry, now) {
                continue;
            }
            bytes += entry.weight;
            if found.len() == limit.messages || (bytes > limit.bytes && !found.is_empty()) {
                break;
            }
            found.push(entry.offset);
        }
        found
    }

    fn recovers(&self, offset: u64, now: u64) -> bool {
        let missed: Vec<u64> = (offset + 1..=self.newest).collect();
        offset <= self.newest && self.read(offset, ALL, now) == missed
    }

    fn since(&self, from: u64) -> Vec<u64> {
        let since = self.held.iter().filter(|entry| entry.time >= from);
        since.map(|entry| entry.offset).collect()
    }

    fn holds_since(&self, from: u64, now: u64) -> bool {
        from >= BEGUN.0
            && self.lost.iter().all(|entry| entry.time < from)
            && self
                .held
                .iter()
                .all(|entry| entry.time < from || !self.is_old(entry, now))
    }
}

pub(crate) fn a_history_does_what_a_plain_list_would<S: Subject>() {
    let run = |(bounds, ops): (Bounds, Vec<Op>)| {
        let mut open = Open::<S>::new(bounds);
        let mut plain = Plain {
            bounds,
            held: Vec::new(),
            lost: Vec::new(),
            retained: None,
            newest: 0,
            last_time: 0,
        };
        let mut now = BEGUN.0;
        for op in ops {
            match op {
                Op::Append { size, retain } => {
                    open.append_and(retain, size, Timestamp(now));
                    plain.append(&message("t", size), retain, now);
                }
                Op::Pass { ms } => now += ms,
                Op::StepBack { ms } => now -= ms,
                Op::Trim => {
                    open.history.trim(Timestamp(now));
                    plain.trim(now);
                }
                Op::Clear => {
                    open.clear();
                    plain.clear();
                }
                Op::Read { after, limit } => {
                    let read = open.read_within(after, limit, Timestamp(now));
                    prop_assert_eq!(offsets(&read), plain.read(after, limit, now));
                }
            }
            agree(&mut open, &plain, now)?;
        }
        Ok(())
    };
    TestRunner::default()
        .run(&(bounds(), ops()), run)
        .unwrap_or_else(|failure| panic!("{failure}"));
}

fn agree<S: Subject>(open: &mut Open<S>, plain: &Plain, now: u64) -> Result<(), TestCaseError> {
    open.subject.calm(&mut *open.history, Timestamp(now));
    let history = &open.history;
    prop_assert_eq!(history.len(), plain.held.len());
    prop_assert_eq!(history.bytes(), plain.bytes());
    prop_assert_eq!(open.retained(), plain.retained);
    prop_assert_eq!(history.newest(), plain.newest);
    prop_assert_eq!(history.settled(), plain.newest);
    let oldest = plain.held.first().map_or(plain.newest + 1, |e| e.offset);
    prop_assert_eq!(history.oldest(), oldest);
    prop_assert_eq!(open.read(0, Timestamp(now)), plain.read(0, ALL, now));
    for offset in plain.newest.saturating_sub(25)..=plain.newest + 1 {
        let recovers = open.history.recovers(open.cursor(offset), Timestamp(now));
        prop_assert_eq!(recovers, plain.recovers(offset, now), "offset {}", offset);
    }
    for from in (now.saturating_sub(300)..now + 50).step_by(7) {
        let after = open.first_since(Timestamp(from), Timestamp(now));
        let since: Vec<u64> = (after + 1..=plain.newest).collect();
        prop_assert_eq!(since, plain.since(from), "from {}", from);
        let holds = open.history.holds_since(Timestamp(from), Timestamp(now));
        prop_assert_eq!(holds, plain.holds_since(from, now), "from {}", from);
    }
    Ok(())
}
