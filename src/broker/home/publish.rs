//! How messages are taken: numbered, kept, and sent to whom they are for.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Instant;

use super::expiry::later;
use super::interest::matching_interest;
use super::{Delivery, Home, unavailable};
use crate::broker::message::{Publication, Receipt};
use crate::model::{Message, Timestamp};
use crate::protocol::{Event, Published, Refusal};

impl Home {
    /// Numbers and keeps a message; says to whom it goes.
    ///
    /// # Errors
    /// `too_large` where the topic bounds its messages further, `unavailable` where the history
    /// cannot take it, `limit_exceeded` where there are too many topics: nothing was published.
    pub fn publish(
        &mut self,
        publication: Publication,
        now: Timestamp,
        accepted: Instant,
    ) -> Result<(Receipt, Delivery), Refusal> {
        let topic = publication.topic.clone();
        let known = self.topics.get(&topic).map(|entry| entry.rule);
        let rule = known.unwrap_or_else(|| self.common.rules.now().of(&topic));
        rule.check_size(publication.payload.data.len())?;
        if known.is_none() && rule.history.is_some() {
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
        let message = match &mut entry.history {
            None => Arc::new(message),
            Some(history) => {
                let appended = history.append(message, now).map_err(|e| unavailable(&e))?;
                entry.card.set_history(history.len(), history.newest());
                if let (None, Some(age)) = (entry.expiry, entry.rule.history.and_then(|h| h.age)) {
                    let due = later(appended.message.time, age);
                    entry.expiry = Some(due);
                    self.expiries.push(Reverse((due, topic.clone())));
                }
                appended.message
            }
        };
        let to = entry.audience(&self.filters, &topic);
        let receipt = Receipt {
            position: message.position,
            subscribers: to.total(),
        };
        let published = Arc::new(Published::new(Event::Message(message)));
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
