//! What is there again when a store is opened that another left.

use proptest::prelude::*;

use super::*;
use crate::history::contract::{ALL, WIDE, message, offsets, topic};
use crate::history::{Answer, Beside, Completion, Limit, Once, Retain};
use crate::model::{Message, Position};

const T: Timestamp = Timestamp(1_000_000);

/// A store that can be closed and opened again, and one topic.
struct Again {
    store: Option<DiskStore>,
    news: Arc<News>,
    history: Option<Box<dyn History>>,
    bounds: Bounds,
    memory: usize,
    directory: TempDir,
}

impl Again {
    fn new(bounds: Bounds, memory: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut again = Self {
            store: None,
            news: News::new(),
            history: None,
            bounds,
            memory,
            directory,
        };
        again.restart(T);
        again
    }

    fn store(&self) -> &DiskStore {
        self.store.as_ref().unwrap()
    }

    fn history(&mut self) -> &mut dyn History {
        &mut **self.history.as_mut().unwrap()
    }

    fn restart(&mut self, now: Timestamp) {
        self.history = None;
        self.store = None;
        self.news = News::new();
        let store = begin(self.directory.path(), self.memory, now);
        let terms = terms(self.bounds, Durability::Written);
        let history = store.open(&topic("t"), terms, &self.news).unwrap();
        self.history = Some(history);
        self.store = Some(store);
    }

    fn calm(&mut self, now: Timestamp) {
        let store = self.store.as_ref().unwrap();
        let history = self.history.as_mut().unwrap();
        calm(store, &self.news, &mut **history, now);
    }

    fn append(&mut self, size: usize, beside: impl Into<Beside>, now: Timestamp) -> Arc<Message> {
        let appended = self
            .history()
            .append(message("t", size), beside.into(), now);
        self.calm(now);
        appended.unwrap().message
    }

    fn read(&mut self, after: u64, now: Timestamp) -> Vec<u64> {
        self.read_within(after, ALL, now)
    }

    fn read_within(&mut self, after: u64, limit: Limit, now: Timestamp) -> Vec<u64> {
        match self.history().read(after, limit, now) {
            Answer::Now(messages) => offsets(&messages),
            Answer::Later(asked) => {
                self.store().quiet();
                let mut read = None;
                for told in self.news.take() {
                    let is_answer = matches!(&told, Told::Found { lookup, .. } if *lookup == asked);
                    let messages = heed(self.history(), told, now);
                    if is_answer {
                        read = Some(offsets(&messages));
                    }
                }
                read.unwrap()
            }
        }
    }
}

#[test]
fn a_history_goes_on_where_it_was_left() {
    let mut again = Again::new(WIDE, usize::MAX);
    for n in 0..5 {
        again.append(n, Retain::Leave, Timestamp(T.0 + n as u64));
    }
    let epoch = again.history().epoch();
    for memory in [usize::MAX, 0] {
        again.memory = memory;
        again.restart(Timestamp(T.0 + 100));
        let history = again.history();
        assert_eq!(
            (history.epoch(), history.newest(), history.oldest()),
            (epoch, 5, 1)
        );
        assert_eq!((history.settled(), history.len()), (5, 5));
        let weight: usize = (0..5).map(|size| message("t", size).weight()).sum();
        assert_eq!(history.bytes(), weight);
        assert!(history.recovers(Position { epoch, offset: 0 }, T));
        assert!(history.holds_since(T, T));
        assert_eq!(again.read(0, T), [1, 2, 3, 4, 5]);
        assert_eq!(again.read(3, T), [4, 5]);
    }
    let next = again.append(1, Retain::Leave, T);
    assert_eq!(next.position, Some(Position { epoch, offset: 6 }));
    assert_eq!(next.time, Timestamp(T.0 + 4));
}

