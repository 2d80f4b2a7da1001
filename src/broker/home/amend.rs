//! Topics that are there are held to the rules that hold now.

use std::cmp::Reverse;
use std::sync::Arc;

use super::kept::Kept;
use super::{Delivery, Home};
use crate::broker::directory::TopicCard;
use crate::broker::rules::TopicRule;
use crate::history::History;
use crate::model::{Member, Timestamp, TopicName};

impl Home {
    /// Holds every topic to its rule. Where that lets it keep something of another kind than before,
    /// what it kept is gone, and the deliveries tell so.
    pub fn amend(&mut self, now: Timestamp) -> Vec<Delivery> {
        let rules = Arc::clone(&self.common.rules);
        let rules = rules.now();
        let changed: Vec<(TopicName, TopicRule)> = self
            .topics
            .iter()
            .map(|(topic, entry)| (topic, entry.rule, rules.of(topic)))
            .filter(|(_, before, after)| before != after)
            .map(|(topic, _, after)| (topic.clone(), after))
            .collect();
        changed
            .into_iter()
            .filter_map(|(topic, rule)| self.amend_topic(&topic, rule, now))
            .collect()
    }

    /// Takes note of someone who was there before the topic told who is.
    pub fn present(&mut self, shard: usize, topic: &TopicName, member: Member) {
        // Another worker may hold its sessions to new rules before this one does so with its topics.
        if self.common.rules.now().of(topic).presence
            && let Some(entry) = self.topics.get_mut(topic)
        {
            let session = member.session;
            entry.members.entry(session).or_insert((shard, member));
        }
    }

    fn amend_topic(
        &mut self,
        topic: &TopicName,
        rule: TopicRule,
        now: Timestamp,
    ) -> Option<Delivery> {
        let before = self.topics.get(topic)?.rule;
        let kind = |rule: TopicRule| (rule.history.is_some(), rule.retain);
        let told = if kind(before) == kind(rule) {
            None
        } else {
            self.clear(topic, now).ok().and_then(|(_, told)| told)
        };
        // It may have been there only for what it kept.
        let Some(entry) = self.topics.get_mut(topic) else {
            return told;
        };
        entry.rule = rule;
        if !rule.presence {
            entry.members.clear();
        }
        if kind(before) == kind(rule) {
            if let (Some(history), Some(bounds)) = (entry.kept.history_mut(), rule.history) {
                history.rebound(bounds, now);
                entry.card.set_history(history.len(), history.newest());
            }
        } else {
            // A store has a topic open once at a time.
            entry.kept = Kept::Nothing;
            match Kept::open(&*self.common.store, topic, rule) {
                Ok(kept) => entry.kept = kept,
                Err(error) => {
                    tracing::error!(%error, "a topic keeps nothing, though its new rule lets it");
                }
            }
            let epoch = entry.kept.history().map(History::epoch);
            let card = TopicCard::new(topic.clone(), epoch);
            card.set_subscribers(entry.interest.total());
            entry.card = Arc::clone(&card);
            self.common.directory.insert(card);
        }
        if rule.history.is_some_and(|history| history.age.is_some()) {
            // The next sweep finds out when something is due.
            entry.expiry = Some(now);
            self.expiries.push(Reverse((now, topic.clone())));
        }
        self.note_history(topic);
        self.note_retained(topic);
        self.forget_if_idle(topic, now);
        told
    }
}
