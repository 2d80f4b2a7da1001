//! What a home says of the past: where replays begin and end, and what they read.

use std::sync::Arc;
use std::time::Duration;

use super::Home;
use super::parked::Asker;
use super::question::{self, Question};
use super::retained::is_after;
use crate::broker::message::{HistoryAsk, HistoryPage, Piece, ReadAsk};
use crate::history::{Answer, History};
use crate::model::{Filter, Message, Position, Timestamp, TopicName};
use crate::protocol::{Cursor, ErrorCode, Refusal};

/// Recovering by time reads this much further back: clocks of homes may differ by a little, and a
/// message may have been on its way when the client's time was taken.
const GRACE: Duration = Duration::from_secs(5);

impl Home {
    /// Takes the interest of a filter back.
    pub fn unsubscribe_filter(&mut self, shard: usize, filter: &Filter) {
        let Some(interest) = self.filters.get(filter) else {
            return;
        };
        let mut interest = interest.clone();
        interest.take(shard);
        // Removing and inserting raises the generation, by which topics know that it changed.
        self.filters.remove(filter);
        if !interest.is_empty() {
            self.filters.insert(filter, interest);
        }
    }

    /// One piece of a replay. `None`: it is being read, and becomes a [`Found`](super::Found).
    pub fn read(&mut self, ask: ReadAsk, asker: Asker, now: Timestamp) -> Option<Piece> {
        self.read_again(ask, asker, now, question::TRIES)
    }

    pub(super) fn read_again(
        &mut self,
        ask: ReadAsk,
        asker: Asker,
        now: Timestamp,
        tries: u8,
    ) -> Option<Piece> {
        let entry = self.topics.get_mut(&ask.topic);
        let history = entry.and_then(|entry| entry.kept.history_mut());
        match history.map(|history| history.read(ask.after, ask.limit, now)) {
            None => Some(self.piece(&ask, Vec::new())),
            Some(Answer::Now(messages)) => Some(self.piece(&ask, messages)),
            Some(Answer::Later(lookup)) => {
                self.wait_for(lookup, asker, Question::Read(ask, tries));
                None
            }
        }
    }

    /// The piece that these messages are.
    pub(super) fn piece(&self, ask: &ReadAsk, messages: Vec<Arc<Message>>) -> Piece {
        let entry = self.topics.get(&ask.topic);
        let Some(history) = entry.and_then(|entry| entry.kept.history()) else {
            return Piece {
                epoch: None,
                messages: Vec::new(),
                newest: ask.after,
                is_head: true,
                skipped: None,
            };
        };
        let newest = history.settled();
        let reached = messages
            .last()
            .and_then(|m| m.position)
            .map_or(ask.after, |p| p.offset);
        let is_head = messages.is_empty() || reached >= newest;
        let epoch = Some(history.epoch());
        let first = messages.first().and_then(|m| m.position);
        // What the history dropped from under the cursor may be retained: then it is not lost.
        let skipped = history.retained().filter(|retained| {
            is_after(retained, epoch, ask.after)
                && first.is_none_or(|first| !is_after(retained, epoch, first.offset - 1))
        });
        Piece {
            epoch,
            messages,
            newest,
            is_head,
            skipped,
        }
    }

    /// What `history` asks for. `None`: it is being read, and becomes a [`Found`](super::Found).
    ///
    /// # Errors
    /// `history_disabled` where the topic keeps none.
    pub fn history(
        &mut self,
        ask: Box<HistoryAsk>,
        asker: Asker,
        now: Timestamp,
    ) -> Result<Option<HistoryPage>, Refusal> {
        self.history_again(ask, asker, now, question::TRIES)
    }

    pub(super) fn history_again(
        &mut self,
        ask: Box<HistoryAsk>,
        asker: Asker,
        now: Timestamp,
        tries: u8,
    ) -> Result<Option<HistoryPage>, Refusal> {
        let topic = &ask.topic;
        if self.common.rules.now().of(topic).history.is_none() {
            return Err(history_disabled(topic));
        }
        if !self.topics.contains_key(topic) {
            // So that the answer names a life of the topic, if only a short one.
            self.create(topic)?;
        }
        let entry = self.topics.get_mut(topic);
        let Some(history) = entry.and_then(|entry| entry.kept.history_mut()) else {
            return Err(history_disabled(topic));
        };
        history.trim(now);
        let (epoch, settled) = (history.epoch(), history.settled());
        let oldest = history.oldest().saturating_sub(1);
        let after = match ask.since {
            Some(Cursor {
                epoch: asked,
                offset,
            }) if asked == Some(epoch) => offset.max(oldest),
            _ => oldest,
        };
        let after = ask
            .last
            .map_or(after, |last| after.max(settled.saturating_sub(last)));
        let page = match history.read(after, ask.limit, now) {
            Answer::Now(messages) => self.page(topic, messages).map(Some),
            Answer::Later(lookup) => {
                self.wait_for(lookup, asker, Question::History(ask, tries));
                return Ok(None);
            }
        };
        // It may have been made for this.
        self.forget_if_idle(topic, now);
        page
    }

    /// The page that these messages are.
    pub(super) fn page(
        &self,
        topic: &TopicName,
        messages: Vec<Arc<Message>>,
    ) -> Result<HistoryPage, Refusal> {
        let entry = self.topics.get(topic);
        let history = entry
            .and_then(|entry| entry.kept.history())
            .ok_or_else(|| history_disabled(topic))?;
        let position = Position {
            epoch: history.epoch(),
            offset: history.settled(),
        };
        Ok(HistoryPage { position, messages })
    }

    pub(super) fn add_filter(&mut self, shard: usize, filter: &Filter) {
        let mut interest = self.filters.remove(filter).unwrap_or_default();
        interest.add(shard);
        self.filters.insert(filter, interest);
    }
}

/// Where to read on for a client that has everything up to a time, and does not know its position;
/// `None` where something is missing.
pub(super) fn by_time(
    history: &mut dyn History,
    from: Timestamp,
    now: Timestamp,
) -> Answer<Option<u64>> {
    if !history.holds_since(from, now) {
        return Answer::Now(None);
    }
    let earlier = Timestamp(from.0.saturating_sub(GRACE.as_millis() as u64));
    match history.first_since(earlier) {
        Answer::Now(after) => Answer::Now(Some(after)),
        Answer::Later(lookup) => Answer::Later(lookup),
    }
}

fn history_disabled(topic: &TopicName) -> Refusal {
    Refusal::new(
        ErrorCode::HistoryDisabled,
        format!("the topic '{topic}' keeps no history: no rule with 'history' matches it"),
    )
}
