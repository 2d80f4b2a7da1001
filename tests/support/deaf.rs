//! Sessions that do not read, and publishing until their queues fill.

use serde_json::{Value, json};

use super::{Client, Server, Wire};

/// More messages than any test needs to fill a queue.
const MOST: u64 = 20_000;

/// A session that subscribed to `a` and reads no more; its receive buffer is as small as can be.
pub fn deaf(server: &Server) -> Wire {
    let mut wire = Wire::narrow(server.address, "/ws").welcomed();
    wire.send_json(&json!({"type": "subscribe", "topic": "a", "id": 1}));
    assert_eq!(wire.json()["type"], "ok");
    wire
}

/// Publishes to `a` what `data` makes of the count from 0, until `holds`; returns how many it took.
#[track_caller]
pub fn publish_until(
    writer: &mut Client,
    data: impl Fn(u64) -> Value,
    mut holds: impl FnMut() -> bool,
) -> u64 {
    let mut published = 0;
    while !holds() {
        assert!(published < MOST, "{published} messages did not do it");
        writer.publish("a", data(published)).await_ok();
        published += 1;
    }
    published
}

/// A deaf session, and messages of so many bytes published to it until `holds`: it, who published, and how
/// many.
#[track_caller]
pub fn filled(server: &Server, bytes: usize, holds: impl FnMut() -> bool) -> (Wire, Client, u64) {
    let slow = deaf(server);
    let mut writer = server.connect();
    let published = publish_until(&mut writer, bulky(bytes), holds);
    (slow, writer, published)
}

/// A number and so many bytes.
pub fn bulky(bytes: usize) -> impl Fn(u64) -> Value {
    let text = "x".repeat(bytes);
    move |number| json!([number, text])
}
