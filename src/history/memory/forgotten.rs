//! Topics that were closed with what they had: what is known of them.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::{Filter, Timestamp, TopicName};

/// Names that are known. Of more, those go first that had nothing for the longest time.
const MOST: usize = 4096;

/// When each topic that was closed had its last message. All homes ask it, but only when a topic is
/// opened or closed, or a filter recovered.
pub(in crate::history) struct Forgotten(Mutex<Known>);

struct Known {
    /// Of no topic that is not named here a message at or after this time is gone.
    from: Timestamp,
    last: HashMap<TopicName, Timestamp>,
    /// The same, the oldest first.
    order: BTreeSet<(Timestamp, TopicName)>,
}

impl Forgotten {
    /// Of what was before `from`, nothing is known.
    pub(in crate::history) fn new(from: Timestamp) -> Self {
        Self(Mutex::new(Known {
            from,
            last: HashMap::new(),
            order: BTreeSet::new(),
        }))
    }

    /// A topic was closed whose last message was of that time.
    pub(in crate::history) fn note(&self, topic: &TopicName, last: Timestamp) {
        let mut known = self.lock();
        if last < known.from {
            return;
        }
        if let Some(before) = known.last.insert(topic.clone(), last) {
            known.order.remove(&(before, topic.clone()));
        }
        known.order.insert((last, topic.clone()));
        while known.order.len() > MOST {
            let Some((last, topic)) = known.order.pop_first() else {
                return;
            };
            known.last.remove(&topic);
            known.from = known.from.max(after(last));
        }
    }

    /// From when on nothing of that topic is gone.
    pub(in crate::history) fn whole_from(&self, topic: &TopicName) -> Timestamp {
        let known = self.lock();
        let last = known.last.get(topic).copied().map(after);
        last.unwrap_or_default().max(known.from)
    }

    /// Every message of that topic that is known to be gone is older.
    pub(in crate::history) fn gone_before(&self, topic: &TopicName) -> Timestamp {
        let known = self.lock();
        known
            .last
            .get(topic)
            .copied()
            .map(after)
            .unwrap_or_default()
    }

    /// Whether nothing since `from` is gone of the topics that the filter matches.
    pub(in crate::history) fn remembers(&self, filter: &Filter, from: Timestamp) -> bool {
        let known = self.lock();
        let newest_first = known.order.iter().rev();
        let mut since = newest_first.take_while(|(last, _)| *last >= from);
        from >= known.from && !since.any(|(_, topic)| filter.matches(topic))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn after(last: Timestamp) -> Timestamp {
    Timestamp(last.0.saturating_add(1))
}

impl fmt::Debug for Forgotten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.lock();
        write!(f, "{} since {}", known.last.len(), known.from.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: impl Into<String>) -> TopicName {
        TopicName::new(&name.into()).unwrap()
    }

    #[test]
    fn of_more_names_than_are_known_the_oldest_count_for_all() {
        let forgotten = Forgotten::new(Timestamp(1_000));
        let other = Filter::new("other").unwrap();
        for n in 0..MOST as u64 {
            forgotten.note(&topic(format!("t/{n}")), Timestamp(2_000 + n));
        }
        assert!(forgotten.remembers(&other, Timestamp(1_000)));
        assert!(!forgotten.remembers(&other, Timestamp(999)));
        // One that comes and goes takes one place.
        for n in 0..10 {
            forgotten.note(&topic("t/0"), Timestamp(9_000 + n));
        }
        assert!(forgotten.remembers(&other, Timestamp(1_000)));
        forgotten.note(&topic("more"), Timestamp(9_500));
        assert_eq!(forgotten.whole_from(&topic("other")), Timestamp(2_002));
        assert!(!forgotten.remembers(&other, Timestamp(2_001)));
        assert!(forgotten.remembers(&other, Timestamp(2_002)));
        assert_eq!(forgotten.lock().last.len(), MOST);
    }
}
