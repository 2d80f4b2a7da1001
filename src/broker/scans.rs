//! Filters that wait until a home has looked through its topics for them: some names a turn, one
//! filter after the other, whoever asks.

use std::time::Duration;

use crate::history::{HistoryError, Lookup};
use crate::model::Timestamp;
use crate::protocol::{ErrorCode, Refusal};

use super::home::{Looked, Scan};
use super::message::{HomeAnswer, Token, WildAsk};
use super::registry::Registry;

/// Names that a turn looks at, and that one filter has looked at in the turn in which it comes.
const NAMES: usize = 1024;

/// Filters that may wait. A session asks for the past of one at a time, so that no few of them fill
/// this.
const MOST: usize = 4096;

/// A filter that waits.
pub struct Waiting {
    /// The worker that asked.
    pub from: usize,
    token: Token,
    scan: Scan,
}

impl Registry {
    /// Adds the interest of a filter, and answers at once where there is little to look at.
    pub(super) fn scan_for(
        &mut self,
        from: usize,
        ask: Box<WildAsk>,
        token: Token,
        now: Timestamp,
    ) {
        let filter = ask.filter.clone();
        let mut scan = self.home.subscribe_filter(from, ask);
        let looked = self.home.scan(&mut scan, &mut NAMES.clone(), now);
        if looked == Looked::AtAll {
            let stand = scan.into_stand();
            return self.answer(from, token, Ok(HomeAnswer::SubscribedFilter(stand)));
        }
        if self.scans.len() + self.unsure.len() >= MOST {
            // Who is refused has nothing here.
            self.home.unsubscribe_filter(from, &filter);
            let refusal = Refusal::new(
                ErrorCode::Unavailable,
                "too many filters wait for their topics to be looked through; try again",
            );
            let refusal = refusal.retry_after(Duration::from_secs(1));
            return self.answer(from, token, Err(refusal));
        }
        let waiting = Waiting { from, token, scan };
        if let Looked::Waits(lookup) = looked {
            self.unsure.insert(lookup, waiting);
        } else {
            self.scans.push_back(waiting);
            self.turn.wake();
        }
    }

    /// Looks on for those that wait; true where more is to be looked at.
    pub(super) fn go_on_scanning(&mut self) -> bool {
        let mut budget = NAMES;
        while let Some(mut first) = self.scans.pop_front() {
            // Who waits for it is answered if this ends in a panic.
            self.scanning = Some((first.from, first.token));
            let looked = self
                .home
                .scan(&mut first.scan, &mut budget, Timestamp::now());
            self.scanning = None;
            match looked {
                Looked::AtAll => {}
                Looked::AtSome => {
                    self.scans.push_front(first);
                    return true;
                }
                Looked::Waits(lookup) => {
                    self.unsure.insert(lookup, first);
                    continue;
                }
            }
            let stand = HomeAnswer::SubscribedFilter(first.scan.into_stand());
            self.answer(first.from, first.token, Ok(stand));
        }
        false
    }

    /// The store has found out what a filter's topics are looked through for; false where none waits
    /// for that.
    pub(super) fn scan_found(&mut self, lookup: Lookup, error: Option<&HistoryError>) -> bool {
        let Some(waiting) = self.unsure.remove(&lookup) else {
            return false;
        };
        match error {
            None => self.scans.push_front(waiting),
            Some(error) => {
                // Who is refused has nothing here.
                self.home
                    .unsubscribe_filter(waiting.from, waiting.scan.filter());
                let refusal = Refusal::new(ErrorCode::Unavailable, error.to_string());
                let refusal = refusal.retry_after(Duration::from_secs(1));
                self.answer(waiting.from, waiting.token, Err(refusal));
            }
        }
        true
    }

    /// Answers whoever waited for what ended in a panic.
    pub(super) fn end_broken_scan(&mut self) {
        if let Some((from, token)) = self.scanning.take() {
            self.failed(from, token);
        }
    }
}
