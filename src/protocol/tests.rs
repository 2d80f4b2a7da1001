//! The golden vectors of `tests/vectors`: every frame in both encodings, and what is refused.

mod server;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::*;
use crate::model::Payload;
use crate::websocket::{Opcode, walk};

#[derive(Deserialize)]
struct Vector<'a> {
    name: &'a str,
    #[serde(borrow)]
    json: &'a RawValue,
    msgpack: &'a str,
}

#[derive(Deserialize)]
struct Refused<'a> {
    name: String,
    #[serde(borrow)]
    msgpack: &'a str,
    id: Option<u64>,
    says: String,
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digit = |at: usize| char::from(hex.as_bytes()[at]).to_digit(16).unwrap() as u8;
    (0..hex.len() / 2)
        .map(|at| digit(2 * at) << 4 | digit(2 * at + 1))
        .collect()
}

fn hex_of(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[test]
fn a_frame_asks_for_the_same_in_either_encoding() {
    let vectors: Vec<Vector<'_>> =
        serde_json::from_str(include_str!("../../tests/vectors/client.json")).unwrap();
    let mut types = BTreeMap::new();
    for vector in vectors {
        let in_json = parse_json(vector.json.get()).unwrap();
        let in_msgpack = parse_msgpack(&bytes_of(vector.msgpack)).unwrap();
        *types.entry(in_json.action.name()).or_insert(0) += 1;
        match (&in_json.action, &in_msgpack.action) {
            // Only MessagePack can tell that a string inside data was bytes.
            (Action::Publish(json), Action::Publish(msgpack)) => {
                assert_eq!(in_json.id, in_msgpack.id, "{}", vector.name);
                assert_eq!(json.topic, msgpack.topic, "{}", vector.name);
                assert_eq!(json.key, msgpack.key, "{}", vector.name);
                assert_eq!(json.retain, msgpack.retain, "{}", vector.name);
                assert_eq!(json.payload.kind, msgpack.payload.kind, "{}", vector.name);
                assert_eq!(json.payload.data, msgpack.payload.data, "{}", vector.name);
                let inside = msgpack.payload.bytes_at().len();
                let expected = if vector.name.contains("inside") { 2 } else { 0 };
                assert_eq!(inside, expected, "{}", vector.name);
            }
            _ => assert_eq!(in_json, in_msgpack, "{}", vector.name),
        }
    }
    let all = [
        "auth",
        "history",
        "ping",
        "presence",
        "publish",
        "subscribe",
        "unsubscribe",
    ];
    assert!(types.keys().eq(&all), "{types:?}");
}

#[test]
fn what_is_no_frame_is_refused_with_its_id_and_a_sentence() {
    let vectors: Vec<Refused<'_>> =
        serde_json::from_str(include_str!("../../tests/vectors/refused.json")).unwrap();
    for vector in vectors {
        let bad = match parse_msgpack(&bytes_of(vector.msgpack)) {
            Err(bad) => bad,
            Ok(request) => panic!("{}: {request:?}", vector.name),
        };
        let (refusal, name) = (bad.refusal, vector.name);
        assert_eq!(refusal.code, ErrorCode::BadRequest, "{name}: {refusal}");
        assert!(refusal.message.contains(&vector.says), "{name}: {refusal}");
        assert_eq!(bad.id, vector.id, "{name}: {refusal}");
    }
}

#[test]
fn every_frame_of_the_server_has_the_bytes_of_its_vector() {
    let vectors: Vec<Vector<'_>> =
        serde_json::from_str(include_str!("../../tests/vectors/server.json")).unwrap();
    let mut written = server::frames();
    for vector in vectors {
        let [json, msgpack] = written
            .remove(vector.name)
            .unwrap_or_else(|| panic!("{} is not written here", vector.name));
        let (opcode, json) = walk::only(&json);
        assert_eq!(opcode, Opcode::Text.bits());
        assert_eq!(
            str::from_utf8(json),
            Ok(vector.json.get()),
            "{}",
            vector.name
        );
        let (opcode, msgpack) = walk::only(&msgpack);
        assert_eq!(opcode, Opcode::Binary.bits());
        assert_eq!(hex_of(msgpack), vector.msgpack, "{}", vector.name);
    }
    assert!(written.is_empty(), "no vector for {:?}", written.keys());
}

/// The payload of a publish, as a MessagePack client sent it.
fn published(name: &str) -> Payload {
    let vectors: Vec<Vector<'_>> =
        serde_json::from_str(include_str!("../../tests/vectors/client.json")).unwrap();
    let vector = vectors.iter().find(|vector| vector.name == name).unwrap();
    match parse_msgpack(&bytes_of(vector.msgpack)).unwrap().action {
        Action::Publish(publish) => publish.payload,
        other => panic!("{other:?}"),
    }
}
