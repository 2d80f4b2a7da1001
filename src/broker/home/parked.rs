//! What waits at a home until it is as durable as its topic asks. Then it is shown, in the order in which
//! it came; or taken back, if the store has failed at it, and nobody has seen it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::{Delivery, Home, unavailable};
use crate::broker::directory::TopicCard;
use crate::broker::message::{Cleared, Receipt, Token};
use crate::history::{HistoryError, Ticket};
use crate::model::{Durability, Epoch, Message, Origin, Timestamp, TopicName};
use crate::protocol::{ErrorCode, Refusal};

/// What may wait at one home, however little it is. The store bounds what it is given in bytes.
const MOST: usize = 256 * 1024;

/// Who asked a home for something.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// The worker.
    pub worker: usize,
    /// What waits there for the answer, if anything does.
    pub token: Option<Token>,
}

impl Asker {
    /// What waits there under that token, or nobody.
    pub fn new(worker: usize, token: Option<Token>) -> Self {
        Self { worker, token }
    }
}

/// A message that was taken, or that had been taken before.
#[derive(Debug)]
pub struct Taken {
    /// What its publisher is told.
    pub receipt: Receipt,
    /// Where it goes; nowhere, where it had been taken before.
    pub delivery: Option<Delivery>,
    /// What it outlives.
    pub durability: Durability,
    /// By which door it came.
    pub origin: Origin,
    /// The bytes of its data.
    pub bytes: usize,
    /// When it came.
    pub accepted: Instant,
}

/// What became of something that waited.
#[derive(Debug)]
pub enum Outcome {
    /// It is published.
    Published(Asker, Taken),
    /// A topic was cleared.
    Cleared(Option<Asker>, Cleared, Option<Delivery>),
    /// It is as if it had never been asked for.
    Refused(Asker, Refusal),
    /// Nobody asked for it, and some are to be told.
    Told(Delivery),
}

/// What waits.
pub(super) enum Parked {
    /// A message.
    Message {
        message: Arc<Message>,
        asker: Asker,
        origin: Origin,
        accepted: Instant,
        /// The name by which it is known if it comes again.
        name: Option<[u8; 32]>,
    },
    /// The same message once more: it is answered as the first is.
    Repeat {
        topic: TopicName,
        name: [u8; 32],
        asker: Asker,
        origin: Origin,
        accepted: Instant,
    },
    /// The end of what a topic kept.
    Cleared {
        topic: TopicName,
        cleared: Cleared,
        end: Option<(Epoch, u64)>,
        asker: Option<Asker>,
    },
}

/// All that waits at a home: a queue for each durability, since they keep no order between them.
#[derive(Default)]
pub(super) struct Queues {
    written: VecDeque<(u64, Parked)>,
    synced: VecDeque<(u64, Parked)>,
}

impl Queues {
    pub(super) fn is_full(&self) -> bool {
        self.written.len() + self.synced.len() >= MOST
    }

    /// Has something wait for that ticket, behind all that waits.
    pub(super) fn push(&mut self, ticket: Ticket, parked: Parked) {
        let queue = self.of(ticket.durability);
        // What waits for an older ticket comes after what was there before it all the same.
        let number = queue
            .back()
            .map_or(ticket.number, |(last, _)| ticket.number.max(*last));
        queue.push_back((number, parked));
    }

    fn of(&mut self, durability: Durability) -> &mut VecDeque<(u64, Parked)> {
        match durability {
            Durability::Memory | Durability::Written => &mut self.written,
            Durability::Synced => &mut self.synced,
        }
    }

    fn pop(&mut self, upto: Ticket) -> Option<(Ticket, Parked)> {
        let queue = self.of(upto.durability);
        let (number, parked) = queue.pop_front_if(|(number, _)| *number <= upto.number)?;
        Some((Ticket { number, ..upto }, parked))
    }

    fn take(&mut self) -> impl Iterator<Item = Parked> + use<> {
        let written = std::mem::take(&mut self.written);
        let synced = std::mem::take(&mut self.synced);
        written.into_iter().chain(synced).map(|(_, parked)| parked)
    }
}

impl Parked {
    fn topic(&self) -> &TopicName {
        match self {
            Self::Message { message, .. } => &message.topic,
            Self::Repeat { topic, .. } | Self::Cleared { topic, .. } => topic,
        }
    }

