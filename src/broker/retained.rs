//! Retained messages on their way to a session that has subscribed.
//!
//! A cursor goes through the topics of a name or filter, home by home and there in the order of
//! names, and reads pieces as the outbox drains: however many there are, few are in memory at once.
//! Meanwhile topics go on. What is published in one that the cursor has not come to is delivered
//! right behind the retained message as it stood before (every event carries it), and the cursor
//! passes that topic over: so each comes once, and before what is live.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::model::{Filter, Message, TopicName};

use super::book::{Book, Place, Replay};
use super::message::{Retained, RetainedPiece};
use super::reading::Reading;
use super::shards::Shards;

/// The cursors of one session. One runs at a time: those of names first, then those of filters in the
/// order in which these stood.
pub struct RetainedCursors {
    shards: Arc<Shards>,
    reading: Reading,
    queue: VecDeque<Cursor>,
    /// Topics that need none any more, though a filter's cursor has not come to them.
    served: HashSet<TopicName>,
    /// Numbers given to cursors.
    given: u64,
}

struct Cursor {
    number: u64,
    filter: Filter,
    /// What stood before it: it brings nothing of the topics that these do.
    others: Vec<Other>,
    home: usize,
    /// The last name that was looked at, at that home.
    after: Option<TopicName>,
    /// Whether a piece has been asked for and has not come.
    asked: bool,
}

/// A subscription that stood before.
struct Other {
    filter: Filter,
    is_lent: bool,
}

/// What a cursor reads next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// Which cursor.
    pub(super) number: u64,
    /// Its name or filter.
    pub(super) filter: Filter,
    /// Where.
    pub(super) home: usize,
    /// After which topic.
    pub(super) after: Option<TopicName>,
}

impl RetainedCursors {
    /// No cursors.
    fn new(shards: Arc<Shards>, reading: Reading) -> Self {
        Self {
            shards,
            reading,
            queue: VecDeque::new(),
            served: HashSet::new(),
            given: 0,
        }
    }

    /// Starts one. That of a filter brings nothing of the topics that one of the `others` brings.
    fn start(&mut self, filter: Filter, others: Vec<Other>) {
        self.given += 1;
        let name = filter.as_name();
        let cursor = Cursor {
            number: self.given,
            home: name.as_ref().map_or(0, |name| self.shards.home(name)),
            filter,
            others,
            after: None,
            asked: false,
        };
        if name.is_none() {
            return self.queue.push_back(cursor);
        }
        let is_name = |held: &&Cursor| !held.filter.has_wildcard();
        let names = self.queue.iter().take_while(is_name).count();
        self.queue.insert(names, cursor);
    }

    /// Ends that of a subscription that has ended.
    fn stop(&mut self, filter: &Filter) {
        let before = self.queue.len();
        self.queue.retain(|cursor| cursor.filter != *filter);
        if self.queue.len() < before {
            // What it has not brought is for others to bring.
            for cursor in &mut self.queue {
                cursor.others.retain(|other| other.filter != *filter);
            }
        }
    }

    /// What is to be read next, unless it is on its way.
    fn ask(&mut self) -> Option<Next> {
        let cursor = self.queue.front_mut().filter(|cursor| !cursor.asked)?;
        cursor.asked = true;
        Some(Next {
            number: cursor.number,
            filter: cursor.filter.clone(),
            home: cursor.home,
            after: cursor.after.clone(),
        })
    }

    /// Whether the session is still to get the topic's retained message.
    fn owes(&self, topic: &TopicName) -> bool {
        self.queue.iter().any(|cursor| {
            cursor.filter.matches(topic)
                && (!cursor.filter.has_wildcard()
                    || (!self.served.contains(topic)
                        && !cursor.has_passed(topic, &self.shards)
                        && !cursor.leaves_to_others(topic, &self.reading)))
        })
    }

    /// The session has the topic's retained message, or what took its place.
    fn serve(&mut self, topic: &TopicName) {
        let is_of = |cursor: &Cursor| cursor.filter.as_str() == topic.as_str();
        self.queue.retain(|cursor| !is_of(cursor));
        if self.owes(topic) {
            self.served.insert(topic.clone());
        }
    }

