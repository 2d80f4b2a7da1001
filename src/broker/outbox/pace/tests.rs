use proptest::prelude::*;

use super::*;

const INTERVAL: Duration = Duration::from_millis(100);

fn slot(topic: &str, key: Option<&str>) -> Slot {
    Slot {
        topic: TopicName::new(topic).unwrap(),
        key: key.map(Into::into),
    }
}

fn text(bytes: &Bytes) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// Takes a message, and gives what may go: text and for how many it stands.
fn offer(pace: &mut Pace, slot: Slot, bytes: &'static str, now: Instant) -> Vec<(String, u64)> {
    pace.hold(Newest::new(slot), Bytes::from(bytes), INTERVAL, now);
    go(pace, now)
}

fn go(pace: &mut Pace, now: Instant) -> Vec<(String, u64)> {
    let due = pace.release(now);
    let told = |(newest, bytes): (Newest, Bytes)| (text(&bytes).to_owned(), newest.skipped);
    due.into_iter().map(told).collect()
}

fn sent(texts: &[(&str, u64)]) -> Vec<(String, u64)> {
    let own = |(text, skipped): &(&str, u64)| ((*text).to_owned(), *skipped);
    texts.iter().map(own).collect()
}

#[test]
fn the_first_goes_at_once_and_then_the_newest_of_each_interval() {
    let mut pace = Pace::default();
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let a = || slot("a", None);
    assert_eq!(offer(&mut pace, a(), "1", at(0)), sent(&[("1", 0)]));
    assert_eq!(offer(&mut pace, a(), "2", at(10)), []);
    assert_eq!(offer(&mut pace, a(), "3", at(99)), []);
    assert_eq!((pace.next_look(), pace.messages()), (Some(at(100)), 1));
    assert_eq!(go(&mut pace, at(100)), sent(&[("3", 1)]));
    assert_eq!(offer(&mut pace, a(), "4", at(150)), []);
    assert_eq!(go(&mut pace, at(199)), []);
    assert_eq!(go(&mut pace, at(200)), sent(&[("4", 0)]));
    // Nothing came for as long as it takes: the next goes at once.
    assert_eq!(pace.next_look(), Some(at(300)));
    pace.forget(at(300));
    assert!(pace.is_idle());
    assert_eq!(pace.next_look(), None);
    assert_eq!(offer(&mut pace, a(), "5", at(301)), sent(&[("5", 0)]));
}

#[test]
fn messages_of_a_topic_keep_their_order_and_topics_do_not_wait_for_each_other() {
    let mut pace = Pace::default();
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let of = |topic, key| slot(topic, Some(key));
    assert_eq!(offer(&mut pace, of("a", "k"), "1", at(0)).len(), 1);
    assert_eq!(offer(&mut pace, of("a", "k"), "2", at(10)), []);
    // It could go by itself, but not before the one that came before it.
    assert_eq!(offer(&mut pace, of("a", "l"), "3", at(20)), []);
    assert_eq!(
        offer(&mut pace, of("b", "k"), "4", at(30)),
        sent(&[("4", 0)])
    );
    // The one before it is replaced by one that stands behind it.
    assert_eq!(
        offer(&mut pace, of("a", "k"), "5", at(40)),
        sent(&[("3", 0)])
    );
    assert_eq!(pace.next_look(), Some(at(100)));
    assert_eq!(go(&mut pace, at(100)), sent(&[("5", 1)]));
}

#[test]
fn what_is_asked_for_goes_before_its_time() {
    let mut pace = Pace::default();
    let now = Instant::now();
    for (topic, text) in [("a", "1"), ("a", "2"), ("b", "3"), ("b", "4"), ("b", "5")] {
        offer(&mut pace, slot(topic, None), text, now);
    }
    let released = pace.release_of(|topic| topic.as_str() == "b", now);
    let texts: Vec<_> = released.iter().map(|(n, b)| (text(b), n.skipped)).collect();
    assert_eq!(texts, [("5", 1)]);
    assert_eq!(pace.messages(), 1);
    assert_eq!(go(&mut pace, now + INTERVAL), sent(&[("2", 0)]));
}

