//! Where counting begins and ends.

use std::hint::black_box;

/// Does what is to be counted. Before and after it stands a function that callgrind knows by its name: it writes down at each what
/// was counted since the last, so that the stretch between is a profile of its own.
pub fn counted(work: &mut dyn FnMut()) {
    counting_begins();
    work();
    counting_ends();
}

/// By which callgrind knows the two, however their symbols are written.
pub const NAMES: [&str; 2] = ["*counting_begins*", "*counting_ends*"];

/// Of the profiles, the one between them.
pub const PART: u32 = 2;

// Never inlined, and not the same, or they would be one function.

#[inline(never)]
fn counting_begins() {
    black_box(1);
}

#[inline(never)]
fn counting_ends() {
    black_box(2);
}
