//! What happens per second, averaged over the last ten.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What was counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages accepted.
    pub published: u64,
    /// Messages of which the kernel took the last byte.
    pub delivered: u64,
}

/// What happens per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PerSecond {
    /// Messages accepted.
    pub published: f64,
    /// Messages of which the kernel took the last byte.
    pub delivered: f64,
}

/// The totals of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Rates {
    samples: VecDeque<(Instant, Totals)>,
}

impl Rates {
    /// Over how long rates are averaged.
    const WINDOW: Duration = Duration::from_secs(10);

    /// Takes note of the totals at `now`.
    pub(super) fn sample(&mut self, now: Instant, totals: Totals) {
        self.samples.push_back((now, totals));
        // One sample from before the window stays: the window begins between it and the next.
        while self
            .samples
            .get(1)
            .is_some_and(|(at, _)| now.duration_since(*at) >= Self::WINDOW)
        {
            self.samples.pop_front();
        }
    }

    /// The rates since the oldest sample that is kept; 0 before there is any.
    pub(super) fn per_second(&self, now: Instant, totals: Totals) -> PerSecond {
        let Some((since, then)) = self.samples.front() else {
            return PerSecond::default();
        };
        let seconds = now.duration_since(*since).as_secs_f64();
        if seconds <= 0.0 {
            return PerSecond::default();
        }
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        PerSecond {
            published: rate(totals.published, then.published),
            delivered: rate(totals.delivered, then.delivered),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_ten_seconds() {
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let totals = |n: u64| Totals {
            published: n,
            delivered: 10 * n,
        };
        let mut rates = Rates::default();
        assert_eq!(rates.per_second(at(0), totals(9)), PerSecond::default());
        for second in 0..=20_u64 {
            // One a second at first, then five.
            let n = second + second.saturating_sub(10) * 4;
            rates.sample(at(second), totals(n));
        }
        let now = rates.per_second(at(20), totals(60));
        assert!((now.published - 5.0).abs() < 0.01, "{now:?}");
        assert!((now.delivered - 50.0).abs() < 0.1, "{now:?}");
        assert!(rates.samples.len() <= 12);
    }
}
