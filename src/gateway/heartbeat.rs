//! Signs of life: when a session is to be given one or asked for one, and when it is taken for dead.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::moment::Moment;

/// How a session shows that it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signs {
    /// It is pinged when it was silent, and has to answer.
    Asked,
    /// It says nothing; it is given a sign now and then, for whatever stands between.
    Given,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Nothing yet.
    None,
    /// A ping.
    Ping,
    /// A comment.
    Comment,
    /// The end: no sign came in time.
    Dead,
}

/// The heartbeat of one session.
pub struct Heartbeat {
    signs: Signs,
    /// Silence after which a sign is due, in milliseconds: less than the interval by a part that is the session's
    /// own, so that they do not fall together. Zero turns it off.
    patience: u32,
    /// In milliseconds.
    timeout: u32,
    /// When it was last heard; where signs are given, when one was given.
    last: Cell<Moment>,
    asked: Cell<Option<Moment>>,
    /// It is not read now, so nothing can be heard of it.
    held: Cell<bool>,
}

impl Heartbeat {
    /// A heartbeat that begins now; `random` spreads it.
    pub fn new(
        signs: Signs,
        (interval, timeout): (Duration, Duration),
        random: u64,
        now: Instant,
    ) -> Self {
        let phase = (interval / 4).mul_f64(random as f64 / u64::MAX as f64);
        Self {
            signs,
            patience: millis(interval.saturating_sub(phase)),
            timeout: millis(timeout),
            last: Cell::new(now.into()),
            asked: Cell::new(None),
            held: Cell::new(false),
        }
    }

    /// Something arrived.
    pub fn heard(&self, now: Instant) {
        if self.signs == Signs::Asked {
            self.last.set(now.into());
        }
    }

    /// The answer to a ping arrived; since when it was waited for.
    pub fn answered(&self) -> Option<Instant> {
        self.asked.take().map(Moment::instant)
    }

    /// The session is not read, for no fault of its own.
    pub fn hold(&self) {
        self.held.set(true);
    }

    /// The session is read: if it was held, what it may have said meanwhile is still to be heard.
    pub fn release(&self, now: impl FnOnce() -> Instant) {
        if self.held.replace(false) {
            self.asked.set(None);
            self.heard(now());
        }
    }

    /// What is due now. A sign that is due counts as given.
    pub fn look(&self, now: Instant) -> Beat {
        if self.patience == 0 || self.held.get() {
            return Beat::None;
        }
        if self
            .asked
            .get()
            .is_some_and(|asked| self.last.get() > asked)
        {
            self.asked.set(None);
        }
        match (self.asked.get(), self.signs) {
            (Some(asked), _) if now >= self.timeout_of(asked) => Beat::Dead,
            (None, _) if now < self.sign_due() => Beat::None,
            (None, Signs::Asked) => {
                self.asked.set(Some(now.into()));
                Beat::Ping
            }
            (None, Signs::Given) => {
                self.last.set(now.into());
                Beat::Comment
            }
            (Some(_), _) => Beat::None,
        }
    }

    /// When to look next; `None` where there is no heartbeat.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        if self.patience == 0 {
            return None;
        }
        Some(match self.asked.get() {
            // It may be read again at any time.
            _ if self.held.get() => now + from_millis(self.timeout.max(self.patience / 4)),
            Some(asked) if self.last.get() <= asked => self.timeout_of(asked),
            _ => self.sign_due(),
        })
    }

    fn sign_due(&self) -> Instant {
        self.last.get().instant() + from_millis(self.patience)
    }

    fn timeout_of(&self, asked: Moment) -> Instant {
        asked.instant() + from_millis(self.timeout)
    }
}

/// A time that is not zero takes a millisecond at least.
fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_micros().div_ceil(1000)).unwrap_or(u32::MAX)
}

fn from_millis(time: u32) -> Duration {
    Duration::from_millis(time.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(25);
    const TIMEOUT: Duration = Duration::from_secs(10);

    fn beating(signs: Signs) -> (Heartbeat, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        let heartbeat = Heartbeat::new(signs, (INTERVAL, TIMEOUT), 0, start);
        (heartbeat, move |s| start + Duration::from_secs(s))
    }

    #[test]
    fn who_was_silent_is_asked_and_dead_without_an_answer() {
        let (heartbeat, at) = beating(Signs::Asked);
        assert_eq!(heartbeat.look(at(24)), Beat::None);
        assert_eq!(heartbeat.due(at(24)), Some(at(25)));
        assert_eq!(heartbeat.look(at(25)), Beat::Ping);
        assert_eq!(heartbeat.due(at(25)), Some(at(35)));
        assert_eq!(heartbeat.look(at(34)), Beat::None);
        assert_eq!(heartbeat.look(at(35)), Beat::Dead);
    }

    #[test]
    fn whatever_is_heard_is_an_answer() {
        let (heartbeat, at) = beating(Signs::Asked);
        assert_eq!(heartbeat.look(at(25)), Beat::Ping);
        heartbeat.heard(at(34));
        assert_eq!(heartbeat.due(at(34)), Some(at(59)));
        assert_eq!(heartbeat.look(at(35)), Beat::None);
        assert_eq!(
            heartbeat.answered(),
            None,
            "the ping was not answered by a pong"
        );
        assert_eq!(heartbeat.look(at(59)), Beat::Ping);
        assert_eq!(heartbeat.answered(), Some(at(59)));
    }

    #[test]
    fn who_is_held_back_cannot_be_heard_and_is_not_taken_for_dead() {
        let (heartbeat, at) = beating(Signs::Asked);
        assert_eq!(heartbeat.look(at(25)), Beat::Ping);
        heartbeat.hold();
        for second in [35, 60, 1000] {
            assert_eq!(heartbeat.look(at(second)), Beat::None);
            assert!(heartbeat.due(at(second)) > Some(at(second)));
        }
        heartbeat.release(|| at(1000));
        assert_eq!(heartbeat.look(at(1001)), Beat::None);
        // From here on it is asked as ever.
        assert_eq!(heartbeat.look(at(1025)), Beat::Ping);
        assert_eq!(heartbeat.look(at(1035)), Beat::Dead);
    }

    #[test]
    fn a_stream_is_given_signs_and_never_dead() {
        let (heartbeat, at) = beating(Signs::Given);
        for round in 1..5 {
            heartbeat.heard(at(25 * round - 1));
            assert_eq!(heartbeat.look(at(25 * round - 1)), Beat::None);
            assert_eq!(heartbeat.look(at(25 * round)), Beat::Comment);
        }
    }

    #[test]
    fn signs_are_spread_over_a_quarter_of_the_interval() {
        let now = Instant::now();
        let spread = |random| {
            let heartbeat = Heartbeat::new(Signs::Asked, (INTERVAL, TIMEOUT), random, now);
            heartbeat.due(now).unwrap() - now
        };
        assert_eq!(spread(0), INTERVAL);
        assert!(spread(u64::MAX).abs_diff(INTERVAL * 3 / 4) < Duration::from_millis(1));
    }

    #[test]
    fn an_interval_of_zero_is_no_heartbeat() {
        let now = Instant::now();
        let heartbeat = Heartbeat::new(Signs::Asked, (Duration::ZERO, TIMEOUT), 1, now);
        assert_eq!(heartbeat.due(now), None);
        assert_eq!(heartbeat.look(now + 100 * INTERVAL), Beat::None);
    }
}
