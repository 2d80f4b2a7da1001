//! What the tests speak in: a server, clients of every kind, and waiting with a bound.

mod chunks;
mod client;
mod command;
mod config;
mod deaf;
mod dice;
mod disk;
mod events;
mod forgetful;
mod http;
mod liar;
mod mortal;
mod mount;
mod msgpack;
mod peer;
mod process;
mod proxy;
mod raw;
mod rest;
mod server;
mod wire;

use std::time::{Duration, Instant};

pub use chunks::Chunks;
pub use client::{Client, base, try_base};
pub use command::{Ran, Running, command, ran, ran_in};
pub use config::{Edit, config, kept, live};
pub use deaf::{bulky, deaf, filled, publish_until};
pub use dice::Dice;
pub use disk::{Disk, held};
pub use events::Events;
pub use forgetful::{Cut, Forgetful};
pub use http::{Answer, Http, read_answer};
pub use liar::{Liar, Lie};
pub use mortal::Mortal;
pub use mount::Mount;
pub use msgpack::{Packed, packed, unpacked};
pub use peer::connect_from;
pub use process::{Process, raise_descriptors, sessions};
pub use proxy::Proxy;
pub use raw::Raw;
pub use rest::Rest;
pub use server::Server;
pub use wire::{
    BINARY, CLOSE, CONTINUE, PING, PONG, TEXT, Wire, close_payload, frame, header, narrow,
};

/// How long anything that is expected may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until the condition holds.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    eventually_some(what, || holds().then_some(()));
}

/// Waits until there is something.
#[track_caller]
pub fn eventually_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(LOOK);
    }
}
