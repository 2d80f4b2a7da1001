//! What one topic keeps: a history, only its retained message, or nothing.

use std::sync::Arc;

use crate::broker::rules::TopicRule;
use crate::history::{
    Beside, Completion, History, HistoryError, HistoryStore, News, Retain, Retained, Terms, Ticket,
};
use crate::model::{Message, Timestamp, TopicName};

/// What one topic keeps.
pub(super) enum Kept {
    /// Nothing: it is live only.
    Nothing,
    /// Its retained message, if it has one.
    Retained(Box<dyn Retained>),
    /// A history, and its retained message, if it has one.
    History(Box<dyn History>),
}

impl Kept {
    /// What the rule lets the topic keep, as the store has it.
    pub(super) fn open(
        store: &dyn HistoryStore,
        topic: &TopicName,
        rule: TopicRule,
        news: &Arc<News>,
    ) -> Result<Self, HistoryError> {
        let durability = rule.durability;
        Ok(match rule.history {
            Some(bounds) => {
                let terms = Terms { bounds, durability };
                Self::History(store.open(topic, terms, news)?)
            }
            None if rule.retain => Self::Retained(store.open_retained(topic, durability, news)?),
            None => Self::Nothing,
        })
    }

    /// Its history.
    pub(super) fn history(&self) -> Option<&dyn History> {
        match self {
            Self::History(history) => Some(&**history),
            Self::Nothing | Self::Retained(_) => None,
        }
    }

    /// Its history, to be changed.
    pub(super) fn history_mut(&mut self) -> Option<&mut Box<dyn History>> {
        match self {
            Self::History(history) => Some(history),
            Self::Nothing | Self::Retained(_) => None,
        }
    }

    /// Its retained message.
    pub(super) fn retained(&self) -> Option<Arc<Message>> {
        match self {
            Self::Nothing => None,
            Self::Retained(retained) => retained.message(),
            Self::History(history) => history.retained(),
        }
    }

    /// Whether there is no message in it.
    pub(super) fn is_empty(&self) -> bool {
        let has_none = |history: &dyn History| history.is_empty();
        self.history().is_none_or(has_none) && self.retained().is_none()
    }

    /// Takes a message as it is to be kept; gives it as it stands then, and says when it may be shown.
    pub(super) fn take(
        &mut self,
        message: Message,
        beside: Beside,
        now: Timestamp,
    ) -> Result<(Arc<Message>, Completion), HistoryError> {
        let retained = match self {
            Self::History(history) => {
                let appended = history.append(message, beside, now)?;
                return Ok((appended.message, appended.completion));
            }
            Self::Retained(retained) => Some(retained),
            Self::Nothing => None,
        };
        let message = Arc::new(message);
        let completion = match (retained, beside.retain) {
            (Some(retained), Retain::Set) => {
                retained.set(Some(Arc::clone(&message)), beside.once)?
            }
            (Some(retained), Retain::Clear) => retained.set(None, beside.once)?,
            (Some(_), Retain::Leave) | (None, _) => Completion::Now,
        };
        Ok((message, completion))
    }

    /// What was taken up to that ticket is complete.
    pub(super) fn settle(&mut self, ticket: Ticket) {
        match self {
            Self::Nothing => {}
            Self::Retained(retained) => retained.settle(ticket),
            Self::History(history) => history.settle(ticket),
        }
    }

    /// What is not complete was never taken.
    pub(super) fn take_back(&mut self) {
        match self {
            Self::Nothing => {}
            Self::Retained(retained) => retained.take_back(),
            Self::History(history) => history.take_back(),
        }
    }

    /// Forgets every message; a history begins anew.
    pub(super) fn clear(&mut self) -> Result<Completion, HistoryError> {
        match self {
            Self::Nothing => Ok(Completion::Now),
            Self::Retained(retained) => retained.set(None, None),
            Self::History(history) => history.clear(),
        }
    }
}
