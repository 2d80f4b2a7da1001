//! A store whose messages are complete only when a test says so, for tests of what waits for them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{
    Answer, Appended, Beside, Completion, Finding, History, HistoryError, HistoryStore, Limit,
    Lookup, MemoryStore, News, Once, Retain, Retained, Terms, Ticket, Usage,
};
use crate::model::{Durability, Epoch, Filter, Message, Position, Timestamp, TopicName};

/// A store that numbers at once and completes what outlives the process only when its home is told of the
/// tickets. Reads what is older than the newest message by a lookup. Counts how often it is to begin.
pub struct Tardy(pub MemoryStore, pub Arc<AtomicUsize>);

impl HistoryStore for Tardy {
    fn open(
        &self,
        topic: &TopicName,
        terms: Terms,
        news: &Arc<News>,
    ) -> Result<Box<dyn History>, HistoryError> {
        let inner = self.0.open(topic, terms, news)?;
        if terms.durability == Durability::Memory {
            return Ok(inner);
        }
        Ok(Box::new(TardyHistory {
            inner,
            durability: terms.durability,
            news: Arc::clone(news),
            pending: VecDeque::new(),
        }))
    }

    fn open_retained(
        &self,
        topic: &TopicName,
        durability: Durability,
        news: &Arc<News>,
    ) -> Result<Box<dyn Retained>, HistoryError> {
        let inner = self.0.open_retained(topic, durability, news)?;
        Ok(Box::new(TardyRetained {
            inner,
            durability,
            news: Arc::clone(news),
            pending: VecDeque::new(),
        }))
    }

    fn begin(&self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }

    fn usage(&self) -> Usage {
        self.0.usage()
    }

    fn remembers(&self, filter: &Filter, from: Timestamp, least: Durability) -> bool {
        self.0.remembers(filter, from, least)
    }
}

#[derive(Debug)]
enum Pending {
    Message(Arc<Message>, Retain),
    Clear,
}

#[derive(Debug)]
struct TardyHistory {
    inner: Box<dyn History>,
    durability: Durability,
    news: Arc<News>,
    pending: VecDeque<(Ticket, Pending)>,
}

impl TardyHistory {
    fn push(&mut self, pending: Pending) -> Completion {
        let ticket = self.news.ticket(self.durability);
        self.pending.push_back((ticket, pending));
        Completion::Later(ticket)
    }
}

impl History for TardyHistory {
    fn append(
        &mut self,
        mut message: Message,
        beside: Beside,
        now: Timestamp,
    ) -> Result<Appended, HistoryError> {
        message.time = now;
        message.position = Some(Position {
            epoch: self.epoch(),
            offset: self.newest() + 1,
        });
        let message = Arc::new(message);
        let pending = Pending::Message(Arc::clone(&message), beside.retain);
        let completion = self.push(pending);
        Ok(Appended {
            message,
            completion,
        })
    }

    fn settle(&mut self, upto: Ticket) {
        while let Some((_, pending)) = self.pending.pop_front_if(|(ticket, _)| *ticket <= upto) {
            match pending {
                Pending::Message(message, retain) => {
                    let (message, now) = (Message::clone(&message), message.time);
                    self.inner.append(message, retain.into(), now).unwrap();
                }
                Pending::Clear => {
                    self.inner.clear().unwrap();
                }
            }
        }
    }

    fn take_back(&mut self) {
        self.pending.clear();
    }

    fn found(&mut self, finding: Finding, _now: Timestamp) -> Vec<Arc<Message>> {
        match finding {
            Finding::Messages(messages) => messages,
            _ => Vec::new(),
        }
    }

    fn retained(&self) -> Option<Arc<Message>> {
        self.inner.retained()
    }

    fn epoch(&self) -> Epoch {
        self.inner.epoch()
    }

    fn newest(&self) -> u64 {
        let messages = self.pending.iter();
        let messages = messages.filter(|(_, pending)| matches!(pending, Pending::Message(..)));
        self.inner.newest() + messages.count() as u64
    }

    fn settled(&self) -> u64 {
        self.inner.newest()
    }

    fn oldest(&self) -> u64 {
        self.inner.oldest()
    }

    fn oldest_time(&self, now: Timestamp) -> Option<Timestamp> {
        self.inner.oldest_time(now)
    }

    fn read(&mut self, after: u64, limit: Limit, now: Timestamp) -> Answer<Vec<Arc<Message>>> {
        if after + 1 < self.settled() {
            return Answer::Later(Lookup::unique());
        }
        self.inner.read(after, limit, now)
    }

    fn rebound(&mut self, terms: Terms, now: Timestamp) {
        self.durability = terms.durability;
        self.inner.rebound(terms, now);
    }

    fn trim(&mut self, now: Timestamp) {
        self.inner.trim(now);
    }

    fn give_way(&mut self) {
        self.inner.give_way();
    }

    fn clear(&mut self) -> Result<Completion, HistoryError> {
        Ok(self.push(Pending::Clear))
    }

    fn first_since(&mut self, from: Timestamp) -> Answer<u64> {
        self.inner.first_since(from)
    }

    fn holds_since(&self, from: Timestamp, now: Timestamp) -> bool {
        self.inner.holds_since(from, now)
    }

    fn recovers(&self, cursor: Position, now: Timestamp) -> bool {
        self.inner.recovers(cursor, now)
    }

    fn len(&self) -> usize {
        self.inner.len()
    }

    fn bytes(&self) -> usize {
        self.inner.bytes()
    }
}

#[derive(Debug)]
struct TardyRetained {
    inner: Box<dyn Retained>,
    durability: Durability,
    news: Arc<News>,
    pending: VecDeque<(Ticket, Option<Arc<Message>>)>,
}

impl Retained for TardyRetained {
    fn message(&self) -> Option<Arc<Message>> {
        self.inner.message()
    }

    fn set(
        &mut self,
        message: Option<Arc<Message>>,
        _once: Option<Once>,
    ) -> Result<Completion, HistoryError> {
        let ticket = self.news.ticket(self.durability);
        self.pending.push_back((ticket, message));
        Ok(Completion::Later(ticket))
    }

    fn settle(&mut self, upto: Ticket) {
        while let Some((_, message)) = self.pending.pop_front_if(|(ticket, _)| *ticket <= upto) {
            self.inner.set(message, None).unwrap();
        }
    }

    fn take_back(&mut self) {
        self.pending.clear();
    }
}
