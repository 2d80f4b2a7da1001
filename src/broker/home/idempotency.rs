//! Publishing once only: what was answered to whom, for as long as it is promised.
//!
//! The home that numbers a topic's messages is the one that knows whether a message was published
//! already, so this is exact whichever worker and connection a repeat comes by. The record of an
//! answer is made in the turn that makes the message, and is as durable: a store that outlives the
//! process keeps the two as one.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Home;
use super::parked::{Asker, Parked, Taken};
use crate::broker::message::{Publication, Receipt};
use crate::history::{Once, Remembered};
use crate::model::{Timestamp, TopicName};
use crate::protocol::{ErrorCode, Refusal};

/// How long answers are kept, and how many over all homes of a node.
#[derive(Debug)]
pub struct AnswerBound {
    window: Duration,
    most: usize,
    held: AtomicUsize,
}

impl AnswerBound {
    /// At most `most` answers, each for that time.
    pub fn new(window: Duration, most: usize) -> Self {
        Self {
            window,
            most,
            held: AtomicUsize::new(0),
        }
    }

    /// How many answers are kept.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn take(&self) -> bool {
        let held = &self.held;
        let more = |held| (held < self.most).then(|| held + 1);
        held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    fn give_back(&self, count: usize) {
        self.held.fetch_sub(count, Ordering::Relaxed);
    }
}

/// The answers of one home.
pub struct Answers {
    by_topic: HashMap<TopicName, HashMap<[u8; 32], Kept>>,
    /// When each was given, the oldest first.
    order: VecDeque<(Instant, TopicName, [u8; 32])>,
    bound: Arc<AnswerBound>,
}

struct Kept {
    body: [u8; 32],
    /// None while the message is not as durable as it should be.
    receipt: Option<Receipt>,
}

impl Answers {
    /// No answers yet.
    pub fn new(bound: Arc<AnswerBound>) -> Self {
        Self {
            by_topic: HashMap::new(),
            order: VecDeque::new(),
            bound,
        }
    }

    /// Whether any answer about that topic is kept.
    pub fn has(&self, topic: &TopicName) -> bool {
        self.by_topic.contains_key(topic)
    }

    fn find(&self, topic: &TopicName, once: &Once) -> Option<&Kept> {
        self.by_topic.get(topic)?.get(&once.name)
    }

    /// What was answered to that name, if it is known and the message was shown.
    pub(super) fn receipt(&self, topic: &TopicName, name: &[u8; 32]) -> Option<Receipt> {
        self.by_topic.get(topic)?.get(name)?.receipt
    }

    /// The message of that name is shown.
    pub(super) fn answer(&mut self, topic: &TopicName, name: &[u8; 32], receipt: Receipt) {
        let of_topic = self.by_topic.get_mut(topic);
        if let Some(kept) = of_topic.and_then(|of_topic| of_topic.get_mut(name)) {
            kept.receipt = Some(receipt);
        }
    }

    /// The messages of those names were taken back: they may be published again.
    pub(super) fn take_back(&mut self, gone: &[(TopicName, [u8; 32])]) {
        if gone.is_empty() {
            return;
        }
        for (topic, name) in gone {
            if let Some(of_topic) = self.by_topic.get_mut(topic) {
                of_topic.remove(name);
                if of_topic.is_empty() {
                    self.by_topic.remove(topic);
                }
            }
        }
        let gone: HashSet<_> = gone.iter().map(|(topic, name)| (topic, name)).collect();
        let before = self.order.len();
        self.order
            .retain(|(_, topic, name)| !gone.contains(&(topic, name)));
        self.bound.give_back(before - self.order.len());
    }

    /// Remembers what the process before this one answered, as far as there is room.
    pub(super) fn recall(&mut self, of: Remembered, now: Timestamp, at: Instant) {
        let age = Duration::from_millis(now.0.saturating_sub(of.time.0));
        let Some(at) = at.checked_sub(age).filter(|_| age < self.bound.window) else {
            return;
        };
        if self.bound.take() {
            let receipt = Receipt {
                position: of.position,
                subscribers: 0,
            };
            self.keep(of.topic, &of.once, Some(receipt), at);
        }
    }

    fn keep(&mut self, topic: TopicName, once: &Once, receipt: Option<Receipt>, at: Instant) {
        let kept = Kept {
            body: once.body,
            receipt,
        };
        let of_topic = self.by_topic.entry(topic.clone()).or_default();
        of_topic.insert(once.name, kept);
        self.order.push_back((at, topic, once.name));
    }

