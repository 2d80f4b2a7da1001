//! The store in memory against the contract, and what is true of it alone.

use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::history::contract::{ALL, Subject, WIDE, history_contract, message, offsets, topic};

const T: Timestamp = Timestamp(1_000);

/// A store that gives every history another epoch.
fn store(ceiling: usize, now: Timestamp) -> MemoryStore {
    let next = AtomicU64::new(1);
    let random = move || next.fetch_add(1, Ordering::Relaxed);
    MemoryStore::new(ceiling, random, now)
}

struct Memory(MemoryStore, Arc<News>);

impl Subject for Memory {
    fn begin(now: Timestamp) -> Self {
        Self(store(usize::MAX, now), News::new())
    }

    fn store(&self) -> &dyn HistoryStore {
        &self.0
    }

    fn news(&self) -> &Arc<News> {
        &self.1
    }
}

fn open(store: &MemoryStore, name: &str, bounds: Bounds) -> Box<dyn History> {
    let terms = Terms {
        bounds,
        durability: Durability::Memory,
    };
    store.open(&topic(name), terms, &News::new()).unwrap()
}

fn open_retained(store: &MemoryStore, name: &str) -> Box<dyn Retained> {
    let news = News::new();
    let opened = store.open_retained(&topic(name), Durability::Memory, &news);
    opened.unwrap()
}

fn read(history: &mut dyn History) -> Vec<Arc<Message>> {
    history.read(0, ALL, T).now().unwrap()
}

history_contract!(Memory);

#[test]
fn messages_in_memory_are_complete_at_once() {
    let store = store(usize::MAX, T);
    let mut history = open(&store, "t", WIDE);
    let appended = history
        .append(message("t", 1), Retain::Leave.into(), T)
        .unwrap();
    assert_eq!(appended.completion, Completion::Now);
    assert_eq!(appended.offset(), 1);
}

#[test]
fn readers_share_the_message_that_is_held() {
    let store = store(usize::MAX, T);
    let mut history = open(&store, "t", WIDE);
    let appended = history
        .append(message("t", 1), Retain::Leave.into(), T)
        .unwrap();
    let read = read(&mut *history);
    assert!(Arc::ptr_eq(&read[0], &appended.message));
}

#[test]
fn over_the_ceiling_a_topic_pays_with_its_own_oldest_messages() {
    let weight = message("t", 100).weight();
    let store = store(weight * 4, T);
    let mut quiet = open(&store, "quiet", WIDE);
    let mut busy = open(&store, "busy", WIDE);
    quiet
        .append(message("quiet", 100), Retain::Leave.into(), T)
        .unwrap();
    for _ in 0..10 {
        busy.append(message("busy", 100), Retain::Leave.into(), T)
            .unwrap();
    }
    assert_eq!(offsets(&read(&mut *quiet)), [1]);
    // A sixteenth is left to those that have less.
    assert_eq!(offsets(&read(&mut *busy)), [9, 10]);
    assert!(!busy.holds_since(T, T));
    assert_eq!(store.usage().bytes, weight * 3);
}

#[test]
fn what_does_not_fit_below_the_ceiling_is_numbered_and_missed() {
    let weight = message("t", 100).weight();
    let store = store(weight, T);
    let mut full = open(&store, "full", WIDE);
    let mut late = open(&store, "late", WIDE);
    full.append(message("full", 100), Retain::Leave.into(), T)
        .unwrap();
    for offset in 1..4 {
        let appended = late
            .append(message("late", 100), Retain::Leave.into(), T)
            .unwrap();
        assert_eq!((appended.offset(), late.newest()), (offset, offset));
        assert!(read(&mut *late).is_empty());
        let cursor = |offset| Position {
            epoch: late.epoch(),
            offset,
        };
        assert!(late.recovers(cursor(offset), T));
        assert!(!late.recovers(cursor(offset - 1), T));
        assert!(!late.holds_since(T, T));
    }
    assert_eq!(store.usage().bytes, weight);
    drop(full);
    late.append(message("late", 100), Retain::Leave.into(), T)
        .unwrap();
    assert_eq!(offsets(&read(&mut *late)), [4]);
}

