//! What every [`HistoryStore`] has to do, whatever it keeps its histories in.
//!
//! An implementation gives a [`Subject`] and writes `history_contract!(ItsSubject);` among its
//! tests: every rule here becomes a test of its own there.

mod bounds;
mod model;
mod numbers;
mod recovery;
mod retained;
mod store;

use std::sync::Arc;
use std::time::Duration;

use super::{
    Answer, Bounds, Completion, History, HistoryError, HistoryStore, Limit, News, Retain, Retained,
    Terms, Told,
};
use crate::model::{
    Durability, Epoch, Message, Payload, Position, SessionId, Timestamp, TopicName,
};

pub(crate) use bounds::*;
pub(crate) use model::a_history_does_what_a_plain_list_would;
pub(crate) use numbers::*;
pub(crate) use recovery::*;
pub(crate) use retained::*;
pub(crate) use store::*;

/// A store under test and what it stands on (a directory, say).
pub(crate) trait Subject {
    /// A new store with room for more than any rule here asks of it.
    fn begin(now: Timestamp) -> Self;
    /// The store.
    fn store(&self) -> &dyn HistoryStore;
    /// What its topics are opened with.
    fn news(&self) -> &Arc<News>;
    /// What it tells next; waits for it.
    fn hear(&self) -> Vec<Told> {
        panic!("this store has nothing to tell");
    }
    /// What a message outlives.
    fn durability(&self) -> Durability {
        Durability::Memory
    }

    /// Opens a topic.
    fn open(&self, name: &str, bounds: Bounds) -> Box<dyn History> {
        self.store()
            .open(&topic(name), self.terms(bounds), self.news())
            .unwrap()
    }

    /// Those bounds, with its durability.
    fn terms(&self, bounds: Bounds) -> Terms {
        let durability = self.durability();
        Terms { bounds, durability }
    }

    /// Returns once that is complete, and the history knows.
    fn settle(&self, history: &mut dyn History, completion: Completion) {
        let Completion::Later(ticket) = completion else {
            return;
        };
        let mut is_complete = false;
        while !is_complete {
            for told in self.hear() {
                is_complete |= matches!(told, Told::Settled(upto) if upto >= ticket);
                heed(history, told, Timestamp(0));
            }
        }
    }

    /// The same of a retained message.
    fn settle_retained(&self, retained: &mut dyn Retained, completion: Completion) {
        let Completion::Later(ticket) = completion else {
            return;
        };
        let mut is_complete = false;
        while !is_complete {
            for told in self.hear() {
                let Told::Settled(upto) = told else {
                    panic!("{told:?}")
                };
                retained.settle(upto);
                is_complete |= upto >= ticket;
            }
        }
    }

    /// Appends a message, and waits until it is complete.
    fn append(&self, history: &mut dyn History, message: Message, now: Timestamp) {
        let appended = history.append(message, Retain::Leave.into(), now);
        self.settle(history, appended.unwrap().completion);
    }

    /// Reads, however long it takes.
    fn read(
        &self,
        history: &mut dyn History,
        after: u64,
        limit: Limit,
        now: Timestamp,
    ) -> Vec<Arc<Message>> {
        match history.read(after, limit, now) {
            Answer::Now(messages) => messages,
            Answer::Later(asked) => loop {
                for told in self.hear() {
                    let is_answer = matches!(told, Told::Found { lookup, .. } if lookup == asked);
                    let messages = heed(history, told, now);
                    if is_answer {
                        return messages;
                    }
                }
            },
        }
    }

    /// Where messages since `from` begin, however long it takes to find out.
    fn first_since(&self, history: &mut dyn History, from: Timestamp, now: Timestamp) -> u64 {
        loop {
            match history.first_since(from) {
                Answer::Now(after) => return after,
                Answer::Later(_) => {
                    for told in self.hear() {
                        heed(history, told, now);
                    }
                }
            }
        }
    }

    /// Returns once the history has been told all that there is to tell.
    fn calm(&self, history: &mut dyn History, now: Timestamp) {
        let _ = (history, now);
    }
}

/// Does what a home does with what it is told of its only topic.
pub(crate) fn heed(history: &mut dyn History, told: Told, now: Timestamp) -> Vec<Arc<Message>> {
    match told {
        Told::Settled(upto) => history.settle(upto),
        Told::Failed { .. } => history.take_back(),
        Told::Found { finding, .. } => return history.found(finding.unwrap(), now),
    }
    Vec::new()
}

