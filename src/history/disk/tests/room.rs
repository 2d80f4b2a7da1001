//! Room that messages leave, given back while the store is at work; and a copy made of it then.

use super::super::tools::{Source, backup, check};
use super::*;
use crate::history::contract::{WIDE, message, topic};
use crate::history::{Retain, Terms};

const T: Timestamp = Timestamp(1_000_000);

fn open(store: &DiskStore, name: &str, news: &Arc<News>) -> Box<dyn History> {
    let terms = terms(WIDE, Durability::Synced);
    store.open(&topic(name), terms, news).unwrap()
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
    let bounds = Bounds {
        messages: 10,
        ..WIDE
    };
    let terms = Terms {
        bounds,
        durability: Durability::Synced,
    };
    history.rebound(terms, T);
    // By itself, a little at a time.
    until("it shrinks", || size() < 300_000);
    drop((history, store));
    let store = begin(directory.path(), 0, T);
    assert_eq!(open(&store, "t", &news).len(), 10);
}

#[test]
fn a_backup_is_one_moment_of_a_store_at_work() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |directory: &TempDir| settings(directory.path(), 0).directory;
    let store = begin(from.path(), usize::MAX, T);
    let news = News::new();
    let mut history = open(&store, "t", &news);
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let mut appended = 0;
    std::thread::scope(|scope| {
        let copying = scope.spawn(|| {
            let source = Source::open(&at(&from), "a test").unwrap();
            let done = backup(&source, &at(&to), None).unwrap();
            is_done.store(true, Ordering::Release);
            done
        });
        while !is_done.load(Ordering::Acquire) || appended < 100 {
            assert!(!copying.is_finished() || is_done.load(Ordering::Acquire));
            history
                .append(message("t", 300), Retain::Leave.into(), T)
                .unwrap();
            appended += 1;
            calm(&store, &news, &mut *history, T);
        }
        assert!(copying.join().unwrap().is_renewed);
    });
    assert_eq!(history.settled(), appended);
    let source = Source::open(&at(&to), "a test").unwrap();
    let whole = check(&source, &mut |damage| panic!("{damage}")).unwrap();
    drop(source);
    let copy = begin(to.path(), 0, T);
    let copied = open(&copy, "t", &news);
    assert!(copied.newest() <= appended);
    assert_eq!((copied.newest(), copied.oldest()), (whole.messages, 1));
    assert_ne!(
        copied.epoch(),
        history.epoch(),
        "more was published after it"
    );
}
