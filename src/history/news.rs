//! How a store tells a home of what takes longer than a call.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use super::HistoryError;
use super::disk::{Edge, Since};
use crate::model::{Durability, Message, TopicName};

/// What one home is to hear of its histories. The home makes it, gives it along where it opens a
/// history, and looks here whenever it is woken.
#[derive(Debug)]
pub struct News {
    /// Tells the homes of a process apart.
    home: u64,
    /// How often the store failed this home, as far as the home knows.
    generation: AtomicU64,
    /// The last ticket of each durability that has any.
    written: AtomicU64,
    synced: AtomicU64,
    /// Whether nothing was told since the home looked, and it is woken when something is.
    is_watched: AtomicBool,
    /// Whether the home has turns.
    has_turns: AtomicBool,
    /// Whether the home has given its store something in this turn.
    has_given: AtomicBool,
    inbox: Mutex<Inbox>,
}

#[derive(Debug, Default)]
struct Inbox {
    told: Vec<Told>,
    waker: Option<Waker>,
}

/// One thing that a store tells.
#[derive(Debug)]
pub enum Told {
    /// Everything up to this ticket is as durable as its topic asks. Tickets of one durability are
    /// told of in order, and one tells of all before it; those of two durabilities keep no order.
    Settled(Ticket),
    /// Nothing that this home gave the store and that was not told of as settled is kept, of
    /// whatever durability. The home takes it back from every history and retained message
    /// ([`History::take_back`](super::History::take_back)) before it gives the store anything else.
    Failed {
        /// The [generation](News::generation) that begins.
        generation: u64,
        /// Why.
        error: HistoryError,
    },
    /// What was asked of a topic's history.
    Found {
        /// What was asked.
        lookup: Lookup,
        /// The topic. It may be closed by now, or another life of it open.
        topic: TopicName,
        /// What it is: for the history to take ([`History::found`](super::History::found)), or an
        /// error where it cannot be had at present.
        finding: Result<Finding, HistoryError>,
    },
}

/// What a store found out. Its contents are between the store and its histories, but for messages.
///
/// A history asks questions of its own as well, of which its home does not know the [`Lookup`]: all that
/// is found goes to the topic's history, whoever asked.
#[derive(Debug)]
pub enum Finding {
    /// Messages that were asked for ([`History::read`](super::History::read)), oldest first. Some of
    /// them may have been dropped meanwhile.
    Messages(Vec<Arc<Message>>),
    /// Where the messages of a time begin; what asked for it is to be asked again.
    Since(Since),
    /// Where the history begins by its bounds, or after what is damaged.
    Edge(Edge),
}

/// Stands for what is not yet as durable as it should be.
///
/// Within a home and a durability tickets rise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// Of what durability.
    pub durability: Durability,
    /// Which.
    pub number: u64,
}

/// Stands for a question that waits for the store. Never given twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lookup(pub u64);

/// What a history says to a question: the answer, or that it comes later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// The answer.
    Now(T),
    /// It is told of ([`Told::Found`]) by the news that the history was opened with.
    Later(Lookup),
}

/// Numbers that are never given twice in a process: of homes and of lookups.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

impl Lookup {
    /// One that was never given before.
    pub fn unique() -> Self {
        Self(NUMBERS.fetch_add(1, Ordering::Relaxed))
    }
}

impl News {
    /// Nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            home: NUMBERS.fetch_add(1, Ordering::Relaxed),
            generation: AtomicU64::new(0),
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            is_watched: AtomicBool::new(false),
            has_turns: AtomicBool::new(false),
            has_given: AtomicBool::new(false),
            inbox: Mutex::default(),
        })
    }

    /// The next ticket. Only the home's own thread draws any, in the order in which it gives the store
    /// what they stand for.
    pub fn ticket(&self, durability: Durability) -> Ticket {
        let last = match durability {
            Durability::Memory | Durability::Written => &self.written,
            Durability::Synced => &self.synced,
        };
        Ticket {
            durability,
            number: last.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }

    /// Stands on everything that the home gives a store. When the store has failed, what is still
    /// under way from generations before the one that [`Told::Failed`] names is thrown away: the home
    /// takes it back.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// The home has turns from now on: at the end of one it has its store begin with what it gave it.
    pub fn have_turns(&self) {
        self.has_turns.store(true, Ordering::Relaxed);
    }

    /// The home gives its store something. Whether the store is to wait with it until the home says
    /// so ([`HistoryStore::begin`](super::HistoryStore::begin)), at the end of its turn: so what comes in
    /// one turn is one group, and the home is not interrupted by the store's own thread for the first of it.
    pub fn gives(&self) -> bool {
        if !self.has_turns.load(Ordering::Relaxed) {
            return false;
        }
        if !self.has_given.swap(true, Ordering::Relaxed) {
            let inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
            // Without a waker it is awake: something was told since it looked.
            if let Some(waker) = &inbox.waker {
                waker.wake_by_ref();
            }
        }
        true
    }

    /// Whether the home has given its store anything since it asked this last.
    pub fn has_given(&self) -> bool {
        self.has_given.swap(false, Ordering::Relaxed)
    }

    /// The number of the home. No other in the process has it.
    pub fn home(&self) -> u64 {
        self.home
    }

    /// Tells the home, and wakes it.
    pub fn tell(&self, told: impl IntoIterator<Item = Told>) {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.told.extend(told);
        if inbox.told.is_empty() {
            return;
        }
        self.is_watched.store(false, Ordering::Release);
        let waker = inbox.waker.take();
        drop(inbox);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether nothing was told since [`News::watch`]. Costs next to nothing.
    pub fn is_watched(&self) -> bool {
        self.is_watched.load(Ordering::Acquire)
    }

    /// Takes what was told, oldest first, to be heeded at once: from here on the home is of the
    /// generation that the last of it names.
    pub fn take(&self) -> Vec<Told> {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let told = std::mem::take(&mut inbox.told);
        drop(inbox);
        for told in &told {
            if let Told::Failed { generation, .. } = told {
                self.generation.store(*generation, Ordering::Relaxed);
            }
        }
        told
    }

    /// Wakes `waker` when next something is told. What was told before is to be taken after this.
    pub fn watch(&self, waker: &Waker) {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.waker = Some(waker.clone());
        self.is_watched.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_home_without_turns_has_the_store_begin_at_once() {
        let news = News::new();
        assert!(!news.gives());
        assert!(!news.has_given());
    }

    #[test]
    fn a_home_with_turns_is_woken_once_for_all_that_it_gives_in_one() {
        let news = News::new();
        let woken = Arc::new(Woken::default());
        let times = || woken.0.load(Ordering::Relaxed);
        news.have_turns();
        news.watch(&Waker::from(Arc::clone(&woken)));
        assert!(news.gives() && news.gives());
        assert_eq!(times(), 1);
        assert!(news.has_given() && !news.has_given());
        assert!(news.gives());
        assert_eq!(times(), 2);
        // What it gives while it is told of something is of the turn that this begins.
        assert!(news.has_given());
        news.tell([Told::Settled(news.ticket(Durability::Written))]);
        assert_eq!(times(), 3);
        assert!(news.gives());
        assert_eq!(times(), 3);
        assert!(news.has_given());
    }
}