#[test]
fn retained_messages_and_what_is_published_once_only_are_there_again() {
    let mut again = Again::new(WIDE, usize::MAX);
    let once = |n: u8| {
        Some(Once {
            name: [n; 32],
            body: [n + 1; 32],
        })
    };
    let set = Beside {
        retain: Retain::Set,
        once: once(1),
    };
    let kept = again.append(3, set, T);
    let leave = Beside {
        retain: Retain::Leave,
        once: once(3),
    };
    again.append(4, leave, Timestamp(T.0 + 10));
    let news = Arc::clone(&again.news);
    let live = topic("live");
    let opened = again
        .store()
        .open_retained(&live, Durability::Synced, &news);
    let mut retained = opened.unwrap();
    let given = Arc::new(message("live", 9));
    let completion = retained.set(Some(Arc::clone(&given)), once(5)).unwrap();
    assert!(matches!(completion, Completion::Later(_)));
    assert!(retained.message().is_none());
    again.store().quiet();
    for told in news.take() {
        let Told::Settled(ticket) = told else {
            panic!("{told:?}")
        };
        retained.settle(ticket);
    }
    assert_eq!(retained.message().unwrap().payload, given.payload);
    drop(retained);

    again.restart(Timestamp(T.0 + 20));
    let held = again.history().retained().unwrap();
    assert_eq!(
        (&held.payload, held.position),
        (&kept.payload, kept.position)
    );
    let once: Vec<_> = again.store().once();
    let names: Vec<_> = once.iter().map(|one| one.once.name[0]).collect();
    assert_eq!(names[..2], [1, 3]);
    assert_eq!(once[0].position, kept.position);
    assert_eq!((once[0].time, &once[0].topic), (T, &topic("t")));
    let mut left = again.store().topics();
    left.sort_by(|a, b| a.topic.cmp(&b.topic));
    let left: Vec<_> = left
        .iter()
        .map(|left| (left.topic.as_str(), left.has_history, left.has_retained))
        .collect();
    assert_eq!(left, [("live", false, true), ("t", true, true)]);
    let opened = again
        .store()
        .open_retained(&live, Durability::Synced, &again.news);
    assert_eq!(opened.unwrap().message().unwrap().payload, given.payload);

    // What is too long ago is not remembered.
    again.restart(Timestamp(T.0 + 60_005));
    let names: Vec<_> = again
        .store()
        .once()
        .iter()
        .map(|one| one.once.name[0])
        .collect();
    assert_eq!(names, [3]);
}

#[test]
fn a_cleared_history_stays_cleared() {
    let mut again = Again::new(WIDE, usize::MAX);
    again.append(1, Retain::Set, T);
    let before = again.history().epoch();
    again.history().clear().unwrap();
    again.calm(T);
    let epoch = again.history().epoch();
    assert_ne!(epoch, before);
    again.restart(T);
    assert_eq!(
        (again.history().epoch(), again.history().newest()),
        (epoch, 0)
    );
    assert!(again.history().retained().is_none());
    assert!(!again.history().holds_since(T, T));
    assert!(again.store().topics().is_empty());
    again.append(1, Retain::Leave, T);
    assert_eq!(again.read(0, T), [1]);
}

#[test]
fn what_goes_with_the_process_is_not_written() {
    let again = Again::new(WIDE, usize::MAX);
    let terms = terms(WIDE, Durability::Memory);
    let mut live = again
        .store()
        .open(&topic("live"), terms, &again.news)
        .unwrap();
    let appended = live
        .append(message("live", 1), Retain::Set.into(), T)
        .unwrap();
    assert_eq!(appended.completion, Completion::Now);
    let mut again = again;
    drop(live);
    again.restart(T);
    assert!(again.store().topics().is_empty());
}

#[test]
fn bounds_hold_from_the_start_on_whatever_the_process_before_had_written() {
    let bounds = Bounds {
        messages: 3,
        ..WIDE
    };
    let mut again = Again::new(bounds, usize::MAX);
    for _ in 0..7 {
        again.append(1, Retain::Leave, T);
    }
    let killed = tempfile::tempdir().unwrap();
    copy_killed(again.directory.path(), killed.path());
    again.history = None;
    again.store = None;
    again.directory = killed;
    again.restart(T);
    assert_eq!((again.history().oldest(), again.history().len()), (5, 3));
    assert_eq!(again.read(0, T), [5, 6, 7]);
    again.calm(T);
    assert_eq!(again.history().bytes(), 3 * message("t", 1).weight());
    assert_eq!((again.history().oldest(), again.history().len()), (5, 3));
}

