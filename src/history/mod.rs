//! What topics remember: the one numberer of a topic's messages, and where they can be read again;
//! and the one message that a topic retains for those who come later.
//!
//! A [`HistoryStore`] opens one [`History`] per topic, or, for a topic that keeps nothing but its
//! retained message, one [`Retained`]; the topic's home owns it and is the only one that appends.
//! Nothing here reads a clock or waits: time is passed in, and what takes longer than a call is told by
//! the home's [`News`], under a [`Ticket`] or a [`Lookup`].

mod ceiling;
#[cfg(test)]
pub(crate) mod contract;
mod disk;
mod error;
mod memory;
mod news;
mod slot;
#[cfg(test)]
pub(crate) mod tardy;
#[cfg(test)]
pub(crate) mod trapped;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::metrics::StoreMetrics;
use crate::model::{Durability, Epoch, Filter, Message, Position, Timestamp, TopicName};

pub use ceiling::Usage;
pub use disk::tools as store_tools;
pub use disk::{DiskStore, Settings as DiskSettings, StoreError};
pub use error::HistoryError;
pub use memory::MemoryStore;
pub use news::{Answer, Finding, Lookup, News, Ticket, Told};

/// One topic's history, its retained message included: the only one that gives the topic's messages their offsets.
///
/// Offsets rise by one from 1 and are never given twice within an epoch. Message times never go
/// back. What is dropped is always the oldest, so what is held is one unbroken run of offsets.
/// The newest message is held whatever it weighs, until it is too old: a bound in bytes never makes
/// a topic forget what it has just been given, unless the store has no room for even that. The retained message stands beside these bounds: it
/// stays until another takes its place or it is cleared, held by the run of offsets or not.
pub trait History: Send + fmt::Debug {
    /// Takes a message: sets its position and its time (`now`, or the time of the message before
    /// if that is later; whatever `message` says of either is overwritten), and drops what the
    /// bounds no longer allow. In the same step, and as durable, does to the retained message what
    /// `beside` says, and remembers by what name it was published.
    ///
    /// The offset stands at once. Nobody may be shown the message before it is complete
    /// ([`Completion`]), else a crash could give its offset to another message.
    ///
    /// # Errors
    /// [`HistoryError::Unavailable`], and [`HistoryError::Full`] where the message is to be
    /// retained: nothing was taken or changed and no offset used; the publisher may try again. A
    /// store in memory fails in no other way.
    fn append(
        &mut self,
        message: Message,
        beside: Beside,
        now: Timestamp,
    ) -> Result<Appended, HistoryError>;

    /// What was appended or cleared up to this ticket is complete.
    fn settle(&mut self, ticket: Ticket) {
        let _ = ticket;
    }

    /// The store has failed at what is not settled: takes all of it back, as though it had never been
    /// appended or cleared. Its offsets are free again; nobody has seen them.
    fn take_back(&mut self) {}

    /// Takes what was found for a question of this history's. What it is not for, or what came too
    /// late, does nothing. The messages of a reading are returned: those that may still be shown.
    fn found(&mut self, finding: Finding, now: Timestamp) -> Vec<Arc<Message>> {
        let _asks_nothing = (finding, now);
        Vec::new()
    }

    /// The retained message, as it was appended, once it is complete. One that a process before this one retained may be
    /// of another epoch.
    fn retained(&self) -> Option<Arc<Message>>;

    /// This life of the history. Changes only by [`clear`](History::clear), and back by
    /// [`take_back`](History::take_back).
    fn epoch(&self) -> Epoch;

    /// The offset of the newest message ever taken in this epoch, held or not; 0 for none.
    fn newest(&self) -> u64;

    /// The offset up to which every message is complete: what subscribers may know of. Equal to
    /// [`newest`](History::newest) where messages are complete at once.
    fn settled(&self) -> u64;

    /// The offset of the oldest message held; `newest() + 1` when none is. Counts what has become
    /// too old since the last append or [`trim`](History::trim).
    fn oldest(&self) -> u64;

    /// The time of the oldest message that is not too old at `now`; `None` where none is. Of what is
    /// only on a disk it may be earlier.
    fn oldest_time(&self, now: Timestamp) -> Option<Timestamp>;

