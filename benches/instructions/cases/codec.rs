//! Frames: of the client protocol, and of WebSocket.

use std::hint::black_box;

use fanfare::bench::frames;
use fanfare::model::{Epoch, Message, Position, Timestamp};
use fanfare::protocol::{self, Deflaters, Effort, Sent, Window, WireFormat, message_bytes};
use fanfare::websocket::{
    Allowed, Decoder, Event, Input, Limits, MAX_HEADER, Negotiated, Opcode, negotiate, put_frame,
};

use super::{json, payload, repeat, topic};

pub fn encode_json() -> u64 {
    encode(WireFormat::Json)
}

pub fn encode_msgpack() -> u64 {
    encode(WireFormat::Msgpack)
}

fn encode(format: WireFormat) -> u64 {
    let message = Message {
        topic: topic("sport/tennis/scores"),
        payload: payload(128),
        time: Timestamp(1_789_000_000_000),
        position: Some(Position {
            epoch: Epoch::from_random(4711),
            offset: 123_456,
        }),
        user: None,
        key: None,
        publisher: None,
    };
    repeat(1000, |_| {
        black_box(message_bytes(format, black_box(&message), Sent::Live));
    })
}

pub fn parse_json() -> u64 {
    let frame = publish_frame();
    repeat(1000, |_| {
        let request = protocol::parse_json(black_box(&frame));
        black_box(request.unwrap());
    })
}

pub fn parse_msgpack() -> u64 {
    let value: serde_json::Value = serde_json::from_str(&publish_frame()).unwrap();
    let mut frame = Vec::new();
    put_msgpack(&mut frame, &value);
    repeat(1000, |_| {
        let request = protocol::parse_msgpack(black_box(&frame));
        black_box(request.unwrap());
    })
}

fn publish_frame() -> String {
    let data = json(128);
    format!("{{\"type\":\"publish\",\"id\":12,\"topic\":\"sport/tennis/scores\",\"data\":{data}}}")
}

fn put_msgpack(out: &mut Vec<u8>, value: &serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::Null => rmp::encode::write_nil(out).unwrap(),
        Value::Bool(is) => rmp::encode::write_bool(out, *is).unwrap(),
        Value::Number(number) if number.is_u64() => {
            rmp::encode::write_uint(out, number.as_u64().unwrap()).unwrap();
        }
        Value::Number(number) => rmp::encode::write_f64(out, number.as_f64().unwrap()).unwrap(),
        Value::String(text) => rmp::encode::write_str(out, text).unwrap(),
        Value::Array(values) => {
            rmp::encode::write_array_len(out, values.len() as u32).unwrap();
            for value in values {
                put_msgpack(out, value);
            }
        }
        Value::Object(fields) => {
            rmp::encode::write_map_len(out, fields.len() as u32).unwrap();
            for (name, value) in fields {
                rmp::encode::write_str(out, name).unwrap();
                put_msgpack(out, value);
            }
        }
    }
}

/// Reads of 16 KiB, as sockets bring them where much comes.
pub fn decode() -> u64 {
    decode_frames(1000, &json(128), 16 * 1024, None)
}

/// Reads that end anywhere.
pub fn decode_in_pieces() -> u64 {
    decode_frames(1000, &json(128), 61, None)
}

/// Unmasking, checking and copying, at the speed of memory.
pub fn decode_16k() -> u64 {
    decode_frames(100, &json(16 * 1024), 64 * 1024, None)
}

pub fn inflate() -> u64 {
    let allowed = Allowed {
        max_window_bits: 15,
        server_takeover: false,
        client_takeover: false,
    };
    let agreed = negotiate([&b"permessage-deflate"[..]], allowed).unwrap();
    decode_frames(200, &json(1000), 16 * 1024, Some(agreed))
}

/// Decodes text frames that clients sent, compressed where that was agreed on, in reads of so many bytes.
fn decode_frames(count: u64, text: &str, read: usize, agreed: Option<Negotiated>) -> u64 {
    let limits = Limits {
        frame: 64 * 1024,
        message: 64 * 1024,
        fragments: 100,
        overhead: 4096,
    };
    let mut plain = Vec::new();
    put_frame(&mut plain, Opcode::Text, text.as_bytes());
    let frame = match agreed {
        None => plain,
        Some(_) => deflaters().deflate(&plain, Window::Large).unwrap().to_vec(),
    };
    let mut stream = Vec::new();
    for number in 0..count {
        put_as_client(
            &mut stream,
            &frame,
            (number as u32).wrapping_mul(0x9e37_79b9).to_le_bytes(),
        );
    }
    let mut decoder = Decoder::new(limits, agreed.as_ref());
    // Unmasked where it lies: each time needs its own.
    let mut streams = [stream.clone(), stream].into_iter();
    repeat(1, |_| {
        let mut stream = streams.next().unwrap();
        let mut messages = 0;
        for bytes in stream.chunks_mut(read) {
            let mut input = Input::new(bytes);
            while let Some(event) = decoder.next(&mut input).unwrap() {
                if let Event::Message(message, _) = black_box(event) {
                    black_box(message);
                    messages += 1;
                }
            }
        }
        assert_eq!(messages, count);
    }) * count
}

/// Appends a server's frame as a client sends it: masked.
fn put_as_client(out: &mut Vec<u8>, frame: &[u8], key: [u8; 4]) {
    let header = match frame[1] {
        126 => 4,
        127 => MAX_HEADER,
        _ => 2,
    };
    out.extend_from_slice(&[frame[0], frame[1] | 0x80]);
    out.extend_from_slice(&frame[2..header]);
    out.extend_from_slice(&key);
    let begin = out.len();
    out.extend_from_slice(&frame[header..]);
    frames::mask(&mut out[begin..], key);
}

pub fn deflate() -> u64 {
    let mut deflaters = deflaters();
    let mut frame = Vec::new();
    put_frame(&mut frame, Opcode::Text, json(1000).as_bytes());
    repeat(200, |_| {
        let deflated = deflaters.deflate(black_box(&frame), Window::Large);
        black_box(deflated.unwrap());
    })
}

fn deflaters() -> Deflaters {
    Deflaters::new(Effort::default(), |_, _| {})
}
