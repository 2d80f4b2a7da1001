//! What a filter is told of the past of its topics.

use super::*;
use crate::broker::message::{MAX_GAPS, WildStand};

/// A home with room for so many topics, and as many that have history: `h/0`, `h/1` and so on.
pub(super) fn home_of(topics: usize) -> Home {
    let mut home = home();
    home.common.max_topics.store(topics, Ordering::Relaxed);
    for n in 0..topics {
        publish(&mut home, &format!("h/{n}"), 1_000);
    }
    home
}

pub(super) fn since(from: Option<u64>) -> Option<WildSince> {
    Some(WildSince {
        positions: Arc::default(),
        from: from.map(Timestamp),
    })
}

#[test]
fn of_many_topics_that_did_not_recover_none_is_named() {
    for (topics, named) in [(MAX_GAPS, MAX_GAPS), (MAX_GAPS + 1, 0), (MAX_GAPS * 3, 0)] {
        let mut home = home_of(topics);
        let ask = wild("h/#", None, since(None));
        let mut stand = home.subscribe_filter(0, &ask, Timestamp(2_000));
        assert!(!stand.recovered);
        assert!(stand.gaps.len() <= MAX_GAPS + 1, "{}", stand.gaps.len());
        assert_eq!(stand.named_gaps().len(), named, "{topics}");
        // Nothing is replayed of them, so nothing is said of them.
        assert_eq!(stand.spans.len(), 0);
    }
}

#[test]
fn the_gaps_of_all_homes_together_are_as_few() {
    let mut all = WildStand::default();
    for n in 0..MAX_GAPS * 3 {
        all.add_gap(&topic(&format!("h/{n}")));
    }
    assert_eq!(all.gaps.len(), MAX_GAPS + 1);
    assert!(all.named_gaps().is_empty());
}
