//! A worker that is gone, seen from another: as the home of topics, and as one that listened to topics
//! at home here.
//!
//! What counts for a worker counts for one life of it. Another may be in its place before it is missed,
//! with sessions and topics of its own; what was meant for the one before is nothing to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::{Filter, Timestamp};
use crate::protocol::{Close, CloseCode, ErrorCode, Refusal};

use super::registry::Registry;
use super::subscriber::Ending;

/// The lives of one other worker, as far as they matter here. Later lives have higher numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lives {
    /// That which asked last.
    asking: Option<u64>,
    /// The last that is known to be over: what still comes of it is too late.
    over: Option<u64>,
}

impl Registry {
    /// Whether what that life of a worker says still counts. If it is the first that is heard of it,
    /// the one before has nothing here any more.
    pub(super) fn meet(&mut self, from: usize, life: u64) -> bool {
        let Some(lives) = self.lives.get_mut(from) else {
            return false;
        };
        if lives.asking == Some(life) {
            return true;
        }
        if lives.over.is_some_and(|over| life <= over) {
            return false;
        }
        let before = lives.asking.replace(life);
        if before.is_some() {
            lives.over = before;
            self.forget_worker(from);
        }
        true
    }

    /// Another worker is gone, and the topics that were at home there with it: who waits for it is
    /// refused, and sessions that it would have told of messages start over. Nothing of its own
    /// sessions is left here.
    pub(super) fn lost(&mut self, shard: usize) {
        tracing::error!(shard, "a worker is gone, and what was on its way to it");
        for token in self.waiting.lost_with(shard) {
            let refusal = Refusal::new(
                ErrorCode::Unavailable,
                "a part of the broker is starting or stopping; try again",
            );
            let refusal = refusal.retry_after(Duration::from_secs(1));
            self.answered(shard, token, Err(refusal));
        }
        self.end_deaf_sessions(shard);
        let now = self.shards.holder(shard).map(|(life, _)| life);
        if let Some(lives) = self.lives.get_mut(shard)
            && lives.asking.is_some()
            && lives.asking != now
        {
            lives.over = lives.asking.take();
            self.forget_worker(shard);
        }
    }

    /// Closes the sessions that listened to topics at home there. What they have is taken back at
    /// once: later it might be taken from what others have of the home that has come in its place.
    fn end_deaf_sessions(&mut self, shard: usize) {
        let shards = Arc::clone(&self.shards);
        let is_deaf = |filter: &Filter| match filter.as_name() {
            Some(topic) => shards.home(&topic) == shard,
            None => true,
        };
        let close = Close {
            code: CloseCode::OVERLOADED,
            reason: "a part of the broker went away; connect again".into(),
            after: None,
        };
        let now = Instant::now();
        for subscriber in self.fanout.members_of(is_deaf) {
            subscriber.close(&close, Ending::Orderly, now);
            let member = subscriber.member();
            let mut book = subscriber.book.borrow_mut();
            let entries = book.drain();
            subscriber.settle_book(&book);
            drop(book);
            for entry in entries {
                self.release_but_at(entry.place, &entry.filter, &member, &[shard]);
            }
        }
    }

    /// Takes back what a worker's sessions had at this home; tells others that they left.
    fn forget_worker(&mut self, shard: usize) {
        self.scans.retain(|waiting| waiting.from != shard);
        self.unsure.retain(|_, waiting| waiting.from != shard);
        for told in self.home.forget_worker(shard, Timestamp::now()) {
            self.deliver(&told);
        }
    }
}
