//! Histories that outlive the process: in one SQLite file, written by one thread in groups.
//!
//! A topic's home numbers its messages and hands them over ([`DiskHistory`]); the store's thread
//! ([`writer`]) commits all that waits as one and tells the homes; other threads ([`reader`]) look up
//! what is not in memory. What is kept in memory is the newest messages of open histories and all
//! retained ones, below one ceiling, and a few words on each topic.

mod apply;
mod catalog;
mod fault;
mod figures;
mod history;
mod homes;
mod load;
mod lock;
mod lookup;
mod place;
mod queue;
mod reader;
mod recent;
mod record;
mod retained;
mod salvage;
mod schema;
mod seen;
mod standing;
mod start;
mod state;
#[cfg(test)]
mod tests;
mod tidy;
pub mod tools;
mod watermark;
mod writer;

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::ceiling::{Ceiling, Usage};
use super::memory::{Forgotten, MemoryStore, Random};
use super::slot::Slot;
use super::{History, HistoryError, HistoryStore, Left, News, Remembered, Retained, Terms};
use crate::metrics::StoreMetrics;
use crate::model::{Durability, Epoch, Filter, Timestamp, TopicName};
use catalog::{Catalog, Entry, Kept};
use fault::Fault;
use figures::Figures;
use history::DiskHistory;
use homes::Homes;
use lock::Lock;
use lookup::Lookups;
use queue::{ITEM, Item, Queue, What};
use retained::DiskRetained;
use state::State;

pub use lookup::{Edge, Since};
pub use start::StoreError;

/// Keeps histories, retained messages and what is published once only in a directory, but those of topics
/// whose durability is `memory`: they go with the process.
///
/// What is only on the disk is trimmed by age and bytes a moment late: its bounds have to be looked up.
pub struct DiskStore {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Kept until the threads have ended.
    _lock: Lock,
}

/// Where a store is, and what it may take.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its directory. It is made if it is not there.
    pub directory: PathBuf,
    /// What messages in memory may take, in bytes: the newest of histories, and all retained ones.
    pub memory: usize,
    /// What may wait for the disk, in bytes.
    pub queue: usize,
    /// How long it is remembered what was published once only.
    pub window: Duration,
    /// Of how many messages at most.
    pub most_once: usize,
    /// Where it shows what it counts.
    pub metrics: Option<StoreMetrics>,
}

/// What the histories and the threads share.
struct Shared {
    file: PathBuf,
    window: Duration,
    random: Random,
    ceiling: Arc<Ceiling>,
    memory: MemoryStore,
    catalog: Catalog,
    queue: Queue,
    homes: Homes,
    lookups: Lookups,
    fault: Fault,
    figures: Figures,
    /// What is known of messages that went with a topic as a whole.
    forgotten: Forgotten,
    /// Of whole topics that were only written and went before this time, with the machine, nothing is known.
    written_from: Timestamp,
    once: Vec<Remembered>,
    #[cfg(test)]
    trouble: tests::Trouble,
}

impl Shared {
    fn new_epoch(&self) -> Epoch {
        Epoch::from_random((self.random)())
    }

    /// Opens a topic's entry, which is made if there is none.
    fn enter(
        &self,
        topic: &TopicName,
        durability: Durability,
        news: &Arc<News>,
    ) -> Result<Arc<Entry>, HistoryError> {
        self.homes.know(news);
        let entry = self.catalog.get(topic).unwrap_or_else(|| {
            let whole_from = self.forgotten.whole_from(topic);
            // It may have been kept in memory before.
            let mut lost_before = whole_from.max(self.memory.gone_before(topic));
            if durability < Durability::Synced {
                lost_before = lost_before.max(self.written_from);
            }
            let id = self.catalog.number();
            let committed = State::new(id, self.new_epoch(), Timestamp(0), lost_before);
            let kept = Kept::new(committed, durability, Slot::new(&self.ceiling));
            self.catalog.insert(Entry::new(topic.clone(), kept))
        });
        let mut kept = entry.lock();
        if kept.in_flight > 0 {
            let reason = "what was published before is still on its way to the disk".to_owned();
            return Err(HistoryError::Unavailable(reason));
        }
        kept.is_open = true;
        drop(kept);
        self.catalog.opened(&entry);
        Ok(entry)
    }

    /// The history or retained message of that topic is open no more.
    fn close(&self, entry: &Arc<Entry>) {
        let mut kept = entry.lock();
        kept.is_open = false;
        let is_nothing = !kept.has_row && kept.in_flight == 0;
        drop(kept);
        if is_nothing {
            self.catalog.remove(entry);
        } else if let Some(other) = self.catalog.closed(entry) {
            self.forget(&other);
        }
    }

