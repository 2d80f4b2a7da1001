//! Topics that are there are held to the rules that hold now.

use std::sync::Arc;

use super::kept::Kept;
use super::parked::Outcome;
use super::{Delivery, Home};
use crate::broker::directory::TopicCard;
use crate::broker::rules::TopicRule;
use crate::history::{History, Terms};
use crate::model::{Durability, Member, Timestamp, TopicName};

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

    /// Holds a topic to its rule that could not be held to it before.
    pub(super) fn amend_when_settled(
        &mut self,
        topic: &TopicName,
        now: Timestamp,
        outcomes: &mut Vec<Outcome>,
    ) {
        if !self.unamended.contains(topic) || self.due(topic).is_some() {
            return;
        }
        let rule = self.common.rules.now().of(topic);
        self.unamended.remove(topic);
        let told = self.amend_topic(topic, rule, now);
        outcomes.extend(told.map(Outcome::Told));
    }

    /// Tries again with the topics that the store could not put away.
    pub fn amend_what_is_left(&mut self, now: Timestamp) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for topic in self.unamended.clone() {
            self.amend_when_settled(&topic, now, &mut outcomes);
        }
        outcomes
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
        let entry = self.topics.get_mut(topic)?;
        let before = entry.rule;
        if entry.due.is_some() {
            // It is numbered and kept as the rule before says.
            self.unamended.insert(topic.clone());
            return None;
        }
        let kind = |rule: TopicRule| {
            let keeps = rule.history.is_some() || rule.retain;
            let outlives = keeps && rule.durability > Durability::Memory;
            (rule.history.is_some(), rule.retain, outlives)
        };
        let told = if kind(before) == kind(rule) || entry.is_emptied {
            None
        } else {
            match self.clear(topic, None, now) {
                Ok(Some((_, told))) => told,
                Ok(None) => {
                    if let Some(entry) = self.topics.get_mut(topic) {
                        entry.is_emptied = true;
                    }
                    self.unamended.insert(topic.clone());
                    return None;
                }
                Err(refusal) => {
                    tracing::error!(%topic, %refusal, "a topic cannot be held to its new rule yet");
                    self.unamended.insert(topic.clone());
                    return None;
                }
            }
        };
        // It may have been there only for what it kept.
        let Some(entry) = self.topics.get_mut(topic) else {
            return told;
        };
        entry.rule = rule;
        entry.is_emptied = false;
        if !rule.presence {
            entry.members.clear();
        }
        if kind(before) == kind(rule) {
            if let (Some(history), Some(bounds)) = (entry.kept.history_mut(), rule.history) {
                let durability = rule.durability;
                history.rebound(Terms { bounds, durability }, now);
                entry.card.set_history(history.len(), history.newest());
            }
        } else {
            // A store has a topic open once at a time.
            entry.kept = Kept::Nothing;
            match Kept::open(&*self.common.store, topic, rule, &self.news) {
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
        self.watch_age(topic, now);
        self.note_history(topic);
        self.note_retained(topic);
        self.forget_if_idle(topic, now);
        told
    }
}
