//! What is done with a store by commands.

use std::path::Path;

use super::super::tools::{Counts, ToolError, backup, check, compact, export, import};
use super::*;
use crate::history::contract::{ALL, WIDE, message, topic};
use crate::history::{Answer, Beside, Once, Retain};
use crate::model::{Message, Payload, SessionId};

const T: Timestamp = Timestamp(1_000_000);

fn open(store: &DiskStore, name: &str, news: &Arc<News>) -> Box<dyn History> {
    let terms = terms(WIDE, Durability::Synced);
    store.open(&topic(name), terms, news).unwrap()
}

fn given(name: &str) -> Vec<Message> {
    let mut all: Vec<_> = (0..4).map(|n| message(name, n * 100)).collect();
    all[1].payload = Payload::json(br#"{"a":[1.50,"\u00e9",null]}"#).unwrap();
    all[1].user = Some("ann".into());
    all[2].payload = Payload::text("line\nline \u{1f600}");
    all[2].key = Some("k".into());
    all[3].publisher = Some(SessionId(7));
    all[0].payload = Payload::json_with_bytes(r#"{"b":"AAEC"}"#.to_owned(), vec![5]);
    all
}

fn fill(store: &DiskStore, names: &[&str]) {
    let news = News::new();
    for name in names {
        let mut history = open(store, name, &news);
        for (n, given) in given(name).into_iter().enumerate() {
            let once = Some(Once {
                name: [n as u8; 32],
                body: [9; 32],
            });
            let retain = if n == 2 { Retain::Set } else { Retain::Leave };
            let now = Timestamp(T.0 + n as u64);
            history.append(given, Beside { retain, once }, now).unwrap();
        }
    }
    store.quiet();
}

fn read(store: &DiskStore, name: &str) -> Vec<Arc<Message>> {
    let news = News::new();
    let mut history = open(store, name, &news);
    match history.read(0, ALL, T) {
        Answer::Now(messages) => messages,
        Answer::Later(_) => {
            store.quiet();
            let told = news.take();
            told.into_iter()
                .flat_map(|told| heed(&mut *history, told, T))
                .collect()
        }
    }
}

fn at(directory: &Path) -> PathBuf {
    settings(directory, 0).directory
}

fn assert_alike(read: &[Arc<Message>], name: &str) {
    let given = given(name);
    assert_eq!(read.len(), given.len());
    for (n, (read, given)) in read.iter().zip(given).enumerate() {
        assert_eq!(read.payload, given.payload);
        assert_eq!((&read.user, &read.key), (&given.user, &given.key));
        assert_eq!(read.publisher, given.publisher);
        assert_eq!(read.time, Timestamp(T.0 + n as u64));
        assert_eq!(read.position.unwrap().offset, n as u64 + 1);
    }
}

#[test]
fn what_is_exported_is_the_same_when_it_is_imported() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = begin(from.path(), usize::MAX, T);
    fill(&store, &["a", "b/c"]);
    let in_use = export(&at(from.path()), &mut Vec::new(), epochs);
    assert!(matches!(
        in_use,
        Err(ToolError::Store(StoreError::Locked { .. }))
    ));
    drop(store);
    let mut lines = Vec::new();
    let exported = export(&at(from.path()), &mut lines, epochs).unwrap();
    let all = Counts {
        topics: 2,
        messages: 8,
        retained: 2,
        once: 8,
    };
    assert_eq!(exported, all);
    let text = std::str::from_utf8(&lines).unwrap();
    assert_eq!(text.lines().count(), 1 + 2 + 8 + 2 + 8);
    assert!(
        text.contains(r#""data":{"a":[1.50,"\u00e9",null]}"#),
        "{text}"
    );
    let imported = import(&at(to.path()), &mut &lines[..], epochs).unwrap();
    assert_eq!(imported, all);
    let again = import(&at(to.path()), &mut &lines[..], epochs);
    assert!(matches!(again, Err(ToolError::Occupied(_))));

    let store = begin(to.path(), usize::MAX, Timestamp(T.0 + 100));
    for name in ["a", "b/c"] {
        assert_alike(&read(&store, name), name);
        let news = News::new();
        let kept = open(&store, name, &news).retained().unwrap();
        assert_eq!(kept.payload, given(name)[2].payload);
        assert_eq!(kept.position.unwrap().offset, 3);
    }
    assert_eq!(store.once().len(), 8);
    assert_eq!(store.shared.figures.all_damaged(), 0);
    fill(&store, &["a"]);
    drop(store);
    let mut again = Vec::new();
    let exported = export(&at(to.path()), &mut again, epochs).unwrap();
    assert_eq!((exported.messages, exported.once), (12, 12));
}

#[test]
fn a_line_that_is_none_is_named_and_nothing_is_left() {
    let format = r#"{"format":{"name":"fanfare.store","version":1}}"#;
    let topic = r#"{"topic":{"name":"t","durability":"synced","newest":9,"time":5}}"#;
    let second =
        r#"{"message":{"position":{"epoch":"e","offset":2},"time":5,"kind":"text","data":"x"}}"#;
    for (lines, line, reason) in [
        (vec!["{}"], 1, ""),
        (vec![topic], 1, "a format"),
        (vec![format, "nonsense"], 2, ""),
        (vec![format, second], 2, "a topic comes before"),
        (vec![format, topic, second, second], 4, "rise by one"),
        (vec![format, &topic[..40]], 2, ""),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let text = lines.join("\n");
        let error = import(&at(directory.path()), &mut text.as_bytes(), epochs).unwrap_err();
        let ToolError::Line { line: found, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(found, line, "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(std::fs::read_dir(at(directory.path())).unwrap().count(), 0);
    }
}

#[test]
fn a_backup_is_one_moment_of_a_store_at_work() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = begin(from.path(), usize::MAX, T);
    let news = News::new();
    let mut history = open(&store, "t", &news);
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let mut appended = 0;
    std::thread::scope(|scope| {
        let copying = scope.spawn(|| {
            let bytes = backup(&at(from.path()), &at(to.path())).unwrap();
            is_done.store(true, Ordering::Release);
            bytes
        });
        while !is_done.load(Ordering::Acquire) || appended < 100 {
            history
                .append(message("t", 300), Retain::Leave.into(), T)
                .unwrap();
            appended += 1;
            calm(&store, &news, &mut *history, T);
        }
        assert!(copying.join().unwrap() > 0);
    });
    assert_eq!(history.settled(), appended);
    let copy = begin(to.path(), 0, T);
    let held: Vec<_> = read(&copy, "t")
        .iter()
        .map(|m| m.position.unwrap())
        .collect();
    assert!(held.len() as u64 <= appended);
    for (n, position) in held.iter().enumerate() {
        assert_eq!(position.offset, n as u64 + 1);
        assert_ne!(
            position.epoch,
            history.epoch(),
            "more was published after it"
        );
    }
    let occupied = backup(&at(from.path()), &at(to.path()));
    assert!(matches!(occupied, Err(ToolError::Occupied(_))));
}

#[test]
fn a_check_names_what_is_damaged_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    fill(&begin(directory.path(), usize::MAX, T), &["a", "b"]);
    let mut told = Vec::new();
    let mut tell = |what: &str| told.push(what.to_owned());
    let checked = check(&at(directory.path()), &mut tell).unwrap();
    let all = Counts {
        topics: 2,
        messages: 8,
        retained: 2,
        once: 8,
    };
    assert_eq!((checked.whole, checked.damaged), (all, 0));
    let conn = Connection::open(schema::file(&at(directory.path()))).unwrap();
    conn.execute_batch(
        "UPDATE message SET body = zeroblob(20) WHERE offset = 3 AND topic = (SELECT min(id) FROM topic);
         UPDATE retained SET body = zeroblob(20) WHERE topic = (SELECT max(id) FROM topic)",
    )
    .unwrap();
    drop(conn);
    for _ in 0..2 {
        let mut told = Vec::new();
        let mut tell = |what: &str| told.push(what.to_owned());
        let checked = check(&at(directory.path()), &mut tell).unwrap();
        assert_eq!((checked.damaged, checked.whole.messages), (2, 7));
        assert_eq!(
            told,
            [
                "a: message 3 is damaged",
                "b: the retained message is damaged"
            ]
        );
    }
    assert!(told.is_empty());
    let nowhere = check(&directory.path().join("nowhere"), &mut |_| {});
    assert!(matches!(nowhere, Err(ToolError::Missing(_))));
    let mut lines = Vec::new();
    let exported = export(&at(directory.path()), &mut lines, epochs).unwrap();
    assert_eq!(
        (exported.messages, exported.retained),
        (5, 1),
        "what is whole after it"
    );
}

#[test]
fn room_that_is_free_is_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = begin(directory.path(), usize::MAX, T);
    let news = News::new();
    let mut history = open(&store, "t", &news);
    for _ in 0..2000 {
        history
            .append(message("t", 500), Retain::Leave.into(), T)
            .unwrap();
    }
    calm(&store, &news, &mut *history, T);
    let size = || std::fs::metadata(&store.shared.file).unwrap().len();
    until("it is carried over", || size() > 500_000);
    let few = Bounds {
        messages: 10,
        ..WIDE
    };
    history.rebound(terms(few, Durability::Synced), T);
    // By itself, a little at a time.
    until("it shrinks", || size() < 300_000);
    drop((history, store));
    let (before, after) = compact(&at(directory.path())).unwrap();
    assert!(after <= before && after < 150_000, "{before} {after}");
    let store = begin(directory.path(), 0, T);
    assert_eq!(read(&store, "t").len(), 10);
}
