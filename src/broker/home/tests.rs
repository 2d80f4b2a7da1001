use std::collections::BTreeMap;

use super::interest::matching_interest;
use super::*;
use crate::auth::Access;
use crate::broker::Publication;
use crate::broker::filters::FilterTrie;
use crate::broker::message::{
    Cleared, ExactAsk, HistoryAsk, HistoryPage, HomeOf, ReadAsk, Receipt, Stand, WildAsk,
    WildSince, WildStand,
};
use crate::broker::shards::Shards;
use crate::broker::testing::{filter, member, publication, rules, store, topic};
use crate::history::Limit;
use crate::model::{Epoch, Filter, SessionId};
use crate::protocol::{Cursor, Event};

mod amending;
mod parking;
mod recovering;
mod retaining;
mod scarce;

const ALL: Limit = Limit {
    messages: usize::MAX,
    bytes: usize::MAX,
};

fn home() -> Home {
    home_with(AnswerBound::new(Duration::ZERO, 0))
}

pub fn home_with(answers: AnswerBound) -> Home {
    home_in(store(), answers)
}

fn home_in(store: Arc<dyn HistoryStore>, answers: AnswerBound) -> Home {
    let common = Common {
        rules: Arc::new(LiveRules::new(rules())),
        store,
        directory: TopicDirectory::default(),
        topics: AtomicUsize::new(0),
        sys_listeners: AtomicUsize::new(0),
        max_topics: AtomicUsize::new(5),
        max_replay: AtomicU64::new(20),
        answers: Arc::new(answers),
    };
    Home::new(Arc::new(common), RandomState::new())
}

pub fn publish(home: &mut Home, name: &str, now: u64) -> (Receipt, Delivery) {
    let message = publication(&topic(name), "x", None);
    home.publish_at(message, Timestamp(now)).unwrap()
}

/// Someone on that worker who awaits nothing.
pub fn nobody(worker: usize) -> Asker {
    Asker::new(worker, None)
}

fn exact(name: &str, last: Option<u64>, since: Option<(Epoch, u64)>) -> ExactAsk {
    ExactAsk {
        topic: topic(name),
        member: member(SessionId(1)),
        last,
        since: since.map(|(epoch, offset)| Cursor {
            epoch: Some(epoch),
            offset,
        }),
        from: None,
    }
}

fn wild(text: &str, last: Option<u64>, since: Option<WildSince>) -> WildAsk {
    WildAsk {
        filter: filter(text),
        last,
        since,
        access: Arc::new(Access::everything()),
        homes: HomeOf {
            shards: Arc::new(Shards::new(1)),
            shard: 0,
        },
    }
}

impl Home {
    /// Publishes to a topic whose messages are complete at once.
    fn publish_at(
        &mut self,
        publication: Publication,
        now: Timestamp,
    ) -> Result<(Receipt, Delivery), Refusal> {
        let taken = self.publish(publication, nobody(0), now, Instant::now())?;
        let taken = taken.expect("complete at once");
        Ok((taken.receipt, taken.delivery.expect("for the first time")))
    }

    /// Subscribes to a topic whose history is in memory.
    fn subscribe_at(
        &mut self,
        shard: usize,
        ask: ExactAsk,
        now: Timestamp,
    ) -> Result<(Stand, Option<Delivery>), Refusal> {
        let stands = self.subscribe(Box::new(ask), nobody(shard), now)?;
        Ok(stands.expect("known at once"))
    }

    /// Reads the history of a topic that is in memory.
    fn history_at(
        &mut self,
        name: &str,
        last: Option<u64>,
        now: Timestamp,
    ) -> Result<HistoryPage, Refusal> {
        let ask = HistoryAsk {
            topic: topic(name),
            since: None,
            last,
            limit: ALL,
        };
        let page = self.history(Box::new(ask), nobody(0), now)?;
        Ok(page.expect("read at once"))
    }

    /// Clears a topic that is in memory.
    fn clear_at(
        &mut self,
        name: &str,
        now: Timestamp,
    ) -> Result<(Cleared, Option<Delivery>), Refusal> {
        let cleared = self.clear(&topic(name), None, now)?;
        Ok(cleared.expect("cleared at once"))
    }

    /// Adds the interest of a filter, and looks through all its topics at once.
    fn stand(&mut self, shard: usize, ask: WildAsk, now: Timestamp) -> WildStand {
        let mut scan = self.subscribe_filter(shard, Box::new(ask));
        let looked = self.scan(&mut scan, &mut usize::MAX.clone(), now);
        assert_eq!(looked, Looked::AtAll);
        scan.into_stand()
    }
}

fn epoch_of(home: &Home, name: &str) -> Epoch {
    let view = home.common.directory.get(&topic(name)).unwrap();
    view.position.unwrap().0
}

fn workers(delivery: &Delivery) -> Vec<usize> {
    delivery.to.shards().collect()
}

