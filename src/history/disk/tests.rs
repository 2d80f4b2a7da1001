//! The store on the disk against the contract, and what is true of it alone.

mod damage;
mod faults;
mod long;
mod pages;
mod restarts;
mod room;
mod starts;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::history::contract::{Subject, heed, history_contract};
use crate::history::{Bounds, Told};

const WINDOW: Duration = Duration::from_secs(60);

/// What a test wants to go wrong.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// Every commit fails so.
    fails: Mutex<Option<i32>>,
    /// Done once, by the connection that writes.
    does: Mutex<Option<String>>,
}

impl Trouble {
    pub(super) fn befall(&self, conn: &Connection) -> rusqlite::Result<()> {
        if let Some(statements) = self.does.lock().unwrap().take() {
            conn.execute_batch(&statements)?;
        }
        match *self.fails.lock().unwrap() {
            Some(code) => {
                let error = rusqlite::ffi::Error::new(code);
                Err(rusqlite::Error::SqliteFailure(error, None))
            }
            None => Ok(()),
        }
    }
}

/// Wakes a thread that waits for news.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// What is told next; waits for it.
fn hear(news: &News) -> Vec<Told> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let begun = Instant::now();
    loop {
        news.watch(&waker);
        let told = news.take();
        if !told.is_empty() {
            return told;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing is told");
        std::thread::park_timeout(Duration::from_secs(1));
    }
}

/// Waits until that is true.
fn until(what: &str, is_true: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Every epoch is another, in the whole process.
fn epochs() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn settings(directory: &std::path::Path, memory: usize) -> Settings {
    Settings {
        directory: directory.join("store"),
        memory,
        queue: 64 * 1024 * 1024,
        window: WINDOW,
        most_once: 1000,
        metrics: None,
    }
}

fn begin(directory: &std::path::Path, memory: usize, now: Timestamp) -> DiskStore {
    DiskStore::begin(&settings(directory, memory), epochs, now).unwrap()
}

impl DiskStore {
    /// Waits until nothing waits for the disk.
    fn quiet(&self) {
        until("the store comes to rest", || {
            self.shared.queue.bytes() == 0 && self.shared.lookups.is_idle()
        });
    }
}

/// A store in a directory of its own, and one home.
struct Disk<const SYNCED: bool, const MEMORY: usize> {
    store: DiskStore,
    news: Arc<News>,
    _directory: TempDir,
}

impl<const SYNCED: bool, const MEMORY: usize> Subject for Disk<SYNCED, MEMORY> {
    fn begin(now: Timestamp) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            store: begin(directory.path(), MEMORY, now),
            news: News::new(),
            _directory: directory,
        }
    }

    fn store(&self) -> &dyn HistoryStore {
        &self.store
    }

    fn news(&self) -> &Arc<News> {
        &self.news
    }

    fn hear(&self) -> Vec<Told> {
        hear(&self.news)
    }

    fn durability(&self) -> Durability {
        if SYNCED {
            Durability::Synced
        } else {
            Durability::Written
        }
    }

    fn calm(&self, history: &mut dyn History, now: Timestamp) {
        calm(&self.store, &self.news, history, now);
    }
}

/// Tells the history all that there is to tell.
fn calm(store: &DiskStore, news: &News, history: &mut dyn History, now: Timestamp) {
    loop {
        store.quiet();
        let told = news.take();
        if told.is_empty() {
            return;
        }
        for told in told {
            heed(history, told, now);
        }
    }
}

/// Copies the directory of a store that is open, as a kill would leave it.
fn copy_killed(from: &std::path::Path, to: &std::path::Path) {
    let (from, to) = (settings(from, 0).directory, settings(to, 0).directory);
    std::fs::create_dir_all(&to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let name = file.file_name();
        if name != "lock" && name != "store.db-shm" {
            std::fs::copy(file.path(), to.join(name)).unwrap();
        }
    }
}

fn terms(bounds: Bounds, durability: Durability) -> Terms {
    Terms { bounds, durability }
}

mod written {
    use super::*;
    history_contract!(Disk<false, { usize::MAX }>);
}

mod written_with_hardly_any_memory {
    use super::*;
    history_contract!(Disk<false, 2000>);
}

mod synced {
    use super::*;
    history_contract!(Disk<true, { usize::MAX }>);
}

mod synced_with_hardly_any_memory {
    use super::*;
    history_contract!(Disk<true, 2000>);
}
