//! Topics, while the store has hardly any room.

use super::*;
use crate::broker::testing::retained;
use crate::history::MemoryStore;

#[test]
fn topics_make_room_for_new_ones_and_one_without_room_is_forgotten() {
    let weight = {
        let mut home = home();
        let (_, delivery) = publish(&mut home, "h/a", 1);
        delivery.published.message().unwrap().weight()
    };
    let store = Arc::new(MemoryStore::new(weight * 16, || 7, Timestamp(0)));
    let mut home = home_in(
        Arc::<MemoryStore>::clone(&store),
        AnswerBound::new(Duration::ZERO, 0),
    );
    home.common.max_topics.store(100, Ordering::Relaxed);
    for now in 1..=30 {
        publish(&mut home, "h/a", now);
    }
    for n in 0..20 {
        publish(&mut home, &format!("h/{n}"), 40);
        assert!(store.usage().bytes <= weight * 16);
    }
    // One had room; the others were delivered, and nothing is left of them.
    assert_eq!((home.topics.len(), home.histories.len()), (2, 2));
    assert_eq!(home.common.directory.count(), 2);
    let held = |home: &Home| {
        let view = home.common.directory.get(&topic("h/a")).unwrap();
        view.messages
    };
    let before = held(&home);
    home.sweep(Timestamp(50));
    assert_eq!(held(&home), before - 1);
    publish(&mut home, "h/1", 60);
    assert_eq!(home.topics.len(), 3);
}

#[test]
fn a_topic_that_was_made_for_what_is_refused_is_gone_at_once() {
    let store = Arc::new(MemoryStore::new(1, || 7, Timestamp(0)));
    let mut home = home_in(store, AnswerBound::new(Duration::from_secs(60), 10));
    home.subscribe_at(0, exact("r/b", None, None), Timestamp(1))
        .unwrap();
    for name in ["r/a", "hr/a", "r/b"] {
        let message = retained(&topic(name), "x");
        let refused = home.publish_once(message, nobody(0), Timestamp(2), Instant::now());
        assert_eq!(refused.unwrap_err().code, ErrorCode::Unavailable, "{name}");
        let left: Vec<_> = home.topics.keys().map(TopicName::as_str).collect();
        assert_eq!(left, ["r/b"], "after {name}");
        assert_eq!(home.common.directory.count(), 1);
        assert_eq!(home.common.topics.load(Ordering::Relaxed), 1);
        assert!(home.histories.is_empty());
    }
}