#[test]
fn offsets_rise_by_one_and_times_never_go_back() {
    let mut home = home();
    let mut last = (0, 0);
    for now in [10, 5, 20, 20, 1] {
        let (receipt, delivery) = publish(&mut home, "h/a", now);
        let offset = receipt.position.unwrap().offset;
        let time = delivery.published.message().unwrap().time.0;
        assert_eq!(offset, last.0 + 1);
        assert!(time >= last.1);
        last = (offset, time);
    }
    let live = exact("live", None, None);
    home.subscribe_at(0, live, Timestamp(1)).unwrap();
    publish(&mut home, "live", 10);
    let (receipt, delivery) = publish(&mut home, "live", 5);
    assert_eq!(receipt.position, None);
    assert_eq!(delivery.published.message().unwrap().time, Timestamp(10));
}

#[test]
fn a_message_goes_to_the_workers_that_have_a_subscriber_by_name_or_filter() {
    let mut home = home();
    assert!(workers(&publish(&mut home, "a/b", 1).1).is_empty());
    home.subscribe_at(2, exact("a/b", None, None), Timestamp(1))
        .unwrap();
    home.stand(0, wild("a/#", None, None), Timestamp(1));
    home.stand(0, wild("#", None, None), Timestamp(1));
    let (receipt, delivery) = publish(&mut home, "a/b", 1);
    assert_eq!((receipt.subscribers, workers(&delivery)), (3, vec![0, 2]));
    home.unsubscribe_filter(0, &filter("#"));
    home.unsubscribe_filter(0, &filter("a/#"));
    assert_eq!(workers(&publish(&mut home, "a/b", 1).1), [2]);
    home.stand(1, wild("+/b", None, None), Timestamp(1));
    assert_eq!(workers(&publish(&mut home, "a/b", 1).1), [1, 2]);
    home.unsubscribe(2, &topic("a/b"), &member(SessionId(1)), Timestamp(1));
    assert_eq!(workers(&publish(&mut home, "a/b", 1).1), [1]);
}

#[test]
fn a_replay_is_what_was_asked_for_within_what_is_held_and_allowed() {
    let mut home = home();
    for now in 1..=30 {
        publish(&mut home, "h/a", now);
        publish(&mut home, "few/a", now);
    }
    let other = Epoch::parse("other").unwrap();
    // Topic, last, since, and: recovered, the offset before the first that is replayed.
    for (name, last, since, recovered, after) in [
        ("h/a", None, None, None, None),
        ("h/a", Some(0), None, None, Some(30)),
        ("h/a", Some(3), None, None, Some(27)),
        ("h/a", Some(99), None, None, Some(10)),
        ("few/a", Some(99), None, None, Some(20)),
        ("h/a", None, Some((true, 30)), Some(true), Some(30)),
        ("h/a", Some(3), Some((true, 12)), Some(true), Some(12)),
        ("h/a", None, Some((true, 10)), Some(true), Some(10)),
        // More than limits.replay_messages.
        ("h/a", None, Some((true, 9)), Some(false), None),
        ("h/a", None, Some((true, 31)), Some(false), None),
        ("h/a", None, Some((true, u64::MAX)), Some(false), None),
        ("h/a", Some(3), Some((false, 12)), Some(false), Some(27)),
        ("few/a", None, Some((true, 20)), Some(true), Some(20)),
        ("few/a", None, Some((true, 19)), Some(false), None),
        ("few/a", Some(2), Some((true, 19)), Some(false), Some(28)),
        ("live", Some(3), None, None, None),
        ("live", Some(3), Some((false, 1)), Some(false), None),
    ] {
        let case = format!("{name} {last:?} {since:?}");
        let since = since.map(|(own, offset)| {
            let epoch = if own { epoch_of(&home, name) } else { other };
            (epoch, offset)
        });
        let (stand, _) = home
            .subscribe_at(0, exact(name, last, since), Timestamp(31))
            .unwrap();
        assert_eq!(stand.recovered, recovered, "{case}");
        assert_eq!(stand.span.map(|span| span.after), after, "{case}");
        assert!(stand.span.is_none_or(|span| span.until == 30), "{case}");
    }
}

#[test]
fn a_replay_is_read_in_pieces_up_to_the_head() {
    let mut home = home();
    for now in 1..=5 {
        publish(&mut home, "h/a", now);
    }
    let mut read = |after, messages, name: &str| {
        let ask = ReadAsk {
            topic: topic(name),
            after,
            limit: Limit { messages, ..ALL },
        };
        let piece = home.read(ask, nobody(0), Timestamp(9)).unwrap();
        (piece.messages.len(), piece.is_head, piece.epoch.is_some())
    };
    assert_eq!(read(0, 3, "h/a"), (3, false, true));
    assert_eq!(read(3, 3, "h/a"), (2, true, true));
    assert_eq!(read(5, 3, "h/a"), (0, true, true));
    assert_eq!(read(0, 3, "h/none"), (0, true, false));
}

