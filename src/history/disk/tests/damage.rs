//! Bytes on the disk that are not what was written there.

use std::fs;
use std::path::Path;

use super::*;
use crate::history::contract::{ALL, WIDE, message, offsets, topic};
use crate::history::{Answer, Limit, Retain};
use crate::model::Position;

pub(super) const T: Timestamp = Timestamp(1_000_000);

/// Topics `a` and `b` with six messages each.
fn filled(directory: &Path) -> Position {
    let store = begin(directory, usize::MAX, T);
    let news = News::new();
    let mut last = None;
    for name in ["b", "a"] {
        let mut history = open(&store, name, &news);
        for n in 0..6 {
            let retain = if n == 1 { Retain::Set } else { Retain::Leave };
            let appended = history.append(message(name, 100), retain.into(), T);
            last = appended.unwrap().message.position;
        }
    }
    store.quiet();
    last.unwrap()
}

pub(super) fn open(store: &DiskStore, name: &str, news: &Arc<News>) -> Box<dyn History> {
    let terms = terms(WIDE, Durability::Synced);
    store.open(&topic(name), terms, news).unwrap()
}

pub(super) fn read(
    store: &DiskStore,
    news: &News,
    history: &mut dyn History,
    after: u64,
) -> Vec<u64> {
    read_within(store, news, history, (after, ALL))
}

fn read_within(
    store: &DiskStore,
    news: &News,
    history: &mut dyn History,
    (after, limit): (u64, Limit),
) -> Vec<u64> {
    let Answer::Later(asked) = history.read(after, limit, T) else {
        panic!("all of it is on the disk")
    };
    store.quiet();
    let mut read = None;
    for told in news.take() {
        let is_answer = matches!(&told, Told::Found { lookup, .. } if *lookup == asked);
        let messages = heed(history, told, T);
        if is_answer {
            read = Some(offsets(&messages));
        }
    }
    read.unwrap()
}

/// Does that to the file of a store that is closed.
fn amend(directory: &Path, statements: &str) {
    let file = schema::file(&settings(directory, 0).directory);
    Connection::open(file)
        .unwrap()
        .execute_batch(statements)
        .unwrap();
}

fn flip(record: &str) -> String {
    // The last byte is one of the payload.
    format!(
        "UPDATE message SET body = substr(body, 1, length(body) - 1) || x'FF'
         WHERE topic = (SELECT max(id) FROM topic) AND offset = {record}"
    )
}

#[test]
fn a_record_with_a_flipped_byte_is_not_served_nor_what_is_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let newest = filled(directory.path());
    amend(directory.path(), &flip("3"));
    for round in 0..2 {
        let store = begin(directory.path(), 0, T);
        let news = News::new();
        let mut history = open(&store, "a", &news);
        let read = read(&store, &news, &mut *history, if round == 0 { 0 } else { 3 });
        assert_eq!(read, [4, 5, 6]);
        calm(&store, &news, &mut *history, T);
        assert_eq!(
            (history.oldest(), history.newest(), history.len()),
            (4, 6, 3)
        );
        let weight = message("a", 100).weight();
        assert_eq!(history.bytes(), 3 * weight);
        let cursor = |offset| Position { offset, ..newest };
        assert!(history.recovers(cursor(3), T) && !history.recovers(cursor(2), T));
        assert!(!history.holds_since(T, T));
        let damaged = store.shared.figures.all_damaged();
        assert_eq!(damaged, if round == 0 { 3 } else { 0 }, "counted once");
        // Its neighbour has nothing to do with it.
        let mut other = open(&store, "b", &news);
        let read = self::read(&store, &news, &mut *other, 0);
        assert_eq!(read, [1, 2, 3, 4, 5, 6]);
        assert!(other.retained().is_some());
    }
}

/// The offsets of a topic's messages that are on the disk.
fn on_disk(directory: &Path, name: &str) -> Vec<u64> {
    let conn = schema::to_read(&schema::file(&settings(directory, 0).directory)).unwrap();
    let mut select = conn
        .prepare("SELECT offset FROM message WHERE topic = ?1 ORDER BY offset")
        .unwrap();
    // In the order in which `filled` makes them.
    let id = if name == "b" { 1 } else { 2 };
    let offsets = select.query_map([id], |row| row.get::<_, i64>(0)).unwrap();
    offsets
        .map(|offset| offset.unwrap().cast_unsigned())
        .collect()
}

/// Has the store drop messages of `b`, and waits until they are gone: what else was to go went before them.
fn tidied(directory: &Path, store: &DiskStore, news: &Arc<News>, upto: u64) {
    let mut other = open(store, "b", news);
    let few = Bounds {
        messages: 1,
        ..WIDE
    };
    other.rebound(terms(few, Durability::Synced), T);
    while other.newest() < upto {
        let appended = other.append(message("b", 1), Retain::Leave.into(), T);
        assert!(appended.is_ok());
        calm(store, news, &mut *other, T);
    }
    until("the messages of b are deleted", || {
        on_disk(directory, "b").first() >= Some(&(upto - 8))
    });
}

