//! The words everything else is written in: topics and filters, messages and their positions.
//!
//! Nothing here knows of sockets, actors or configuration.

mod durability;
mod member;
mod message;
mod overflow;
mod payload;
mod position;
mod session_id;
mod topic;

pub use durability::Durability;
pub use member::Member;
pub use message::{Message, Origin, Timestamp};
pub use overflow::{Overflow, Overflows};
pub use payload::{Kind, Payload, PayloadError};
pub use position::{Epoch, Position};
pub use session_id::SessionId;
pub use topic::{Filter, TopicError, TopicName};