#[test]
fn a_retained_message_that_does_not_fit_is_refused_and_nothing_is_changed() {
    let weight = message("r", 100).weight();
    let store = store(weight * 4, T);
    let open = |name: &str| open_retained(&store, name);
    let given = |size| Some(Arc::new(message("r", size)));
    let mut all: Vec<_> = ["a", "b", "c", "d", "e"].map(open).into();
    for retained in &mut all[..4] {
        retained.set(given(100), None).unwrap();
    }
    let refused = all[4].set(given(0), None).unwrap_err();
    assert_eq!(refused, HistoryError::Full);
    assert!(refused.is_passing());
    assert_eq!(all[0].set(given(101), None), Err(HistoryError::Full));
    assert_eq!(all[0].message().unwrap().weight(), weight);
    // What takes another's place needs no room of its own, and what is cleared leaves some.
    all[0].set(given(100), None).unwrap();
    all[1].set(None, None).unwrap();
    all[4].set(given(100), None).unwrap();
    assert_eq!(store.usage().retained_bytes, weight * 4);
    drop(all);
    assert_eq!(store.usage(), Usage::default());
}

#[test]
fn histories_that_fill_the_ceiling_give_way_to_what_is_retained() {
    let weight = message("t", 100).weight();
    let store = store(weight * 16, T);
    let open = |name: &str| open(&store, name, WIDE);
    let mut topics = [open("a"), open("b"), open("c")];
    for _ in 0..7 {
        for history in &mut topics {
            history
                .append(message("t", 100), Retain::Leave.into(), T)
                .unwrap();
        }
    }
    assert_eq!(store.usage().bytes, weight * 15);
    let mut retained: Vec<_> = (0..3).map(|_| open_retained(&store, "r")).collect();
    let given = || Some(Arc::new(message("r", 100)));
    retained[0].set(given(), None).unwrap();
    assert_eq!(retained[1].set(given(), None), Err(HistoryError::Full));
    // One that is refused takes no offset.
    let refused = topics[2].append(message("t", 100), Retain::Set.into(), T);
    assert_eq!(refused.unwrap_err(), HistoryError::Full);
    assert_eq!(topics[2].newest(), 7);
    assert!(store.is_short());
    let before = topics.each_ref().map(|history| history.len());
    for history in &mut topics {
        history.give_way();
    }
    assert!(!store.is_short());
    // No more than was needed, and of one topic no more than half.
    assert_eq!(topics[0].len(), before[0] - 1);
    assert_eq!(topics[1].len(), before[1]);
    retained[1].set(given(), None).unwrap();
    assert_eq!(retained[2].set(given(), None), Err(HistoryError::Full));
    let usage = store.usage();
    assert_eq!(usage.bytes + usage.retained_bytes, weight * 16);
    let mut one = open("one");
    one.append(message("t", 1), Retain::Leave.into(), T)
        .unwrap();
    one.give_way();
    assert_eq!(one.len(), 0, "there was no room for it");
}

#[test]
fn a_closed_history_gives_its_room_back_and_begins_another_life() {
    let store = store(usize::MAX, T);
    let mut history = open(&store, "t", WIDE);
    let last = Timestamp(T.0 + 50);
    history
        .append(message("t", 1), Retain::Leave.into(), T)
        .unwrap();
    history
        .append(message("t", 1), Retain::Leave.into(), last)
        .unwrap();
    let first_life = history.epoch();
    assert_eq!(store.usage().messages, 2);
    drop(history);
    assert_eq!(store.usage(), Usage::default());
    let again = open(&store, "t", WIDE);
    assert_ne!(again.epoch(), first_life);
}

