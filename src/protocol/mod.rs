//! What stands on the wire: the frames of the client protocol, read and written.
//!
//! Everything here is a function of its arguments. Sockets, actors and clocks are elsewhere.

mod close;
mod codes;
mod encoding;
mod event;
mod event_id;
mod fields;
mod json_members;
mod json_out;
mod json_value;
mod msgpack_from_json;
mod msgpack_out;
mod msgpack_reader;
mod msgpack_value;
mod out;
mod problem;
mod request;
mod request_reader;
mod server_frame;
mod skipped;
mod wire;

pub use close::{Close, CloseCode};
pub use codes::{ErrorCode, Refusal};
pub use encoding::{Deflaters, Effort, Encoding, EncodingSet, Window};
pub use event::{Event, Published, Removed};
pub use event_id::EventId;
pub use problem::{PROBLEM_TYPE, Problem, title};
pub use request::{
    Action, BadFrame, Cursor, HistoryQuery, MAX_ID, Publish, Request, Since, Subscribe,
};
pub use request_reader::{parse_json, parse_msgpack, parse_publish, parse_subscribe};
pub use server_frame::{Answer, GapReason, ServerFrame, SubscribeOk};
pub use skipped::with_skipped;
pub use wire::{Sent, WireFormat, control_bytes, message_bytes, message_json, put_event_as};

#[cfg(test)]
mod tests;