#[test]
fn keys_that_need_not_wait_are_not_remembered() {
    let mut pace = Pace::default();
    let mut now = Instant::now();
    for n in 0..10_000 {
        let key = n.to_string();
        offer(&mut pace, slot("a", Some(&key)), "x", now);
        now += Duration::from_millis(10);
        assert!(pace.keys.len() < 50, "{}", pace.keys.len());
    }
    pace.forget(now + INTERVAL);
    assert_eq!((pace.keys.len(), pace.weight()), (0, 0));
}

#[test]
fn what_it_takes_to_know_keys_is_known() {
    let mut pace = Pace::default();
    let now = Instant::now();
    let long = "k".repeat(1000);
    for _ in 0..3 {
        offer(&mut pace, slot("a", Some(&long)), "x", now);
        offer(&mut pace, slot("b", None), "x", now);
        assert_eq!(pace.weight(), 2 * KEY + 1000);
    }
}

proptest! {
    #[test]
    fn of_each_key_one_goes_in_an_interval_and_all_are_accounted_for(
        came in prop::collection::vec((0..2_usize, 0..3_usize, 0..80_u64), 1..100),
    ) {
        let mut pace = Pace::default();
        let start = Instant::now();
        let mut now = start;
        let mut went: Vec<(Slot, u64, u64, Instant)> = Vec::new();
        let mut numbers = Vec::new();
        let take = |pace: &mut Pace, now, went: &mut Vec<_>| {
            for (newest, bytes) in pace.release(now) {
                let number: u64 = text(&bytes).parse().unwrap();
                went.push((newest.slot, number, newest.skipped, now));
            }
        };
        for (number, (topic, key, pause)) in came.into_iter().enumerate() {
            // The timer is never late here.
            let next = now + Duration::from_millis(pause);
            while let Some(due) = pace.next_look().filter(|due| *due <= next) {
                now = now.max(due);
                take(&mut pace, now, &mut went);
                pace.forget(now);
            }
            now = next;
            let slot = slot(["a", "b"][topic], [None, Some("k"), Some("l")][key]);
            numbers.push(slot.clone());
            let bytes = Bytes::from(number.to_string());
            let held = pace.messages();
            let replaced = pace.hold(Newest::new(slot), bytes, INTERVAL, now);
            prop_assert_eq!(pace.messages(), held + usize::from(replaced.is_none()));
            take(&mut pace, now, &mut went);
        }
        while let Some(due) = pace.next_look() {
            now = now.max(due);
            take(&mut pace, now, &mut went);
            pace.forget(now);
        }
        prop_assert!(pace.is_idle() && pace.lines.is_empty() && pace.firsts.is_empty());
        let mut last: HashMap<Slot, (u64, Instant)> = HashMap::new();
        let mut of_topic: HashMap<TopicName, u64> = HashMap::new();
        for (slot, number, skipped, at) in went {
            let before = of_topic.insert(slot.topic.clone(), number);
            prop_assert!(before.is_none_or(|before| before < number), "out of order");
            let before = last.insert(slot.clone(), (number, at));
            let passed = numbers.iter().enumerate().filter(|(n, of)| {
                let n = *n as u64;
                **of == slot && n < number && before.is_none_or(|(before, _)| n > before)
            });
            prop_assert_eq!(passed.count() as u64, skipped);
            if let Some((_, before)) = before {
                prop_assert!(at >= before + INTERVAL);
            }
        }
        // The newest of each key has come.
        for (n, slot) in numbers.iter().enumerate() {
            prop_assert!(last.get(slot).is_some_and(|(number, _)| *number >= n as u64));
        }
    }
}