    /// The messages with offsets above `after`, oldest first, as many as `limit` lets through.
    ///
    /// Never one that is too old at `now`, nor one beyond [`settled`](History::settled). A first
    /// offset other than `after + 1` tells of messages that are gone; an empty answer while
    /// `after < settled()` (and `limit` asks for any) tells that all of them are.
    ///
    /// An answer that comes later is for [`found`](History::found), which gives the messages.
    fn read(&mut self, after: u64, limit: Limit, now: Timestamp) -> Answer<Vec<Arc<Message>>>;

    /// Keeps to other bounds from now on, and drops what they do not allow. What is appended from now
    /// on is as durable as that says; nothing may be under way then.
    fn rebound(&mut self, terms: Terms, now: Timestamp);

    /// Drops what is too old at `now`. Appending and reading see to age by themselves; this is for
    /// topics that nobody publishes to, whose memory would otherwise stay taken.
    fn trim(&mut self, now: Timestamp);

    /// Drops up to half of the messages that it holds in memory, the oldest, while the store is
    /// [short](HistoryStore::is_short) of room; never the newest.
    fn give_way(&mut self);

    /// Forgets every message, the retained one too, and starts another epoch at offset 0, so that no
    /// cursor from before recovers. Times still do not go back.
    ///
    /// # Errors
    /// [`HistoryError::Unavailable`]: nothing was forgotten; try again later.
    fn clear(&mut self) -> Result<Completion, HistoryError>;

    /// The offset to read after for the messages since `from`: that of the last message before
    /// `from`, or the one before the oldest held. At most [`newest`](History::newest).
    ///
    /// Where the answer comes later, the history is given it ([`found`](History::found)) and then asked
    /// again, about the same time.
    fn first_since(&mut self, from: Timestamp) -> Answer<u64>;

    /// Whether every message of the topic since `from` is still held at `now`, and none went with a
    /// life of the topic before this: whether a recovery by time is whole. A grace that is taken off for reading ([`first_since`](History::first_since)) must not be taken off here,
    /// or what went before the client came would fail its recovery.
    fn holds_since(&self, from: Timestamp, now: Timestamp) -> bool;

    /// Whether a client that has everything up to `cursor` can be brought up to date: the epoch is
    /// this one, the offset was given, and every later message is still held at `now`.
    fn recovers(&self, cursor: Position, now: Timestamp) -> bool;

    /// How many messages are held, the retained one not counted.
    fn len(&self) -> usize;

    /// Whether none is held.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the messages held weigh, in bytes ([`Message::weight`]), the retained one not counted.
    fn bytes(&self) -> usize;
}

/// The retained message of a topic that keeps no history. Numbers nothing.
pub trait Retained: Send + fmt::Debug {
    /// The message, as it was given, once it is complete.
    fn message(&self) -> Option<Arc<Message>>;

    /// Puts a message in the place of the one before; `None` clears. Nobody may be shown a message
    /// before that is complete. Remembers by what name it was published.
    ///
    /// # Errors
    /// [`HistoryError::Full`], [`HistoryError::Unavailable`]: the one before still stands. A store
    /// in memory always clears.
    fn set(
        &mut self,
        message: Option<Arc<Message>>,
        once: Option<Once>,
    ) -> Result<Completion, HistoryError>;

    /// What was set up to this ticket is complete.
    fn settle(&mut self, ticket: Ticket) {
        let _ = ticket;
    }

    /// The store has failed at what is not settled: the last that is stands again.
    fn take_back(&mut self) {}
}

/// Where topics' histories are kept. Shared by all homes of a node.
pub trait HistoryStore: Send + Sync {
    /// The history of a topic, as it was left if the store outlives the process.
    ///
    /// At most one value per topic may be open at a time: two would give the same offsets twice.
    /// Dropping it closes it.
    ///
    /// # Errors
    /// [`HistoryError::NoMessages`] for bounds that keep nothing, [`HistoryError::Unavailable`]
    /// where the store cannot be reached.
    fn open(
        &self,
        topic: &TopicName,
        terms: Terms,
        news: &Arc<News>,
    ) -> Result<Box<dyn History>, HistoryError>;

    /// The retained message of a topic that keeps no history, as it was left if the store outlives
    /// the process. A topic is opened as this or as a history, not as both.
    ///
    /// # Errors
    /// [`HistoryError::Unavailable`] where the store cannot be reached.
    fn open_retained(
        &self,
        topic: &TopicName,
        durability: Durability,
        news: &Arc<News>,
    ) -> Result<Box<dyn Retained>, HistoryError>;

