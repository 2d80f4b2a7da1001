//! What is counted.

use std::time::Duration;

use crate::bench::checker::Faults;
use crate::bench::histogram::Histogram;

/// What was counted over a stretch of time.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Messages that came, those of faults aside.
    pub deliveries: u64,
    /// Messages that were published.
    pub published: u64,
    /// How long it took.
    pub time: Duration,
    /// From handing a publish to the kernel, or from when it was due, to having read the message, in nanoseconds.
    pub latency: Histogram,
    /// From handing a publish to the kernel to having read its answer, in nanoseconds.
    pub answers: Histogram,
}

impl Tally {
    /// Adds the stretch that follows.
    pub fn add(&mut self, next: &Self) {
        self.deliveries += next.deliveries;
        self.published += next.published;
        self.time += next.time;
        self.latency.add(&next.latency);
        self.answers.add(&next.answers);
    }
}

/// How it ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What went wrong.
    pub faults: Faults,
    /// What went wrong and was told, as the protocol promises, and is no fault.
    pub told: Told,
    /// How many bytes a message's frame has beside topic and data.
    pub envelope: Option<usize>,
    /// The first frame or reason behind a fault, where there is one.
    pub complaint: Option<String>,
    /// How long opening a session took until it stood, in nanoseconds.
    pub openings: Histogram,
}

/// What subscribers missed and were told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Told {
    /// Messages that a `gap`, or an answer that says so, told to be missing.
    pub missing: u64,
    /// Sessions that came back and recovered all they had missed.
    pub recovered: u64,
    /// Sessions that came back, and were told that something may be missing.
    pub unrecovered: u64,
    /// Sessions that were ended because they did not read.
    pub ended: u64,
    /// Attempts to open a session that were refused, and made again.
    pub refused: u64,
}

/// What goes on until the outcome.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) in_flight: usize,
    pub(super) tally: Tally,
    pub(super) faults: Faults,
    pub(super) told: Told,
    pub(super) envelope: Option<usize>,
    complaint: Option<String>,
    pub(super) openings: Histogram,
}

impl Ledger {
    /// Keeps the first thing that went wrong, to show it.
    #[cold]
    pub(super) fn complain(&mut self, bytes: &[u8]) {
        self.complaint.get_or_insert_with(|| {
            let bytes = bytes.get(..bytes.len().min(300)).unwrap_or_default();
            String::from_utf8_lossy(bytes).into()
        });
    }

    pub(super) fn into_outcome(self) -> Outcome {
        Outcome {
            faults: self.faults,
            told: self.told,
            envelope: self.envelope,
            complaint: self.complaint,
            openings: self.openings,
        }
    }
}
