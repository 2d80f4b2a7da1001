//! What one read brought, less what was looked at.

use std::mem;

/// Bytes as they came, which are unmasked where they lie.
#[derive(Debug)]
pub struct Input<'a>(&'a mut [u8]);

impl<'a> Input<'a> {
    /// All that one read brought.
    pub fn new(read: &'a mut [u8]) -> Self {
        Self(read)
    }

    /// What is left.
    pub fn rest(&self) -> &[u8] {
        self.0
    }

    /// Takes at most so many bytes from the beginning.
    pub(super) fn take(&mut self, most: usize) -> &'a mut [u8] {
        let all = mem::take(&mut self.0);
        let (taken, rest) = all.split_at_mut(most.min(all.len()));
        self.0 = rest;
        taken
    }

    /// Throws all of it away.
    pub(super) fn clear(&mut self) {
        self.0 = &mut [];
    }
}