    /// Takes out one that was promised for no longer than `now`; gives its topic.
    fn take_expired(&mut self, now: Instant) -> Option<TopicName> {
        let (at, ..) = self.order.front()?;
        if now.saturating_duration_since(*at) < self.bound.window {
            return None;
        }
        let (_, topic, name) = self.order.pop_front()?;
        if let Some(of_topic) = self.by_topic.get_mut(&topic) {
            of_topic.remove(&name);
            if of_topic.is_empty() {
                self.by_topic.remove(&topic);
            }
        }
        self.bound.give_back(1);
        Some(topic)
    }

    /// Why no more can be kept.
    fn full(&self, now: Instant) -> Refusal {
        let age = self.order.front().map_or(Duration::ZERO, |(at, ..)| {
            now.saturating_duration_since(*at)
        });
        let wait = self.bound.window.saturating_sub(age);
        let most = self.bound.most;
        Refusal::new(
            ErrorCode::Unavailable,
            format!(
                "there are {most} idempotency keys to remember, as many as api.idempotency_keys \
                 allows; publish again later, or without one"
            ),
        )
        .retry_after(wait.max(Duration::from_secs(1)))
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.bound.give_back(self.order.len());
    }
}

impl Home {
    /// Publishes a message, but not one that is published already: then there is no delivery, and
    /// the receipt is the one that was given. `None`: it waits, or for the one that it repeats.
    ///
    /// # Errors
    /// `conflict` where another message was published by that name; `unavailable` where no more
    /// can be remembered; and those of [`Home::publish`], which are not remembered.
    pub fn publish_once(
        &mut self,
        publication: Publication,
        asker: Asker,
        now: Timestamp,
        accepted: Instant,
    ) -> Result<Option<Taken>, Refusal> {
        let Some(once) = publication.once.as_deref().copied() else {
            return self.publish(publication, asker, now, accepted);
        };
        let origin = publication.origin;
        self.forget_answers(now, accepted);
        let topic = publication.topic.clone();
        if let Some(kept) = self.answers.find(&topic, &once) {
            if kept.body == once.body {
                if let Some(receipt) = kept.receipt {
                    return Ok(Some(Taken::before(receipt, origin, accepted)));
                }
                if let Some(ticket) = self.due(&topic) {
                    let repeat = Parked::Repeat {
                        topic,
                        name: once.name,
                        asker,
                        origin,
                        accepted,
                    };
                    self.parked.push(ticket, repeat);
                    return Ok(None);
                }
            }
            return Err(Refusal::new(
                ErrorCode::Conflict,
                "another message was published to this topic with this idempotency key; \
                 give each message a key of its own",
            ));
        }
        if !self.answers.bound.take() {
            return Err(self.answers.full(accepted));
        }
        match self.publish(publication, asker, now, accepted) {
            Ok(taken) => {
                let receipt = taken.as_ref().map(|taken| taken.receipt);
                self.answers.keep(topic, &once, receipt, accepted);
                Ok(taken)
            }
            Err(refusal) => {
                self.answers.bound.give_back(1);
                Err(refusal)
            }
        }
    }