    fn asker(&self) -> Option<Asker> {
        match self {
            Self::Message { asker, .. } | Self::Repeat { asker, .. } => Some(*asker),
            Self::Cleared { asker, .. } => *asker,
        }
    }
}

impl Home {
    /// Everything up to that ticket is as durable as it should be: shows it.
    pub fn settle(&mut self, upto: Ticket, now: Timestamp) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while let Some((ticket, parked)) = self.parked.pop(upto) {
            let topic = parked.topic().clone();
            if let Some(outcome) = self.show(ticket, parked, now) {
                outcomes.push(outcome);
            }
            self.amend_when_settled(&topic, now, &mut outcomes);
        }
        outcomes
    }

    /// The store has failed: takes back what is not settled, of all topics, and refuses it.
    pub fn take_back(&mut self, error: &HistoryError, now: Timestamp) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let mut names = Vec::new();
        let mut topics = Vec::new();
        for parked in self.parked.take() {
            let topic = parked.topic().clone();
            if let Parked::Message {
                name: Some(name), ..
            } = &parked
            {
                names.push((topic.clone(), *name));
            }
            if let Some(asker) = parked.asker() {
                outcomes.push(Outcome::Refused(asker, unavailable(error)));
            }
            topics.push(topic);
        }
        self.answers.take_back(&names);
        topics.sort_unstable();
        topics.dedup();
        for topic in topics {
            if let Some(entry) = self.topics.get_mut(&topic) {
                entry.kept.take_back();
                entry.due = None;
                entry.is_emptied = false;
                if let Some(history) = entry.kept.history() {
                    if entry.card.epoch != Some(history.epoch()) {
                        // It was cleared and is not, or what the disk has of it is damaged.
                        let card = TopicCard::new(topic.clone(), Some(history.epoch()));
                        card.set_subscribers(entry.interest.total());
                        entry.card = Arc::clone(&card);
                        self.common.directory.insert(card);
                    }
                    entry.card.set_history(history.len(), history.newest());
                }
            }
            self.note_retained(&topic);
            self.forget_if_idle(&topic, now);
        }
        outcomes
    }

    /// The ticket that what comes next to the topic has to wait for.
    pub(super) fn due(&self, topic: &TopicName) -> Option<Ticket> {
        self.topics.get(topic).and_then(|entry| entry.due)
    }

    fn show(&mut self, ticket: Ticket, parked: Parked, now: Timestamp) -> Option<Outcome> {
        let entry = self.topics.get_mut(parked.topic())?;
        let is_last = entry
            .due
            .is_some_and(|due| due.durability == ticket.durability && due.number <= ticket.number);
        if is_last {
            entry.due = None;
        }
        match parked {
            Parked::Message {
                message,
                asker,
                origin,
                accepted,
                name,
            } => {
                let before = entry.kept.retained();
                entry.kept.settle(ticket);
                let topic = message.topic.clone();
                let bytes = message.payload.data.len();
                let (receipt, delivery) = self.show_message(message, before, now, accepted)?;
                if let Some(name) = name {
                    self.answers.answer(&topic, &name, receipt);
                }
                let taken = Taken {
                    receipt,
                    delivery: Some(delivery),
                    durability: ticket.durability,
                    origin,
                    bytes,
                    accepted,
                };
                Some(Outcome::Published(asker, taken))
            }
            Parked::Repeat {
                topic,
                name,
                asker,
                origin,
                accepted,
            } => Some(match self.answers.receipt(&topic, &name) {
                Some(receipt) => {
                    Outcome::Published(asker, Taken::before(receipt, origin, accepted))
                }
                // It was promised for so long only.
                None => Outcome::Refused(
                    asker,
                    Refusal::new(
                        ErrorCode::Unavailable,
                        "the message took too long to be stored; publish it again",
                    ),
                ),
            }),
            Parked::Cleared {
                topic,
                cleared,
                end,
                asker,
            } => {
                entry.kept.settle(ticket);
                let told = self.show_cleared(&topic, cleared, end, now);
                Some(Outcome::Cleared(asker, cleared, told))
            }
        }
    }
}

impl Taken {
    /// What had been taken before, and was answered with that.
    pub(super) fn before(receipt: Receipt, origin: Origin, accepted: Instant) -> Self {
        Self {
            receipt,
            delivery: None,
            durability: Durability::Memory,
            origin,
            bytes: 0,
            accepted,
        }
    }
}
