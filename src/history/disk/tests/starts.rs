//! What a store finds when it begins, and what it makes of it.

use std::os::unix::fs::PermissionsExt as _;

use super::watermark::Watermark;
use super::*;
use crate::history::contract::{WIDE, message, topic};
use crate::history::{Completion, Retain};
use crate::model::Position;

const T: Timestamp = Timestamp(1_000_000);

fn refused(directory: &std::path::Path) -> StoreError {
    DiskStore::begin(&settings(directory, usize::MAX), epochs, T).unwrap_err()
}

/// Writes three messages to each of two topics, one written and one synced.
fn filled(directory: &std::path::Path) -> [Position; 2] {
    let store = begin(directory, usize::MAX, T);
    let news = News::new();
    let newest = [Durability::Written, Durability::Synced].map(|durability| {
        let name = durability.as_str();
        let mut history = store
            .open(&topic(name), terms(WIDE, durability), &news)
            .unwrap();
        for n in 0..3 {
            let now = Timestamp(T.0 + n);
            let appended = history.append(message(name, 10), Retain::Leave.into(), now);
            assert!(matches!(appended.unwrap().completion, Completion::Later(_)));
        }
        Position {
            epoch: history.epoch(),
            offset: 3,
        }
    });
    store.quiet();
    newest
}

/// Changes what the store says of itself.
fn amend(directory: &std::path::Path, statements: &str) {
    let file = schema::file(&settings(directory, 0).directory);
    Connection::open(file)
        .unwrap()
        .execute_batch(statements)
        .unwrap();
}

fn recovers(directory: &std::path::Path, newest: [Position; 2]) -> [bool; 2] {
    let store = begin(directory, usize::MAX, Timestamp(T.0 + 1000));
    let news = News::new();
    let mut newest = newest.into_iter();
    [Durability::Written, Durability::Synced].map(|durability| {
        let name = topic(durability.as_str());
        let history = store.open(&name, terms(WIDE, durability), &news).unwrap();
        assert_eq!(
            (history.newest(), history.len()),
            (3, 3),
            "it is there, in any case"
        );
        let is_known = history.recovers(newest.next().unwrap(), T);
        assert_eq!(history.holds_since(T, T), is_known);
        is_known
    })
}

#[test]
fn a_second_broker_on_the_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let first = begin(directory.path(), usize::MAX, T);
    let error = refused(directory.path()).to_string();
    let pid = std::process::id().to_string();
    assert!(error.contains(&pid) && error.contains("in use"), "{error}");
    drop(first);
    begin(directory.path(), usize::MAX, T);
}

#[test]
fn others_may_not_look_into_the_store() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    let _open = begin(directory.path(), usize::MAX, T);
    let store = settings(directory.path(), 0).directory;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&store) & 0o777, 0o700);
    let mut files = 0;
    for file in std::fs::read_dir(&store).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{path:?}");
        files += 1;
    }
    assert!(files >= 4, "file, log, lock, watermark");
}

#[test]
fn a_directory_that_cannot_be_used_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("store"), "a file").unwrap();
    let error = refused(directory.path());
    assert!(matches!(error, StoreError::Directory { .. }), "{error}");
}

