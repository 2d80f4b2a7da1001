//! Questions that wait until the store has looked: what is not in memory is read by others, so that a
//! home never waits for a disk.

use std::collections::HashMap;

use super::parked::Asker;
use super::{Delivery, Home, unavailable};
use crate::broker::message::{ExactAsk, HistoryAsk, HomeAnswer, ReadAsk};
use crate::history::{Finding, HistoryError, Lookup};
use crate::model::{Timestamp, TopicName};
use crate::protocol::Refusal;

/// How often a reading that found nothing of what should be there is tried again.
pub(super) const TRIES: u8 = 3;

/// What waits at a home for the store.
#[derive(Default)]
pub(super) struct Questions(HashMap<Lookup, (Asker, Question)>);

#[cfg(test)]
impl Questions {
    /// One that waits.
    pub(super) fn first(&self) -> Option<(Lookup, Asker)> {
        self.0
            .iter()
            .next()
            .map(|(lookup, (asker, _))| (*lookup, *asker))
    }
}

/// What waits.
pub(super) enum Question {
    /// A piece of a replay, and how often it may still be tried.
    Read(ReadAsk, u8),
    /// A page of history.
    History(Box<HistoryAsk>, u8),
    /// A subscription by name: nothing of it stands yet.
    Subscribe(Box<ExactAsk>),
}

/// The answer to a question that waited.
pub struct Found {
    /// Who asked.
    pub asker: Asker,
    /// What it is told.
    pub answer: Result<HomeAnswer, Refusal>,
    /// Whom else to tell.
    pub told: Option<Delivery>,
}

impl Home {
    /// Has a question wait for a lookup.
    pub(super) fn wait_for(&mut self, lookup: Lookup, asker: Asker, question: Question) {
        self.questions.0.insert(lookup, (asker, question));
    }

    /// Gives a topic's history what the store found out for it, and nobody waits for.
    pub fn found_for(&mut self, topic: &TopicName, finding: Finding, now: Timestamp) {
        if let Some(history) = self
            .topics
            .get_mut(topic)
            .and_then(|entry| entry.kept.history_mut())
        {
            history.found(finding, now);
        }
    }

    /// The store has found out. `None`: nobody waits for that, or it waits on.
    pub fn found(
        &mut self,
        lookup: Lookup,
        topic: &TopicName,
        finding: Result<Finding, HistoryError>,
        now: Timestamp,
    ) -> Option<Found> {
        let Some((asker, question)) = self.questions.0.remove(&lookup) else {
            // A history looks for things of its own.
            if let Ok(finding) = finding {
                self.found_for(topic, finding, now);
            }
            return None;
        };
        let finding = match finding {
            Ok(finding) => finding,
            Err(error) => {
                return Some(Found {
                    asker,
                    answer: Err(unavailable(&error)),
                    told: None,
                });
            }
        };
        let history = self
            .topics
            .get_mut(topic)
            .and_then(|entry| entry.kept.history_mut());
        let messages = history.map_or_else(Vec::new, |history| history.found(finding, now));
        let mut told = None;
        let answer = match question {
            // What was read went while it was looked for, or is damaged: what is there now?
            Question::Read(ask, left) if messages.is_empty() && left > 0 => self
                .read_again(ask, asker, now, left - 1)
                .map(|piece| Ok(HomeAnswer::Piece(piece))),
            Question::Read(ask, _) => Some(Ok(HomeAnswer::Piece(self.piece(&ask, messages)))),
            Question::History(ask, left) if messages.is_empty() && left > 0 => {
                match self.history_again(ask, asker, now, left - 1) {
                    Ok(page) => page.map(|page| Ok(HomeAnswer::History(page))),
                    Err(refusal) => Some(Err(refusal)),
                }
            }
            Question::History(ask, _) => {
                let page = self.page(&ask.topic, messages);
                Some(page.map(HomeAnswer::History))
            }
            Question::Subscribe(ask) => match self.subscribe(ask, asker, now) {
                Ok(None) => None,
                Ok(Some((stand, others))) => {
                    told = others;
                    Some(Ok(HomeAnswer::Subscribed(stand)))
                }
                Err(refusal) => Some(Err(refusal)),
            },
        };
        answer.map(|answer| Found {
            asker,
            answer,
            told,
        })
    }
}
