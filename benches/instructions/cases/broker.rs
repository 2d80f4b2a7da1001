//! What the broker does with a message between its publish and the writes: home, batch, encoding, audience, outbox.

use fanfare::model::TopicName;
use fanfare::protocol::{Window, WireFormat};

use super::{payload, repeat, topic};
use crate::stage::{QUEUE, Stage};

/// One publish after the other.
pub fn fan_out() -> u64 {
    one_after_the_other(128, None, 20)
}

/// Large messages, which are to be shared and not copied.
pub fn fan_out_16k() -> u64 {
    one_after_the_other(16 * 1024, None, 20)
}

/// Compressed once for all.
pub fn fan_out_deflate() -> u64 {
    one_after_the_other(1000, Some(Window::Large), 20)
}

fn one_after_the_other(bytes: usize, window: Option<Window>, times: u64) -> u64 {
    let mut stage = Stage::new();
    stage.join(1000, "a", WireFormat::Json, window);
    let (topic, payload) = (topic("a"), payload(bytes));
    repeat(times, |_| {
        stage.publish(&topic, &payload);
        stage.run_until(stage.writes() + 1000);
    })
}

/// What falls due together leaves together.
pub fn fan_out_burst() -> u64 {
    let mut stage = Stage::new();
    stage.join(1000, "a", WireFormat::Json, None);
    let (topic, payload) = (topic("a"), payload(128));
    repeat(10, |_| {
        for _ in 0..16 {
            stage.publish(&topic, &payload);
        }
        stage.run_until(stage.writes() + 1000);
    })
}

/// Many small topics, half of their sessions with MessagePack.
pub fn fan_out_topics() -> u64 {
    const TOPICS: u64 = 100;
    let mut stage = Stage::new();
    let topics: Vec<TopicName> = (0..TOPICS).map(|n| topic(&format!("room/{n}"))).collect();
    for topic in &topics {
        stage.join(5, topic.as_str(), WireFormat::Json, None);
        stage.join(5, topic.as_str(), WireFormat::Msgpack, None);
    }
    let payload = payload(128);
    let turns = repeat(10, |_| {
        for topic in &topics {
            stage.publish(topic, &payload);
        }
        stage.run_until(stage.writes() + TOPICS * 10);
    });
    turns * TOPICS
}

/// Topics that nobody subscribed to by name, each for the first time.
pub fn fan_out_by_filters() -> u64 {
    let mut stage = Stage::new();
    for filter in [
        "#", "+/#", "+/+/#", "+/+/+", "a/#", "a/+/#", "a/+/+", "a/b/#", "a/b/+", "+/b/+",
    ] {
        stage.join(1, filter, WireFormat::Json, None);
    }
    let topics: Vec<TopicName> = (0..200).map(|n| topic(&format!("a/b/{n}"))).collect();
    let payload = payload(128);
    repeat(200, |time| {
        stage.publish(&topics[time], &payload);
        stage.run_until(stage.writes() + 10);
    })
}

/// Outboxes fill, drop what is oldest, and are emptied once their readers read again.
pub fn slow_readers() -> u64 {
    const SESSIONS: usize = 100;
    let mut stage = Stage::new();
    stage.join(SESSIONS, "slow/a", WireFormat::Json, None);
    let (topic, payload) = (topic("slow/a"), payload(512));
    // Twice what there is room for.
    let messages = 2 * QUEUE / 512;
    let turns = repeat(2, |_| {
        stage.fill();
        for _ in 0..messages {
            stage.publish(&topic, &payload);
            stage.settle();
        }
        let before = stage.writes();
        stage.drain();
        stage.run_until(before + SESSIONS as u64);
        stage.settle();
    });
    turns * (messages * SESSIONS) as u64
}