    /// The topics of which something is kept from before this process, so that homes open them when
    /// they begin.
    fn topics(&self) -> Vec<Left> {
        Vec::new()
    }

    /// What was published once only, and is kept from before this process, the earliest first.
    fn once(&self) -> Vec<Remembered> {
        Vec::new()
    }

    /// Begins with what the home whose turn ends has given it ([`News::gives`]).
    fn begin(&self) {}

    /// Writes what waits, and keeps nothing from now on: the process ends.
    fn close(&self) {}

    /// Shows what it holds, and whether it has a fault.
    fn show(&self, metrics: &StoreMetrics) {
        let usage = self.usage();
        metrics.set_bytes(usage.bytes.saturating_add(usage.retained_bytes), 0, 0);
    }

    /// What is held at this moment, over all topics, in memory and elsewhere.
    fn usage(&self) -> Usage;

    /// Why the store can keep nothing at present, if it cannot: a sentence for operators.
    fn fault(&self) -> Option<String> {
        None
    }

    /// Whether no message since `from` went with a whole history of a topic that the filter matches:
    /// with the process before this one, or with a topic that was closed. Where it is false, a
    /// recovery by time (of topics the client may not even know of) is not whole, though every open
    /// history may say so. Whoever has forgotten too much to tell says that it is not.
    ///
    /// `least` is the least durability of all topics that the filter matches: what outlives the process
    /// does not go with it.
    fn remembers(&self, filter: &Filter, from: Timestamp, least: Durability) -> bool;

    /// Whether hardly any room is left, so that histories should [give way](History::give_way).
    fn is_short(&self) -> bool {
        false
    }
}

/// How much of a topic is kept: whichever bound is reached first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// At most this many messages; at least 1. A topic that keeps none has no history at all.
    pub messages: usize,
    /// At most this old: a message goes once more than this has passed since its time.
    pub age: Option<Duration>,
    /// At most this much weight, in bytes, but always the newest message.
    pub bytes: usize,
}

/// How a topic's history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How much of it.
    pub bounds: Bounds,
    /// What a message outlives once it is complete. A store that cannot give it gives what it can.
    pub durability: Durability,
}

/// A topic of which something is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Its name.
    pub topic: TopicName,
    /// Whether it holds messages of its history.
    pub has_history: bool,
    /// Whether it retains a message.
    pub has_retained: bool,
}

/// How a message that comes again is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Once {
    /// Stands for the publisher and the name that it gave the message.
    pub name: [u8; 32],
    /// Stands for what the message says.
    pub body: [u8; 32],
}

/// A message that is not to be published again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Where it was published.
    pub topic: TopicName,
    /// How it is known.
    pub once: Once,
    /// Its place, where the topic keeps history.
    pub position: Option<Position>,
    /// When.
    pub time: Timestamp,
}

/// What is kept beside a message, in one with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// What becomes of the retained message.
    pub retain: Retain,
    /// How the message is known if it comes again.
    pub once: Option<Once>,
}

/// How much one reading may return: whichever is reached first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// At most this many messages; with 0, none.
    pub messages: usize,
    /// At most this much weight, in bytes, but always one message, or a reader whose limit is
    /// below one message's weight would never get on.
    pub bytes: usize,
}

/// What becomes of a topic's retained message when another message is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retain {
    /// It stays as it is.
    #[default]
    Leave,
    /// The message that is taken takes its place.
    Set,
    /// There is none any more.
    Clear,
}

/// What became of an appended message.
#[derive(Clone, Debug)]
pub struct Appended {
    /// The message with its position and time, as it is held.
    pub message: Arc<Message>,
    /// When it may be shown.
    pub completion: Completion,
}

impl Appended {
    /// The offset the message was given.
    pub fn offset(&self) -> u64 {
        self.message.position.map_or(0, |position| position.offset)
    }
}

/// When a message is as durable as its topic asks, so that it may be delivered and acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// It is.
    Now,
    /// When the store says so of this ticket.
    Later(Ticket),
}

impl From<Retain> for Beside {
    fn from(retain: Retain) -> Self {
        Self { retain, once: None }
    }
}

impl<T> Answer<T> {
    /// The answer, if it is there at once.
    pub fn now(self) -> Option<T> {
        match self {
            Self::Now(answer) => Some(answer),
            Self::Later(_) => None,
        }
    }
}
