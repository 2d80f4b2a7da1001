//! What one session sends, measured.

use std::time::{Duration, Instant};

use super::bucket::Bucket;
use super::{Excess, Throttle};
use crate::config::Rates;
use crate::metrics::RateLimit;

/// A session that was refused something again and again for so long is closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// A session that was refused nothing for so long keeps to its limits again.
const CALM: Duration = Duration::from_secs(1);

/// Measures one session. It belongs to it alone: nothing here is locked or shared.
#[derive(Default)]
pub struct Meter {
    /// Of which rates the buckets are.
    generation: u64,
    buckets: Option<Box<Buckets>>,
}

struct Buckets {
    frames: Option<Bucket>,
    bytes: Option<Bucket>,
    publishes: Option<Bucket>,
    /// What a frame of the message that is coming exceeded.
    held: Option<Excess>,
    /// Since when something is refused again and again, and when that was last.
    streak: Option<(Instant, Instant)>,
}

/// What becomes of something that was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is carried out.
    Admitted,
    /// It is refused.
    Refused(Excess),
    /// It is refused, and the session closed: this has gone on for too long.
    TooLong(Excess),
}

impl Meter {
    /// Takes up the rates that are in force, if they have changed; whether anything is measured at all.
    pub fn is_on(&mut self, throttle: &Throttle) -> bool {
        let generation = throttle.generation();
        if self.generation != generation {
            self.generation = generation;
            self.buckets = Buckets::new(&throttle.rates(), Instant::now());
        }
        self.buckets.is_some()
    }

    /// Measures a frame of so many bytes.
    pub fn frame(&mut self, bytes: usize, now: Instant) -> Verdict {
        let Some(buckets) = &mut self.buckets else {
            return Verdict::Admitted;
        };
        let amount = u32::try_from(bytes).unwrap_or(u32::MAX);
        // Bytes first, only looked at: a frame that is refused for one takes nothing of the other.
        let frames = buckets.frames.as_ref();
        let outcome = frames
            .map_or(Ok(()), |bucket| bucket.look(now))
            .map_err(|wait| (RateLimit::Frames, wait))
            .and_then(|()| {
                let bytes = buckets.bytes.as_ref().filter(|_| amount > 0);
                bytes
                    .map_or(Ok(()), |bucket| bucket.take(amount, now))
                    .map_err(|wait| (RateLimit::Bytes, wait))
            })
            .and_then(|()| {
                frames
                    .map_or(Ok(()), |bucket| bucket.take(1, now))
                    .map_err(|wait| (RateLimit::Frames, wait))
            });
        buckets.judge(outcome, now)
    }

    /// Keeps that a frame of the message that is coming is refused.
    pub fn hold(&mut self, excess: Excess) {
        if let Some(buckets) = &mut self.buckets {
            buckets.held.get_or_insert(excess);
        }
    }

    /// What a frame of the message that has come exceeded, if one did.
    pub fn release(&mut self) -> Option<Excess> {
        self.buckets.as_mut()?.held.take()
    }

    /// Measures a publish, whose frame was measured already.
    pub fn publish(&mut self, now: Instant) -> Verdict {
        let Some(buckets) = &mut self.buckets else {
            return Verdict::Admitted;
        };
        let publishes = buckets.publishes.as_ref();
        let outcome = publishes
            .map_or(Ok(()), |bucket| bucket.take(1, now))
            .map_err(|wait| (RateLimit::Publishes, wait));
        buckets.judge(outcome, now)
    }
}

impl Buckets {
    fn new(rates: &Rates, now: Instant) -> Option<Box<Self>> {
        let bucket = |rate: Option<_>| rate.map(|rate| Bucket::new(rate, now));
        let buckets = Self {
            frames: bucket(rates.frames),
            bytes: bucket(rates.bytes),
            publishes: bucket(rates.publishes),
            held: None,
            streak: None,
        };
        let is_any =
            buckets.frames.is_some() || buckets.bytes.is_some() || buckets.publishes.is_some();
        is_any.then(|| Box::new(buckets))
    }

    fn judge(&mut self, outcome: Result<(), (RateLimit, Duration)>, now: Instant) -> Verdict {
        let Err((limit, wait)) = outcome else {
            return Verdict::Admitted;
        };
        let excess = Excess { limit, wait };
        let since = match self.streak {
            Some((since, last)) if now.saturating_duration_since(last) <= CALM => since,
            _ => now,
        };
        self.streak = Some((since, now));
        if now.saturating_duration_since(since) < PATIENCE {
            Verdict::Refused(excess)
        } else {
            Verdict::TooLong(excess)
        }
    }
}
