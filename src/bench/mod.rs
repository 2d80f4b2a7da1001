//! The load generator: what `fanfare bench` runs against any broker, and what the yardstick in `benches/` measures with.
//!
//! A [`Load`](load::Load) holds sessions at a server, publishes through some of them and checks what the others get: each message once,
//! in order, with nothing missing, through reconnects too. It is one thread with one epoll, and looks at little more than a
//! number in each message, since it must never be what the server waits for. What a server speaks is a
//! [`Dialect`](dialect::Dialect); Fanfare's own is in [`fanfare`].
//!
//! A peer's bytes decide nothing but what is counted: what is not understood is a fault, never a panic.

pub mod checker;
pub mod connect;
pub mod dialect;
pub mod events;
pub mod fanfare;
pub mod figures;
pub mod frames;
pub mod histogram;
pub mod load;
pub mod measured;
pub mod message;
pub mod page;
pub mod plot;
pub mod poll;
pub mod process;
pub mod run;
pub mod scenario;