#[test]
fn what_is_whole_before_a_damaged_record_stays_on_the_disk_until_the_bounds_would_drop_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    filled(path);
    amend(path, &flip("3"));
    let aside = |store: &DiskStore| {
        let entry = store.shared.catalog.get(&topic("a")).unwrap();
        entry.lock().committed.aside
    };
    for round in 1..=2 {
        let store = begin(path, 0, T);
        let news = News::new();
        let mut history = open(&store, "a", &news);
        let after = if round == 1 { 0 } else { 3 };
        assert_eq!(read(&store, &news, &mut *history, after), [4, 5, 6]);
        calm(&store, &news, &mut *history, T);
        assert_eq!((aside(&store), history.oldest()), (Some(1), 4));
        tidied(path, &store, &news, 6 + round * 24);
        assert_eq!(on_disk(path, "a"), [1, 2, 3, 4, 5, 6]);
    }
    let store = begin(path, 0, T);
    let news = News::new();
    let mut history = open(&store, "a", &news);
    // What is held and what is set aside are together no more than the bound.
    for (messages, stay, is_aside) in [(5, 2, Some(2)), (3, 4, None)] {
        let bounds = Bounds { messages, ..WIDE };
        history.rebound(terms(bounds, Durability::Synced), T);
        calm(&store, &news, &mut *history, T);
        assert_eq!((aside(&store), history.oldest()), (is_aside, 4));
        let expected: Vec<u64> = (stay..=6).collect();
        until("what the bounds do not allow is deleted", || {
            on_disk(path, "a") == expected
        });
    }
}

#[test]
fn what_is_set_aside_goes_when_it_is_too_old_or_its_topic_is_cleared() {
    let aged = |age: u64| Bounds {
        age: Some(Duration::from_millis(age)),
        ..WIDE
    };
    for is_cleared in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        filled(path);
        amend(path, &flip("6"));
        let store = begin(path, 0, T);
        let news = News::new();
        let mut history = open(&store, "a", &news);
        assert!(read(&store, &news, &mut *history, 0).is_empty());
        calm(&store, &news, &mut *history, T);
        tidied(path, &store, &news, 30);
        assert_eq!(on_disk(path, "a"), [1, 2, 3, 4, 5, 6]);
        if is_cleared {
            history.clear().unwrap();
        } else {
            history.rebound(terms(aged(10), Durability::Synced), Timestamp(T.0 + 11));
        }
        until("all of it is deleted", || on_disk(path, "a").is_empty());
    }
}

#[test]
fn of_a_record_that_says_another_offset_only_that_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    for (name, offset) in [("a", "offset + 4096"), ("b", "offset + 1")] {
        let id = if name == "b" { 1 } else { 2 };
        let change =
            format!("UPDATE message SET offset = {offset} WHERE topic = {id} AND offset = 3");
        amend(directory.path(), &change);
    }
    let store = begin(directory.path(), 0, T);
    let news = News::new();
    for name in ["a", "b"] {
        let mut history = open(&store, name, &news);
        assert_eq!(read(&store, &news, &mut *history, 0), [4, 5, 6], "{name}");
    }
}

#[test]
fn a_reading_in_pieces_goes_on_after_what_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    amend(directory.path(), &flip("4"));
    let store = begin(directory.path(), 0, T);
    let news = News::new();
    let mut history = open(&store, "a", &news);
    let two = Limit {
        messages: 2,
        bytes: usize::MAX,
    };
    let mut pieces = Vec::new();
    let mut after = 0;
    while after < 6 {
        let piece = read_within(&store, &news, &mut *history, (after, two));
        after = *piece.last().unwrap();
        pieces.push(piece);
    }
    assert_eq!(pieces, [vec![1, 2], vec![5, 6]]);
    // Those that were read before are set aside with it.
    assert_eq!(store.shared.figures.all_damaged(), 4);
}

#[test]
fn a_damaged_newest_message_leaves_nothing_and_its_offset_is_not_given_again() {
    let directory = tempfile::tempdir().unwrap();
    let newest = filled(directory.path());
    amend(directory.path(), &flip("6"));
    let store = begin(directory.path(), 0, T);
    let news = News::new();
    let mut history = open(&store, "a", &news);
    assert!(read(&store, &news, &mut *history, 0).is_empty());
    calm(&store, &news, &mut *history, T);
    assert_eq!((history.oldest(), history.len()), (7, 0));
    assert!(history.recovers(newest, T));
    assert!(!history.recovers(
        Position {
            offset: 5,
            ..newest
        },
        T
    ));
    let next = history
        .append(message("a", 1), Retain::Leave.into(), T)
        .unwrap();
    assert_eq!(
        next.message.position,
        Some(Position {
            offset: 7,
            ..newest
        })
    );
    calm(&store, &news, &mut *history, T);
    assert_eq!(read(&store, &news, &mut *history, 6), [7]);
}