#[test]
fn who_is_there_is_told_where_the_rule_says_so() {
    let mut home = home();
    for id in [3, 1, 2] {
        let ask = ExactAsk {
            member: member(SessionId(id)),
            ..exact("p/a", None, None)
        };
        let (_, told) = home.subscribe_at(0, ask, Timestamp(10 - id)).unwrap();
        assert!(told.is_some());
    }
    let there = |home: &Home| -> Vec<u64> {
        let members = home.presence(&topic("p/a")).unwrap();
        members.iter().map(|m| m.session.0).collect()
    };
    assert_eq!(there(&home), [3, 2, 1]);
    let told = home.unsubscribe(0, &topic("p/a"), &member(SessionId(2)), Timestamp(9));
    assert!(told.is_some());
    assert_eq!(there(&home), [3, 1]);
    let refused = home.presence(&topic("live")).unwrap_err();
    assert_eq!(refused.code, ErrorCode::PresenceDisabled);
    let refused = home.history_at("live", None, Timestamp(9));
    assert_eq!(refused.unwrap_err().code, ErrorCode::HistoryDisabled);
}

#[test]
fn topics_are_counted_bounded_and_forgotten() {
    let mut home = home();
    let count = |home: &Home| {
        (
            home.common.topics.load(Ordering::Relaxed),
            home.topics.len(),
        )
    };
    for n in 0..5 {
        let ask = exact(&format!("t/{n}"), None, None);
        home.subscribe_at(0, ask, Timestamp(1)).unwrap();
    }
    let refused = home.subscribe_at(0, exact("t/5", None, None), Timestamp(1));
    assert_eq!(refused.unwrap_err().code, ErrorCode::LimitExceeded);
    let message = publication(&topic("h/a"), "x", None);
    let refused = home.publish_at(message, Timestamp(1));
    assert_eq!(refused.unwrap_err().code, ErrorCode::LimitExceeded);
    // What nobody keeps needs no place.
    publish(&mut home, "other", 1);
    for n in 0..5 {
        let gone = member(SessionId(1));
        home.unsubscribe(0, &topic(&format!("t/{n}")), &gone, Timestamp(1));
    }
    assert_eq!(count(&home), (0, 0));
    home.history_at("h/a", None, Timestamp(1)).unwrap();
    assert_eq!(count(&home), (0, 0));
    assert_eq!(home.common.directory.count(), 0);
}

#[test]
fn a_sweep_drops_what_is_too_old_and_forgets_what_is_empty_then() {
    let mut home = home();
    publish(&mut home, "aged/a", 1_000);
    publish(&mut home, "aged/a", 1_500);
    let first = epoch_of(&home, "aged/a");
    let held = |home: &Home| {
        home.common
            .directory
            .get(&topic("aged/a"))
            .map(|v| v.messages)
    };
    home.sweep(Timestamp(2_000));
    assert_eq!(held(&home), Some(2));
    home.sweep(Timestamp(2_001));
    assert_eq!(held(&home), Some(1));
    home.sweep(Timestamp(2_501));
    assert_eq!(held(&home), None);
    // One with a subscriber is kept, in the same epoch.
    publish(&mut home, "aged/a", 3_000);
    let second = epoch_of(&home, "aged/a");
    assert_ne!(first, second);
    home.subscribe_at(0, exact("aged/a", None, None), Timestamp(3_000))
        .unwrap();
    home.sweep(Timestamp(9_000));
    assert_eq!(held(&home), Some(0));
    let position = publish(&mut home, "aged/a", 9_000).0.position.unwrap();
    assert_eq!((position.epoch, position.offset), (second, 2));
    assert_eq!(home.expiries.len(), 1);
}

#[test]
fn a_topic_that_is_born_again_is_looked_at_no_more_often() {
    let mut home = home();
    for round in 0..5 {
        // Too old when its only subscriber goes, before any sweep.
        let (start, gone) = (round * 10_000, member(SessionId(1)));
        home.subscribe_at(0, exact("aged/a", None, None), Timestamp(start))
            .unwrap();
        publish(&mut home, "aged/a", start);
        home.unsubscribe(0, &topic("aged/a"), &gone, Timestamp(start + 5_000));
    }
    publish(&mut home, "aged/a", 60_000);
    home.sweep(Timestamp(60_500));
    assert_eq!(home.expiries.len(), 1);
}

#[test]
fn interest_is_counted_worker_by_worker() {
    let mut filters: FilterTrie<Interest> = FilterTrie::new();
    let mut one = Interest::default();
    one.add(3);
    one.add(3);
    one.take(1);
    filters.insert(&Filter::new("a/+").unwrap(), one.clone());
    filters.insert(&Filter::new("#").unwrap(), one.clone());
    assert_eq!(matching_interest(&filters, &topic("a/b")).total(), 4);
    one.take(3);
    assert!(!one.is_empty());
    one.take(3);
    one.take(3);
    assert!(one.is_empty());
}

#[test]
fn a_message_tells_its_user_only_where_the_rule_says_so() {
    let mut home = home();
    for (name, told) in [("named/a", Some("ann")), ("h/a", None), ("live", None)] {
        let message = Publication {
            user: Some("ann".into()),
            ..publication(&topic(name), "x", None)
        };
        let published = home.publish_at(message, Timestamp(1));
        let (_, delivery) = published.unwrap();
        let user = delivery.published.message().unwrap().user.clone();
        assert_eq!(user.as_deref(), told, "{name}");
    }
}
