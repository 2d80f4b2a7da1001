//! The store in memory against the contract, and what is true of it alone.

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

struct Memory(MemoryStore);

impl Subject for Memory {
    fn begin(now: Timestamp) -> Self {
        Self(store(usize::MAX, now))
    }

    fn store(&self) -> &dyn HistoryStore {
        &self.0
    }
}

history_contract!(Memory);

#[test]
fn messages_in_memory_are_complete_at_once() {
    let store = store(usize::MAX, T);
    let mut history = store.open(&topic("t"), WIDE).unwrap();
    let appended = history.append(message("t", 1), T).unwrap();
    assert_eq!(appended.completion, Completion::Now);
    assert_eq!(appended.offset(), 1);
}

#[test]
fn readers_share_the_message_that_is_held() {
    let store = store(usize::MAX, T);
    let mut history = store.open(&topic("t"), WIDE).unwrap();
    let appended = history.append(message("t", 1), T).unwrap();
    let read = history.read(0, ALL, T);
    assert!(Arc::ptr_eq(&read[0], &appended.message));
}

#[test]
fn over_the_ceiling_a_topic_pays_with_its_own_oldest_messages() {
    let weight = message("t", 100).weight();
    let store = store(weight * 4, T);
    let mut quiet = store.open(&topic("quiet"), WIDE).unwrap();
    let mut busy = store.open(&topic("busy"), WIDE).unwrap();
    quiet.append(message("quiet", 100), T).unwrap();
    for _ in 0..10 {
        busy.append(message("busy", 100), T).unwrap();
    }
    assert_eq!(offsets(&quiet.read(0, ALL, T)), [1]);
    assert_eq!(offsets(&busy.read(0, ALL, T)), [8, 9, 10]);
    assert!(!busy.holds_since(T, T));
    assert_eq!(store.usage().bytes, weight * 4);
}

#[test]
fn what_is_just_appended_is_held_even_where_the_others_fill_the_ceiling() {
    let weight = message("t", 100).weight();
    let store = store(weight, T);
    let mut full = store.open(&topic("full"), WIDE).unwrap();
    let mut late = store.open(&topic("late"), WIDE).unwrap();
    full.append(message("full", 100), T).unwrap();
    for offset in 1..4 {
        late.append(message("late", 100), T).unwrap();
        assert_eq!(offsets(&late.read(0, ALL, T)), [offset]);
    }
    assert_eq!(store.usage().messages, 2);
}

#[test]
fn a_closed_history_gives_its_room_back_and_is_not_remembered() {
    let store = store(usize::MAX, T);
    let mut history = store.open(&topic("t"), WIDE).unwrap();
    let last = Timestamp(T.0 + 50);
    history.append(message("t", 1), T).unwrap();
    history.append(message("t", 1), last).unwrap();
    let first_life = history.epoch();
    assert_eq!(store.usage().messages, 2);
    assert!(store.remembers(T));
    drop(history);
    assert_eq!(store.usage(), Usage::default());
    assert!(!store.remembers(last));
    assert!(store.remembers(Timestamp(last.0 + 1)));
    let again = store.open(&topic("t"), WIDE).unwrap();
    assert_ne!(again.epoch(), first_life);
}

#[test]
fn a_history_that_never_had_a_message_is_not_missed() {
    let store = store(usize::MAX, T);
    drop(store.open(&topic("t"), WIDE).unwrap());
    assert!(store.remembers(T));
}

#[test]
fn a_quiet_topic_gives_back_the_room_of_a_burst() {
    let store = store(usize::MAX, T);
    let mut history = MemoryHistory {
        shared: Arc::clone(&store.shared),
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
    };
    for _ in 0..1_000 {
        history.append(message("t", 1), T).unwrap();
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
                let mut history = store.open(&topic(&name), WIDE).unwrap();
                for _ in 0..2_000 {
                    history.append(message(&name, 100), T).unwrap();
                    // Each home holds one message at least, and may have one more in hand.
                    assert!(store.usage().bytes <= weight * 58);
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
        ops in prop::collection::vec((0_usize..5, 0_usize..800, 0_u64..40), 1..150),
    ) {
        let store = store(ceiling, T);
        let bounds = Bounds { age: Some(Duration::from_millis(500)), ..WIDE };
        let open = |_| store.open(&topic("t"), bounds).unwrap();
        let mut topics: Vec<_> = (0..5).map(open).collect();
        let mut now = T;
        for (index, size, pass) in ops {
            now.0 += pass;
            match size {
                0..40 => topics[index] = open(index),
                40..80 => topics[index].clear().unwrap(),
                80..160 => topics[index].trim(now),
                _ => {
                    topics[index].append(message("t", size), now).unwrap();
                    let only = topics[index].len() == 1;
                    prop_assert!(only || store.usage().bytes <= ceiling);
                }
            }
            prop_assert_eq!(store.usage(), Usage {
                messages: topics.iter().map(|topic| topic.len()).sum(),
                bytes: topics.iter().map(|topic| topic.bytes()).sum(),
            });
        }
    }
}
