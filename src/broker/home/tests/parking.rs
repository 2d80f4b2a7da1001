//! What waits for the disk: shown in its order once it is safe, and as if it had never been where it
//! cannot be.

use std::sync::atomic::Ordering;

use super::*;
use crate::broker::message::Token;
use crate::broker::rules::{Rule, Rules, TopicRule};
use crate::history::tardy::Tardy;
use crate::history::{Bounds, Finding, HistoryError, MemoryStore, Once, Ticket};
use crate::model::Durability;
use crate::protocol::ErrorCode;

const T: Timestamp = Timestamp(1_000);

fn slow_home() -> Home {
    slow_home_telling(&Arc::default())
}

/// One whose store counts there how often it is to begin.
fn slow_home_telling(begun: &Arc<AtomicUsize>) -> Home {
    let keeps = |durability| TopicRule {
        history: Some(Bounds {
            messages: 100,
            age: None,
            bytes: usize::MAX,
        }),
        retain: true,
        durability,
        ..TopicRule::default()
    };
    let rule = |text: &str, topic| Rule {
        filter: filter(text),
        topic,
    };
    let retaining = TopicRule {
        history: None,
        ..keeps(Durability::Written)
    };
    let home = home_in(
        Arc::new(Tardy(
            MemoryStore::new(usize::MAX, || 7, Timestamp(0)),
            Arc::clone(begun),
        )),
        AnswerBound::new(Duration::from_secs(60), 10),
    );
    home.common.rules.replace(Rules::new(vec![
        rule("w/#", keeps(Durability::Written)),
        rule("s/#", keeps(Durability::Synced)),
        rule("r/#", retaining),
        rule("m/#", keeps(Durability::Memory)),
    ]));
    home
}

fn asker(number: u32) -> Asker {
    Asker::new(0, Some(Token { key: 0, number }))
}

impl Home {
    /// Publishes; what is complete at once is told by its offset.
    fn give(&mut self, name: &str, text: &str, number: u32) -> Option<u64> {
        self.give_again(name, text, number, None).unwrap()
    }

    fn give_again(
        &mut self,
        name: &str,
        text: &str,
        number: u32,
        once: Option<u8>,
    ) -> Result<Option<u64>, ErrorCode> {
        let mut message = publication(&topic(name), text, None);
        message.retain = text.starts_with("retain");
        message.once = once.map(|of| {
            Box::new(Once {
                name: [of; 32],
                body: [0; 32],
            })
        });
        let taken = self
            .publish_once(message, asker(number), T, Instant::now())
            .map_err(|refusal| refusal.code)?;
        let offset = |taken: Taken| taken.receipt.position.map_or(0, |at| at.offset);
        Ok(taken.map(offset))
    }
}

/// Who was answered with which offset, 0 for none, or was refused.
fn answered(outcomes: Vec<Outcome>) -> Vec<(u32, Option<u64>)> {
    let number = |asker: Asker| asker.token.map_or(0, |token| token.number);
    outcomes
        .into_iter()
        .filter_map(|outcome| match outcome {
            Outcome::Published(asker, taken) => {
                let offset = taken.receipt.position.map_or(0, |at| at.offset);
                Some((number(asker), Some(offset)))
            }
            Outcome::Cleared(asker, ..) => Some((asker.map_or(0, number), None)),
            Outcome::Refused(asker, _) => Some((number(asker), None)),
            Outcome::Told(_) => None,
        })
        .collect()
}

fn upto(durability: Durability, number: u64) -> Ticket {
    Ticket { durability, number }
}

const WRITTEN: Durability = Durability::Written;
const SYNCED: Durability = Durability::Synced;

