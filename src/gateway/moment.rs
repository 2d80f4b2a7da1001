//! A moment in eight bytes. A session keeps several, and an [`Instant`] takes sixteen.

use std::num::NonZeroU64;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// An [`Instant`], to the nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(NonZeroU64);

/// Moments before the first one that was asked for may be told, as long as they are not earlier than this.
const BEFORE: Duration = Duration::from_secs(24 * 60 * 60);

/// What moments are counted from.
fn base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(|| {
        let now = Instant::now();
        now.checked_sub(BEFORE).unwrap_or(now)
    })
}

impl From<Instant> for Moment {
    fn from(instant: Instant) -> Self {
        let since = instant.saturating_duration_since(base()).as_nanos();
        // Five centuries of nanoseconds have room.
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        Self(NonZeroU64::new(since).unwrap_or(NonZeroU64::MIN))
    }
}

impl From<Moment> for Instant {
    fn from(moment: Moment) -> Self {
        base() + Duration::from_nanos(moment.0.get())
    }
}

impl Moment {
    /// As it was.
    pub fn instant(self) -> Instant {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_instant_that_it_was_made_of() {
        let now = Instant::now();
        for after in [0, 1, 999, 1_000_000_007, u64::MAX / 4] {
            let instant = now + Duration::from_nanos(after);
            assert_eq!(Moment::from(instant).instant(), instant);
        }
        let earlier = now.checked_sub(Duration::from_secs(60)).unwrap();
        assert_eq!(Moment::from(earlier).instant(), earlier);
        assert!(Moment::from(earlier) < Moment::from(now));
        assert_eq!(size_of::<Option<Moment>>(), 8);
    }
}
