//! The subscriptions of one session, and the replays that run for it.

use std::collections::HashMap;
use std::rc::Rc;

use crate::model::{Epoch, Filter, TopicName};

use super::fanout::Audience;
use super::reply::ReplyTo;

/// What a session has subscribed to, in the order in which it did.
#[derive(Default)]
pub struct Book {
    entries: Vec<Entry>,
    replays: Option<Box<HashMap<TopicName, Replay>>>,
    /// Topics that went on while a filter opened, each with the first position that passed.
    caught: Option<Box<HashMap<TopicName, (Epoch, u64)>>>,
}

/// One subscription.
pub struct Entry {
    /// The name or filter, as it was given.
    pub filter: Filter,
    /// False: what this session publishes itself is not delivered to it.
    pub echo: bool,
    /// Where it stands.
    pub place: Place,
}

/// Where a subscription stands.
pub enum Place {
    /// It was asked for and does not stand at every home yet.
    Opening {
        /// Where it notes what passes meanwhile, for a filter that is to be replayed.
        catching: Option<(Rc<Audience>, usize)>,
        /// It is to be ended as soon as it stands.
        end: Option<ReplyTo>,
    },
    /// It stands: a member of this audience, under that key.
    Standing(Rc<Audience>, usize),
}

/// A replay that runs: a cursor into a topic's history, read in pieces as the outbox drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The life of the history that `after` counts in.
    pub epoch: Epoch,
    /// The last offset that was queued.
    pub after: u64,
    /// Up to here messages are told to be replayed; what comes later is live and merely waited.
    pub until: u64,
    /// Whether a piece has been asked for and has not come.
    pub asked: bool,
}

impl Book {
    /// How many subscriptions there are, those that are opening included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The subscriptions, the earliest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The subscription of that very string.
    pub fn find(&self, filter: &Filter) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.filter == *filter)
    }

    /// As [`Book::find`], to be changed.
    pub fn find_mut(&mut self, filter: &Filter) -> Option<&mut Entry> {
        self.entries
            .iter_mut()
            .find(|entry| entry.filter == *filter)
    }

    /// Adds a subscription that opens.
    pub fn add(&mut self, filter: Filter, echo: bool) {
        // Most sessions have one; a list that grows by doubling would start with room for four.
        self.entries.reserve_exact(1);
        self.entries.push(Entry {
            filter,
            echo,
            place: Place::Opening {
                catching: None,
                end: None,
            },
        });
    }

    /// Says that a subscription stands; returns who asked for its end meanwhile.
    pub fn stand(
        &mut self,
        filter: &Filter,
        audience: Rc<Audience>,
        key: usize,
    ) -> Option<ReplyTo> {
        let entry = self.find_mut(filter)?;
        match std::mem::replace(&mut entry.place, Place::Standing(audience, key)) {
            Place::Opening { end, .. } => end,
            Place::Standing(..) => None,
        }
    }

    /// Takes out where an opening filter notes what passes.
    pub fn take_catching(&mut self, filter: &Filter) -> Option<(Rc<Audience>, usize)> {
        match &mut self.find_mut(filter)?.place {
            Place::Opening { catching, .. } => catching.take(),
            Place::Standing(..) => None,
        }
    }

    /// Takes a subscription out.
    pub fn remove(&mut self, filter: &Filter) -> Option<Entry> {
        let at = self.entries.iter().position(|e| e.filter == *filter)?;
        let entry = self.entries.remove(at);
        Some(entry)
    }

    /// Takes everything out.
    pub fn drain(&mut self) -> Vec<Entry> {
        self.replays = None;
        std::mem::take(&mut self.entries)
    }

    /// Whether a subscription that stands matches the topic.
    pub fn stands_for(&self, topic: &TopicName) -> bool {
        self.entries
            .iter()
            .any(|e| matches!(e.place, Place::Standing(..)) && e.filter.matches(topic))
    }

    /// Whether any filter with a wildcard stands.
    pub fn has_filters(&self) -> bool {
        self.entries.iter().any(|e| e.filter.has_wildcard())
    }

    /// Whether the session's own messages of that topic are delivered to it: the options of the
    /// exact name count, else those of the earliest filter that matches.
    pub fn echoes(&self, topic: &TopicName) -> bool {
        let standing = || {
            self.entries
                .iter()
                .filter(|e| matches!(e.place, Place::Standing(..)))
        };
        standing()
            .find(|e| e.filter.as_str() == topic.as_str())
            .or_else(|| standing().find(|e| e.filter.matches(topic)))
            .is_none_or(|e| e.echo)
    }

    /// Whether the fan-out must look closer before it delivers.
    pub fn is_selective(&self) -> bool {
        let silent = self.entries.iter().any(|e| !e.echo);
        self.replays.is_some() || (silent && self.entries.len() > 1)
    }

    /// The replay of that topic, if one runs.
    pub fn replay(&mut self, topic: &TopicName) -> Option<&mut Replay> {
        self.replays.as_mut()?.get_mut(topic)
    }

    /// Whether a replay of that topic runs.
    pub fn replays(&self, topic: &TopicName) -> bool {
        self.replays
            .as_ref()
            .is_some_and(|replays| replays.contains_key(topic))
    }

    /// Starts a replay.
    pub fn start_replay(&mut self, topic: TopicName, replay: Replay) {
        self.replays.get_or_insert_default().insert(topic, replay);
    }

    /// Ends a replay: the topic is live for this session.
    pub fn end_replay(&mut self, topic: &TopicName) {
        if let Some(replays) = &mut self.replays {
            replays.remove(topic);
            if replays.is_empty() {
                self.replays = None;
            }
        }
    }

    /// Ends the replays of topics that no subscription matches any more.
    pub fn end_orphaned_replays(&mut self) {
        if let Some(mut replays) = self.replays.take() {
            replays.retain(|topic, _| self.stands_for(topic));
            if !replays.is_empty() {
                self.replays = Some(replays);
            }
        }
    }

    /// Notes that a topic went on while a filter opened; the first note of a topic counts.
    pub fn catch(&mut self, topic: TopicName, epoch: Epoch, offset: u64) {
        self.caught
            .get_or_insert_default()
            .entry(topic)
            .or_insert((epoch, offset));
    }

    /// Takes out what was caught for that filter, where no other subscription delivered it.
    pub fn take_caught(&mut self, filter: &Filter) -> Vec<(TopicName, Epoch, u64)> {
        let Some(caught) = self.caught.take() else {
            return Vec::new();
        };
        let (mine, others): (HashMap<_, _>, HashMap<_, _>) = caught
            .into_iter()
            .partition(|(topic, _)| filter.matches(topic));
        if !others.is_empty() {
            self.caught = Some(Box::new(others));
        }
        mine.into_iter()
            .filter(|(topic, _)| !self.stands_for(topic))
            .map(|(topic, (epoch, offset))| (topic, epoch, offset))
            .collect()
    }

    /// The replays that could go on: none of their pieces is under way.
    pub fn idle_replays(&mut self) -> impl Iterator<Item = (&TopicName, &mut Replay)> {
        self.replays
            .iter_mut()
            .flat_map(|replays| replays.iter_mut())
            .filter(|(_, replay)| !replay.asked)
    }
}
