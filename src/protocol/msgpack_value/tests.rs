//! What MessagePack becomes as JSON, and JSON as MessagePack.

use proptest::prelude::*;
use rmp::encode;

use super::*;
use crate::protocol::msgpack_from_json::put_json;
use crate::protocol::{Action, parse_msgpack};

fn msgpack(text: &str, bytes_at: &[u32]) -> Vec<u8> {
    let mut out = Vec::new();
    put_json(&mut out, text, bytes_at);
    out
}

fn json(value: &[u8]) -> String {
    String::from_utf8(json_of(value).unwrap().data.to_vec()).unwrap()
}

fn deep(shape: &str, depth: usize) -> (String, Vec<u8>) {
    match shape {
        "arrays" => (
            format!("{}{}", "[".repeat(depth), "]".repeat(depth)),
            [vec![0x91; depth - 1], vec![0x90]].concat(),
        ),
        _ => (
            format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth)),
            [b"\x81\xa1a".repeat(depth), vec![1]].concat(),
        ),
    }
}

/// A publish of that value.
fn publish(value: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x83];
    for text in ["type", "publish", "topic", "t", "data"] {
        encode::write_str(&mut frame, text).unwrap();
    }
    [frame, value.to_vec()].concat()
}

#[test]
fn numbers_of_msgpack_mean_the_same_in_json() {
    for (value, text) in [
        (&b"\x00"[..], "0"),
        (b"\x7f", "127"),
        (b"\xcc\x05", "5"),
        (
            b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
            "18446744073709551615",
        ),
        (b"\xff", "-1"),
        (b"\xd0\x05", "5"),
        (b"\xd3\x80\0\0\0\0\0\0\0", "-9223372036854775808"),
        (b"\xcb\x3f\xf0\0\0\0\0\0\0", "1.0"),
        (b"\xcb\x80\0\0\0\0\0\0\0", "-0.0"),
        (b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1"),
        // A short float has the value that a reader sees, not the digits that a writer meant.
        (b"\xca\x3d\xcc\xcc\xcd", "0.10000000149011612"),
        (
            b"\xcb\x7f\xef\xff\xff\xff\xff\xff\xff",
            "1.7976931348623157e+308",
        ),
        (b"\xcb\0\0\0\0\0\0\0\x01", "5e-324"),
    ] {
        assert_eq!(json(value), text, "{value:x?}");
    }
}

#[test]
fn numbers_of_json_are_as_near_in_msgpack_as_can_be() {
    let float = |number: f64| [vec![0xcb], number.to_be_bytes().to_vec()].concat();
    for (text, value) in [
        ("0", vec![0]),
        ("-0", float(-0.0)),
        (
            "18446744073709551615",
            vec![0xcf, 255, 255, 255, 255, 255, 255, 255, 255],
        ),
        ("18446744073709551616", float(18_446_744_073_709_551_616.0)),
        (
            "-9223372036854775808",
            vec![0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0],
        ),
        ("-9223372036854775809", float(-9_223_372_036_854_775_808.0)),
        (
            "12345678901234567890123",
            float(12_345_678_901_234_567_890_123.0),
        ),
        ("1.50", float(1.5)),
        ("1.0", float(1.0)),
        ("1e3", float(1000.0)),
        ("3.14159265358979323846", float(std::f64::consts::PI)),
        ("1e400", float(f64::INFINITY)),
        ("-1e400", float(f64::NEG_INFINITY)),
        ("1e-400", float(0.0)),
    ] {
        assert_eq!(msgpack(text, &[]), value, "{text}");
    }
    assert_eq!(msgpack(&"9".repeat(100_000), &[]), float(f64::INFINITY));
}

#[test]
fn escapes_of_json_become_the_characters_that_they_mean() {
    for (text, meant) in [
        (r#""a\"\\\/\b\f\n\r\t""#, "a\"\\/\u{8}\u{c}\n\r\t"),
        (r#""\u00e9\ud83d\ude00\u0000""#, "é😀\0"),
        (r#""\ud800""#, "\u{fffd}"),
        (
            r#""a\udc00\ud800\ud83d\ude00é\ud800z""#,
            "a\u{fffd}\u{fffd}😀é\u{fffd}z",
        ),
        (r#""\\""#, "\\"),
        (r#""""#, ""),
    ] {
        let mut value = Vec::new();
        encode::write_str(&mut value, meant).unwrap();
        assert_eq!(msgpack(text, &[]), value, "{text}");
    }
    let keys = msgpack(r#" { "\u0061" : [ ] , "b\\" : { } } "#, &[]);
    assert_eq!(keys, b"\x82\xa1a\x90\xa2b\\\x80");
    // JSON that names a key twice is kept as it was written.
    assert_eq!(msgpack(r#"{"a":1,"a":2}"#, &[]), b"\x82\xa1a\x01\xa1a\x02");
}

#[test]
fn bytes_inside_data_are_bytes_again() {
    let value = b"\x82\xa1a\x93\xc4\x02\xff\x00\xa4AQID\xc4\x00\xa1b\xc4\x03\x01\x02\x03";
    let payload = json_of(value).unwrap();
    assert_eq!(
        payload.as_str(),
        Some(r#"{"a":["/wA=","AQID",""],"b":"AQID"}"#)
    );
    assert_eq!(payload.bytes_at(), [6, 20, 28]);
    assert_eq!(
        msgpack(payload.as_str().unwrap(), payload.bytes_at()),
        value
    );
}

#[test]
fn nesting_has_a_bound_going_in_and_costs_no_stack_going_out() {
    const DEPTH: usize = 100_000;
    let check = || {
        for shape in ["arrays", "objects"] {
            let (text, value) = deep(shape, 128);
            assert_eq!(json(&value), text);
            assert!(parse_msgpack(&publish(&value)).is_ok());
            let (text, value) = deep(shape, DEPTH);
            assert_eq!(msgpack(&text, &[]), value);
            let refused = parse_msgpack(&publish(&value)).unwrap_err().refusal;
            assert!(refused.message.contains("128 levels"), "{refused}");
        }
        // Headers without an end.
        for open in [&b"\x91"[..], b"\x81\xa1a", b"\xdd\xff\xff\xff\xff", b"\x81"] {
            assert!(parse_msgpack(&publish(&open.repeat(DEPTH))).is_err());
            assert!(parse_msgpack(&open.repeat(DEPTH)).is_err());
        }
    };
    std::thread::Builder::new()
        .stack_size(128 * 1024)
        .spawn(check)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn a_frame_cut_anywhere_is_refused_and_says_so() {
    let value = b"\x82\xa1a\x93\xc4\x02\xff\x00\xcd\x01\x00\xcb\x3f\xf0\0\0\0\0\0\0\xa1b\xd9\x02xy";
    let frame = publish(value);
    assert!(parse_msgpack(&frame).is_ok());
    for len in 1..frame.len() {
        let refusal = parse_msgpack(&frame[..len]).unwrap_err().refusal;
        assert!(refusal.message.contains("ends in the middle"), "{refusal}");
    }
}

/// Any MessagePack value that the protocol takes, written in any of its forms.
fn values() -> impl Strategy<Value = Vec<u8>> {
    let text = |write: fn(&mut Vec<u8>, &str)| {
        ".{0,40}".prop_map(move |text| {
            let mut out = Vec::new();
            write(&mut out, &text);
            out
        })
    };
    let scalar = prop_oneof![
        Just(vec![0xc0]),
        any::<bool>().prop_map(|yes| vec![0xc2 + u8::from(yes)]),
        any::<u64>().prop_map(|number| [vec![0xcf], number.to_be_bytes().to_vec()].concat()),
        any::<i32>().prop_map(|number| [vec![0xd2], number.to_be_bytes().to_vec()].concat()),
        any::<i8>().prop_map(|number| [vec![0xd0], number.to_be_bytes().to_vec()].concat()),
        proptest::num::f64::NORMAL
            .prop_map(|number| [vec![0xcb], number.to_be_bytes().to_vec()].concat()),
        proptest::num::f32::NORMAL
            .prop_map(|number| [vec![0xca], number.to_be_bytes().to_vec()].concat()),
        text(|out, text| encode::write_str(out, text).unwrap()),
        text(|out, text| encode::write_bin(out, text.as_bytes()).unwrap()),
    ];
    scalar.prop_recursive(4, 64, 20, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..20).prop_map(|items| {
                let mut out = vec![0xdd];
                out.extend((items.len() as u32).to_be_bytes());
                out.extend(items.concat());
                out
            }),
            proptest::collection::btree_map(".{0,5}", inner, 0..20).prop_map(|items| {
                let mut out = vec![0xde];
                out.extend((items.len() as u16).to_be_bytes());
                for (key, value) in items {
                    encode::write_str(&mut out, &key).unwrap();
                    out.extend(value);
                }
                out
            }),
        ]
    })
}

fn tree(bytes: &[u8]) -> rmpv::Value {
    let mut rest = bytes;
    let tree = rmpv::decode::read_value(&mut rest).unwrap();
    assert!(rest.is_empty());
    tree
}

/// The same, with the short floats long.
fn widened(tree: rmpv::Value) -> rmpv::Value {
    use rmpv::Value;
    match tree {
        Value::F32(number) => Value::F64(f64::from(number)),
        Value::Array(items) => Value::Array(items.into_iter().map(widened).collect()),
        Value::Map(items) => Value::Map(
            items
                .into_iter()
                .map(|(key, value)| (key, widened(value)))
                .collect(),
        ),
        other => other,
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let scalar = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    scalar.prop_recursive(4, 64, 20, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..20).prop_map(Into::into),
            proptest::collection::hash_map(any::<String>(), inner, 0..20)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_goes_through_msgpack_unharmed(value in any_json()) {
        let text = value.to_string();
        let through = json_of(&msgpack(&text, &[])).unwrap();
        prop_assert_eq!(through.as_str(), Some(text.as_str()));
        prop_assert_eq!(through, Payload::json_checked(&text));
    }

    #[test]
    fn msgpack_goes_through_json_unharmed(value in values()) {
        let MsgpackValue(bytes) = MsgpackValue(&value);
        let payload = json_of(bytes).unwrap();
        let text = payload.as_str().unwrap();
        prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(), "{}", text);
        let back = msgpack(text, payload.bytes_at());
        prop_assert_eq!(tree(&back), widened(tree(bytes)));
    }

    #[test]
    fn whatever_comes_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_msgpack(&bytes);
        let _ = parse_msgpack(&publish(&bytes));
        if let Ok(payload) = json_of(&bytes) {
            let text = payload.as_str().unwrap();
            prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(), "{}", text);
        }
    }

    #[test]
    fn a_frame_with_one_byte_changed_is_read_or_refused(
        value in values(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut frame = publish(&value);
        let at = at.index(frame.len());
        frame[at] = byte;
        if let Ok(request) = parse_msgpack(&frame)
            && let Action::Publish(publish) = request.action
            && let Some(text) = publish.payload.as_str()
        {
            let back = msgpack(text, publish.payload.bytes_at());
            prop_assert!(publish.payload.kind != crate::model::Kind::Json || !back.is_empty());
        }
    }
}
