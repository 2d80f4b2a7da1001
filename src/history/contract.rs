//! What every [`HistoryStore`] has to do, whatever it keeps its histories in.
//!
//! An implementation gives a [`Subject`] and writes `history_contract!(ItsSubject);` among its
//! tests: every rule here becomes a test of its own there.

mod model;
mod retained;
mod store;

use std::sync::Arc;
use std::time::Duration;

use super::{
    Answer, Bounds, Completion, History, HistoryError, HistoryStore, Limit, News, Retain, Terms,
    Told,
};
use crate::model::{Durability, Epoch, Message, Payload, Position, Timestamp, TopicName};

pub(crate) use model::a_history_does_what_a_plain_list_would;
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
        loop {
            for told in self.hear() {
                match told {
                    Told::Settled(upto) => {
                        history.settle(upto);
                        if upto >= ticket {
                            return;
                        }
                    }
                    told => panic!("{told:?}"),
                }
            }
        }
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
            Answer::Later(lookup) => {
                let Told::Found {
                    lookup: told,
                    finding,
                    ..
                } = self.hear().remove(0)
                else {
                    panic!("something else was told")
                };
                assert_eq!(told, lookup);
                history.found(finding.unwrap(), now)
            }
        }
    }

    /// Where messages since `from` begin, however long it takes to find out.
    fn first_since(&self, history: &mut dyn History, from: Timestamp, now: Timestamp) -> u64 {
        loop {
            match history.first_since(from) {
                Answer::Now(after) => return after,
                Answer::Later(_) => {
                    for told in self.hear() {
                        let Told::Found { finding, .. } = told else {
                            panic!("something else was told")
                        };
                        history.found(finding.unwrap(), now);
                    }
                }
            }
        }
    }
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

pub(crate) fn offsets_rise_by_one_from_one<S: Subject>() {
    let mut open = Open::<S>::new(WIDE);
    assert_eq!((open.history.newest(), open.history.oldest()), (0, 1));
    for offset in 1..=5 {
        let appended = open.append(1, at(0));
        assert_eq!(appended.position, Some(open.cursor(offset)));
        assert_eq!(open.history.newest(), offset);
        assert_eq!(open.history.settled(), offset);
    }
    assert_eq!(open.read(0, at(0)), [1, 2, 3, 4, 5]);
    assert_eq!(open.read(3, at(0)), [4, 5]);
    assert!(open.read(5, at(0)).is_empty());
    assert!(open.read(u64::MAX, at(0)).is_empty());
}

pub(crate) fn a_message_comes_back_as_it_was_given<S: Subject>() {
    let mut open = Open::<S>::new(WIDE);
    let mut given = message("t", 0);
    given.payload = Payload::json(br#"{"a": 1.50}"#).unwrap();
    given.user = Some("ann".into());
    given.key = Some("k".into());
    given.publisher = None;
    // What the history alone says is not believed of others.
    given.time = at(77);
    given.position = Some(Position {
        epoch: Epoch::parse("other").unwrap(),
        offset: 9,
    });
    open.history
        .append(given.clone(), Retain::Leave, at(5))
        .unwrap();
    open.subject.settle();
    let held = open.history.read(0, ALL, at(5));
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].payload, given.payload);
    assert_eq!((&held[0].user, &held[0].key), (&given.user, &given.key));
    assert_eq!((&held[0].topic, held[0].time), (&given.topic, at(5)));
    assert_eq!(held[0].position, Some(open.cursor(1)));
    assert_eq!(open.history.bytes(), given.weight());
}

pub(crate) fn time_does_not_go_back_within_a_topic<S: Subject>() {
    let open = Open::<S>::new(WIDE).with(&[10, 5, 20, 0]);
    let held = open.history.read(0, ALL, at(0));
    let times: Vec<_> = held.iter().map(|message| message.time).collect();
    assert_eq!(times, [at(10), at(10), at(20), at(20)]);
}

pub(crate) fn only_as_many_as_the_bound_are_kept<S: Subject>() {
    let bounds = Bounds {
        messages: 3,
        ..WIDE
    };
    let open = Open::<S>::new(bounds).with(&[0; 10]);
    assert_eq!(open.read(0, at(0)), [8, 9, 10]);
    assert_eq!((open.history.oldest(), open.history.len()), (8, 3));
}

pub(crate) fn other_bounds_hold_from_the_moment_they_are_given<S: Subject>() {
    let mut open = Open::<S>::new(WIDE).with(&[0; 10]);
    let bounds = Bounds {
        messages: 3,
        ..WIDE
    };
    open.history.rebound(bounds, at(0));
    assert_eq!(open.read(0, at(0)), [8, 9, 10]);
    let mut open = open.with(&[1]);
    assert_eq!(open.read(0, at(1)), [9, 10, 11]);
    open.history.rebound(WIDE, at(1));
    assert_eq!(open.with(&[1]).read(0, at(1)), [9, 10, 11, 12]);
}

pub(crate) fn what_is_too_old_is_neither_read_nor_recovered_though_nothing_trimmed_it<
    S: Subject,
>() {
    let bounds = Bounds {
        age: Some(Duration::from_millis(100)),
        ..WIDE
    };
    let mut open = Open::<S>::new(bounds).with(&[0, 50, 60]);
    assert_eq!(open.read(0, at(100)), [1, 2, 3]);
    assert_eq!(open.read(0, at(101)), [2, 3]);
    assert!(open.history.recovers(open.cursor(0), at(100)));
    assert!(!open.history.recovers(open.cursor(0), at(101)));
    assert!(open.history.holds_since(at(0), at(100)));
    assert!(!open.history.holds_since(at(0), at(101)));
    assert!(open.read(0, at(1000)).is_empty());
    open.history.trim(at(155));
    assert_eq!((open.history.oldest(), open.history.len()), (3, 1));
    open.history.trim(at(1000));
    assert_eq!((open.history.oldest(), open.history.newest()), (4, 3));
    assert!(open.history.is_empty());
    assert_eq!(open.history.bytes(), 0);
    assert!(open.history.recovers(open.cursor(3), at(1000)));
    assert!(!open.history.recovers(open.cursor(2), at(1000)));
}

