//! What a filter is told of the past of its topics.

use super::*;
use crate::broker::message::{MAX_GAPS, WildStand};

/// A home with room for so many topics, and as many that have history: `h/0`, `h/1` and so on.
pub(super) fn home_of(topics: usize) -> Home {
    let mut home = home();
    home.common.max_topics.store(topics, Ordering::Relaxed);
    home.common.max_replay.store(10_000, Ordering::Relaxed);
    for n in 0..topics {
        publish(&mut home, &format!("h/{n}"), 1_000);
    }
    home
}

#[expect(clippy::unnecessary_wraps, reason = "as it stands in what is asked")]
pub(super) fn since(from: Option<u64>) -> Option<WildSince> {
    Some(WildSince {
        positions: Arc::default(),
        from: from.map(Timestamp),
    })
}

#[test]
fn a_filter_is_recovered_by_positions_and_else_by_time_and_says_what_it_cannot() {
    let mut home = home();
    let minute = 60_000;
    for n in 1..=15 {
        for name in ["few/a", "few/b", "few/long/c"] {
            publish(&mut home, name, n * minute);
        }
    }
    let ask = |home: &Home, from: Option<u64>, at: &[(&str, u64)]| {
        let cursor = |name: &str, offset| Cursor {
            epoch: Some(epoch_of(home, name)),
            offset,
        };
        let mut positions: Vec<_> = at
            .iter()
            .map(|(name, offset)| (topic(name), cursor(name, *offset)))
            .collect();
        let gone = Cursor {
            epoch: Epoch::parse("gone"),
            offset: 7,
        };
        if at.len() > 2 {
            positions.push((topic("few/gone"), gone));
        }
        positions.sort_by(|one, other| one.0.cmp(&other.0));
        WildSince {
            positions: Arc::new(positions),
            from: from.map(|n| Timestamp(n * minute)),
        }
    };
    for (from, positions, gaps, after) in [
        (Some(10), &[][..], &[][..], [9, 9, 9]),
        (
            Some(10),
            &[("few/a", 5), ("few/long/c", 12)],
            &[],
            [5, 9, 12],
        ),
        (Some(10), &[("few/a", 4)], &["few/a"], [15, 9, 9]),
        (Some(4), &[], &["few/a", "few/b"], [15, 15, 3]),
        (
            None,
            &[("few/a", 14)],
            &["few/b", "few/long/c"],
            [14, 15, 15],
        ),
        (
            Some(10),
            &[("few/a", 14), ("few/b", 14), ("few/long/c", 14)],
            &["few/gone"],
            [14, 14, 14],
        ),
    ] {
        let case = format!("{from:?} {positions:?}");
        let since = ask(&home, from, positions);
        let stand = home.stand(0, wild("few/#", None, Some(since)), Timestamp(15 * minute));
        let mut told: Vec<_> = stand.gaps.iter().map(ToString::to_string).collect();
        told.sort();
        assert_eq!(told, gaps, "{case}");
        assert_eq!(stand.recovered, gaps.is_empty() && from.is_some(), "{case}");
        let spans: BTreeMap<_, _> = stand
            .spans
            .iter()
            .map(|(t, s)| (t.as_str(), s.after))
            .collect();
        let expected = ["few/a", "few/b", "few/long/c"].into_iter().zip(after);
        assert_eq!(spans, expected.collect(), "{case}");
    } // What was published to topics without history meanwhile is lost, and nobody knows their names.
    let since = ask(&home, Some(10), &[]);
    let stand = home.stand(0, wild("#", None, Some(since)), Timestamp(15 * minute));
    assert_eq!((stand.recovered, stand.gaps.len()), (false, 0));
    assert_eq!(stand.spans.len(), 3);
}

