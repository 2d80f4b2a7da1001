//! Bytes on the disk that are not what was written there.

use std::fs;
use std::path::Path;

use super::*;
use crate::history::contract::{ALL, WIDE, message, offsets, topic};
use crate::history::{Answer, Limit, Retain};
use crate::model::Position;

const T: Timestamp = Timestamp(1_000_000);

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

fn open(store: &DiskStore, name: &str, news: &Arc<News>) -> Box<dyn History> {
    let terms = terms(WIDE, Durability::Synced);
    store.open(&topic(name), terms, news).unwrap()
}

fn read(store: &DiskStore, news: &News, history: &mut dyn History, after: u64) -> Vec<u64> {
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
}

/// Copies the directory of a store that is open, as a kill would leave it.
fn killed(from: &Path, to: &Path) {
    let (from, to) = (settings(from, 0).directory, settings(to, 0).directory);
    fs::create_dir_all(&to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let name = file.file_name();
        if name != "lock" && name != "store.db-shm" {
            fs::copy(file.path(), to.join(name)).unwrap();
        }
    }
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
    killed(directory.path(), copy.path());
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

#[test]
fn of_a_file_that_was_cut_off_what_is_whole_is_served() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = begin(directory.path(), usize::MAX, T);
        let news = News::new();
        for n in 0..40 {
            let mut history = open(&store, &format!("t/{n}"), &news);
            for _ in 0..10 {
                let given = message("t", 900);
                history.append(given, Retain::Leave.into(), T).unwrap();
            }
        }
        store.quiet();
    }
    let file = schema::file(&settings(directory.path(), 0).directory);
    let len = fs::metadata(&file).unwrap().len();
    let opened = fs::OpenOptions::new().write(true).open(&file).unwrap();
    opened.set_len(len / 2 / 4096 * 4096).unwrap();
    drop(opened);
    let store = begin(directory.path(), 0, Timestamp(T.0 + 50));
    assert!(store.shared.figures.all_damaged() > 0);
    assert!(store.fault().is_none());
    let left = store.topics();
    assert!(!left.is_empty() && left.len() < 40, "{}", left.len());
    let news = News::new();
    let mut history = store
        .open(&left[0].topic, terms(WIDE, Durability::Synced), &news)
        .unwrap();
    let held: Vec<u64> = (history.oldest()..=history.newest()).collect();
    assert_eq!(read(&store, &news, &mut *history, 0), held);
    history
        .append(message("t", 1), Retain::Leave.into(), T)
        .unwrap();
    calm(&store, &news, &mut *history, T);
    let kept = fs::read_dir(settings(directory.path(), 0).directory).unwrap();
    let kept = kept.filter(|file| {
        let name = file.as_ref().unwrap().file_name();
        name.to_string_lossy().contains(".damaged-")
    });
    assert_eq!(kept.count(), 1, "the old file is kept");
}

/// Makes a page of the table of places unreadable, not the last one.
fn wipe_a_page_of_places(directory: &Path) {
    const INDEX_LEAF: u8 = 0x0a;
    let file = schema::file(&settings(directory, 0).directory);
    let mut bytes = fs::read(&file).unwrap();
    let pages = bytes.chunks_exact_mut(4096);
    let mut leaves: Vec<_> = pages
        .filter(|page| page[0] == INDEX_LEAF && u16::from_be_bytes([page[3], page[4]]) > 50)
        .collect();
    assert!(leaves.len() > 3, "{}", leaves.len());
    leaves[1].fill(0xee);
    fs::write(&file, bytes).unwrap();
}

#[test]
fn topics_whose_pages_are_damaged_begin_anew_and_do_not_stop_the_others() {
    const TOPICS: usize = 100;
    let directory = tempfile::tempdir().unwrap();
    let names: Vec<_> = (0..TOPICS).map(|n| format!("t/{n:03}")).collect();
    let mut epochs = Vec::new();
    {
        let store = begin(directory.path(), usize::MAX, T);
        let news = News::new();
        for name in &names {
            let mut history = open(&store, name, &news);
            for n in 0..20 {
                let retain = if n == 0 { Retain::Set } else { Retain::Leave };
                history.append(message(name, 1), retain.into(), T).unwrap();
            }
            epochs.push(history.epoch());
        }
        store.quiet();
    }
    wipe_a_page_of_places(directory.path());
    let store = begin(directory.path(), 0, T);
    let news = News::new();
    let mut histories: Vec<_> = names.iter().map(|name| open(&store, name, &news)).collect();
    let mut renewed = 0;
    for round in 0..4 {
        for (history, name) in histories.iter_mut().zip(&names) {
            history
                .append(message(name, 1), Retain::Leave.into(), T)
                .unwrap();
        }
        // Where it failed, it was the round's last.
        loop {
            store.quiet();
            let told = news.take();
            if told.is_empty() {
                break;
            }
            for told in told {
                match told {
                    Told::Settled(ticket) => histories.iter_mut().for_each(|h| h.settle(ticket)),
                    Told::Failed { .. } => histories.iter_mut().for_each(|h| h.take_back()),
                    Told::Found { .. } => {}
                }
            }
        }
        renewed = histories
            .iter()
            .zip(&epochs)
            .filter(|(h, e)| h.epoch() != **e)
            .count();
        assert!(store.fault().is_none(), "{round}");
    }
    until("damaged topics are set aside", || {
        store.shared.figures.all_damaged() > 0
    });
    assert!(renewed < TOPICS / 2, "{renewed}");
    let mut whole = 0;
    for ((history, name), epoch) in histories.iter_mut().zip(&names).zip(&epochs) {
        assert!(history.retained().is_some(), "{name}");
        if history.epoch() == *epoch && history.oldest() == 1 {
            history
                .append(message(name, 1), Retain::Leave.into(), T)
                .unwrap();
            calm(&store, &news, &mut **history, T);
            let newest = history.newest();
            if history.epoch() != *epoch {
                continue;
            }
            let held = read(&store, &news, &mut **history, 0);
            whole += usize::from(held == (1..=newest).collect::<Vec<_>>());
        }
    }
    assert!(whole > TOPICS / 2, "{whole}");
}
