//! One topic at its home.

use std::collections::HashMap;
use std::sync::Arc;

use super::interest::{Interest, matching_interest};
use super::kept::Kept;
use crate::broker::directory::TopicCard;
use crate::broker::filters::FilterTrie;
use crate::broker::rules::TopicRule;
use crate::history::Ticket;
use crate::model::{Member, SessionId, Timestamp, TopicName};

/// One topic, as its home has it.
pub(super) struct Topic {
    pub(super) card: Arc<TopicCard>,
    pub(super) rule: TopicRule,
    pub(super) kept: Kept,
    pub(super) interest: Interest,
    /// Who is there, and on which worker.
    pub(super) members: HashMap<SessionId, (usize, Member)>,
    pub(super) last_time: Timestamp,
    /// The interest of matching filters, and the trie's generation it was computed at.
    pub(super) matched: (u64, Interest),
    /// When it is looked at for messages that are too old.
    pub(super) expiry: Option<Timestamp>,
    /// The last ticket that something of it waits for.
    pub(super) due: Option<Ticket>,
    /// Whether it was cleared because its rule lets it keep something of another kind.
    pub(super) is_emptied: bool,
}

impl Topic {
    /// All workers with a subscriber, by name or by filter.
    pub(super) fn audience(
        &mut self,
        filters: &FilterTrie<Interest>,
        topic: &TopicName,
    ) -> Interest {
        if self.matched.0 != filters.generation() {
            self.matched = (filters.generation(), matching_interest(filters, topic));
        }
        let mut all = self.interest.clone();
        all.merge(&self.matched.1);
        all
    }
}
