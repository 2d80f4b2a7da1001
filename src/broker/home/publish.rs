//! How messages are taken: numbered, kept, and sent to whom they are for.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Instant;

use super::expiry::later;
use super::interest::matching_interest;
use super::kept::Kept;
use super::{Delivery, Home, unavailable};
use crate::broker::message::{Publication, Receipt};
use crate::history::{History, Retain};
use crate::model::{Message, Timestamp};
use crate::protocol::{ErrorCode, Event, Published, Refusal};

impl Home {
    /// Numbers and keeps a message; says to whom it goes.
    ///
    /// # Errors
    /// `too_large` where the topic bounds its messages further, `forbidden` where it is to be
    /// retained and the topic's rule has no `retain`, `unavailable` where the history or the store
    /// cannot take it, `limit_exceeded` where there are too many topics: nothing was published.
    pub fn publish(
        &mut self,
        publication: Publication,
        now: Timestamp,
        accepted: Instant,
    ) -> Result<(Receipt, Delivery), Refusal> {
        let topic = publication.topic.clone();
        let retain = match (publication.retain, publication.payload.is_nothing()) {
            (false, _) => Retain::Leave,
            (true, false) => Retain::Set,
            (true, true) => Retain::Clear,
        };
        let known = self.topics.get(&topic).map(|entry| entry.rule);
        let rule = known.unwrap_or_else(|| self.common.rules.now().of(&topic));
        rule.check_size(publication.payload.data.len())?;
        if publication.retain && !rule.retain {
            return Err(Refusal::new(
                ErrorCode::Forbidden,
                format!(
                    "the topic '{topic}' retains no message: no rule with 'retain' applies to it; publish without 'retain'"
                ),
            ));
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
        let Some(entry) = self.topics.get_mut(&topic) else {
            // Nobody subscribed by name and nothing is kept: only filters may match.
            let to = matching_interest(&self.filters, &topic);
            let receipt = Receipt {
                position: None,
                subscribers: to.total(),
            };
            let published = Arc::new(Published::new(Event::Message(Arc::new(message))));
            return Ok((
                receipt,
                Delivery {
                    published,
                    accepted,
                    to,
                },
            ));
        };
        message.time = message.time.max(entry.last_time);
        entry.last_time = message.time;
        let before = entry.kept.retained();
        if retain == Retain::Set && matches!(entry.kept, Kept::Nothing) {
            // The store could not open it when the topic's rule changed.
            let opened = self.common.store.open_retained(&topic);
            entry.kept = Kept::Retained(opened.map_err(|error| unavailable(&error))?);
        }
        let message = match entry.kept.take(message, retain, now) {
            Ok(message) => message,
            Err(error) => {
                // It may have been made for this message.
                self.forget_if_idle(&topic, now);
                return Err(unavailable(&error));
            }
        };
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
        let published = Arc::new(Published::new(Event::Message(message)).after(before));
        // There may have been no room to keep it.
        let is_gone = |history: &dyn History| history.is_empty();
        if retain != Retain::Leave || entry.kept.history().is_some_and(is_gone) {
            self.note_retained(&topic);
            self.forget_if_idle(&topic, now);
        }
        Ok((
            receipt,
            Delivery {
                published,
                accepted,
                to,
            },
        ))
    }
}
