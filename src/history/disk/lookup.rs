//! Questions that histories ask of the disk, and the threads that answer them.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::catalog::Entry;
use super::state::Mark;
use crate::history::{Finding, HistoryError, Limit, Lookup, News, Told};
use crate::model::{Epoch, Timestamp};

/// A question.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) lookup: Lookup,
    pub(super) news: Arc<News>,
    pub(super) entry: Arc<Entry>,
    /// The life that is asked about.
    pub(super) id: i64,
    pub(super) epoch: Epoch,
    /// The offsets that are asked about, both included.
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) what: Question,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Question {
    /// The messages, from the first that is not before that time.
    Read { limit: Limit, from: Timestamp },
    /// The first message that is not before that time.
    Since(Timestamp),
    /// The first message that is not before that time, nor has more weight than this from it on.
    Edge { from: Timestamp, before: u64 },
}

/// Where the messages of a time begin.
#[derive(Debug)]
pub struct Since {
    /// The life that was looked through.
    pub(super) id: i64,
    pub(super) from: Timestamp,
    /// The first message that is not before `from`; the one after the last that was looked at where
    /// all are.
    pub(super) offset: u64,
}

/// Where a history begins.
#[derive(Debug)]
pub struct Edge {
    /// The life that was looked through.
    pub(super) id: i64,
    /// The first message, and the next ones in a row; none where nothing is left of what was looked at.
    pub(super) marks: Vec<Mark>,
    /// The last offset that was looked at.
    pub(super) upto: u64,
    /// The time of the last message before it, as far as one was found.
    pub(super) last: Option<Timestamp>,
    /// The last that was found damaged.
    pub(super) damaged: Option<u64>,
}

/// Questions that wait for a thread.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    waiting: Mutex<Waiting>,
    ready: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    asked: VecDeque<Ask>,
    under_way: usize,
    is_closed: bool,
}

/// As many questions wait at most.
const MOST: usize = 100_000;

impl Lookups {
    /// Asks. The answer goes to the news, in any case.
    pub(super) fn ask(&self, ask: Ask) {
        let mut waiting = self.lock();
        if waiting.asked.len() < MOST && !waiting.is_closed {
            waiting.asked.push_back(ask);
            drop(waiting);
            self.ready.notify_one();
            return;
        }
        drop(waiting);
        let reason = "more is read than the disk keeps up with".to_owned();
        ask.answer(Err(HistoryError::Unavailable(reason)));
    }

    /// The next question; waits for one. `None` once there will be no more.
    pub(super) fn next(&self) -> Option<Ask> {
        let mut waiting = self.lock();
        loop {
            if let Some(ask) = waiting.asked.pop_front() {
                waiting.under_way += 1;
                return Some(ask);
            }
            if waiting.is_closed {
                return None;
            }
            waiting = self
                .ready
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// One that was taken is answered.
    pub(super) fn done(&self) {
        self.lock().under_way -= 1;
    }

    /// Whether nothing waits, nor is under way.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        let waiting = self.lock();
        waiting.asked.is_empty() && waiting.under_way == 0
    }

    /// There will be no more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.ready.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ask {
    /// Tells the home.
    pub(super) fn answer(&self, finding: Result<Finding, HistoryError>) {
        self.news.tell([Told::Found {
            lookup: self.lookup,
            topic: self.entry.topic.clone(),
            finding,
        }]);
    }
}