#[test]
fn a_history_that_never_had_a_message_is_not_missed() {
    let store = store(usize::MAX, T);
    drop(open(&store, "t", WIDE));
    let all = Filter::new("#").unwrap();
    assert!(store.remembers(&all, T, Durability::Memory));
}

#[test]
fn a_quiet_topic_gives_back_the_room_of_a_burst() {
    let store = store(usize::MAX, T);
    let mut history = MemoryHistory {
        shared: Arc::clone(&store.shared),
        topic: topic("t"),
        bounds: Bounds {
            age: Some(Duration::from_millis(10)),
            ..WIDE
        },
        epoch: store.shared.new_epoch(),
        ring: VecDeque::new(),
        bytes: 0,
        newest: 0,
        last_time: Timestamp(0),
        lost_before: Timestamp(0),
        retained: Slot::new(&store.shared.ceiling),
    };
    for _ in 0..1_000 {
        history
            .append(message("t", 1), Retain::Leave.into(), T)
            .unwrap();
    }
    history.trim(Timestamp(T.0 + 11));
    assert!(history.ring.capacity() <= 32);
}

#[test]
fn homes_on_many_threads_count_as_one() {
    let weight = message("t", 100).weight();
    let store = store(weight * 50, T);
    std::thread::scope(|scope| {
        for home in 0..4 {
            let store = store.clone();
            scope.spawn(move || {
                let name = format!("t{home}");
                let mut history = open(&store, &name, WIDE);
                for _ in 0..2_000 {
                    history
                        .append(message(&name, 100), Retain::Leave.into(), T)
                        .unwrap();
                    // Each home may have one more in hand.
                    assert!(store.usage().bytes <= weight * 54);
                }
            });
        }
    });
    assert_eq!(store.usage(), Usage::default());
}

proptest! {
    #[test]
    fn the_usage_is_the_sum_of_what_the_topics_hold(
        ceiling in 0_usize..6_000,
        ops in prop::collection::vec((0_usize..5, 0_usize..800, 0_u64..40, 0_usize..3), 1..150),
    ) {
        let store = store(ceiling, T);
        let bounds = Bounds { age: Some(Duration::from_millis(500)), ..WIDE };
        let open = |_| open(&store, "t", bounds);
        let mut topics: Vec<_> = (0..5).map(open).collect();
        let weights = |topics: &[Box<dyn History>]| -> Vec<usize> {
            let held = topics.iter().filter_map(|topic| topic.retained());
            held.map(|message| message.weight()).collect()
        };
        let mut now = T;
        for (index, size, pass, retain) in ops {
            now.0 += pass;
            match size {
                0..40 => topics[index] = open(index),
                40..80 => assert_eq!(topics[index].clear(), Ok(Completion::Now)),
                80..160 => topics[index].trim(now),
                _ => {
                    let retain = [Retain::Leave, Retain::Set, Retain::Clear][retain];
                    let before = weights(&topics).iter().sum::<usize>();
                    let leaves = topics[index].retained().map_or(0, |m| m.weight());
                    let given = message("t", size);
                    let retained = before - leaves + given.weight();
                    match topics[index].append(given, retain.into(), now) {
                        Ok(_) => {
                            let usage = store.usage();
                            prop_assert!(usage.bytes + usage.retained_bytes <= ceiling);
                        }
                        Err(error) => {
                            prop_assert_eq!((error, retain), (HistoryError::Full, Retain::Set));
                            prop_assert!(retained + store.usage().bytes > ceiling);
                        }
                    }
                }
            }
            let retained = weights(&topics);
            prop_assert_eq!(store.usage(), Usage {
                retained: retained.len(),
                retained_bytes: retained.iter().sum(),
                messages: topics.iter().map(|topic| topic.len()).sum(),
                bytes: topics.iter().map(|topic| topic.bytes()).sum(),
            });
        }
    }
}
