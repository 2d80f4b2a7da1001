//! What a home retains, and how it is read and removed.

use super::*;
use crate::broker::message::RetainedAsk;
use crate::broker::testing::retained;

fn retain(home: &mut Home, name: &str, text: &str) -> Result<(Receipt, Delivery), Refusal> {
    let message = retained(&topic(name), text);
    home.publish_at(message, Timestamp(5))
}

fn ask(text: &str, after: Option<&str>, limit: Limit) -> RetainedAsk {
    RetainedAsk {
        filter: filter(text),
        after: after.map(topic),
        access: Arc::new(Access::everything()),
        limit,
    }
}

/// The texts of a piece, and the name that it reached.
fn read(home: &Home, ask: &RetainedAsk) -> (Vec<String>, Option<String>) {
    let piece = home.read_retained(ask);
    let text =
        |r: &crate::broker::message::Retained| r.message.payload.as_str().unwrap().to_owned();
    let reached = piece.reached.map(|name| name.to_string());
    (piece.messages.iter().map(text).collect(), reached)
}

#[test]
fn a_topic_that_retains_is_there_until_it_is_cleared() {
    let mut home = home();
    let is_there = |home: &Home, name| home.common.directory.get(&topic(name)).is_some();
    let refused = retain(&mut home, "live", "x").unwrap_err();
    assert_eq!(refused.code, ErrorCode::Forbidden);
    assert!(!is_there(&home, "live"));
    let (receipt, delivery) = retain(&mut home, "r/a", "1").unwrap();
    assert_eq!(receipt.position, None);
    assert!(delivery.published.retained().is_none());
    // What follows carries it.
    let (_, delivery) = publish(&mut home, "r/a", 9);
    assert_eq!(delivery.published.retained().unwrap().time, Timestamp(5));
    let all = |home: &Home| read(home, &ask("#", None, ALL)).0;
    assert_eq!(all(&home), ["1"]);
    retain(&mut home, "r/a", "2").unwrap();
    assert_eq!(all(&home), ["2"]);
    home.sweep(Timestamp(u64::MAX));
    assert!(home.common.directory.get(&topic("r/a")).unwrap().retained);
    let (_, delivery) = retain(&mut home, "r/a", "").unwrap();
    assert!(delivery.published.message().is_some());
    assert!(!is_there(&home, "r/a"));
    assert!(all(&home).is_empty());
    // To clear what is not there makes no topic.
    retain(&mut home, "r/b", "").unwrap();
    assert!(!is_there(&home, "r/b"));
}

#[test]
fn retained_messages_are_read_in_pieces_in_the_order_of_names() {
    let mut home = home();
    for name in ["r/c", "r/a/x", "hr/a", "r/b"] {
        retain(&mut home, name, name).unwrap();
    }
    let two = Limit { messages: 2, ..ALL };
    let small = Limit { bytes: 1, ..ALL };
    for (text, after, limit, expected, reached) in [
        ("#", None, ALL, &["hr/a", "r/a/x", "r/b", "r/c"][..], None),
        ("#", None, two, &["hr/a", "r/a/x"], Some("r/a/x")),
        ("#", Some("r/a/x"), two, &["r/b", "r/c"], None),
        ("#", Some("r/b"), two, &["r/c"], None),
        ("#", None, small, &["hr/a"], Some("hr/a")),
        ("r/+", None, ALL, &["r/b", "r/c"], None),
        ("r/+", None, small, &["r/b"], Some("r/b")),
        ("r/#", Some("r/c"), ALL, &[], None),
        ("+/a", None, ALL, &["hr/a"], None),
        ("r/b", None, ALL, &["r/b"], None),
        ("r/none", None, ALL, &[], None),
    ] {
        let found = read(&home, &ask(text, after, limit));
        let expected: Vec<String> = expected.iter().map(|&text| text.to_owned()).collect();
        let told = format!("{text} {after:?} {limit:?}");
        assert_eq!(found, (expected, reached.map(str::to_owned)), "{told}");
    }
}

#[test]
fn a_removal_begins_another_life_and_tells_what_was_removed() {
    let mut home = home();
    let refused = home.clear_at("h/a", Timestamp(1)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotFound);
    home.subscribe_at(1, exact("hr/a", None, None), Timestamp(1))
        .unwrap();
    publish(&mut home, "hr/a", 1);
    retain(&mut home, "hr/a", "x").unwrap();
    let before = epoch_of(&home, "hr/a");
    let (cleared, told) = home.clear_at("hr/a", Timestamp(2)).unwrap();
    assert_eq!((cleared.messages, cleared.retained), (2, true));
    let told = told.unwrap();
    assert_eq!(workers(&told), [1]);
    let Event::Cleared { removed, .. } = told.published.event() else {
        panic!("{told:?}");
    };
    assert_eq!((removed.count, removed.end), (2, Some((before, 2))));
    let view = home.common.directory.get(&topic("hr/a")).unwrap();
    let position = view.position.unwrap();
    assert_ne!(position.0, before);
    assert_eq!(
        (position.1, view.messages, view.subscribers, view.retained),
        (0, 0, 1, false)
    );
    let stand = |home: &mut Home, since| {
        let ask = exact("hr/a", None, Some(since));
        home.subscribe_at(1, ask, Timestamp(3)).unwrap().0
    };
    assert_eq!(stand(&mut home, (before, 2)).recovered, Some(false));
    let (receipt, _) = publish(&mut home, "hr/a", 4);
    assert_eq!(receipt.position.unwrap().offset, 1);
    // Nothing to lose, nothing to tell; nobody there, nothing left.
    home.subscribe_at(0, exact("live", None, None), Timestamp(1))
        .unwrap();
    assert!(home.clear_at("live", Timestamp(2)).unwrap().1.is_none());
    publish(&mut home, "h/b", 1);
    home.clear_at("h/b", Timestamp(2)).unwrap();
    assert!(home.common.directory.get(&topic("h/b")).is_none());
}

#[test]
fn who_subscribes_is_owed_what_neither_the_replay_nor_a_recovery_brings() {
    let mut home = home();
    publish(&mut home, "hr/a", 1);
    retain(&mut home, "hr/a", "x").unwrap();
    publish(&mut home, "hr/a", 3);
    retain(&mut home, "r/a", "x").unwrap();
    let epoch = epoch_of(&home, "hr/a");
    let other = Epoch::parse("other").unwrap();
    for (name, last, since, owes) in [
        ("hr/a", None, None, true),
        ("hr/a", Some(1), None, true),
        ("hr/a", Some(2), None, false),
        ("hr/a", None, Some((epoch, 3)), false),
        ("hr/a", None, Some((epoch, 1)), false),
        ("hr/a", None, Some((other, 3)), true),
        ("hr/a", Some(2), Some((other, 3)), false),
        ("r/a", None, None, true),
        ("r/a", None, Some((epoch, 3)), true),
        ("r/b", None, None, false),
        ("h/a", None, None, false),
    ] {
        let ask = exact(name, last, since);
        let (stand, _) = home.subscribe_at(0, ask, Timestamp(9)).unwrap();
        assert_eq!(stand.has_retained, owes, "{name} {last:?} {since:?}");
    }
}
