//! How messages are taken: numbered, kept, and sent to whom they are for.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::expiry::later;
use super::interest::matching_interest;
use super::kept::Kept;
use super::parked::{Asker, Parked, Taken};
use super::{Delivery, Home, unavailable};
use crate::broker::message::{Publication, Receipt};
use crate::history::{Beside, Completion, History, Retain};
use crate::model::{Durability, Message, Timestamp, TopicName};
use crate::protocol::{ErrorCode, Event, Published, Refusal};

impl Home {
    /// Numbers and keeps a message; says to whom it goes. `None`: it waits until it is as durable as
    /// its topic asks, and becomes an [`Outcome`](super::Outcome) then.
    ///
    /// # Errors
    /// `too_large` where the topic bounds its messages further, `forbidden` where it is to be
    /// retained and the topic's rule has no `retain`, `unavailable` where the history or the store
    /// cannot take it, `limit_exceeded` where there are too many topics: nothing was published.
    pub(super) fn publish(
        &mut self,
        publication: Publication,
        asker: Asker,
        now: Timestamp,
        accepted: Instant,
    ) -> Result<Option<Taken>, Refusal> {
        let topic = publication.topic.clone();
        let (origin, bytes) = (publication.origin, publication.payload.data.len());
        let retain = match (publication.retain, publication.payload.is_nothing()) {
            (false, _) => Retain::Leave,
            (true, false) => Retain::Set,
            (true, true) => Retain::Clear,
        };
        let once = publication.once.as_deref().copied();
        let known = self.topics.get(&topic).map(|entry| entry.rule);
        let rule = known.unwrap_or_else(|| self.common.rules.now().of(&topic));
        rule.check_size(bytes)?;
        if publication.retain && !rule.retain {
            return Err(Refusal::new(
                ErrorCode::Forbidden,
                format!(
                    "the topic '{topic}' retains no message: no rule with 'retain' applies to it; publish without 'retain'"
                ),
            ));
        }
        if rule.durability > Durability::Memory {
            self.check_room(&topic)?;
        }
        if known.is_none() && (rule.history.is_some() || retain == Retain::Set) {
            self.create(&topic)?;
        }
        let mut message = Message {
            topic: publication.topic,
            payload: publication.payload,
            time: now,
            position: None,
            user: publication.user.filter(|_| rule.expose_user),
            key: publication.key,
            publisher: publication.publisher,
        };
        let taken = |receipt, delivery, durability| Taken {
            receipt,
            delivery: Some(delivery),
            durability,
            origin,
            bytes,
            accepted,
        };
        let Some(entry) = self.topics.get_mut(&topic) else {
            // Nobody subscribed by name and nothing is kept: only filters may match.
            let to = matching_interest(&self.filters, &topic);
            let receipt = Receipt {
                position: None,
                subscribers: to.total(),
            };
            let delivery = Delivery {
                published: Arc::new(Published::new(Event::Message(Arc::new(message)))),
                accepted,
                to,
            };
            return Ok(Some(taken(receipt, delivery, Durability::Memory)));
        };
        message.time = message.time.max(entry.last_time);
        entry.last_time = message.time;
        let before = entry.kept.retained();
        if retain == Retain::Set && matches!(entry.kept, Kept::Nothing) {
            // The store could not open it when the topic's rule changed.
            let opened = self
                .common
                .store
                .open_retained(&topic, rule.durability, &self.news);
            entry.kept = Kept::Retained(opened.map_err(|error| unavailable(&error))?);
        }
        let (message, completion) = match entry.kept.take(message, Beside { retain, once }, now) {
            Ok(taken) => taken,
            Err(error) => {
                // It may have been made for this message.
                self.forget_if_idle(&topic, now);
                return Err(unavailable(&error));
            }
        };
        // What need not wait itself does not overtake what does.
        let due = match completion {
            Completion::Now => entry.due,
            Completion::Later(ticket) => Some(ticket),
        };
        if let Some(ticket) = due {
            entry.due = Some(ticket);
            let parked = Parked::Message {
                message,
                asker,
                origin,
                accepted,
                name: once.map(|once| once.name),
            };
            self.parked.push(ticket, parked);
            return Ok(None);
        }
        let shown = self.show_message(message, before, now, accepted);
        let (receipt, delivery) = shown
            .ok_or_else(|| Refusal::new(ErrorCode::Internal, "the topic is gone; publish again"))?;
        Ok(Some(taken(receipt, delivery, Durability::Memory)))
    }

    /// A message is as durable as it should be: says what its publisher is told and to whom it goes.
    /// `before` is what the topic retained before it. `None`: there is no such topic.
    pub(super) fn show_message(
        &mut self,
        message: Arc<Message>,
        before: Option<Arc<Message>>,
        now: Timestamp,
        accepted: Instant,
    ) -> Option<(Receipt, Delivery)> {
        let topic = message.topic.clone();
        let entry = self.topics.get_mut(&topic)?;
        entry.card.count_published(accepted);
        if let Some(history) = entry.kept.history() {
            entry.card.set_history(history.len(), history.newest());
            if let (None, Some(age)) = (entry.expiry, entry.rule.history.and_then(|h| h.age)) {
                let due = later(message.time, age);
                entry.expiry = Some(due);
                self.expiries.push(Reverse((due, topic.clone())));
            }
        }
        let to = entry.audience(&self.filters, &topic);
        let receipt = Receipt {
            position: message.position,
            subscribers: to.total(),
        };
        let has_changed = match (&before, entry.kept.retained()) {
            (None, None) => false,
            (Some(before), Some(after)) => !Arc::ptr_eq(before, &after),
            _ => true,
        };
        let published = Arc::new(Published::new(Event::Message(message)).after(before));
        // There may have been no room to keep it.
        let is_gone = |history: &dyn History| history.is_empty();
        if has_changed || entry.kept.history().is_some_and(is_gone) {
            self.note_retained(&topic);
            self.forget_if_idle(&topic, now);
        }
        let delivery = Delivery {
            published,
            accepted,
            to,
        };
        Some((receipt, delivery))
    }

    /// Refuses what a topic that outlives the process cannot take at present.
    fn check_room(&self, topic: &TopicName) -> Result<(), Refusal> {
        let why = if self.parked.is_full() {
            "more waits for the disk than is allowed to; publish again after a moment"
        } else if self.unamended.contains(topic) {
            "the rules of the topic have changed, and what it kept is being put away; publish again after a moment"
        } else {
            return Ok(());
        };
        Err(Refusal::new(ErrorCode::Unavailable, why).retry_after(Duration::from_secs(1)))
    }
}
