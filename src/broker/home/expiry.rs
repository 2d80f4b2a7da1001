//! When messages grow too old.

use std::cmp::Reverse;
use std::time::Duration;

use super::Home;
use crate::model::{Timestamp, TopicName};

impl Home {
    /// Drops what has grown too old and forgets topics that nothing holds; has topics make room.
    pub fn sweep(&mut self, now: Timestamp) {
        while let Some(Reverse((due, _))) = self.expiries.peek() {
            if *due > now {
                break;
            }
            let Some(Reverse((due, topic))) = self.expiries.pop() else {
                break;
            };
            if let Some(entry) = self.topics.get_mut(&topic) {
                if entry.expiry != Some(due) {
                    // Of a topic of that name that was forgotten since.
                    continue;
                }
                entry.expiry = None;
                if let (Some(history), Some(age)) = (
                    entry.kept.history_mut(),
                    entry.rule.history.and_then(|h| h.age),
                ) {
                    history.trim(now);
                    entry.card.set_history(history.len(), history.newest());
                    if let Some(oldest) = history.oldest_time(now) {
                        let due = later(oldest, age);
                        entry.expiry = Some(due);
                        self.expiries.push(Reverse((due, topic.clone())));
                    }
                }
            }
            self.forget_if_idle(&topic, now);
        }
        self.give_way();
    }

    /// Has the next sweep find out when something of the topic is too old.
    pub(super) fn watch_age(&mut self, topic: &TopicName, now: Timestamp) {
        let Some(entry) = self.topics.get_mut(topic) else {
            return;
        };
        if entry
            .rule
            .history
            .is_some_and(|history| history.age.is_some())
        {
            entry.expiry = Some(now);
            self.expiries.push(Reverse((now, topic.clone())));
        }
    }
}

/// When a message of that time is too old.
pub fn later(time: Timestamp, by: Duration) -> Timestamp {
    // One more: a message goes once more than its age has passed.
    Timestamp(time.0.saturating_add(by.as_millis() as u64 + 1))
}
