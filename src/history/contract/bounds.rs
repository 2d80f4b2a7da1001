//! How much of a topic is kept, and how much of that is read at once.

use super::{Bounds, Duration, Limit, Open, Subject, WIDE, at, message, offsets};

pub(crate) fn only_as_many_as_the_bound_are_kept<S: Subject>() {
    let bounds = Bounds {
        messages: 3,
        ..WIDE
    };
    let mut open = Open::<S>::new(bounds).with(&[0; 10]);
    assert_eq!(open.read(0, at(0)), [8, 9, 10]);
    assert_eq!((open.history.oldest(), open.history.len()), (8, 3));
}

pub(crate) fn other_bounds_hold_from_the_moment_they_are_given<S: Subject>() {
    let mut open = Open::<S>::new(WIDE).with(&[0; 10]);
    let bounds = Bounds {
        messages: 3,
        ..WIDE
    };
    open.rebound(bounds, at(0));
    assert_eq!(open.read(0, at(0)), [8, 9, 10]);
    let mut open = open.with(&[1]);
    assert_eq!(open.read(0, at(1)), [9, 10, 11]);
    open.rebound(WIDE, at(1));
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
    let mut open = Open::<S>::new(WIDE).with(&[0; 6]);
    let weight = message("t", 1).weight();
    let mut read = |after, messages, bytes| {
        let limit = Limit { messages, bytes };
        offsets(&open.read_within(after, limit, at(0)))
    };
    assert_eq!(read(2, 10, 0), [3]);
    assert_eq!(read(2, 10, weight * 2), [3, 4]);
    assert_eq!(read(2, 10, weight * 3 - 1), [3, 4]);
    assert_eq!(read(2, 3, usize::MAX), [3, 4, 5]);
    assert!(read(2, 0, usize::MAX).is_empty());
    assert!(read(6, 10, 0).is_empty());
}
