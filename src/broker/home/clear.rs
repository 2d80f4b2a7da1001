//! How what a topic keeps is removed.

use std::sync::Arc;
use std::time::Instant;

use super::parked::{Asker, Parked};
use super::{Delivery, Home, unavailable};
use crate::broker::directory::{TopicCard, no_such_topic};
use crate::broker::message::Cleared;
use crate::history::Completion;
use crate::model::{Epoch, Timestamp, TopicName};
use crate::protocol::{Event, Published, Refusal, Removed};

impl Home {
    /// Removes the history and the retained message; the delivery tells subscribers, in order with
    /// what is published. `None`: it waits until the disk has it too.
    ///
    /// # Errors
    /// `not_found` where there is no such topic; `unavailable`: nothing was removed.
    pub fn clear(
        &mut self,
        topic: &TopicName,
        asker: Option<Asker>,
        now: Timestamp,
    ) -> Result<Option<(Cleared, Option<Delivery>)>, Refusal> {
        let Some(entry) = self.topics.get_mut(topic) else {
            return Err(no_such_topic());
        };
        if let Some(history) = entry.kept.history_mut() {
            history.trim(now);
        }
        let history = entry.kept.history();
        let cleared = Cleared {
            messages: history.map_or(0, |history| history.len() as u64),
            retained: entry.kept.retained().is_some(),
        };
        let end = history.map(|history| (history.epoch(), history.newest()));
        let completion = entry.kept.clear().map_err(|error| unavailable(&error))?;
        // What need not wait itself does not overtake what does.
        let due = match completion {
            Completion::Now => entry.due,
            Completion::Later(ticket) => Some(ticket),
        };
        if let Some(ticket) = due {
            entry.due = Some(ticket);
            let parked = Parked::Cleared {
                topic: topic.clone(),
                cleared,
                end,
                asker,
            };
            self.parked.push(ticket, parked);
            return Ok(None);
        }
        let told = self.show_cleared(topic, cleared, end, now);
        Ok(Some((cleared, told)))
    }

    /// A topic is cleared for good: says whom to tell.
    pub(super) fn show_cleared(
        &mut self,
        topic: &TopicName,
        cleared: Cleared,
        end: Option<(Epoch, u64)>,
        now: Timestamp,
    ) -> Option<Delivery> {
        let entry = self.topics.get_mut(topic)?;
        if let Some(history) = entry.kept.history() {
            // The card names the epoch, so there is another.
            let card = TopicCard::new(topic.clone(), Some(history.epoch()));
            card.set_subscribers(entry.interest.total());
            entry.card = Arc::clone(&card);
            self.common.directory.insert(card);
        }
        // A topic that has nothing to lose tells nothing.
        let told = (end.is_some() || cleared.retained).then(|| {
            let count = if end.is_some() { cleared.messages } else { 1 };
            Delivery {
                published: Arc::new(Published::new(Event::Cleared {
                    topic: topic.clone(),
                    removed: Removed { count, end },
                })),
                accepted: Instant::now(),
                to: entry.audience(&self.filters, topic),
            }
        });
        self.note_retained(topic);
        self.forget_if_idle(topic, now);
        told
    }
}