/// What is done to a topic between two restarts.
#[derive(Clone, Debug)]
enum Op {
    Append(usize, Retain),
    Pass(u64),
    Trim,
    Clear,
    Read(u64, Limit),
    Restart,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let retain = prop_oneof![
        4 => Just(Retain::Leave),
        2 => Just(Retain::Set),
        1 => Just(Retain::Clear),
    ];
    let limit = (1_usize..8, 0_usize..2000);
    let limit = limit.prop_map(|(messages, bytes)| Limit { messages, bytes });
    let op = prop_oneof![
        12 => (0_usize..600, retain).prop_map(|(size, retain)| Op::Append(size, retain)),
        4 => (0_u64..80).prop_map(Op::Pass),
        2 => Just(Op::Trim),
        1 => Just(Op::Clear),
        4 => (0_u64..60, limit).prop_map(|(after, limit)| Op::Read(after, limit)),
        3 => Just(Op::Restart),
    ];
    prop::collection::vec(op, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn restarts_change_nothing(
        ops in ops(),
        memory in prop_oneof![Just(usize::MAX), Just(2000), Just(0)],
        messages in 1_usize..20,
        age in prop::option::of(50_u64..300),
    ) {
        // What is retained needs memory.
        let may_retain = memory > 0;
        let age = age.map(Duration::from_millis);
        let mut again = Again::new(Bounds { messages, age, bytes: usize::MAX }, memory);
        let mut epoch = again.history().epoch();
        // Offsets, times and weights of what is held.
        let mut held: Vec<(u64, u64, usize)> = Vec::new();
        let (mut newest, mut last, mut now) = (0, 0, T.0);
        let mut retained = None;
        let is_old = |time: u64, now: u64| {
            age.is_some_and(|age| u128::from(now.saturating_sub(time)) > age.as_millis())
        };
        for op in ops {
            match op {
                Op::Append(size, retain) => {
                    let retain = if may_retain { retain } else { Retain::Leave };
                    again.append(size, retain, Timestamp(now));
                    newest += 1;
                    last = now;
                    held.push((newest, now, message("t", size).weight()));
                    held.retain(|(_, time, _)| !is_old(*time, now));
                    let excess = held.len().saturating_sub(messages);
                    held.drain(..excess);
                    match retain {
                        Retain::Set => retained = Some(newest),
                        Retain::Clear => retained = None,
                        Retain::Leave => {}
                    }
                }
                Op::Pass(ms) => now += ms,
                Op::Trim => {
                    again.history().trim(Timestamp(now));
                    again.calm(Timestamp(now));
                    held.retain(|(_, time, _)| !is_old(*time, now));
                }
                Op::Clear => {
                    again.history().clear().unwrap();
                    again.calm(Timestamp(now));
                    held.clear();
                    (newest, retained) = (0, None);
                    epoch = again.history().epoch();
                }
                Op::Read(after, limit) => {
                    let mut bytes = 0;
                    let plain: Vec<u64> = held
                        .iter()
                        .filter(|(offset, time, _)| *offset > after && !is_old(*time, now))
                        .take(limit.messages)
                        .enumerate()
                        .take_while(|(taken, (_, _, weight))| {
                            bytes += weight;
                            *taken == 0 || bytes <= limit.bytes
                        })
                        .map(|(_, (offset, _, _))| *offset)
                        .collect();
                    prop_assert_eq!(again.read_within(after, limit, Timestamp(now)), plain);
                }
                Op::Restart => {
                    again.restart(Timestamp(now));
                    // A topic that never had anything is not kept.
                    if newest == 0 && last == 0 {
                        epoch = again.history().epoch();
                    }
                }
            }
            again.calm(Timestamp(now));
            let history = again.history();
            prop_assert_eq!((history.epoch(), history.newest()), (epoch, newest));
            prop_assert_eq!(history.settled(), newest);
            prop_assert_eq!(history.len(), held.len());
            prop_assert_eq!(history.bytes(), held.iter().map(|(_, _, weight)| weight).sum::<usize>());
            let kept = history.retained().and_then(|message| message.position);
            prop_assert_eq!(kept.map(|position| position.offset), retained);
            let plain: Vec<u64> = held
                .iter()
                .filter(|(_, time, _)| !is_old(*time, now))
                .map(|(offset, _, _)| *offset)
                .collect();
            prop_assert_eq!(again.read(0, Timestamp(now)), plain);
        }
    }
}
