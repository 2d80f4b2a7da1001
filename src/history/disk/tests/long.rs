//! Histories of which hardly anything is in memory.

use super::*;
use crate::history::contract::{WIDE, message, offsets, topic};
use crate::history::{Answer, Limit, Retain};

const T: Timestamp = Timestamp(1_000_000);

/// A topic with one message a millisecond.
fn long(messages: u64) -> (Box<dyn History>, DiskStore, Arc<News>, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let store = begin(directory.path(), 0, T);
    let news = News::new();
    let terms = terms(WIDE, Durability::Written);
    let mut history = store.open(&topic("t"), terms, &news).unwrap();
    for n in 0..messages {
        let now = Timestamp(T.0 + n);
        let given = message("t", 10);
        history.append(given, Retain::Leave.into(), now).unwrap();
    }
    calm(&store, &news, &mut *history, T);
    assert_eq!(history.settled(), messages);
    (history, store, news, directory)
}

#[test]
fn what_is_only_on_the_disk_is_trimmed_by_every_bound() {
    let (mut history, store, news, _directory) = long(3000);
    let weight = message("t", 10).weight();
    let now = Timestamp(T.0 + 3000);
    for (bounds, oldest) in [
        (
            Bounds {
                age: Some(Duration::from_millis(2500)),
                ..WIDE
            },
            501,
        ),
        (
            Bounds {
                bytes: 2000 * weight,
                ..WIDE
            },
            1001,
        ),
        (
            Bounds {
                messages: 1500,
                ..WIDE
            },
            1501,
        ),
        (
            Bounds {
                age: Some(Duration::from_millis(1200)),
                messages: 1300,
                bytes: 1100 * weight,
            },
            1901,
        ),
        (
            Bounds {
                bytes: weight / 2,
                ..WIDE
            },
            3000,
        ),
        (
            Bounds {
                age: Some(Duration::ZERO),
                ..WIDE
            },
            3001,
        ),
    ] {
        history.rebound(terms(bounds, Durability::Written), now);
        calm(&store, &news, &mut *history, now);
        assert_eq!(history.oldest(), oldest, "{bounds:?}");
        let held = 3001 - oldest;
        assert_eq!(history.len() as u64, held);
        assert_eq!(history.bytes(), weight * held as usize);
        // What was dropped last was of the millisecond before.
        assert!(history.holds_since(Timestamp(T.0 + oldest - 1), now));
        assert!(!history.holds_since(Timestamp(T.0 + oldest - 2), now));
    }
}

#[test]
fn the_place_of_a_time_is_found_on_the_disk() {
    let (mut history, store, news, _directory) = long(2000);
    for from in [0, 1, 777, 1999, 2000] {
        let from_time = Timestamp(T.0 + from);
        let answer = history.first_since(from_time);
        calm(&store, &news, &mut *history, T);
        let again = history.first_since(from_time);
        assert!(
            matches!((answer, again), (_, Answer::Now(after)) if after == from),
            "{from}"
        );
    }
}

#[test]
fn a_bound_that_publishing_reaches_holds_with_nothing_in_memory() {
    let (mut history, store, news, _directory) = long(1000);
    let weight = message("t", 10).weight();
    let bounds = Bounds {
        bytes: 700 * weight,
        ..WIDE
    };
    history.rebound(terms(bounds, Durability::Written), T);
    for n in 0..1000 {
        let now = Timestamp(T.0 + 1000 + n);
        let given = message("t", 10);
        history.append(given, Retain::Leave.into(), now).unwrap();
        if n % 50 == 0 {
            calm(&store, &news, &mut *history, now);
            assert_eq!(history.bytes(), bounds.bytes);
        }
    }
    calm(&store, &news, &mut *history, T);
    assert_eq!((history.oldest(), history.len()), (1301, 700));
}

#[test]
fn a_hundred_thousand_messages_are_read_in_pieces() {
    const ALL: u64 = 100_000;
    let (mut history, store, news, _directory) = long(ALL);
    let weight = message("t", 10).weight();
    let limit = Limit {
        messages: 512,
        bytes: 300 * weight,
    };
    let mut after = 0;
    while after < ALL {
        let Answer::Later(asked) = history.read(after, limit, T) else {
            panic!("it is on the disk")
        };
        let mut piece = None;
        while piece.is_none() {
            for told in hear(&news) {
                let is_it = matches!(&told, Told::Found { lookup, .. } if *lookup == asked);
                let messages = heed(&mut *history, told, T);
                if is_it {
                    piece = Some(messages);
                }
            }
        }
        let piece = offsets(&piece.unwrap());
        let last = (after + 300).min(ALL);
        assert_eq!(piece, (after + 1..=last).collect::<Vec<_>>());
        assert_eq!(store.usage().messages as u64, ALL);
        after = last;
    }
}

#[test]
fn of_topics_that_hold_nothing_only_so_many_are_known() {
    let directory = tempfile::tempdir().unwrap();
    let store = begin(directory.path(), usize::MAX, T);
    let news = News::new();
    let open = |n: usize| {
        let terms = terms(WIDE, Durability::Written);
        store.open(&topic(&format!("t/{n}")), terms, &news).unwrap()
    };
    let mut epochs = Vec::new();
    for n in 0..40 {
        let mut history = open(n);
        let now = Timestamp(T.0 + n as u64);
        history
            .append(message("t", 1), Retain::Leave.into(), now)
            .unwrap();
        calm(&store, &news, &mut *history, now);
        let nothing = Bounds {
            age: Some(Duration::ZERO),
            ..WIDE
        };
        history.rebound(terms(nothing, Durability::Written), Timestamp(now.0 + 1));
        calm(&store, &news, &mut *history, now);
        assert_eq!((history.len(), history.newest()), (0, 1));
        epochs.push(history.epoch());
    }
    store.quiet();
    let known: Vec<bool> = (0..40).map(|n| open(n).epoch() == epochs[n]).collect();
    assert!(!known[0] && known[39]);
    assert_eq!(known.iter().filter(|known| **known).count(), 16);
    let all = Filter::new("#").unwrap();
    assert!(!store.remembers(&all, T, Durability::Written));
    assert!(store.remembers(&all, Timestamp(T.0 + 30), Durability::Written));
}

#[test]
fn room_that_is_free_is_given_back_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let store = begin(directory.path(), usize::MAX, T);
    let news = News::new();
    let wide = terms(WIDE, Durability::Written);
    let mut history = store.open(&topic("t"), wide, &news).unwrap();
    // More than the log holds.
    for _ in 0..8000 {
        let given = message("t", 500);
        history.append(given, Retain::Leave.into(), T).unwrap();
    }
    calm(&store, &news, &mut *history, T);
    let size = || std::fs::metadata(&store.shared.file).unwrap().len();
    until("it is carried over", || size() > 500_000);
    let few = Bounds {
        messages: 10,
        ..WIDE
    };
    history.rebound(terms(few, Durability::Written), T);
    until("it shrinks", || size() < 300_000);
    assert_eq!((history.len(), history.oldest()), (10, 7991));
}
