//! What one topic keeps: a history, only its retained message, or nothing.

use std::sync::Arc;

use crate::broker::rules::TopicRule;
use crate::history::{History, HistoryError, HistoryStore, Retain, Retained};
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
    ) -> Result<Self, HistoryError> {
        Ok(match rule.history {
            Some(bounds) => Self::History(store.open(topic, bounds)?),
            None if rule.retain => Self::Retained(store.open_retained(topic)?),
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

    /// Takes a message as it is to be kept; gives it as it stands then.
    pub(super) fn take(
        &mut self,
        message: Message,
        retain: Retain,
        now: Timestamp,
    ) -> Result<Arc<Message>, HistoryError> {
        let retained = match self {
            Self::History(history) => {
                return Ok(history.append(message, retain, now)?.message);
            }
            Self::Retained(retained) => Some(retained),
            Self::Nothing => None,
        };
        let message = Arc::new(message);
        match (retained, retain) {
            (Some(retained), Retain::Set) => {
                retained.set(Some(Arc::clone(&message)))?;
            }
            (Some(retained), Retain::Clear) => {
                retained.set(None)?;
            }
            (Some(_), Retain::Leave) | (None, _) => {}
        }
        Ok(message)
    }

    /// Forgets every message; a history begins anew.
    pub(super) fn clear(&mut self) -> Result<(), HistoryError> {
        match self {
            Self::Nothing => Ok(()),
            Self::Retained(retained) => retained.set(None).map(|_| ()),
            Self::History(history) => history.clear(),
        }
    }
}
