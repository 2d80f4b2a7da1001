//! How much happens per second, told by one thread and read by many.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Rates are averaged over this time, the last part of which is under way.
const PERIOD: Duration = Duration::from_secs(10);

/// Counts what happens in the current period and what happened in the one before, so that neither
/// a clock has to tick nor a list be kept. Only one thread may count.
#[derive(Debug)]
pub struct Rate {
    start: Instant,
    /// The number of the period.
    period: AtomicU64,
    current: AtomicU64,
    before: AtomicU64,
}

impl Rate {
    /// Nothing has happened.
    pub fn new(start: Instant) -> Self {
        Self {
            start,
            period: AtomicU64::new(0),
            current: AtomicU64::new(0),
            before: AtomicU64::new(0),
        }
    }

    /// It happened once more. Nothing but plain loads and stores, since no one else counts; who
    /// reads in between may be told a little too much or too little.
    pub fn count(&self, now: Instant) {
        let (period, _) = self.at(now);
        let known = self.period.load(Ordering::Relaxed);
        let current = self.current.load(Ordering::Relaxed);
        if period > known {
            let before = if period == known + 1 { current } else { 0 };
            self.before.store(before, Ordering::Relaxed);
            self.current.store(1, Ordering::Relaxed);
            self.period.store(period, Ordering::Relaxed);
        } else {
            self.current.store(current + 1, Ordering::Relaxed);
        }
    }

    /// How often it happened per second, over the last ten.
    pub fn per_second(&self, now: Instant) -> f64 {
        let (period, into) = self.at(now);
        let known = self.period.load(Ordering::Relaxed);
        let current = self.current.load(Ordering::Relaxed) as f64;
        let (before, current) = match period.saturating_sub(known) {
            0 => (self.before.load(Ordering::Relaxed) as f64, current),
            1 => (current, 0.0),
            _ => (0.0, 0.0),
        };
        if period == 0 {
            // There was nothing before it.
            return current / into.as_secs_f64().max(1.0);
        }
        let left = 1.0 - into.as_secs_f64() / PERIOD.as_secs_f64();
        (before * left + current) / PERIOD.as_secs_f64()
    }

    /// The period, and how far into it.
    fn at(&self, now: Instant) -> (u64, Duration) {
        let age = now.saturating_duration_since(self.start);
        let period = age.as_secs() / PERIOD.as_secs();
        (period, age.saturating_sub(PERIOD * period as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_ten_seconds() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let near = |rate: f64, expected: f64| assert!((rate - expected).abs() < 0.6, "{rate}");
        let rate = Rate::new(start);
        near(rate.per_second(at(0)), 0.0);
        for n in 0..350 {
            rate.count(at(n * 100));
            if n % 50 == 25 {
                near(rate.per_second(at(n * 100)), 10.0);
            }
        }
        near(rate.per_second(at(40_000)), 5.0);
        near(rate.per_second(at(45_000)), 2.5);
        near(rate.per_second(at(50_000)), 0.0);
        near(rate.per_second(at(900_000)), 0.0);
        rate.count(at(900_000));
        near(rate.per_second(at(900_000)), 0.1);
        // Of another thread, accepted a moment ago.
        let later = Rate::new(at(1));
        later.count(start);
        near(later.per_second(start), 1.0);
    }
}
