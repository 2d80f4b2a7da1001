//! Topics, while the store has hardly any room.

use super::*;
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
