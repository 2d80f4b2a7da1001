//! How much one session, address, user or key may do: rates with bursts, and counts.
//!
//! Time is passed in. What one session does is measured by its own [`Meter`], which nobody else sees; what
//! an address, a user or a key does is kept in the [`Throttle`] that all workers share, and is looked at
//! once a handshake or request, never once a frame.

mod bucket;
mod buckets;
mod counts;
mod descriptors;
mod excess;
mod memory;
mod meter;
mod source;
#[cfg(test)]
mod tests;
mod throttle;

pub use descriptors::{Descriptor, Descriptors, Room};
pub use excess::Excess;
pub use memory::{Memory, Pressure};
pub use meter::{Meter, Verdict};
pub use source::Source;
pub use throttle::{Entry, Publisher, Throttle};