#[test]
fn of_many_topics_that_did_not_recover_none_is_named() {
    for (topics, named) in [(MAX_GAPS, MAX_GAPS), (MAX_GAPS + 1, 0), (MAX_GAPS * 3, 0)] {
        let mut home = home_of(topics);
        let ask = wild("h/#", None, since(None));
        let mut stand = home.stand(0, ask, Timestamp(2_000));
        assert!(!stand.recovered);
        assert!(stand.gaps.len() <= MAX_GAPS + 1, "{}", stand.gaps.len());
        assert_eq!(stand.named_gaps().len(), named, "{topics}");
        assert!(stand.spans.iter().all(|(_, span)| span.count() == 0));
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

fn spans(stand: &WildStand) -> Vec<String> {
    let spans = stand.spans.iter();
    spans
        .map(|(topic, span)| format!("{topic} {}..{}", span.after, span.until))
        .collect()
}

#[test]
fn a_scan_in_slices_finds_what_one_at_once_does() {
    let mut home = home_of(50);
    publish(&mut home, "h/7", 2_000);
    for ask in [
        || wild("h/#", Some(1), None),
        || wild("h/+", None, since(Some(1_500))),
        || wild("+/7", Some(9), None),
        || wild("none/+/x", Some(9), None),
    ] {
        let whole = home.stand(0, ask(), Timestamp(3_000));
        let mut scan = home.subscribe_filter(0, Box::new(ask()));
        let mut slices = 1;
        while home.scan(&mut scan, &mut 7, Timestamp(3_000)) != Looked::AtAll {
            slices += 1;
        }
        let pieces = scan.into_stand();
        assert_eq!(spans(&pieces), spans(&whole));
        assert_eq!(pieces.recovered, whole.recovered);
        assert_eq!(slices, if whole.spans.is_empty() { 1 } else { 8 });
    }
}

#[test]
fn topics_that_come_and_go_during_a_scan_are_in_it_or_told() {
    let mut home = home_of(50);
    home.common.max_topics.store(100, Ordering::Relaxed);
    let known = Cursor {
        epoch: Some(epoch_of(&home, "h/9")),
        offset: 1,
    };
    let asked = WildSince {
        positions: Arc::new(vec![(topic("h/9"), known)]),
        from: Some(Timestamp(1_000)),
    };
    let ask = wild("h/#", None, Some(asked));
    let mut scan = home.subscribe_filter(0, Box::new(ask));
    assert_eq!(
        home.scan(&mut scan, &mut 10, Timestamp(2_000)),
        Looked::AtSome
    );
    // Behind what has been looked at, and before it.
    publish(&mut home, "h/99", 2_000);
    publish(&mut home, "h/00", 2_000);
    home.clear_at("h/9", Timestamp(2_000)).unwrap();
    assert_eq!(
        home.scan(&mut scan, &mut 100, Timestamp(2_000)),
        Looked::AtAll
    );
    let mut stand = scan.into_stand();
    assert!(!stand.recovered);
    assert_eq!(stand.named_gaps(), [topic("h/9")]);
    let found = spans(&stand);
    assert!(found.contains(&"h/99 0..1".to_owned()), "{found:?}");
    // The session notes by itself what is live from its asking on.
    assert!(!found.iter().any(|span| span.starts_with("h/00 ")));
}

#[test]
fn a_home_looks_only_at_topics_with_history_that_begin_as_the_filter_does() {
    let mut home = home_of(30);
    home.common.max_topics.store(100, Ordering::Relaxed);
    for n in 0..20 {
        home.subscribe_at(0, exact(&format!("live/{n}"), None, None), Timestamp(1))
            .unwrap();
    }
    publish(&mut home, "few/a", 1_000);
    for (filter, looked_at) in [("#", 31), ("few/#", 1), ("live/#", 0), ("none/+/x", 0)] {
        let mut budget = 1_000;
        let mut scan = home.subscribe_filter(0, Box::new(wild(filter, Some(1), None)));
        assert_eq!(
            home.scan(&mut scan, &mut budget, Timestamp(2_000)),
            Looked::AtAll
        );
        assert_eq!(1_000 - budget, looked_at, "{filter}");
    }
    // As many as it has: none that was forgotten.
    publish(&mut home, "aged/a", 1_000);
    home.sweep(Timestamp(9_000));
    let mut budget = 1_000;
    let mut scan = home.subscribe_filter(0, Box::new(wild("#", Some(1), None)));
    assert_eq!(
        home.scan(&mut scan, &mut budget, Timestamp(9_000)),
        Looked::AtAll
    );
    assert_eq!(1_000 - budget, 31);
}

#[test]
fn a_topic_that_was_forgotten_is_missed_where_it_matches_and_nowhere_else() {
    let mut home = home();
    publish(&mut home, "few/a", 1_000);
    publish(&mut home, "aged/x", 2_000);
    publish(&mut home, "few/a", 2_500);
    home.sweep(Timestamp(9_000));
    assert_eq!(home.common.directory.count(), 1);
    let now = Timestamp(9_000);
    for (from, filter, recovered) in [
        (1_500, "few/#", true),
        (1_500, "aged/#", false),
        (2_001, "aged/#", true),
    ] {
        let stand = home.stand(0, wild(filter, None, since(Some(from))), now);
        assert_eq!(stand.recovered, recovered, "{filter} since {from}");
        assert!(stand.gaps.is_empty());
    }
    // By name too; the topic that went is there again since.
    publish(&mut home, "aged/x", 9_000);
    for (name, recovered) in [("few/a", true), ("aged/x", false)] {
        let ask = ExactAsk {
            since: Some(Cursor {
                epoch: None,
                offset: 0,
            }),
            from: Some(Timestamp(1_500)),
            ..exact(name, None, None)
        };
        let (stand, _) = home.subscribe_at(0, ask, now).unwrap();
        assert_eq!(stand.recovered, Some(recovered), "{name}");
    }
}