/// Makes every rule of the contract a test of the subject named.
macro_rules! history_contract {
    ($subject:ty) => {
        $crate::history::contract::history_contract!(@each $subject:
            offsets_rise_by_one_from_one
            a_message_comes_back_as_it_was_given
            time_does_not_go_back_within_a_topic
            only_as_many_as_the_bound_are_kept
            other_bounds_hold_from_the_moment_they_are_given
            what_is_too_old_is_neither_read_nor_recovered_though_nothing_trimmed_it
            the_newest_message_is_kept_whatever_it_weighs
            a_reader_gets_on_whatever_its_limit_in_bytes
            a_cursor_recovers_only_if_nothing_after_it_is_missing
            a_recovery_by_time_tells_what_it_misses
            a_grace_before_the_first_message_loses_nothing
            a_cleared_history_starts_another_life
            topics_do_not_see_each_other
            a_history_that_would_keep_nothing_is_refused
            a_store_does_not_remember_what_was_before_it
            what_went_with_a_closed_topic_is_missed_of_that_topic_alone
            a_history_does_what_a_plain_list_would
            the_retained_message_stays_when_the_bounds_drop_it
            a_message_that_is_not_to_be_retained_leaves_the_one_that_is
            a_cleared_history_retains_nothing
            a_topic_without_history_retains_one_message_as_it_was_given
        );
    };
    (@each $subject:ty: $($rule:ident)*) => {
        $(
            #[test]
            fn $rule() {
                $crate::history::contract::$rule::<$subject>();
            }
        )*
    };
}
pub(crate) use history_contract;

/// Bounds that nothing here reaches.
pub(crate) const WIDE: Bounds = Bounds {
    messages: 1_000_000,
    age: None,
    bytes: usize::MAX,
};

/// All there is.
pub(crate) const ALL: Limit = Limit {
    messages: usize::MAX,
    bytes: usize::MAX,
};

const BEGUN: Timestamp = Timestamp(1_000_000);

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

/// A message with that many bytes of data.
pub(crate) fn message(name: &str, size: usize) -> Message {
    Message {
        topic: topic(name),
        payload: Payload::binary(vec![7; size].into()),
        time: Timestamp(0),
        position: None,
        user: None,
        key: None,
        publisher: None,
    }
}

pub(crate) fn offsets(messages: &[Arc<Message>]) -> Vec<u64> {
    let positions = messages.iter().filter_map(|message| message.position);
    positions.map(|position| position.offset).collect()
}

fn at(ms: u64) -> Timestamp {
    Timestamp(BEGUN.0 + ms)
}

/// A subject with one history open.
struct Open<S> {
    history: Box<dyn History>,
    subject: S,
}

impl<S: Subject> Open<S> {
    fn new(bounds: Bounds) -> Self {
        let subject = S::begin(BEGUN);
        let history = subject.open("t", bounds);
        Self { history, subject }
    }

    /// Appends a message at each of these times.
    fn with(mut self, times: &[u64]) -> Self {
        for time in times {
            self.append(1, at(*time));
        }
        self
    }

    fn append(&mut self, size: usize, now: Timestamp) -> Arc<Message> {
        self.append_and(Retain::Leave, size, now)
    }

    fn append_and(&mut self, retain: Retain, size: usize, now: Timestamp) -> Arc<Message> {
        self.take(message("t", size), retain, now)
    }

    fn take(&mut self, message: Message, retain: Retain, now: Timestamp) -> Arc<Message> {
        let appended = self.history.append(message, retain.into(), now).unwrap();
        self.subject.settle(&mut *self.history, appended.completion);
        appended.message
    }

    fn clear(&mut self) {
        let completion = self.history.clear().unwrap();
        self.subject.settle(&mut *self.history, completion);
    }

    fn rebound(&mut self, bounds: Bounds, now: Timestamp) {
        self.history.rebound(self.subject.terms(bounds), now);
        self.subject.calm(&mut *self.history, now);
    }

    /// The offset of the retained message.
    fn retained(&self) -> Option<u64> {
        let retained = self.history.retained()?;
        retained.position.map(|position| position.offset)
    }

    fn read(&mut self, after: u64, now: Timestamp) -> Vec<u64> {
        offsets(&self.read_within(after, ALL, now))
    }

    fn read_within(&mut self, after: u64, limit: Limit, now: Timestamp) -> Vec<Arc<Message>> {
        self.subject.read(&mut *self.history, after, limit, now)
    }

    fn first_since(&mut self, from: Timestamp, now: Timestamp) -> u64 {
        self.subject.first_since(&mut *self.history, from, now)
    }

    fn cursor(&self, offset: u64) -> Position {
        let epoch = self.history.epoch();
        Position { epoch, offset }
    }
}
