//! What is made of what a session read.

use super::session::Seen;
use super::tally::Ledger;
use super::topic::Topic;
use crate::bench::checker::{Checker, Verdict};
use crate::bench::dialect::{Gap, Message, Notice, Role, Sink, Standing};
use crate::bench::message;

/// One read of one session.
pub(super) struct Intake<'a> {
    /// The moment, in nanoseconds of the load's clock.
    pub(super) now: u64,
    /// What this run's messages begin with.
    pub(super) run: [u8; 8],
    /// The size of their data.
    pub(super) payload: usize,
    pub(super) role: Role,
    /// The topic that the session subscribed to, or publishes in.
    pub(super) topic: Option<&'a mut Topic>,
    pub(super) seen: &'a mut Seen,
    pub(super) ledger: &'a mut Ledger,
    /// Messages of one burst were sent at one moment: they are recorded together.
    pub(super) latency: u64,
    pub(super) times: u64,
    pub(super) answers: Vec<u8>,
    pub(super) stands: bool,
}

/// What is left to do.
pub(super) struct Done {
    /// What is to be sent.
    pub(super) answers: Vec<u8>,
    /// Whether the subscription stands now.
    pub(super) stands: bool,
}

impl Sink for Intake<'_> {
    #[inline]
    fn message(&mut self, message: Message<'_>) {
        let Some(count) = message::read_stamp(message.data, self.run) else {
            return self.damaged(message.data);
        };
        let (Role::Subscriber, Some(topic)) = (self.role, self.topic.as_deref_mut()) else {
            self.ledger.faults.unexpected += 1;
            return;
        };
        // Nothing was cut or added, and it is one that was published, at the offset that is its own.
        let is_misplaced = topic.base.is_some()
            && message
                .offset
                .is_some_and(|offset| topic.count_at(offset) != Some(count));
        if !message.is_whole || count >= topic.published || is_misplaced {
            return self.damaged(message.data);
        }
        if self.ledger.envelope.is_none() {
            self.ledger.envelope = message.size.checked_sub(topic.name.len() + self.payload);
        }
        match self.seen.checker.see(count) {
            Verdict::Next | Verdict::Ahead => {}
            Verdict::Late => self.ledger.faults.disordered += 1,
            Verdict::Duplicate if self.seen.is_first() => {
                self.seen.checker = Checker::from(count + 1);
            }
            Verdict::Duplicate => {
                self.ledger.faults.duplicated += 1;
                return;
            }
        }
        self.ledger.tally.deliveries += 1;
        if self.seen.is_steady {
            let sent = topic.sent(count);
            self.ledger.in_flight -= topic.land(count);
            if count >= self.seen.live_from {
                self.record(self.now.saturating_sub(sent));
            }
        }
    }

    #[cold]
    fn notice(&mut self, notice: Notice<'_>) {
        match notice {
            Notice::Nothing => {}
            Notice::Stands(standing) => self.stand(&standing),
            Notice::Answer(bytes) => self.answers.extend(bytes),
            Notice::Accepted => self.accept(),
            Notice::Gap(gap) => self.miss(gap),
            Notice::Closing(_) if self.seen.may_end => {}
            Notice::Closing(bytes) => self.ledger.complain(bytes),
            Notice::Unexpected(bytes) => {
                self.ledger.faults.unexpected += 1;
                self.ledger.complain(bytes);
            }
        }
    }
}

impl Intake<'_> {
    /// All was read.
    pub(super) fn end(self) -> Done {
        let Self {
            ledger,
            latency,
            times,
            answers,
            stands,
            ..
        } = self;
        ledger.tally.latency.record(latency, times);
        Done { answers, stands }
    }

    #[inline]
    fn record(&mut self, latency: u64) {
        if latency != self.latency {
            self.ledger.tally.latency.record(self.latency, self.times);
            (self.latency, self.times) = (latency, 0);
        }
        self.times += 1;
    }

    #[cold]
    fn damaged(&mut self, data: &[u8]) {
        self.ledger.faults.damaged += 1;
        self.ledger.complain(data);
    }

    /// The subscription stands: from here on it is known what the session is owed.
    fn stand(&mut self, standing: &Standing) {
        self.stands = true;
        let Some(topic) = self.topic.as_deref_mut() else {
            return;
        };
        let Some(newest) = standing.newest else {
            self.seen.enter(topic.published);
            return;
        };
        if topic.published == 0 && topic.base.is_none() {
            topic.base = Some(newest);
        }
        let is_same = topic.lives(newest.epoch);
        // The first count that comes live, where the history tells.
        let live_from = topic
            .base
            .filter(|_| is_same)
            .and_then(|base| u32::try_from(newest.offset.checked_sub(base.offset)?).ok())
            .unwrap_or(topic.published)
            .min(topic.published);
        self.seen.live_from = live_from;
        if !self.seen.is_back {
            self.seen.checker = Checker::from(live_from);
            return;
        }
        if standing.recovered == Some(true) && is_same {
            self.ledger.told.recovered += 1;
            return;
        }
        // It was told that something may be missing: what it does not get is told, too.
        self.ledger.told.unrecovered += 1;
        if !is_same {
            topic.base = None;
        }
        let next = self.seen.checker.next();
        if live_from > next {
            self.excuse(next, live_from - 1);
        }
    }

    fn accept(&mut self) {
        let Some(topic) = self.topic.as_deref_mut() else {
            return;
        };
        let sent = topic.sent(topic.accepted);
        let took = self.now.saturating_sub(sent);
        self.ledger.tally.answers.record(took, 1);
        self.ledger.in_flight -= topic.land(topic.accepted);
        topic.accepted += 1;
    }

    fn miss(&mut self, gap: Gap) {
        let Some(topic) = self.topic.as_deref_mut() else {
            return;
        };
        let newest = topic.published.saturating_sub(1);
        let next = self.seen.checker.next();
        let range = if let (Some((from, to)), Some(base)) = (gap.offsets, topic.base) {
            let count = |offset: u64| {
                let count = offset.checked_sub(base.offset)?.checked_sub(1)?;
                u32::try_from(count).ok()
            };
            count(from).zip(count(to))
        } else {
            let count = u32::try_from(gap.count).unwrap_or(u32::MAX);
            Some((next, next.saturating_add(count.saturating_sub(1))))
        };
        if let Some((from, to)) = range
            && gap.count > 0
            && topic.published > 0
        {
            self.excuse(from, to.min(newest));
        }
    }

    /// What lies between these is missing, and was told.
    fn excuse(&mut self, first: u32, last: u32) {
        let Some(topic) = self.topic.as_deref_mut() else {
            return;
        };
        if first > last {
            return;
        }
        for count in self.seen.checker.excuse(first, last) {
            self.ledger.told.missing += 1;
            if self.seen.is_steady {
                self.ledger.in_flight -= topic.land(count);
            }
        }
    }
}
