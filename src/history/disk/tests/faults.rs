//! A disk that is full, has a fault, or is slow.

use rusqlite::ffi::{SQLITE_FULL, SQLITE_IOERR_FSYNC};

use super::*;
use crate::history::contract::{ALL, WIDE, message, offsets, topic};
use crate::history::{Answer, Appended, Beside, Completion, Once, Retain};
use crate::model::Position;

const T: Timestamp = Timestamp(1_000_000);

/// A store, and a topic.
struct Scene {
    history: Box<dyn History>,
    news: Arc<News>,
    store: DiskStore,
    directory: TempDir,
}

impl Scene {
    fn new(durability: Durability) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = begin(directory.path(), usize::MAX, T);
        let news = News::new();
        let terms = terms(WIDE, durability);
        let history = store.open(&topic("t"), terms, &news).unwrap();
        Self {
            history,
            news,
            store,
            directory,
        }
    }

    fn append(&mut self, beside: impl Into<Beside>) -> Result<Appended, HistoryError> {
        self.history.append(message("t", 100), beside.into(), T)
    }

    /// Heeds all that is told until the store is at rest; whether it said that it failed.
    fn calm(&mut self) -> bool {
        let mut has_failed = false;
        loop {
            self.store.quiet();
            let told = self.news.take();
            if told.is_empty() {
                return has_failed;
            }
            for told in told {
                has_failed |= matches!(told, Told::Failed { .. });
                heed(&mut *self.history, told, T);
            }
        }
    }

    /// Every commit fails with that `code` from now on, the first of them once `does` is through.
    fn fail(&mut self, code: i32, does: impl FnOnce(&mut Self)) {
        let shared = Arc::clone(&self.store.shared);
        let mut fails = shared.trouble.fails.lock().unwrap();
        *fails = Some(code);
        does(self);
    }

    fn mended(&self) {
        *self.store.shared.trouble.fails.lock().unwrap() = None;
        until("the store works again", || self.store.fault().is_none());
    }

    fn read(&mut self) -> Vec<u64> {
        match self.history.read(0, ALL, T) {
            Answer::Now(messages) => offsets(&messages),
            Answer::Later(_) => panic!("all of it is in memory"),
        }
    }
}

#[test]
fn what_a_failing_disk_refuses_was_never_there() {
    for durability in [Durability::Written, Durability::Synced] {
        let mut scene = Scene::new(durability);
        let first = scene.append(Retain::Set).unwrap();
        assert!(!scene.calm());
        scene.fail(SQLITE_IOERR_FSYNC, |scene| {
            for retain in [Retain::Set, Retain::Clear, Retain::Leave] {
                scene.append(retain).unwrap();
            }
            assert_eq!((scene.history.newest(), scene.history.settled()), (4, 1));
            assert_eq!(scene.read(), [1], "only what is settled is shown");
        });
        assert!(scene.calm());
        assert_eq!((scene.history.newest(), scene.history.settled()), (1, 1));
        assert_eq!(scene.read(), [1]);
        assert_eq!(scene.history.len(), 1);
        let kept = scene.history.retained().unwrap();
        assert_eq!(kept.position, first.message.position);
        let fault = scene.store.fault().unwrap();
        assert!(fault.contains("disk has a fault"), "{fault}");
        let refused = scene.append(Retain::Leave).unwrap_err();
        assert!(
            matches!(refused, HistoryError::Unavailable(_)),
            "{refused:?}"
        );
        assert_eq!(scene.history.newest(), 1);
        scene.mended();
        let next = scene.append(Retain::Leave).unwrap();
        assert_eq!(next.offset(), 2);
        assert!(!scene.calm());
        assert_eq!(scene.read(), [1, 2]);

        // What was refused is not there after a restart either.
        let Scene {
            store,
            directory,
            news,
            history,
        } = scene;
        drop((history, store));
        let store = begin(directory.path(), usize::MAX, T);
        let again = store
            .open(&topic("t"), terms(WIDE, durability), &news)
            .unwrap();
        assert_eq!((again.newest(), again.len()), (2, 2));
        assert_eq!(again.retained().unwrap().position, first.message.position);
    }
}

