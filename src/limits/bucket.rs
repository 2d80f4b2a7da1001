//! One bucket: how much is admitted in which time.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

use crate::config::Rate;

/// Admits as much as a rate and its burst allow. The rule is governor's GCRA; the time is given.
pub(super) struct Bucket {
    limiter: RateLimiter<Asked, Level, Given, NoOpMiddleware<Nanos>>,
    begun: Instant,
    burst: NonZeroU32,
}

/// What is asked of a bucket.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Asked {
    /// Whether so much would be admitted.
    Look,
    /// To admit it.
    Take,
}

/// How full the bucket is, as governor writes it; nothing is taken from it by looking.
#[derive(Default)]
struct Level(AtomicU64);

/// The time of the question at hand, in nanoseconds of the bucket's life.
#[derive(Default)]
struct Given(AtomicU64);

impl Bucket {
    /// A full bucket.
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        // Rounded up, so that what a whole nanosecond cannot say is never admitted in excess.
        let period = 1_000_000_000u64.div_ceil(u64::from(rate.per_second.get()));
        let quota = Quota::with_period(Duration::from_nanos(period))
            .unwrap_or_else(|| Quota::per_second(rate.per_second))
            .allow_burst(rate.burst);
        Self {
            limiter: RateLimiter::new(quota, Level::default(), Given::default()),
            begun: now,
            burst: rate.burst,
        }
    }

    /// Takes so much, if it is there.
    ///
    /// # Errors
    /// How long to wait until it is. Nothing is taken then.
    pub(super) fn take(&self, amount: u32, now: Instant) -> Result<(), Duration> {
        self.ask(Asked::Take, amount, now)
    }

    /// Whether anything is there.
    ///
    /// # Errors
    /// How long to wait until it is.
    pub(super) fn look(&self, now: Instant) -> Result<(), Duration> {
        self.ask(Asked::Look, 1, now)
    }

    /// Whether it is as good as new.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.ask(Asked::Look, self.burst.get(), now).is_ok()
    }

    fn ask(&self, asked: Asked, amount: u32, now: Instant) -> Result<(), Duration> {
        // What is more than the bucket ever holds empties it: it would be refused for good otherwise.
        let amount = NonZeroU32::new(amount).map_or(NonZeroU32::MIN, |n| n.min(self.burst));
        let lived = now.saturating_duration_since(self.begun);
        let nanos = u64::try_from(lived.as_nanos()).unwrap_or(u64::MAX);
        self.limiter.clock().0.store(nanos, Ordering::Relaxed);
        match self.limiter.check_key_n(&asked, amount) {
            Ok(Ok(())) | Err(_) => Ok(()),
            Ok(Err(not_until)) => Err(not_until.wait_time_from(Nanos::from(nanos))),
        }
    }
}

impl Clock for Given {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.load(Ordering::Relaxed))
    }
}

impl StateStore for Level {
    type Key = Asked;

    fn measure_and_replace<T, F, E>(&self, asked: &Asked, rule: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        // Whoever shares a bucket holds its lock, so nobody writes in between.
        let level = self.0.load(Ordering::Relaxed);
        let (outcome, next) = rule((level > 0).then(|| Nanos::from(level)))?;
        if *asked == Asked::Take {
            self.0.store(next.as_u64(), Ordering::Relaxed);
        }
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn bucket(rate: u32, burst: u32) -> (Bucket, Instant) {
        let now = Instant::now();
        (
            Bucket::new(Rate::with_burst(rate, burst).unwrap(), now),
            now,
        )
    }

    #[test]
    fn a_burst_is_admitted_at_once_and_then_the_rate() {
        let (bucket, start) = bucket(10, 3);
        for _ in 0..3 {
            assert_eq!(bucket.take(1, start), Ok(()));
        }
        let tenth = SECOND / 10;
        assert_eq!(bucket.take(1, start), Err(tenth));
        // What was refused took nothing.
        assert_eq!(bucket.take(1, start), Err(tenth));
        let later = start + tenth;
        assert_eq!(
            bucket.take(1, start + Duration::from_nanos(99_999_999)),
            Err(Duration::from_nanos(1))
        );
        assert_eq!(bucket.take(1, later), Ok(()));
        assert_eq!(bucket.take(1, later), Err(tenth));
        // However long nothing was taken, no more than the burst is there.
        let much_later = start + SECOND * 3600;
        assert!(bucket.is_full(much_later));
        assert_eq!(bucket.take(3, much_later), Ok(()));
        assert!(bucket.take(1, much_later).is_err());
    }

    #[test]
    fn several_at_once_are_admitted_whole_or_not_at_all() {
        let (bucket, start) = bucket(100, 1000);
        assert_eq!(bucket.take(900, start), Ok(()));
        assert_eq!(bucket.take(200, start), Err(SECOND));
        assert_eq!(bucket.take(100, start), Ok(()));
        assert_eq!(bucket.take(200, start + SECOND), Err(SECOND));
        assert_eq!(bucket.take(200, start + SECOND * 2), Ok(()));
    }

    #[test]
    fn what_is_more_than_the_burst_takes_all_of_it() {
        let (bucket, start) = bucket(10, 5);
        assert_eq!(bucket.take(1_000_000, start), Ok(()));
        assert_eq!(bucket.take(1, start), Err(SECOND / 10));
        assert_eq!(bucket.take(1_000_000, start + SECOND / 2), Ok(()));
    }

    #[test]
    fn looking_takes_nothing() {
        let (bucket, start) = bucket(1, 1);
        for _ in 0..10 {
            assert_eq!(bucket.look(start), Ok(()));
        }
        assert!(bucket.is_full(start));
        bucket.take(1, start).unwrap();
        assert!(!bucket.is_full(start));
        assert_eq!(bucket.look(start), Err(SECOND));
        assert_eq!(bucket.look(start + SECOND), Ok(()));
    }

    #[test]
    fn a_clock_that_stands_or_is_before_the_start_admits_no_more() {
        let (bucket, start) = bucket(10, 2);
        let before = start.checked_sub(SECOND).unwrap();
        bucket.take(2, before).unwrap();
        assert!(bucket.take(1, before).is_err());
        assert!(bucket.take(1, start).is_err());
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate_is_admitted(
            rate in 1u32..=128 * 1024 * 1024,
            burst in 1u32..100_000,
            asked in proptest::collection::vec((0u64..2_000_000_000, 1u32..200_000), 1..200),
        ) {
            let (bucket, start) = bucket(rate, burst);
            let (mut now, mut admitted) = (start, 0u64);
            for (nanos, amount) in asked {
                now += Duration::from_nanos(nanos);
                if let Err(wait) = bucket.take(amount, now) {
                    // Who waits as long as it is told is admitted.
                    prop_assert!(wait > Duration::ZERO);
                    now += wait;
                    prop_assert_eq!(bucket.take(amount, now), Ok(()));
                }
                admitted += u64::from(amount.min(burst));
                let lived = (now - start).as_nanos();
                let earned = u128::from(rate) * lived / 1_000_000_000;
                prop_assert!(u128::from(admitted) <= u128::from(burst) + earned + 1);
            }
        }
    }
}
