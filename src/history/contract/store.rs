//! What a store says of topics that are closed, or were before it.

use super::{BEGUN, Retain, Subject, WIDE, at, message, topic};
use crate::model::{Filter, Timestamp};

pub(crate) fn a_store_does_not_remember_what_was_before_it<S: Subject>() {
    let subject = S::begin(BEGUN);
    let before = Timestamp(BEGUN.0 - 1);
    let all = Filter::new("#").unwrap();
    assert!(subject.store().remembers(&all, BEGUN));
    assert!(!subject.store().remembers(&all, before));
    let history = subject.store().open(&topic("t"), WIDE).unwrap();
    assert!(history.holds_since(BEGUN, BEGUN));
    assert!(!history.holds_since(before, BEGUN));
}

pub(crate) fn what_went_with_a_closed_topic_is_missed_of_that_topic_alone<S: Subject>() {
    let subject = S::begin(BEGUN);
    let store = subject.store();
    let mut kept = store.open(&topic("kept"), WIDE).unwrap();
    let gone = message("gone", 1);
    kept.append(message("kept", 1), Retain::Leave, at(10))
        .unwrap();
    let mut history = store.open(&topic("gone"), WIDE).unwrap();
    history.append(gone, Retain::Leave, at(20)).unwrap();
    subject.settle();
    drop(history);
    // It is there again, if the store kept nothing of it.
    let again = store.open(&topic("gone"), WIDE).unwrap();
    let is_lost = again.is_empty();
    let later = store.open(&topic("later"), WIDE).unwrap();
    for from in [at(0), at(20), at(21)] {
        let missed = is_lost && from <= at(20);
        let remembers = |filter| store.remembers(&Filter::new(filter).unwrap(), from);
        assert!(kept.holds_since(from, at(30)), "{from:?}");
        assert!(later.holds_since(from, at(30)), "{from:?}");
        assert_eq!(again.holds_since(from, at(30)), !missed, "{from:?}");
        assert_eq!(remembers("#"), !missed, "{from:?}");
        assert_eq!(remembers("gone"), !missed, "{from:?}");
        assert!(remembers("+/gone") && remembers("kept"), "{from:?}");
    }
}
