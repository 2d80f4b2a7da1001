//! What a history says of the messages that it was given.

use super::{
    ALL, BEGUN, Bounds, Epoch, HistoryError, Open, Payload, Position, Retain, SessionId, Subject,
    WIDE, at, message, offsets, topic,
};

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
    given.publisher = Some(SessionId(7));
    // What the history alone says is not believed of others.
    given.time = at(77);
    given.position = Some(Position {
        epoch: Epoch::parse("other").unwrap(),
        offset: 9,
    });
    open.take(given.clone(), Retain::Leave, at(5));
    let held = open.read_within(0, ALL, at(5));
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].payload, given.payload);
    assert_eq!((&held[0].user, &held[0].key), (&given.user, &given.key));
    assert_eq!(held[0].publisher, given.publisher);
    assert_eq!((&held[0].topic, held[0].time), (&given.topic, at(5)));
    assert_eq!(held[0].position, Some(open.cursor(1)));
    assert_eq!(open.history.bytes(), given.weight());
}

pub(crate) fn time_does_not_go_back_within_a_topic<S: Subject>() {
    let mut open = Open::<S>::new(WIDE).with(&[10, 5, 20, 0]);
    let held = open.read_within(0, ALL, at(0));
    let times: Vec<_> = held.iter().map(|message| message.time).collect();
    assert_eq!(times, [at(10), at(10), at(20), at(20)]);
}

pub(crate) fn a_cleared_history_starts_another_life<S: Subject>() {
    let mut open = Open::<S>::new(WIDE).with(&[10, 20]);
    let before = open.cursor(2);
    open.clear();
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
    let mut other = one.subject.open("u", WIDE);
    assert_ne!(one.history.epoch(), other.epoch());
    one.append(1, at(0));
    one.subject.append(&mut *other, message("u", 1), at(0));
    one.subject.append(&mut *other, message("u", 1), at(0));
    assert_eq!((one.history.newest(), other.newest()), (1, 2));
    assert_eq!(one.read(0, at(0)), [1]);
    assert_eq!(
        offsets(&one.subject.read(&mut *other, 0, ALL, at(0))),
        [1, 2]
    );
}

pub(crate) fn a_history_that_would_keep_nothing_is_refused<S: Subject>() {
    let subject = S::begin(BEGUN);
    let bounds = Bounds {
        messages: 0,
        ..WIDE
    };
    let terms = subject.terms(bounds);
    let refused = subject.store().open(&topic("t"), terms, subject.news());
    let refused = refused.unwrap_err();
    assert_eq!(refused, HistoryError::NoMessages);
    assert!(!refused.is_passing());
}