pub(crate) fn the_newest_message_is_kept_whatever_it_weighs<S: Subject>() {
    let weight = message("t", 10).weight();
    let bounds = Bounds {
        bytes: weight * 2,
        ..WIDE
    };
    let mut open = Open::<S>::new(bounds);
    for _ in 0..3 {
        open.append(10, at(0));
    }
    assert_eq!(open.read(0, at(0)), [2, 3]);
    open.append(10 * weight, at(0));
    assert_eq!(open.read(0, at(0)), [4]);
    open.append(10, at(0));
    assert_eq!(open.read(0, at(0)), [5]);
}

pub(crate) fn a_reader_gets_on_whatever_its_limit_in_bytes<S: Subject>() {
    let open = Open::<S>::new(WIDE).with(&[0; 6]);
    let weight = message("t", 1).weight();
    let read = |after, messages, bytes| {
        let limit = Limit { messages, bytes };
        offsets(&open.history.read(after, limit, at(0)))
    };
    assert_eq!(read(2, 10, 0), [3]);
    assert_eq!(read(2, 10, weight * 2), [3, 4]);
    assert_eq!(read(2, 10, weight * 3 - 1), [3, 4]);
    assert_eq!(read(2, 3, usize::MAX), [3, 4, 5]);
    assert!(read(2, 0, usize::MAX).is_empty());
    assert!(read(6, 10, 0).is_empty());
}

pub(crate) fn a_cursor_recovers_only_if_nothing_after_it_is_missing<S: Subject>() {
    let bounds = Bounds {
        messages: 3,
        ..WIDE
    };
    let open = Open::<S>::new(bounds);
    assert!(open.history.recovers(open.cursor(0), at(0)));
    assert!(!open.history.recovers(open.cursor(1), at(0)));
    let open = open.with(&[0; 5]);
    for (offset, recovers) in [
        (0, false),
        (1, false),
        (2, true),
        (4, true),
        (5, true),
        (6, false),
        (u64::MAX, false),
    ] {
        let cursor = open.cursor(offset);
        assert_eq!(open.history.recovers(cursor, at(0)), recovers, "{offset}");
    }
    let foreign = Position {
        epoch: Epoch::parse("other").unwrap(),
        offset: 4,
    };
    assert!(!open.history.recovers(foreign, at(0)));
}

pub(crate) fn a_recovery_by_time_tells_what_it_misses<S: Subject>() {
    let bounds = Bounds {
        messages: 3,
        ..WIDE
    };
    // Offsets 3, 4 and 5 are held, from 30 on.
    let open = Open::<S>::new(bounds).with(&[10, 20, 30, 30, 50]);
    for (from, after, whole) in [
        (0, 2, false),
        (20, 2, false),
        (21, 2, true),
        (30, 2, true),
        (31, 4, true),
        (50, 4, true),
        (51, 5, true),
    ] {
        assert_eq!(open.history.first_since(at(from)), after, "{from}");
        assert_eq!(open.history.holds_since(at(from), at(60)), whole, "{from}");
    }
}

pub(crate) fn a_grace_before_the_first_message_loses_nothing<S: Subject>() {
    let open = Open::<S>::new(WIDE);
    assert_eq!(open.history.first_since(at(0)), 0);
    assert!(open.history.holds_since(BEGUN, at(0)));
    let open = open.with(&[10]);
    assert_eq!(open.history.first_since(Timestamp(0)), 0);
    assert!(open.history.holds_since(BEGUN, at(10)));
}

pub(crate) fn a_cleared_history_starts_another_life<S: Subject>() {
    let mut open = Open::<S>::new(WIDE).with(&[10, 20]);
    let before = open.cursor(2);
    open.history.clear().unwrap();
    assert_ne!(open.history.epoch(), before.epoch);
    assert_eq!((open.history.newest(), open.history.settled()), (0, 0));
    assert_eq!((open.history.oldest(), open.history.len()), (1, 0));
    assert!(!open.history.recovers(before, at(20)));
    assert!(!open.history.holds_since(at(20), at(20)));
    assert!(open.history.holds_since(at(21), at(21)));
    let first = open.append(1, at(0));
    assert_eq!(first.position, Some(open.cursor(1)));
    assert_eq!(first.time, at(20));
}

pub(crate) fn topics_do_not_see_each_other<S: Subject>() {
    let mut one = Open::<S>::new(WIDE);
    let mut other = one.subject.store().open(&topic("u"), WIDE).unwrap();
    assert_ne!(one.history.epoch(), other.epoch());
    one.append(1, at(0));
    other.append(message("u", 1), Retain::Leave, at(0)).unwrap();
    other.append(message("u", 1), Retain::Leave, at(0)).unwrap();
    one.subject.settle();
    assert_eq!((one.history.newest(), other.newest()), (1, 2));
    assert_eq!(one.read(0, at(0)), [1]);
    assert_eq!(offsets(&other.read(0, ALL, at(0))), [1, 2]);
}

pub(crate) fn a_history_that_would_keep_nothing_is_refused<S: Subject>() {
    let subject = S::begin(BEGUN);
    let bounds = Bounds {
        messages: 0,
        ..WIDE
    };
    let refused = subject.store().open(&topic("t"), bounds).unwrap_err();
    assert_eq!(refused, HistoryError::NoMessages);
    assert!(!refused.is_passing());
}