    /// Takes a piece that has come; gives the messages that are to be sent. `replay` tells which
    /// replay of a topic runs: what that brings is not sent.
    fn take(
        &mut self,
        number: u64,
        piece: RetainedPiece,
        replay: impl Fn(&TopicName) -> Option<Replay>,
    ) -> Vec<Arc<Message>> {
        let filters = self.queue.iter().filter(|c| c.filter.has_wildcard());
        let is_last = filters.count() == 1;
        let Some(cursor) = self.queue.iter_mut().find(|c| c.number == number) else {
            // Its subscription has ended, or the message came with what is live.
            return Vec::new();
        };
        let is_filter = cursor.filter.has_wildcard();
        let mut messages = Vec::with_capacity(piece.messages.len());
        for retained in piece.messages {
            let topic = &retained.message.topic;
            // What only this cursor needs to know it needs no more.
            let is_served = is_filter
                && if is_last {
                    self.served.remove(topic)
                } else {
                    self.served.contains(topic)
                };
            let is_others = is_filter && cursor.leaves_to_others(topic, &self.reading);
            let is_replayed = replay(topic).is_some_and(|replay| brings(replay, &retained));
            if !is_served && !is_others && !is_replayed {
                messages.push(retained.message);
            }
        }
        cursor.asked = false;
        cursor.after = piece.reached;
        if cursor.after.is_none() {
            cursor.home += 1;
            if !is_filter || cursor.home >= self.shards.count() {
                self.queue.retain(|cursor| cursor.number != number);
            }
        }
        // A name that was subscribed to while the piece was on its way has its message by it.
        if self.queue.front().is_some_and(|c| !c.filter.has_wildcard()) || !is_filter {
            for message in &messages {
                self.serve(&message.topic);
            }
        }
        messages
    }
}

impl Cursor {
    /// Whether it has looked at that topic.
    fn has_passed(&self, topic: &TopicName, shards: &Shards) -> bool {
        let home = shards.home(topic);
        let is_before = |after: &TopicName| topic <= after;
        home < self.home || (home == self.home && self.after.as_ref().is_some_and(is_before))
    }

    /// Whether the topic is for the others. Those that are not lent bring what the session may read by
    /// itself; those that are, whatever this one would.
    fn leaves_to_others(&self, topic: &TopicName, reading: &Reading) -> bool {
        let mut matching = self.others.iter().filter(|o| o.filter.matches(topic));
        matching.any(|other| other.is_lent || reading.may_read(topic))
    }
}

/// What a session is still to get of retained messages.
impl Book {
    /// Starts to bring what a subscription is to get that stands from now on; of a filter, nothing
    /// of the topics that it has `recovered`, nor of those that another subscription brings.
    pub(super) fn owe_retained(
        &mut self,
        filter: &Filter,
        shards: &Arc<Shards>,
        reading: Reading,
        recovered: impl IntoIterator<Item = TopicName>,
    ) {
        let others = if filter.has_wildcard() {
            let entries = self.entries().iter();
            let standing = entries.filter(|e| matches!(e.place, Place::Standing(..)));
            standing
                .map(|entry| Other {
                    filter: entry.filter.clone(),
                    is_lent: entry.is_lent,
                })
                .collect()
        } else {
            Vec::new()
        };
        let new = || Box::new(RetainedCursors::new(Arc::clone(shards), reading));
        let cursors = self.retained.get_or_insert_with(new);
        cursors.start(filter.clone(), others);
        cursors.served.extend(recovered);
    }

    /// Ends what a subscription that has ended was still to get.
    pub(super) fn disown_retained(&mut self, filter: &Filter) {
        self.with_retained(|cursors| cursors.stop(filter));
    }

    /// Whether any retained message is still to come.
    pub(super) fn is_owed_retained(&self) -> bool {
        self.retained.is_some()
    }

    /// What is to be read next of the retained messages, unless it is on its way.
    pub(super) fn ask_retained(&mut self) -> Option<Next> {
        self.retained.as_mut()?.ask()
    }

    /// Whether the retained message of that topic is still to come. If so it is taken as had: the
    /// caller sees to it.
    pub(super) fn take_owed(&mut self, topic: &TopicName) -> bool {
        self.with_retained(|cursors| {
            let owes = cursors.owes(topic);
            if owes {
                cursors.serve(topic);
            }
            owes
        })
        .unwrap_or_default()
    }

    /// Takes a piece that has come for that cursor; gives the messages that are to be sent.
    pub(super) fn take_retained(&mut self, number: u64, piece: RetainedPiece) -> Vec<Arc<Message>> {
        let Some(mut cursors) = self.retained.take() else {
            return Vec::new();
        };
        let messages = cursors.take(number, piece, |topic| self.replay(topic));
        self.retained = Some(cursors).filter(|cursors| !cursors.queue.is_empty());
        messages
    }

    fn with_retained<T>(&mut self, act: impl FnOnce(&mut RetainedCursors) -> T) -> Option<T> {
        let done = act(self.retained.as_mut()?);
        self.retained.take_if(|cursors| cursors.queue.is_empty());
        Some(done)
    }
}

/// Whether that replay brings the message, or has brought it.
fn brings(replay: Replay, retained: &Retained) -> bool {
    match retained.message.position {
        // Of a life of the history that has begun since the replay did, all is read.
        Some(at) if Some(at.epoch) == retained.epoch => {
            at.epoch != replay.epoch || at.offset > replay.began
        }
        _ => false,
    }
}
