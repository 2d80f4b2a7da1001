//! The message that a topic retains, beside its history or without one.

use super::{Arc, Bounds, Duration, Open, Retain, Subject, WIDE, at, message};

pub(crate) fn the_retained_message_stays_when_the_bounds_drop_it<S: Subject>() {
    let bounds = Bounds {
        messages: 2,
        age: Some(Duration::from_millis(100)),
        ..WIDE
    };
    let mut open = Open::<S>::new(bounds);
    assert_eq!(open.retained(), None);
    let given = open.append_and(Retain::Set, 10, at(0));
    assert_eq!(open.retained(), Some(1));
    assert_eq!(open.history.retained().unwrap().payload, given.payload);
    for _ in 0..3 {
        open.append(1, at(0));
    }
    assert_eq!(open.read(0, at(0)), [3, 4]);
    open.history.trim(at(1000));
    assert!(open.history.is_empty());
    assert_eq!((open.history.bytes(), open.retained()), (0, Some(1)));
    assert_eq!(open.history.retained().unwrap().time, at(0));
}

pub(crate) fn a_message_that_is_not_to_be_retained_leaves_the_one_that_is<S: Subject>() {
    let mut open = Open::<S>::new(WIDE);
    for (retain, retained) in [
        (Retain::Leave, None),
        (Retain::Set, Some(2)),
        (Retain::Leave, Some(2)),
        (Retain::Set, Some(4)),
        (Retain::Clear, None),
        (Retain::Clear, None),
        (Retain::Set, Some(7)),
    ] {
        open.append_and(retain, 1, at(0));
        assert_eq!(open.retained(), retained);
    }
    // Whatever it does to the retained message, a message is one of the history.
    assert_eq!(open.read(0, at(0)), [1, 2, 3, 4, 5, 6, 7]);
}

pub(crate) fn a_cleared_history_retains_nothing<S: Subject>() {
    let mut open = Open::<S>::new(WIDE);
    open.append_and(Retain::Set, 1, at(0));
    open.clear();
    assert_eq!(open.history.retained().map(|m| m.time), None);
    open.append(1, at(0));
    assert_eq!(open.retained(), None);
}

pub(crate) fn a_topic_without_history_retains_one_message_as_it_was_given<S: Subject>() {
    let subject = S::begin(at(0));
    let name = message("r", 0).topic;
    let opened = subject
        .store()
        .open_retained(&name, subject.durability(), subject.news());
    let mut retained = opened.unwrap();
    assert!(retained.message().is_none());
    for size in [5, 7] {
        let given = super::Message {
            time: at(3),
            ..message("r", size)
        };
        let completion = retained.set(Some(Arc::new(given.clone())), None).unwrap();
        subject.settle_retained(&mut *retained, completion);
        let held = retained.message().unwrap();
        assert_eq!((&held.payload, held.time), (&given.payload, given.time));
        assert_eq!(held.position, None);
    }
    let completion = retained.set(None, None).unwrap();
    subject.settle_retained(&mut *retained, completion);
    assert!(retained.message().is_none());
}
