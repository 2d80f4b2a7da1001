//! How messages are taken: numbered, kept, and sent to whom they are for.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::expiry::later;
use super::interest::matching_interest;
use super::kept::Kept;
use super::parked::{Asker, Parked, Queues, Taken};
use super::topic::Topic;
use super::{Delivery, Home, Interest, unavailable};
use crate::broker::filters::FilterTrie;
use crate::broker::message::{Publication, Receipt};
use crate::broker::rules::TopicRule;
use crate::history::{Beside, Completion, Retain};
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
        let Some(entry) = self.topics.get_mut(&publication.topic) else {
            return self.publish_anew(publication, asker, now, accepted);
        };
        let rule = &entry.rule;
        check(rule, &publication)?;
        if rule.durability > Durability::Memory {
            check_room(&self.parked, &self.unamended, &publication.topic)?;
        }
        let (origin, bytes) = (publication.origin, publication.payload.data.len());
        let retain = retains(&publication);
        let once = publication.once.as_deref().copied();
        let mut message = message(publication, rule, now);
        // All messages of a topic share its one name.
        message.topic = entry.card.topic.clone();
        message.time = message.time.max(entry.last_time);
        entry.last_time = message.time;
        let before = entry.kept.retained();
        if retain == Retain::Set && matches!(entry.kept, Kept::Nothing) {
            // The store could not open it when the topic's rule changed.
            let opened =
                self.common
                    .store
                    .open_retained(&message.topic, rule.durability, &self.news);
            entry.kept = Kept::Retained(opened.map_err(|error| unavailable(&error))?);
        }
        let (message, completion) = match entry.kept.take(message, Beside { retain, once }, now) {
            Ok(taken) => taken,
            Err(error) => {
                // It may have been made for this message.
                let topic = entry.card.topic.clone();
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
        let (receipt, delivery, has_changed) = show(
            entry,
            &self.filters,
            &mut self.expiries,
            (message, before),
            accepted,
        );
        if has_changed {
            self.look_at(&delivery, now);
        }
        Ok(Some(Taken {
            receipt,
            delivery: Some(delivery),
            durability: Durability::Memory,
            origin,
            bytes,
            accepted,
        }))
    }

    /// The same, to a topic that is not known here.
    fn publish_anew(
        &mut self,
        publication: Publication,
        asker: Asker,
        now: Timestamp,
        accepted: Instant,
    ) -> Result<Option<Taken>, Refusal> {
        let topic = &publication.topic;
        let rule = self.common.rules.now().of(topic);
        check(&rule, &publication)?;
        if rule.durability > Durability::Memory {
            check_room(&self.parked, &self.unamended, topic)?;
        }
        if rule.history.is_some() || retains(&publication) == Retain::Set {
            self.create(topic)?;
            return self.publish(publication, asker, now, accepted);
        }
        // Nobody subscribed by name and nothing is kept: only filters may match.
        let to = matching_interest(&self.filters, topic);
        let receipt = Receipt {
            position: None,
            subscribers: to.total(),
        };
        let (origin, bytes) = (publication.origin, publication.payload.data.len());
        let message = Arc::new(message(publication, &rule, now));
        let delivery = Delivery {
            published: Arc::new(Published::new(Event::Message(message))),
            accepted,
            to,
        };
        Ok(Some(Taken {
            receipt,
            delivery: Some(delivery),
            durability: Durability::Memory,
            origin,
            bytes,
            accepted,
        }))
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
        let entry = self.topics.get_mut(&message.topic)?;
        let (receipt, delivery, has_changed) = show(
            entry,
            &self.filters,
            &mut self.expiries,
            (message, before),
            accepted,
        );
        if has_changed {
            self.look_at(&delivery, now);
        }
        Some((receipt, delivery))
    }

    /// Another message is retained than before the event, or there was no room to keep it.
    fn look_at(&mut self, delivery: &Delivery, now: Timestamp) {
        let topic = delivery.published.topic();
        self.note_retained(topic);
        self.forget_if_idle(topic, now);
    }
}

/// Says what the publisher of a message is told and to whom it goes, and whether the topic may keep
/// something else than before.
fn show(
    entry: &mut Topic,
    filters: &FilterTrie<Interest>,
    expiries: &mut BinaryHeap<Reverse<(Timestamp, TopicName)>>,
    (message, before): (Arc<Message>, Option<Arc<Message>>),
    accepted: Instant,
) -> (Receipt, Delivery, bool) {
    entry.card.count_published(accepted);
    let mut has_changed = match (&before, entry.kept.retained()) {
        (None, None) => false,
        (Some(before), Some(after)) => !Arc::ptr_eq(before, &after),
        _ => true,
    };
    if let Some(history) = entry.kept.history() {
        entry.card.set_history(history.len(), history.newest());
        has_changed |= history.is_empty();
        if let (None, Some(age)) = (entry.expiry, entry.rule.history.and_then(|h| h.age)) {
            let due = later(message.time, age);
            entry.expiry = Some(due);
            expiries.push(Reverse((due, message.topic.clone())));
        }
    }
    let to = entry.audience(filters, &message.topic);
    let receipt = Receipt {
        position: message.position,
        subscribers: to.total(),
    };
    let delivery = Delivery {
        published: Arc::new(Published::new(Event::Message(message)).after(before)),
        accepted,
        to,
    };
    (receipt, delivery, has_changed)
}

/// What becomes of what the topic retains.
fn retains(publication: &Publication) -> Retain {
    match (publication.retain, publication.payload.is_nothing()) {
        (false, _) => Retain::Leave,
        (true, false) => Retain::Set,
        (true, true) => Retain::Clear,
    }
}

/// The message that is published, as far as the topic says nothing of it.
fn message(publication: Publication, rule: &TopicRule, now: Timestamp) -> Message {
    Message {
        topic: publication.topic,
        payload: publication.payload,
        time: now,
        position: None,
        user: publication.user.filter(|_| rule.expose_user),
        key: publication.key,
        publisher: publication.publisher,
    }
}

/// Refuses what the topic's rule does not let in.
fn check(rule: &TopicRule, publication: &Publication) -> Result<(), Refusal> {
    rule.check_size(publication.payload.data.len())?;
    if publication.retain && !rule.retain {
        return Err(Refusal::new(
            ErrorCode::Forbidden,
            format!(
                "the topic '{}' retains no message: no rule with 'retain' applies to it; publish without 'retain'",
                publication.topic
            ),
        ));
    }
    Ok(())
}

/// Refuses what a topic that outlives the process cannot take at present.
fn check_room(
    parked: &Queues,
    unamended: &BTreeSet<TopicName>,
    topic: &TopicName,
) -> Result<(), Refusal> {
    let why = if parked.is_full() {
        "more waits for the disk than is allowed to; publish again after a moment"
    } else if unamended.contains(topic) {
        "the rules of the topic have changed, and what it kept is being put away; publish again after a moment"
    } else {
        return Ok(());
    };
    Err(Refusal::new(ErrorCode::Unavailable, why).retry_after(Duration::from_secs(1)))
}
