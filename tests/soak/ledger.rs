//! What was published and who has how much of it: what the publishers wait by.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The first is bulky; those from [`CALM`] on get a message now and then.
pub const TOPICS: [&str; 5] = [
    "soak/bulk",
    "soak/a",
    "soak/b",
    "soak/calm/a",
    "soak/calm/b",
];
pub const CALM: usize = 3;
pub const PUBLISHERS: usize = 4;
pub const SUBSCRIBERS: usize = 9;

/// How far anybody may be behind before publishing waits: half of what the histories hold, and more
/// of the bulky messages than all buffers between the broker and a peer that does not read.
pub const BEHIND: u64 = 2000;

/// How long everybody may stand still.
const STILL: Duration = Duration::from_secs(30);

/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// Of the last message of a topic that a subscriber has.
#[derive(Clone, Debug)]
pub struct Position {
    pub epoch: String,
    pub offset: u64,
    pub time: u64,
}

/// Counts of all threads.
pub struct Ledger {
    published: [AtomicU64; TOPICS.len()],
    numbers: [[AtomicU64; TOPICS.len()]; PUBLISHERS],
    received: [[AtomicU64; TOPICS.len()]; SUBSCRIBERS],
    over: AtomicBool,
}

impl Ledger {
    /// One message was published to each topic, and everybody has it.
    pub fn new() -> Self {
        Self {
            published: [const { AtomicU64::new(1) }; TOPICS.len()],
            numbers: [const { [const { AtomicU64::new(0) }; TOPICS.len()] }; PUBLISHERS],
            received: [const { [const { AtomicU64::new(u64::MAX) }; TOPICS.len()] }; SUBSCRIBERS],
            over: AtomicBool::new(false),
        }
    }

    /// How many messages a topic has had.
    pub fn published(&self, topic: usize) -> u64 {
        self.published[topic].load(Ordering::SeqCst)
    }

    /// The number of that publisher's next message to the topic, once nobody is too far behind.
    pub fn next(&self, publisher: usize, topic: usize) -> u64 {
        let since = Instant::now();
        while self.furthest_behind(topic) >= BEHIND {
            assert!(since.elapsed() < STILL, "somebody stands still");
            std::thread::sleep(LOOK);
        }
        self.over.store(false, Ordering::SeqCst);
        self.published[topic].fetch_add(1, Ordering::SeqCst);
        self.numbers[publisher][topic].fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Somebody has the topic up to there.
    pub fn has(&self, subscriber: usize, topic: usize, offset: u64) {
        self.received[subscriber][topic].store(offset, Ordering::SeqCst);
    }

    /// Waits as somebody who does not read: until publishing to one of its topics waits for it, or
    /// has ended.
    pub fn be_deaf(&self, subscriber: usize) {
        let since = Instant::now();
        let is_waited_for = || {
            let topics = self.published.iter().zip(&self.received[subscriber]);
            let mut behind = topics.map(|(published, received)| {
                let received = received.load(Ordering::SeqCst);
                published.load(Ordering::SeqCst).saturating_sub(received)
            });
            behind.any(|behind| behind >= BEHIND)
        };
        while !is_waited_for() && !self.over.load(Ordering::SeqCst) {
            assert!(since.elapsed() < STILL, "publishing stands still");
            std::thread::sleep(LOOK);
        }
    }

    /// Publishers have ended; a last message comes in each topic.
    pub fn end_round(&self) {
        for published in &self.published {
            published.fetch_add(1, Ordering::SeqCst);
        }
        self.over.store(true, Ordering::SeqCst);
    }

    fn furthest_behind(&self, topic: usize) -> u64 {
        let least = self
            .received
            .iter()
            .map(|of| of[topic].load(Ordering::SeqCst));
        let least = least.min().unwrap_or(u64::MAX);
        self.published(topic).saturating_sub(least)
    }
}