    /// Drops what the disk has of a topic that is not open.
    fn forget(&self, entry: &Arc<Entry>) {
        if self.fault.is_on() || self.queue.reserve(ITEM).is_err() {
            return;
        }
        let kept = entry.lock();
        let (state, durability) = (kept.committed, kept.durability);
        if kept.is_open || kept.in_flight > 0 {
            self.queue.release(ITEM);
            return;
        }
        drop(kept);
        self.forgotten.note(&entry.topic, state.time);
        self.catalog.remove(entry);
        let item = Item::of_the_store(entry, durability, state, What::Forget);
        self.queue.push(item);
    }

    /// The topic is kept in memory from now on.
    fn leave(&self, topic: &TopicName) {
        if let Some(entry) = self.catalog.get(topic) {
            self.forget(&entry);
        }
    }

    /// Part of a topic's history is damaged: it is named, counted, and set aside.
    fn damage(&self, topic: &TopicName, first: u64, last: u64, what: &str) {
        tracing::error!(
            %topic,
            first,
            last,
            "the store is damaged: {what}; these messages are set aside"
        );
        self.figures.damaged(last.saturating_sub(first) + 1);
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl HistoryStore for DiskStore {
    fn open(
        &self,
        topic: &TopicName,
        terms: Terms,
        news: &Arc<News>,
    ) -> Result<Box<dyn History>, HistoryError> {
        if terms.bounds.messages == 0 {
            return Err(HistoryError::NoMessages);
        }
        if terms.durability == Durability::Memory {
            self.shared.leave(topic);
            return self.shared.memory.open(topic, terms, news);
        }
        let entry = self.shared.enter(topic, terms.durability, news)?;
        let history = DiskHistory::new(&self.shared, entry, terms, news);
        Ok(Box::new(history))
    }

    fn open_retained(
        &self,
        topic: &TopicName,
        durability: Durability,
        news: &Arc<News>,
    ) -> Result<Box<dyn Retained>, HistoryError> {
        if durability == Durability::Memory {
            self.shared.leave(topic);
            return self.shared.memory.open_retained(topic, durability, news);
        }
        let entry = self.shared.enter(topic, durability, news)?;
        let retained = DiskRetained {
            shared: Arc::clone(&self.shared),
            entry,
            news: Arc::clone(news),
            durability,
            pending: VecDeque::new(),
        };
        retained.drop_history();
        Ok(Box::new(retained))
    }

    fn topics(&self) -> Vec<Left> {
        self.shared.catalog.left()
    }

    fn once(&self) -> Vec<Remembered> {
        self.shared.once.clone()
    }

    fn show(&self, metrics: &StoreMetrics) {
        let shared = &self.shared;
        let sizes = [schema::log(&shared.file), shared.file.clone()]
            .map(|file| std::fs::metadata(file).map_or(0, |found| found.len()));
        let memory = shared.ceiling.pinned();
        metrics.set_bytes(memory, shared.queue.bytes(), sizes.iter().sum());
        metrics.set_faulty(shared.fault.is_on());
    }

    fn usage(&self) -> Usage {
        let mut usage = self.shared.ceiling.usage();
        for entry in self.shared.catalog.all() {
            let state = entry.lock().committed;
            usage.messages += usize::try_from(state.len()).unwrap_or(usize::MAX);
            usage.bytes += usize::try_from(state.bytes()).unwrap_or(usize::MAX);
        }
        usage
    }

    fn fault(&self) -> Option<String> {
        self.shared.fault.words()
    }

    fn remembers(&self, filter: &Filter, from: Timestamp, least: Durability) -> bool {
        self.shared.forgotten.remembers(filter, from)
            && (least > Durability::Memory || self.shared.memory.remembers(filter, from, least))
            && (least > Durability::Written || from >= self.shared.written_from)
    }

    fn is_short(&self) -> bool {
        self.shared.ceiling.is_full()
    }

    fn begin(&self) {
        self.shared.queue.begin();
    }

    fn close(&self) {
        self.shared.queue.close();
        self.shared.lookups.close();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store has failed");
            }
        }
        self.shared.fault.begin("the store is closed");
    }
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStore")
            .field("file", &self.file)
            .field("fault", &self.fault)
            .field("ceiling", &self.ceiling)
            .finish_non_exhaustive()
    }
}
