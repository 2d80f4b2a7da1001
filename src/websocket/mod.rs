//! WebSocket as it stands on the wire: RFC 6455 from a server's side, and compression of messages by
//! RFC 7692.
//!
//! Everything here is a function of its arguments. What comes in is read by a [`Decoder`], which owns
//! no more than what is not whole yet; what goes out is written once for many sockets, so that there
//! is nothing but functions for it.

mod close;
mod decoder;
mod deflate;
mod extension;
mod fault;
mod frame;
mod head;
mod inflate;
mod input;
mod mask;
mod message;

pub use close::may_stand_in_a_close;
pub use decoder::{Decoder, Event, Limits};
pub use deflate::Deflater;
pub use extension::{Allowed, Negotiated, negotiate};
pub use fault::Fault;
pub use frame::{
    MAX_HEADER, Opcode, close_bytes, header_len, ping_bytes, pong_bytes, put_deflated, put_frame,
    put_header, put_header_before,
};
pub use inflate::Inflater;
pub use input::Input;
pub use message::Incoming;

#[cfg(test)]
pub(crate) use frame::walk;
