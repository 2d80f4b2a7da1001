//! Whether a session got every message of its topic, once and in order.

/// What a message was, by its count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The very next one.
    Next,
    /// One from further ahead: what lies between is missing so far.
    Ahead,
    /// One that was missing, behind a later one.
    Late,
    /// One that was there before.
    Duplicate,
}

/// What one session saw of its topic.
#[derive(Clone, Debug, Default)]
pub struct Checker {
    next: u32,
    missing: Vec<u32>,
}

impl Checker {
    /// A session that is owed what comes from this count on.
    pub fn from(next: u32) -> Self {
        Self {
            next,
            missing: Vec::new(),
        }
    }

    /// Takes note of a message.
    #[inline]
    pub fn see(&mut self, count: u32) -> Verdict {
        if count == self.next {
            self.next += 1;
            return Verdict::Next;
        }
        self.see_other(count)
    }

    #[cold]
    fn see_other(&mut self, count: u32) -> Verdict {
        if count > self.next {
            self.missing.extend(self.next..count);
            self.next = count + 1;
            return Verdict::Ahead;
        }
        match self.missing.iter().position(|missing| *missing == count) {
            Some(at) => {
                self.missing.swap_remove(at);
                Verdict::Late
            }
            None => Verdict::Duplicate,
        }
    }

    /// The session is told that it misses these, the last one included; returns those that it did not have, each
    /// of which counts as seen from now on.
    pub fn excuse(&mut self, first: u32, last: u32) -> Vec<u32> {
        let excused = |count: &u32| (first..=last).contains(count);
        let mut told: Vec<u32> = self.missing.iter().copied().filter(excused).collect();
        self.missing.retain(|count| !excused(count));
        if last >= self.next {
            let from = first.max(self.next);
            self.missing.extend(self.next..from);
            told.extend(from..=last);
            self.next = last.saturating_add(1);
        }
        told
    }

    /// The count of the message that would be next.
    pub fn next(&self) -> u32 {
        self.next
    }

    /// How many of so many published messages never came.
    pub fn lost(&self, published: u32) -> u64 {
        self.missing.len() as u64 + u64::from(published.saturating_sub(self.next))
    }

    /// How many never came of those before the newest that did.
    pub fn skipped(&self) -> u64 {
        self.missing.len() as u64
    }
}

/// Everything that must not happen, counted. All zero is the only good answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Faults {
    /// Messages that never came.
    pub lost: u64,
    /// Messages that came again.
    pub duplicated: u64,
    /// Messages that came behind a later one.
    pub disordered: u64,
    /// Messages with data that is cut or not what was published, and frames that are none.
    pub damaged: u64,
    /// Sessions that the server closed.
    pub closed: u64,
    /// Error frames, and messages for a session that subscribed to nothing.
    pub unexpected: u64,
}

impl Faults {
    /// Whether nothing went wrong.
    pub fn none(&self) -> bool {
        *self == Self::default()
    }

    /// Adds those of another round.
    pub fn add(&mut self, other: &Self) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.disordered += other.disordered;
        self.damaged += other.damaged;
        self.closed += other.closed;
        self.unexpected += other.unexpected;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_is_told_to_miss_is_not_lost_and_does_not_come_again() {
        let mut checker = Checker::from(10);
        assert_eq!(checker.see(10), Verdict::Next);
        assert_eq!(checker.excuse(11, 13), [11, 12, 13]);
        assert_eq!(checker.see(14), Verdict::Next);
        assert_eq!(checker.see(12), Verdict::Duplicate);
        assert_eq!(checker.lost(15), 0);
        // What lies before a gap and is not in it is lost.
        assert_eq!(checker.excuse(17, 18), [17, 18]);
        assert_eq!((checker.skipped(), checker.lost(20)), (2, 3));
        assert_eq!(checker.excuse(0, 15), [15]);
        assert_eq!(checker.see(16), Verdict::Late);
        assert_eq!(checker.lost(19), 0);
    }
}
