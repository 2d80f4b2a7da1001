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
    home.subscribe(0, &exact("new/a", None, None), Timestamp(1))
        .unwrap();
    replace(&home, vec![rule_of_history("new/#")]);
    home.amend(Timestamp(2));
    publish(&mut home, "new/a", 3);
    let stand = home.stand(0, wild("new/#", Some(5), None), Timestamp(4));
    assert_eq!(stand.spans.len(), 1);
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
