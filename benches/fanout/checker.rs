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
#[derive(Debug, Default)]
pub struct Checker {
    next: u32,
    missing: Vec<u32>,
}

impl Checker {
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

    /// How many of so many published messages never came.
    pub fn lost(&self, published: u32) -> u64 {
        self.missing.len() as u64 + u64::from(published.saturating_sub(self.next))
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
