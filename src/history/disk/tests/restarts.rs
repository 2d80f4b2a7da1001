//! What is there again when a store is opened that another left.

use super::*;
use crate::history::contract::{ALL, WIDE, message, offsets, topic};
use crate::history::{Answer, Beside, Completion, Once, Retain};
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
        match self.history().read(after, ALL, now) {
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
