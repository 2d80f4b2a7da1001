//! What is counted.

mod broker;
mod codec;
mod keeping;

use fanfare::model::{Payload, TopicName};

use crate::counted::counted;

/// A path that a message takes, or a part of one.
#[derive(Debug)]
pub struct Case {
    /// How it is called on the command line and in the figures.
    pub name: &'static str,
    /// What one of it is.
    pub each: &'static str,
    /// Does it, within `counted`, and says how many of it that was.
    pub run: fn() -> u64,
}

const fn case(name: &'static str, each: &'static str, run: fn() -> u64) -> Case {
    Case { name, each, run }
}

/// All of them.
pub const CASES: &[Case] = &[
    case("encode-json", "a message", codec::encode_json),
    case("encode-msgpack", "a message", codec::encode_msgpack),
    case("parse-json", "a frame that publishes", codec::parse_json),
    case(
        "parse-msgpack",
        "a frame that publishes",
        codec::parse_msgpack,
    ),
    case("decode", "a WebSocket frame of 128 bytes", codec::decode),
    case(
        "decode-in-pieces",
        "a WebSocket frame of 128 bytes that comes in several reads",
        codec::decode_in_pieces,
    ),
    case(
        "decode-16k",
        "a WebSocket frame of 16 KiB",
        codec::decode_16k,
    ),
    case(
        "inflate",
        "a compressed WebSocket message of 1 KB",
        codec::inflate,
    ),
    case("deflate", "a message of 1 KB", codec::deflate),
    case(
        "filters-10000",
        "a name asked of 10,000 filters",
        keeping::filters,
    ),
    case("history-append", "a message", keeping::history_append),
    case(
        "fan-out-1000",
        "a publish to 1000 sessions",
        broker::fan_out,
    ),
    case(
        "fan-out-1000-burst",
        "16 publishes of one turn to 1000 sessions",
        broker::fan_out_burst,
    ),
    case(
        "fan-out-1000-16k",
        "a publish of 16 KiB to 1000 sessions",
        broker::fan_out_16k,
    ),
    case(
        "fan-out-1000-deflate",
        "a publish to 1000 sessions with compression",
        broker::fan_out_deflate,
    ),
    case(
        "fan-out-100-topics",
        "a publish to 10 sessions, among 100 topics",
        broker::fan_out_topics,
    ),
    case(
        "fan-out-by-filters",
        "a publish to 10 sessions, each with another filter",
        broker::fan_out_by_filters,
    ),
    case(
        "slow-readers",
        "a message to a session that drops it or reads it late",
        broker::slow_readers,
    ),
];

/// Does it once before, so that nothing is counted that happens only at first, then so many times.
fn repeat(times: u64, mut work: impl FnMut(usize)) -> u64 {
    work(0);
    counted(&mut || {
        for time in 0..times {
            work(time as usize);
        }
    });
    times
}

fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

/// A JSON object of about so many bytes, with the kinds of values that data has.
fn json(bytes: usize) -> String {
    let mut text =
        String::from("{\"id\":4711,\"live\":true,\"price\":101.25,\"by\":\"J\\u00f6rg \\\"J\\\"\"");
    for place in 0.. {
        let more = format!(",\"f{place}\":\"value {}\"", place * 7919 % 1000);
        if text.len() + more.len() + 1 > bytes {
            break;
        }
        text += &more;
    }
    text.push('}');
    text
}

/// A payload of about so many bytes of JSON.
fn payload(bytes: usize) -> Payload {
    Payload::json(json(bytes).as_bytes()).unwrap()
}
