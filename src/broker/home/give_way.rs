//! Histories make room while the store has hardly any left, for topics that come now and for messages
//! that are to be retained.

use std::ops::Bound;
use std::sync::Arc;

use super::Home;

/// Topics that a sweep looks at.
const TOPICS: usize = 256;

impl Home {
    /// Has the next few topics give up to half of what they have, while there is need.
    pub(super) fn give_way(&mut self) {
        let store = Arc::clone(&self.common.store);
        for _ in 0..TOPICS {
            if !store.is_short() {
                return;
            }
            let from = self
                .gave_way
                .take()
                .map_or(Bound::Unbounded, Bound::Excluded);
            let next = self.histories.range((from, Bound::Unbounded)).next();
            let Some(topic) = next.cloned() else {
                // The next sweep begins with the first again.
                return;
            };
            if let Some(entry) = self.topics.get_mut(&topic)
                && let Some(history) = entry.kept.history_mut()
            {
                history.give_way();
                entry.card.set_history(history.len(), history.newest());
            }
            self.gave_way = Some(topic);
        }
    }
}
