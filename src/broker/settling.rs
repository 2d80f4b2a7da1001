//! What the store tells this worker's home: it is shown, refused or answered, as if it had just come.

use std::sync::Arc;
use std::task::Waker;

use crate::history::Told;
use crate::metrics;
use crate::model::{Durability, Timestamp};
use crate::protocol::Refusal;

use super::home::{Asker, Outcome, Taken};
use super::message::HomeAnswer;
use super::registry::{Registry, label};

impl Registry {
    /// Heeds everything that the store has told since, and has it wake the turn when it tells more.
    pub(super) fn heed_news(&mut self, waker: &Waker) {
        let news = self.home.news();
        if news.is_watched() {
            return;
        }
        let news = Arc::clone(news);
        news.watch(waker);
        let now = Timestamp::now();
        for told in news.take() {
            match told {
                Told::Settled(ticket) => {
                    let outcomes = self.home.settle(ticket, now);
                    self.came_to(outcomes);
                }
                Told::Failed { error, .. } => {
                    let outcomes = self.home.take_back(&error, now);
                    self.came_to(outcomes);
                }
                Told::Found {
                    lookup,
                    topic,
                    finding,
                } => {
                    if self.scan_found(lookup, finding.as_ref().err()) {
                        if let Ok(finding) = finding {
                            self.home.found_for(&topic, finding, now);
                        }
                        self.turn.wake();
                        continue;
                    }
                    if let Some(found) = self.home.found(lookup, &topic, finding, now) {
                        self.answer_to(found.asker, found.answer);
                        self.tell(found.told);
                    }
                }
            }
        }
    }

    /// Tries again to hold topics to their rules that could not be held to them before.
    pub(super) fn amend_what_is_left(&mut self, now: Timestamp) {
        let outcomes = self.home.amend_what_is_left(now);
        self.came_to(outcomes);
    }

    /// A message was taken, and may be shown.
    pub(super) fn published(&mut self, asker: Asker, taken: &Taken) {
        let Some(delivery) = &taken.delivery else {
            self.turn.metrics.repeated();
            self.turn.wake();
            return self.answer_to(asker, Ok(HomeAnswer::Published(taken.receipt)));
        };
        let metrics = &self.turn.metrics;
        metrics.published(label(taken.origin), taken.bytes);
        metrics.publish_latency(durability(taken.durability), taken.accepted.elapsed());
        self.answer_to(asker, Ok(HomeAnswer::Published(taken.receipt)));
        self.deliver(delivery);
    }

    /// A message was not taken.
    pub(super) fn refused(&mut self, asker: Asker, refusal: Refusal) {
        self.turn.publish_failed(refusal.code);
        self.answer_to(asker, Err(refusal));
    }

    fn came_to(&mut self, outcomes: Vec<Outcome>) {
        for outcome in outcomes {
            match outcome {
                Outcome::Published(asker, taken) => self.published(asker, &taken),
                Outcome::Refused(asker, refusal) => self.refused(asker, refusal),
                Outcome::Told(delivery) => self.deliver(&delivery),
                Outcome::Cleared(asker, cleared, told) => {
                    if let Some(asker) = asker {
                        self.answer_to(asker, Ok(HomeAnswer::Cleared(cleared)));
                    }
                    self.tell(told);
                }
            }
        }
    }

    fn answer_to(&mut self, asker: Asker, answer: Result<HomeAnswer, Refusal>) {
        if let Some(token) = asker.token {
            self.answer(asker.worker, token, answer);
        }
    }
}

fn durability(of: Durability) -> metrics::Durability {
    match of {
        Durability::Memory => metrics::Durability::Memory,
        Durability::Written => metrics::Durability::Written,
        Durability::Synced => metrics::Durability::Synced,
    }
}
