//! Which subscription's options count for a topic, and what they say.

use std::time::Duration;

use super::{Book, Entry, Place};
use crate::broker::outbox::Handling;
use crate::broker::rules::Rules;
use crate::broker::subscribing::Subscription;
use crate::model::{Overflow, Overflows, TopicName};
use crate::protocol::{ErrorCode, Refusal, WireFormat};

/// What a subscription asked for, should its session be too slow.
#[derive(Clone, Copy)]
pub(super) struct Wish {
    overflow: Option<Overflow>,
    /// At most one message of a key in so many milliseconds; 0 is any number.
    min_interval_ms: u32,
    /// Tells it from the session's others in the outbox.
    number: u32,
}

impl Wish {
    /// What is asked for; `last` is that of the latest subscription that stands or opens.
    pub(super) fn new(ask: &Subscription, last: Option<Self>) -> Self {
        let interval = ask.min_interval.unwrap_or_default().as_millis();
        Self {
            overflow: ask.overflow,
            min_interval_ms: u32::try_from(interval).unwrap_or(u32::MAX),
            number: last.map_or(0, |last| last.number).wrapping_add(1),
        }
    }

    /// Whether messages have to wait for their time.
    pub(super) fn is_paced(self) -> bool {
        self.min_interval_ms > 0
    }
}

impl Subscription {
    /// Refuses what a session of that format cannot be told of, or the rules do not let one ask for.
    ///
    /// # Errors
    /// `bad_request`, `forbidden`.
    pub fn check_overflow(&self, format: WireFormat, rules: &Rules) -> Result<(), Refusal> {
        let Some(overflow) = self.overflow else {
            return Ok(());
        };
        if format == WireFormat::Raw && overflow != Overflow::Disconnect {
            return Err(Refusal::new(
                ErrorCode::BadRequest,
                "a raw session has no frame that could tell what it misses; leave 'overflow' out",
            ));
        }
        if rules.all_allow(&self.filter, overflow) {
            return Ok(());
        }
        let name = overflow.as_str();
        Err(Refusal::new(
            ErrorCode::Forbidden,
            format!(
                "the rules of '{}' do not allow 'overflow' {name:?}; leave it out, or let them allow it",
                self.filter
            ),
        ))
    }
}

impl Book {
    /// Whether the session's own messages of that topic are delivered to it.
    pub fn echoes(&self, topic: &TopicName) -> bool {
        self.deciding(topic).is_none_or(|entry| entry.echo)
    }

    /// How that topic's messages are handled while the session does not take them, where the topic's
    /// rule allows so much.
    pub fn handling(&self, topic: &TopicName, allowed: Overflows) -> Handling {
        let Some(wish) = self.deciding(topic).map(|entry| entry.wish) else {
            return Handling::default();
        };
        // Rules may have changed since it asked.
        let asked = wish.overflow.filter(|asked| allowed.allows(*asked));
        let is_paced = asked == Some(Overflow::Conflate) && wish.is_paced();
        Handling {
            overflow: asked.unwrap_or(allowed.first()),
            subscription: wish.number,
            min_interval: is_paced.then(|| Duration::from_millis(wish.min_interval_ms.into())),
        }
    }

    /// The subscription whose options count for that topic: that of the exact name, else the earliest
    /// filter that matches.
    fn deciding(&self, topic: &TopicName) -> Option<&Entry> {
        let standing = || {
            let entries = self.entries.iter();
            entries.filter(|entry| matches!(entry.place, Place::Standing(..)))
        };
        standing()
            .find(|entry| entry.filter.as_str() == topic.as_str())
            .or_else(|| standing().find(|entry| entry.filter.matches(topic)))
    }
}
