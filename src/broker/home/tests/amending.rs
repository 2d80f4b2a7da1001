//! Topics that are held to other rules.

use super::*;

fn replace(home: &Home, rules: Vec<crate::broker::Rule>) {
    home.common.rules.replace(crate::broker::Rules::new(rules));
}

#[test]
fn whoever_has_a_filter_is_told_what_a_topic_lost_that_only_its_history_held() {
    let mut home = home();
    publish(&mut home, "h/a", 1_000);
    home.stand(2, wild("h/#", None, None), Timestamp(1_000));
    replace(&home, Vec::new());
    let told = home.amend(Timestamp(2_000));
    let [delivery] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(workers(delivery), [2]);
    assert!(matches!(delivery.published.event(), Event::Cleared { .. }));
    assert_eq!(home.common.directory.count(), 0);
    assert_eq!(home.histories.len(), 0);
}

#[test]
fn a_topic_that_keeps_a_history_from_now_on_is_found_by_filters() {
    let mut home = home();
    home.subscribe_at(0, exact("new/a", None, None), Timestamp(1))
        .unwrap();
    replace(&home, vec![rule_of_history("new/#")]);
    home.amend(Timestamp(2));
    publish(&mut home, "new/a", 3);
    let stand = home.stand(0, wild("new/#", Some(5), None), Timestamp(4));
    assert_eq!(stand.spans.len(), 1);
}

/// Workers hold what they have to new rules one after the other.
#[test]
fn who_is_there_is_noted_by_the_new_rules_before_the_topic_is_held_to_them() {
    let mut home = home();
    let ask = |id| ExactAsk {
        member: member(SessionId(id)),
        ..exact("new/a", None, None)
    };
    home.subscribe_at(0, ask(1), Timestamp(1)).unwrap();
    let presence = crate::broker::rules::TopicRule {
        presence: true,
        ..Default::default()
    };
    replace(
        &home,
        vec![crate::broker::Rule {
            filter: filter("new/#"),
            topic: presence,
        }],
    );
    home.present(0, &topic("new/a"), member(SessionId(1)));
    home.subscribe_at(1, ask(2), Timestamp(2)).unwrap();
    home.amend(Timestamp(3));
    let there = home.presence(&topic("new/a")).unwrap();
    assert_eq!(there.len(), 2);
}

#[test]
fn a_worker_that_is_gone_leaves_nothing_and_others_stay() {
    let mut home = home();
    for (shard, id) in [(0, 1), (1, 2)] {
        let ask = ExactAsk {
            member: member(SessionId(id)),
            ..exact("p/a", None, None)
        };
        home.subscribe_at(shard, ask, Timestamp(1)).unwrap();
    }
    home.subscribe_at(1, exact("live", None, None), Timestamp(1))
        .unwrap();
    home.stand(1, wild("p/#", None, None), Timestamp(1));
    let told = home.forget_worker(1, Timestamp(2));
    let [leave] = &told[..] else {
        panic!("{told:?}");
    };
    assert!(
        matches!(leave.published.event(), Event::Leave { member, .. } if member.session.0 == 2)
    );
    assert_eq!(workers(leave), [0]);
    assert_eq!(workers(&publish(&mut home, "p/a", 3).1), [0]);
    assert_eq!(home.presence(&topic("p/a")).unwrap().len(), 1);
    assert_eq!(home.topics.len(), 1);
    assert!(home.forget_worker(1, Timestamp(3)).is_empty());
}

fn rule_of_history(text: &str) -> crate::broker::Rule {
    crate::broker::Rule {
        filter: filter(text),
        topic: crate::broker::rules::TopicRule {
            history: Some(crate::history::Bounds {
                messages: 10,
                age: None,
                bytes: usize::MAX,
            }),
            ..Default::default()
        },
    }
}
