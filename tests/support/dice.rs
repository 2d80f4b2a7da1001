//! Chance that can be had again: by the number that it began with.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A sequence of numbers that look random (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
}

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Begins with the number that `FANFARE_CRASH_SEED` says, or with a new one, which is told: what
    /// fails can be tried again with it.
    pub fn told() -> Self {
        let seed = std::env::var("FANFARE_CRASH_SEED").map_or_else(
            |_| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                now.as_nanos() as u64 % 1_000_000_007
            },
            |seed| seed.parse().expect("a number"),
        );
        println!("FANFARE_CRASH_SEED={seed}");
        Self::new(seed)
    }

    /// Others, that nobody else's throws change.
    pub fn for_the(&self, number: u64) -> Self {
        let mut dice = Self::new(self.state ^ number.wrapping_mul(0xa076_1d64_78bd_642f));
        dice.next();
        dice
    }

    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `below`, without it.
    pub fn below(&mut self, below: usize) -> usize {
        (self.next() % below as u64) as usize
    }

    /// One time in so many.
    pub fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    pub fn millis(&mut self, from: usize, to: usize) -> Duration {
        Duration::from_millis((from + self.below(to - from)) as u64)
    }

    pub fn pick<'a, T>(&mut self, some: &'a [T]) -> &'a T {
        &some[self.below(some.len())]
    }
}
