//! Who can be brought up to date.

use super::{BEGUN, Bounds, Epoch, Open, Position, Subject, Timestamp, WIDE, at};

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
    let mut open = Open::<S>::new(bounds).with(&[10, 20, 30, 30, 50]);
    for (from, after, whole) in [
        (0, 2, false),
        (20, 2, false),
        (21, 2, true),
        (30, 2, true),
        (31, 4, true),
        (50, 4, true),
        (51, 5, true),
    ] {
        assert_eq!(open.first_since(at(from), at(60)), after, "{from}");
        assert_eq!(open.history.holds_since(at(from), at(60)), whole, "{from}");
    }
}

pub(crate) fn a_grace_before_the_first_message_loses_nothing<S: Subject>() {
    let mut open = Open::<S>::new(WIDE);
    assert_eq!(open.first_since(at(0), at(10)), 0);
    assert!(open.history.holds_since(BEGUN, at(0)));
    let mut open = open.with(&[10]);
    assert_eq!(open.first_since(Timestamp(0), at(10)), 0);
    assert!(open.history.holds_since(BEGUN, at(10)));
}