#[test]
fn a_clear_that_fails_leaves_the_life_before_it() {
    let mut scene = Scene::new(Durability::Written);
    scene.append(Retain::Set).unwrap();
    scene.calm();
    let epoch = scene.history.epoch();
    scene.fail(SQLITE_FULL, |scene| {
        let completion = scene.history.clear().unwrap();
        assert!(matches!(completion, Completion::Later(_)));
        scene.append(Retain::Leave).unwrap();
        assert_ne!(scene.history.epoch(), epoch);
        assert_eq!((scene.history.newest(), scene.history.settled()), (1, 0));
    });
    assert!(scene.calm());
    assert_eq!((scene.history.epoch(), scene.history.newest()), (epoch, 1));
    assert!(scene.history.retained().is_some());
    let cursor = Position { epoch, offset: 0 };
    assert!(scene.history.recovers(cursor, T));
    scene.mended();
    scene.append(Retain::Leave).unwrap();
    scene.calm();
    assert_eq!(scene.history.settled(), 2);
}

#[test]
fn a_full_disk_refuses_until_there_is_room_and_loses_nothing() {
    let mut scene = Scene::new(Durability::Written);
    let mut acknowledged = 0;
    let limit = |pages: &str| {
        let statement = format!("PRAGMA max_page_count = {pages}");
        *scene.store.shared.trouble.does.lock().unwrap() = Some(statement);
    };
    limit("60");
    let mut has_failed = false;
    for _ in 0..2000 {
        match scene.append(Retain::Leave) {
            Ok(appended) => {
                has_failed |= scene.calm();
                if scene.history.settled() >= appended.offset() {
                    acknowledged = appended.offset();
                }
            }
            Err(_) => break,
        }
    }
    assert!(has_failed && acknowledged > 10, "{acknowledged}");
    let fault = scene.store.fault().unwrap();
    assert!(fault.contains("the disk is full"), "{fault}");
    assert_eq!(scene.history.newest(), acknowledged);
    // Topics that go with the process do not mind.
    let live = terms(WIDE, Durability::Memory);
    let mut live = scene.store.open(&topic("live"), live, &scene.news).unwrap();
    live.append(message("live", 1), Retain::Leave.into(), T)
        .unwrap();
    let whole: Vec<u64> = (1..=acknowledged).collect();
    assert_eq!(scene.read(), whole);
    *scene.store.shared.trouble.does.lock().unwrap() =
        Some("PRAGMA max_page_count = 1000000".to_owned());
    scene.mended();
    assert_eq!(
        scene.append(Retain::Leave).unwrap().offset(),
        acknowledged + 1
    );
    assert!(!scene.calm());
}

#[test]
fn of_two_homes_both_are_told_and_neither_keeps_what_it_gave_before() {
    let mut scene = Scene::new(Durability::Synced);
    let other_news = News::new();
    let opened = scene
        .store
        .open(&topic("u"), terms(WIDE, Durability::Written), &other_news);
    let mut other = opened.unwrap();
    scene.fail(SQLITE_FULL, |scene| {
        scene.append(Retain::Leave).unwrap();
    });
    assert!(scene.calm());
    scene.mended();
    // It has not heard yet that it failed: what it gives stands on what is gone.
    let given = other
        .append(message("u", 1), Retain::Leave.into(), T)
        .unwrap();
    assert_eq!(given.offset(), 1);
    scene.store.quiet();
    let told = other_news.take();
    assert!(matches!(told[..], [Told::Failed { .. }]), "{told:?}");
    other.take_back();
    assert_eq!((other.newest(), other.settled()), (0, 0));
    let given = other
        .append(message("u", 1), Retain::Leave.into(), T)
        .unwrap();
    scene.store.quiet();
    let told = other_news.take();
    let Completion::Later(ticket) = given.completion else {
        panic!()
    };
    assert!(
        matches!(told[..], [Told::Settled(upto)] if upto == ticket),
        "{told:?}"
    );
}

#[test]
fn what_does_not_fit_into_the_queue_is_refused_and_uses_no_offset() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings {
        queue: 4000,
        ..settings(directory.path(), usize::MAX)
    };
    let store = DiskStore::begin(&settings, epochs, T).unwrap();
    let news = News::new();
    let opened = store.open(&topic("t"), terms(WIDE, Durability::Written), &news);
    let mut history = opened.unwrap();
    // Until then nothing is written.
    let busy = Connection::open(&store.shared.file).unwrap();
    busy.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut taken = 0;
    let refused = loop {
        let once = Some(Once {
            name: [1; 32],
            body: [2; 32],
        });
        let beside = Beside {
            retain: Retain::Set,
            once,
        };
        match history.append(message("t", 100), beside, T) {
            Ok(appended) => taken = appended.offset(),
            Err(error) => break error,
        }
    };
    assert!(refused.is_passing() && taken > 2, "{refused:?} {taken}");
    assert_eq!(history.newest(), taken);
    busy.execute_batch("ROLLBACK").unwrap();
    calm(&store, &news, &mut *history, T);
    assert_eq!(history.settled(), taken);
    assert_eq!(store.usage().retained, 1);
}