#[test]
fn a_format_that_is_not_known_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let newest = filled(directory.path());
    amend(directory.path(), "PRAGMA user_version = 99");
    let error = refused(directory.path());
    assert!(
        matches!(error, StoreError::Newer { found: 99, .. }),
        "{error}"
    );
    amend(directory.path(), "PRAGMA user_version = 0");
    let error = refused(directory.path());
    assert!(
        matches!(error, StoreError::Older { found: 0, .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("fanfare store import"),
        "{error}"
    );
    amend(
        directory.path(),
        "PRAGMA user_version = 1; PRAGMA application_id = 5",
    );
    let error = refused(directory.path());
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    amend(
        directory.path(),
        &format!("PRAGMA application_id = {}", 0x4661_6e66),
    );
    assert_eq!(recovers(directory.path(), newest), [true, true]);
}

#[test]
fn after_the_machine_stopped_without_notice_what_was_only_written_begins_another_epoch() {
    let directory = tempfile::tempdir().unwrap();
    let newest = filled(directory.path());
    amend(
        directory.path(),
        "UPDATE meta SET value = 'another' WHERE key = 'boot'",
    );
    assert_eq!(
        recovers(directory.path(), newest),
        [true, true],
        "it was closed before"
    );
    let other = "UPDATE meta SET value = '0' WHERE key = 'clean';
                 UPDATE meta SET value = 'another' WHERE key = 'boot'";
    amend(
        directory.path(),
        "UPDATE meta SET value = '0' WHERE key = 'clean'",
    );
    assert_eq!(
        recovers(directory.path(), newest),
        [true, true],
        "only the process had ended"
    );
    amend(directory.path(), other);
    assert_eq!(recovers(directory.path(), newest), [false, true]);
}

#[test]
fn of_whole_topics_that_were_only_written_a_store_knows_nothing_from_before_the_machine_stopped() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    let all = Filter::new("#").unwrap();
    let remembers = |now: u64, from: u64, least| {
        let store = begin(directory.path(), usize::MAX, Timestamp(now));
        store.remembers(&all, Timestamp(from), least)
    };
    let before = T.0 + 1;
    assert!(remembers(before, T.0, Durability::Written));
    amend(
        directory.path(),
        "UPDATE meta SET value = '0' WHERE key = 'clean';
         UPDATE meta SET value = 'another' WHERE key = 'boot'",
    );
    let stopped = T.0 + 10;
    assert!(!remembers(stopped, stopped - 1, Durability::Written));
    // The start after that knows it still.
    for (from, least, knows) in [
        (stopped - 1, Durability::Written, false),
        (stopped, Durability::Written, true),
        (T.0, Durability::Synced, true),
    ] {
        assert_eq!(
            remembers(stopped + 1, from, least),
            knows,
            "{from} {least:?}"
        );
    }
    let store = begin(directory.path(), usize::MAX, Timestamp(stopped + 2));
    let news = News::new();
    for (durability, whole) in [(Durability::Written, false), (Durability::Synced, true)] {
        let name = topic(&format!("born/{}", durability.as_str()));
        let opened = store.open(&name, terms(WIDE, durability), &news);
        let born = opened.unwrap();
        let holds = |from| born.holds_since(Timestamp(from), Timestamp(stopped + 2));
        assert_eq!(holds(stopped - 1), whole, "{durability:?}");
        assert!(holds(stopped));
    }
}

#[test]
fn messages_that_are_missing_at_the_end_are_missed() {
    let directory = tempfile::tempdir().unwrap();
    let newest = filled(directory.path());
    amend(
        directory.path(),
        "UPDATE meta SET value = '0' WHERE key IN ('clean', 'last', 'placed');
         DELETE FROM message WHERE seq = (SELECT max(seq) FROM message);",
    );
    let store = begin(directory.path(), usize::MAX, Timestamp(T.0 + 1000));
    assert_eq!(store.shared.figures.all_damaged(), 1);
    let news = News::new();
    for (position, durability) in newest
        .into_iter()
        .zip([Durability::Written, Durability::Synced])
    {
        let name = topic(durability.as_str());
        let history = store.open(&name, terms(WIDE, durability), &news).unwrap();
        assert!(!history.recovers(position, T));
    }
    let all = Filter::new("#").unwrap();
    assert!(!store.remembers(&all, T, Durability::Synced));
    assert!(store.remembers(&all, Timestamp(T.0 + 1000), Durability::Synced));
}

/// What [`filled`] wrote, after the power went: three more that were only written are gone, and the
/// watermark, which is never synced, tells of them.
fn power_cut(directory: &std::path::Path) {
    amend(
        directory,
        "UPDATE meta SET value = 'another' WHERE key = 'boot'",
    );
    let mut watermark = Watermark::open(&settings(directory, 0).directory).unwrap();
    watermark.rise(6, true);
    watermark.rise(9, false);
}

#[test]
fn what_a_power_cut_took_is_not_missed_again_after_a_start_that_wrote_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let newest = filled(directory.path());
    power_cut(directory.path());
    amend(
        directory.path(),
        "UPDATE meta SET value = '0' WHERE key = 'clean'",
    );
    let killed = tempfile::tempdir().unwrap();
    let epoch = |store: &DiskStore, durability: Durability| {
        let entry = store.shared.catalog.get(&topic(durability.as_str()));
        entry.unwrap().lock().committed.epoch
    };
    let first = begin(directory.path(), usize::MAX, T);
    let written = epoch(&first, Durability::Written);
    assert_ne!(written, newest[0].epoch, "the newest may be gone");
    assert_eq!(epoch(&first, Durability::Synced), newest[1].epoch);
    copy_killed(directory.path(), killed.path());
    let second = begin(killed.path(), usize::MAX, T);
    assert_eq!(second.shared.figures.all_damaged(), 0);
    assert_eq!(epoch(&second, Durability::Written), written);
    assert_eq!(epoch(&second, Durability::Synced), newest[1].epoch);
}

#[test]
fn a_store_that_was_closed_misses_nothing_that_an_older_watermark_tells_of() {
    let directory = tempfile::tempdir().unwrap();
    let newest = filled(directory.path());
    power_cut(directory.path());
    assert_eq!(recovers(directory.path(), newest), [true, true]);
}