#[test]
fn a_message_that_is_missing_is_damage_too() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    amend(
        directory.path(),
        "DELETE FROM message WHERE offset = 2; DELETE FROM place WHERE offset = 4",
    );
    let store = begin(directory.path(), 0, T);
    let news = News::new();
    for name in ["a", "b"] {
        let mut history = open(&store, name, &news);
        assert_eq!(read(&store, &news, &mut *history, 0), [5, 6]);
    }
    assert_eq!(store.shared.figures.all_damaged(), 8);
}

#[test]
fn a_damaged_topic_begins_anew_and_the_others_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let newest = filled(directory.path());
    amend(
        directory.path(),
        "UPDATE topic SET body = zeroblob(length(body)) WHERE id = (SELECT max(id) FROM topic);
         UPDATE retained SET body = zeroblob(9) WHERE topic = (SELECT min(id) FROM topic)",
    );
    let store = begin(directory.path(), 0, Timestamp(T.0 + 50));
    assert_eq!(store.shared.figures.all_damaged(), 2);
    let news = News::new();
    let mut other = open(&store, "b", &news);
    assert_eq!(read(&store, &news, &mut *other, 0), [1, 2, 3, 4, 5, 6]);
    assert!(other.retained().is_none());
    let history = open(&store, "a", &news);
    assert_ne!(history.epoch(), newest.epoch);
    assert_eq!(history.newest(), 0);
    assert!(!history.holds_since(T, T));
    let all = Filter::new("#").unwrap();
    assert!(!store.remembers(&all, T, Durability::Synced));
    drop((other, history, store));
    let store = begin(directory.path(), 0, Timestamp(T.0 + 50));
    assert_eq!(store.shared.figures.all_damaged(), 0, "once is enough");
    // Nobody knows any more whose they were; that is no reason to delete them.
    tidied(directory.path(), &store, &news, 30);
    assert_eq!(on_disk(directory.path(), "a"), [1, 2, 3, 4, 5, 6]);
}

/// A store that was killed with something in its log.
fn killed_while_open(change: impl FnOnce(&mut Vec<u8>)) -> (TempDir, Position) {
    let directory = tempfile::tempdir().unwrap();
    let newest = filled(directory.path());
    let store = begin(directory.path(), usize::MAX, T);
    let news = News::new();
    let mut history = open(&store, "a", &news);
    let mut last = newest;
    for _ in 0..5 {
        let appended = history.append(message("a", 100), Retain::Leave.into(), T);
        last = appended.unwrap().message.position.unwrap();
        calm(&store, &news, &mut *history, T);
    }
    let copy = tempfile::tempdir().unwrap();
    copy_killed(directory.path(), copy.path());
    let log = schema::log(&schema::file(&settings(copy.path(), 0).directory));
    let mut bytes = fs::read(&log).unwrap();
    assert!(bytes.len() > 4 * 4096, "{}", bytes.len());
    change(&mut bytes);
    fs::write(&log, bytes).unwrap();
    (copy, last)
}

#[test]
fn a_torn_write_at_the_end_of_the_log_loses_nothing() {
    let (directory, newest) = killed_while_open(|log| {
        // Half a page of a commit that nobody was told of.
        let half = log[log.len() - 2000..].to_vec();
        log.extend(half);
    });
    let store = begin(directory.path(), 0, T);
    let news = News::new();
    let mut history = open(&store, "a", &news);
    assert!(history.recovers(newest, T));
    assert_eq!(read(&store, &news, &mut *history, 0).len(), 11);
    assert_eq!(store.shared.figures.all_damaged(), 0);
}

#[test]
fn a_flipped_byte_in_the_log_that_loses_commits_begins_another_epoch() {
    let (directory, newest) = killed_while_open(|log| {
        let middle = log.len() / 2;
        log[middle] ^= 1;
    });
    let store = begin(directory.path(), 0, Timestamp(T.0 + 50));
    assert!(store.shared.figures.all_damaged() > 0);
    let news = News::new();
    for name in ["a", "b"] {
        let mut history = open(&store, name, &news);
        assert!(!history.recovers(newest, T));
        assert!(!history.holds_since(T, T));
        let read = read(&store, &news, &mut *history, 0);
        assert!(read.starts_with(&[1, 2, 3, 4, 5, 6]), "{read:?}");
    }
}