#[test]
fn nobody_is_shown_a_message_before_it_is_safe_and_the_order_is_that_of_arrival() {
    let mut home = slow_home();
    home.subscribe_at(0, exact("w/a", None, None), T).unwrap();
    assert_eq!(home.give("w/a", "x", 1), None);
    assert_eq!(home.give("s/a", "x", 2), None);
    assert_eq!(home.give("w/a", "x", 3), None);
    assert_eq!(home.give("m/a", "x", 4), Some(1));
    let (stand, _) = home
        .subscribe_at(1, exact("w/a", Some(10), None), T)
        .unwrap();
    assert_eq!(stand.position.unwrap().offset, 0);
    // Whoever subscribes while it waits gets it live.
    let outcomes = home.settle(upto(WRITTEN, 1), T);
    let Some(Outcome::Published(_, taken)) = outcomes.first() else {
        panic!("{outcomes:?}")
    };
    assert_eq!(workers(taken.delivery.as_ref().unwrap()), [0, 1]);
    assert_eq!(answered(outcomes), [(1, Some(1))]);
    assert_eq!(answered(home.settle(upto(SYNCED, 1), T)), [(2, Some(1))]);
    assert_eq!(answered(home.settle(upto(WRITTEN, 2), T)), [(3, Some(2))]);
    assert!(home.settle(upto(WRITTEN, 2), T).is_empty());
}

#[test]
fn what_need_not_wait_does_not_overtake_what_does() {
    let mut home = slow_home();
    home.subscribe_at(0, exact("r/a", None, None), T).unwrap();
    assert_eq!(home.give("r/a", "x", 1), Some(0));
    assert_eq!(home.give("r/a", "retain", 2), None);
    assert_eq!(home.give("r/a", "x", 3), None);
    let retained = |home: &Home| home.topics[&topic("r/a")].kept.retained().is_some();
    assert!(!retained(&home));
    let told = answered(home.settle(upto(WRITTEN, 1), T));
    assert_eq!(told, [(2, Some(0)), (3, Some(0))]);
    assert!(retained(&home));
    assert_eq!(home.give("r/a", "x", 4), Some(0));
}

#[test]
fn a_repeat_waits_for_the_first_and_gets_its_answer() {
    let mut home = slow_home();
    assert_eq!(home.give_again("w/a", "x", 1, Some(9)), Ok(None));
    assert_eq!(home.give("w/a", "y", 2), None);
    assert_eq!(home.give_again("w/a", "x", 3, Some(9)), Ok(None));
    let told = answered(home.settle(upto(WRITTEN, 2), T));
    assert_eq!(told, [(1, Some(1)), (2, Some(2)), (3, Some(1))]);
    assert_eq!(home.give_again("w/a", "x", 4, Some(9)), Ok(Some(1)));
}

#[test]
fn what_the_store_failed_at_was_never_published() {
    let mut home = slow_home();
    assert_eq!(home.give("w/a", "x", 1), None);
    home.settle(upto(WRITTEN, 1), T);
    assert_eq!(home.give_again("w/a", "lost", 2, Some(9)), Ok(None));
    assert_eq!(home.give("s/b", "lost", 3), None);
    assert_eq!(home.give("r/c", "retain", 4), None);
    assert_eq!(home.give_again("w/a", "lost", 5, Some(9)), Ok(None));
    let error = HistoryError::Unavailable("the disk is full".into());
    let told = answered(home.take_back(&error, T));
    assert_eq!(told, [(2, None), (4, None), (5, None), (3, None)]);
    // Its number is free, and so is its name; a topic that was made for it is gone.
    assert_eq!(home.give_again("w/a", "again", 6, Some(9)), Ok(None));
    assert!(!home.topics.contains_key(&topic("s/b")));
    assert!(!home.topics.contains_key(&topic("r/c")));
    let told = answered(home.settle(upto(WRITTEN, 5), T));
    assert_eq!(told, [(6, Some(2))]);
    assert_eq!(
        home.answers
            .receipt(&topic("w/a"), &[9; 32])
            .unwrap()
            .position
            .unwrap()
            .offset,
        2
    );
}