    /// Forgets the answers that are no longer promised, and the topics that only they held.
    pub fn forget_answers(&mut self, now: Timestamp, instant: Instant) {
        while let Some(topic) = self.answers.take_expired(instant) {
            self.forget_if_idle(&topic, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{home_with, nobody, publish};
    use super::*;
    use crate::broker::testing::{publication, topic};

    const WINDOW: Duration = Duration::from_secs(60);

    struct Publisher {
        home: Home,
        start: Instant,
    }

    impl Publisher {
        fn new(most: usize) -> Self {
            Self {
                home: home_with(AnswerBound::new(WINDOW, most)),
                start: Instant::now(),
            }
        }

        /// Publishes so many seconds after the start. Tells the receipt and whether it was new.
        fn publish(
            &mut self,
            second: u64,
            name: &str,
            once: (u8, u8),
        ) -> Result<(Receipt, bool), ErrorCode> {
            let mut message = publication(&topic(name), "x", None);
            message.once = Some(Box::new(Once {
                name: [once.0; 32],
                body: [once.1; 32],
            }));
            let at = self.start + Duration::from_secs(second);
            let taken = self
                .home
                .publish_once(message, nobody(0), Timestamp(second * 1000), at)
                .map_err(|refusal| refusal.code)?
                .expect("complete at once");
            Ok((taken.receipt, taken.delivery.is_some()))
        }
    }

    #[test]
    fn a_repeat_gets_the_first_answer_and_publishes_nothing() {
        let mut publisher = Publisher::new(10);
        let (first, is_new) = publisher.publish(0, "h/a", (1, 1)).unwrap();
        assert!(is_new);
        publisher.publish(1, "h/a", (2, 1)).unwrap();
        assert_eq!(publisher.publish(59, "h/a", (1, 1)), Ok((first, false)));
        // Per topic: elsewhere it is another.
        let (elsewhere, is_new) = publisher.publish(59, "h/b", (1, 1)).unwrap();
        assert!(is_new);
        assert_eq!(elsewhere.position.unwrap().offset, 1);
        let (next, _) = publisher.publish(59, "h/a", (3, 1)).unwrap();
        assert_eq!(next.position.unwrap().offset, 3);
    }

    #[test]
    fn a_topic_that_keeps_nothing_publishes_once_too() {
        let mut publisher = Publisher::new(10);
        let (_, is_new) = publisher.publish(0, "live", (1, 1)).unwrap();
        let (again, is_new_again) = publisher.publish(1, "live", (1, 1)).unwrap();
        assert!(is_new && !is_new_again);
        assert_eq!(again.position, None);
    }

    #[test]
    fn another_message_by_the_same_name_conflicts_until_the_window_is_over() {
        let mut publisher = Publisher::new(10);
        publisher.publish(0, "h/a", (1, 1)).unwrap();
        assert_eq!(
            publisher.publish(59, "h/a", (1, 2)),
            Err(ErrorCode::Conflict)
        );
        let (receipt, is_new) = publisher.publish(60, "h/a", (1, 2)).unwrap();
        assert!(is_new);
        assert_eq!(receipt.position.unwrap().offset, 2);
        assert_eq!(
            publisher.publish(61, "h/a", (1, 1)),
            Err(ErrorCode::Conflict)
        );
    }

    #[test]
    fn what_is_full_refuses_what_is_new_and_still_knows_what_it_keeps() {
        let mut publisher = Publisher::new(2);
        publisher.publish(0, "h/a", (1, 1)).unwrap();
        publisher.publish(10, "h/a", (2, 1)).unwrap();
        assert_eq!(
            publisher.publish(20, "h/a", (3, 1)),
            Err(ErrorCode::Unavailable)
        );
        let at = publisher.start + Duration::from_secs(20);
        let wait = publisher.home.answers.full(at).retry_after;
        assert_eq!(wait, Some(Duration::from_secs(40)));
        let (_, is_new) = publisher.publish(20, "h/a", (1, 1)).unwrap();
        assert!(!is_new);
        // The oldest is due, and makes room.
        let (receipt, is_new) = publisher.publish(60, "h/a", (3, 1)).unwrap();
        assert!(is_new);
        assert_eq!(receipt.position.unwrap().offset, 3);
        let bound = Arc::clone(&publisher.home.answers.bound);
        assert_eq!(bound.held(), 2);
        drop(publisher);
        assert_eq!(bound.held(), 0, "a home that goes gives back what it held");
    }

    #[test]
    fn what_failed_is_not_remembered() {
        let mut publisher = Publisher::new(10);
        for n in 0..5 {
            publish(&mut publisher.home, &format!("h/{n}"), 0);
        }
        let refused = publisher.publish(0, "h/more", (1, 1));
        assert_eq!(refused, Err(ErrorCode::LimitExceeded));
        assert_eq!(publisher.home.answers.bound.held(), 0);
        let refused = publisher.publish(0, "h/more", (1, 2));
        assert_eq!(refused, Err(ErrorCode::LimitExceeded));
    }

    #[test]
    fn a_topic_is_not_forgotten_before_its_answers() {
        let mut publisher = Publisher::new(10);
        // Its history is empty after a second.
        let (first, _) = publisher.publish(0, "aged/a", (1, 1)).unwrap();
        let epoch = |receipt: Receipt| receipt.position.unwrap().epoch;
        publisher.home.sweep(Timestamp(30_000));
        let (later, _) = publisher.publish(30, "aged/a", (2, 1)).unwrap();
        assert_eq!(epoch(later), epoch(first));
        assert_eq!(later.position.unwrap().offset, 2);
        publisher.home.sweep(Timestamp(200_000));
        assert_eq!(publisher.home.common.directory.count(), 1);
        let at = publisher.start + Duration::from_secs(200);
        publisher.home.forget_answers(Timestamp(200_000), at);
        assert_eq!(publisher.home.common.directory.count(), 0);
        assert_eq!(publisher.home.answers.bound.held(), 0);
    }
}
