//! What a store says of topics that are closed, or were before it.

use super::{BEGUN, Subject, WIDE, at, message};
use crate::model::{Filter, Timestamp};

pub(crate) fn a_store_does_not_remember_what_was_before_it<S: Subject>() {
    let subject = S::begin(BEGUN);
    let before = Timestamp(BEGUN.0 - 1);
    let all = Filter::new("#").unwrap();
    let remembers = |from| subject.store().remembers(&all, from, subject.durability());
    assert!(remembers(BEGUN));
    assert!(!remembers(before));
    let history = subject.open("t", WIDE);
    assert!(history.holds_since(BEGUN, BEGUN));
    assert!(!history.holds_since(before, BEGUN));
}

pub(crate) fn what_went_with_a_closed_topic_is_missed_of_that_topic_alone<S: Subject>() {
    let subject = S::begin(BEGUN);
    let store = subject.store();
    let mut kept = subject.open("kept", WIDE);
    subject.append(&mut *kept, message("kept", 1), at(10));
    let mut history = subject.open("gone", WIDE);
    subject.append(&mut *history, message("gone", 1), at(20));
    drop(history);
    // It is there again, if the store kept nothing of it.
    let again = subject.open("gone", WIDE);
    let is_lost = again.is_empty();
    let later = subject.open("later", WIDE);
    for from in [at(0), at(20), at(21)] {
        let missed = is_lost && from <= at(20);
        let remembers = |filter| {
            let filter = Filter::new(filter).unwrap();
            store.remembers(&filter, from, subject.durability())
        };
        assert!(kept.holds_since(from, at(30)), "{from:?}");
        assert!(later.holds_since(from, at(30)), "{from:?}");
        assert_eq!(again.holds_since(from, at(30)), !missed, "{from:?}");
        assert_eq!(remembers("#"), !missed, "{from:?}");
        assert_eq!(remembers("gone"), !missed, "{from:?}");
        assert!(remembers("+/gone") && remembers("kept"), "{from:?}");
    }
}