#[test]
fn a_topic_is_cleared_in_order_with_what_is_published() {
    let mut home = slow_home();
    assert_eq!(home.give("w/a", "x", 1), None);
    let cleared = home.clear(&topic("w/a"), Some(asker(2)), T).unwrap();
    assert!(cleared.is_none());
    let told = answered(home.settle(upto(WRITTEN, 2), T));
    assert_eq!(told, [(1, Some(1)), (2, None)]);
    assert_eq!(home.topics.len(), 0);
}

#[test]
fn a_rule_that_keeps_something_else_waits_for_what_is_under_way() {
    let mut home = slow_home();
    home.subscribe_at(0, exact("w/a", None, None), T).unwrap();
    assert_eq!(home.give("w/a", "x", 1), None);
    let live = Rules::new(vec![Rule {
        filter: filter("w/#"),
        topic: TopicRule::default(),
    }]);
    home.common.rules.replace(live);
    assert!(home.amend(T).is_empty());
    assert_eq!(
        home.give_again("w/a", "y", 2, None),
        Err(ErrorCode::Unavailable)
    );
    // The message is shown; then what was kept goes, which has to be safe as well.
    assert_eq!(answered(home.settle(upto(WRITTEN, 1), T)), [(1, Some(1))]);
    let outcomes = home.settle(upto(WRITTEN, 2), T);
    assert!(matches!(&*outcomes, [Outcome::Cleared(None, _, Some(_))]));
    assert!(home.unamended.is_empty());
    assert_eq!(home.give("w/a", "z", 3), Some(0));
}

#[test]
fn what_is_only_on_the_disk_is_read_while_the_home_goes_on() {
    let mut home = slow_home();
    for number in 1..=5 {
        home.give("w/a", "x", number);
    }
    home.settle(upto(WRITTEN, 5), T);
    let ask = || ReadAsk {
        topic: topic("w/a"),
        after: 1,
        limit: ALL,
    };
    assert!(home.read(ask(), asker(9), T).is_none());
    let Some((lookup, _)) = home.questions.first() else {
        panic!("nothing was asked")
    };
    let held = home.topics[&topic("w/a")].kept.history().unwrap();
    let (epoch, newest) = (held.epoch(), held.newest());
    let message = |offset| {
        let mut message = crate::history::contract::message("w/a", 1);
        message.position = Some(crate::model::Position { epoch, offset });
        Arc::new(message)
    };
    let finding = Finding::Messages((2..=newest).map(message).collect());
    let found = home.found(lookup, &topic("w/a"), Ok(finding), T).unwrap();
    let Ok(crate::broker::message::HomeAnswer::Piece(piece)) = found.answer else {
        panic!("no piece")
    };
    assert_eq!(found.asker.token.unwrap().number, 9);
    assert_eq!((piece.messages.len(), piece.is_head), (4, true));
    // And who waits for a disk that fails is told.
    assert!(home.read(ask(), asker(10), T).is_none());
    let (lookup, _) = home.questions.first().unwrap();
    let error = HistoryError::Unavailable("it cannot be read".into());
    let found = home.found(lookup, &topic("w/a"), Err(error), T).unwrap();
    assert_eq!(found.answer.err().unwrap().code, ErrorCode::Unavailable);
    assert!(home.questions.first().is_none());
}

#[test]
fn the_store_begins_once_a_turn_gives_it_no_more_or_enough_turns_did() {
    let begun = Arc::default();
    let mut home = slow_home_telling(&begun);
    let times = || begun.load(Ordering::Relaxed);
    home.news().have_turns();
    assert!(!home.begin_storing(), "it was given nothing");
    for _ in 0..2 {
        assert!(home.news().gives());
        assert!(home.begin_storing());
    }
    assert_eq!(times(), 0);
    assert!(!home.begin_storing() && !home.begin_storing());
    assert_eq!(times(), 1);
    let mut put_off = 0;
    while home.news().gives() && home.begin_storing() {
        put_off += 1;
    }
    assert_eq!((put_off, times()), (PUT_OFF, 2));
}
