//! Sessions that speak MessagePack, among those that do not.

use rmpv::Value;
use serde_json::json;
use tungstenite::Message;

use crate::support::{Edit, Events, Packed, Server, config, packed};

fn bytes(bytes: &[u8]) -> Value {
    Value::Binary(bytes.to_vec())
}

#[test]
fn bytes_inside_data_survive_live_replayed_in_the_history_and_retained() {
    let server = Server::start(config().with(|c| c.topics[0].retain = true));
    let mut sender = Packed::open(server.address, "/ws");
    let mut listener = Packed::open(server.address, "/ws?topic=kept%2Fa");
    let mut json = server.connect();
    json.subscribe("kept/a").await_ok();
    let mut raw = server.raw("/ws?topic=kept%2Fa");
    let mut events = Events::open(server.address, "topic=kept%2Fa", &[]);
    let data = Value::Map(vec![
        (Value::from("name"), Value::from("x.png")),
        (
            Value::from("parts"),
            Value::Array(vec![bytes(&[255, 0]), bytes(&[]), Value::from("/wA=")]),
        ),
        (Value::from("size"), Value::from(u64::MAX)),
    ]);
    let publish = json!({"type": "publish", "topic": "kept/a", "retain": true});
    let ok = sender.ask(publish, Some(data.clone()));
    assert_eq!(ok["offset"], Value::from(1), "{ok}");

    let in_json = json!({"name": "x.png", "parts": ["/wA=", "", "/wA="], "size": u64::MAX});
    let live = listener.expect("message");
    assert_eq!(live["data"], data);
    assert_eq!(live["encoding"], Value::Nil);
    assert_eq!(live["epoch"], ok["epoch"]);
    assert_eq!(json.expect_message("kept/a")["data"], in_json);
    assert_eq!(
        raw.frame(),
        Message::text(r#"{"name":"x.png","parts":["/wA=","","/wA="],"size":18446744073709551615}"#)
    );
    assert_eq!(events.expect("message").data["data"], in_json);

    let ok = listener.ask(json!({"type": "history", "topic": "kept/a"}), None);
    assert_eq!(ok["messages"][0]["data"], data, "{ok}");
    let mut late = Packed::open(server.address, "/ws?topic=kept%2Fa&last=1");
    let replayed = late.expect("message");
    assert_eq!(
        (&replayed["data"], &replayed["replay"]),
        (&data, &Value::from(true))
    );
    let mut fresh = Packed::open(server.address, "/ws?topic=kept%2Fa");
    let retained = fresh.expect("message");
    assert_eq!(
        (&retained["data"], &retained["retain"]),
        (&data, &Value::from(true))
    );
    let ok = json
        .ask(json!({"type": "history", "topic": "kept/a"}))
        .await_ok();
    assert_eq!(ok["messages"][0]["data"], in_json);
}

#[test]
fn every_kind_goes_from_each_encoding_to_the_other() {
    let server = Server::start(config());
    let mut packing = Packed::open(server.address, "/ws?topic=t");
    let mut json = server.connect();
    json.subscribe("t").await_ok();
    let publish = |more: serde_json::Value| {
        let mut frame = json!({"type": "publish", "topic": "t"});
        frame
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        frame
    };
    let data = json!({"a": [1, -2, 1.5, true, null], "é": "ü"});
    for (fields, sent, encoding, in_json, in_msgpack) in [
        (json!({}), packed(&data), None, data.clone(), packed(&data)),
        (
            json!({"encoding": "text"}),
            "é".into(),
            Some("text"),
            json!("é"),
            "é".into(),
        ),
        (
            json!({}),
            bytes(b"\xff"),
            Some("base64"),
            json!("/w=="),
            bytes(b"\xff"),
        ),
        (
            json!({"encoding": "base64"}),
            "/w==".into(),
            Some("base64"),
            json!("/w=="),
            bytes(b"\xff"),
        ),
    ] {
        // MessagePack has no word for bytes but the bytes themselves.
        let told = encoding.filter(|name| *name == "text");
        packing.send(&publish(fields), Some(sent));
        let message = json.expect_message("t");
        assert_eq!(message["data"], in_json);
        assert_eq!(message["encoding"].as_str(), encoding);
        let message = packing.expect("message");
        assert_eq!(message["data"], in_msgpack);
        assert_eq!(message["encoding"].as_str(), told);

        let mut frame = publish(json!({"data": in_json}));
        if let Some(encoding) = encoding {
            frame["encoding"] = encoding.into();
        }
        json.send(&frame);
        let message = packing.expect("message");
        assert_eq!(message["data"], in_msgpack);
        assert_eq!(message["encoding"].as_str(), told);
        assert_eq!(json.expect_message("t")["data"], in_json);
    }
    // Digits that MessagePack has no room for are there for those who read JSON.
    let digits =
        r#"{"type":"publish","topic":"t","data":[0.10000000000000000001,100000000000000000000]}"#;
    json.send_text(digits);
    let message = packing.expect("message");
    assert_eq!(message["data"], packed(&json!([0.1, 1e20])));
}

#[test]
fn a_session_that_speaks_msgpack_is_told_all_that_others_are() {
    let server = Server::start(config());
    let mut client = Packed::open(server.address, "/ws");
    assert_eq!(
        client.welcome["protocol"],
        Value::from("fanfare.v1.msgpack")
    );
    assert!(client.welcome["session"].is_str());
    let ok = client.subscribe("room/a");
    assert_eq!(ok["offset"], Value::from(0), "{ok}");

    let mut other = server.connect();
    other.subscribe("room/a").await_ok();
    let join = client.expect("join");
    assert_eq!(join["session"].as_str(), other.session().as_str());
    let ok = client.ask(json!({"type": "presence", "topic": "room/a"}), None);
    assert_eq!(ok["count"], Value::from(2), "{ok}");
    other.close(1000);
    client.expect("leave");

    let since = json!({"epoch": "gone", "offset": 3});
    let again = json!({"type": "subscribe", "topic": "kept/a", "since": since});
    let ok = client.ask(again, None);
    assert_eq!(ok["recovered"], Value::from(false), "{ok}");
    let ok = client.ask(json!({"type": "unsubscribe", "topic": "room/a"}), None);
    assert_eq!(ok["topic"], Value::from("room/a"), "{ok}");
    client.send(&json!({"type": "ping"}), None);
    client.expect("pong");
    for (frame, code) in [
        (
            json!({"type": "publish", "topic": "$x", "data": 1}),
            "forbidden",
        ),
        (
            json!({"type": "subscribe", "topic": "a/#/b"}),
            "invalid_topic",
        ),
        (json!({"type": "dance"}), "bad_request"),
    ] {
        let error = client.ask(frame, None);
        assert_eq!(error["type"], Value::from("error"), "{error}");
        assert_eq!(error["code"], Value::from(code), "{error}");
    }
    client.send_message(Message::text(r#"{"type":"ping"}"#));
    client.expect_close(1003);
}

#[test]
fn what_is_no_frame_is_answered_and_too_much_of_it_closes() {
    let mut settings = config();
    settings.limits.protocol_errors = 1000;
    let server = Server::start(settings);
    let mut client = Packed::open(server.address, "/ws");
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("vectors/refused.json")).unwrap();
    let vectors = vectors.as_array().unwrap();
    assert!(vectors.len() > 30);
    for vector in vectors {
        let hex = vector["msgpack"].as_str().unwrap();
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
        client.send_message(Message::binary(bytes));
        let error = client.expect("error");
        assert_eq!(error["code"], Value::from("bad_request"), "{error}");
        assert_eq!(error["id"].as_u64(), vector["id"].as_u64(), "{vector}");
        let says = vector["says"].as_str().unwrap();
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
    }

    let server = Server::start(config());
    let mut client = Packed::open(server.address, "/ws");
    for _ in 0..10 {
        client.send_message(Message::binary(vec![0xc1]));
    }
    for _ in 0..10 {
        client.expect("error");
    }
    client.expect_close(1008);
}

#[test]
fn msgpack_is_counted_as_such() {
    let server = Server::start(config());
    let mut client = Packed::open(server.address, "/ws?topic=t");
    let connections = r#"fanfare_connections{transport="websocket",protocol="msgpack"}"#;
    assert_eq!(server.metric(connections), 1);
    client.send(
        &json!({"type": "publish", "topic": "t"}),
        Some(bytes(&[1, 2, 3])),
    );
    client.expect("message");
    for (name, count) in [
        ("messages_published_total", 1),
        ("published_bytes_total", 3),
        ("messages_delivered_total", 1),
    ] {
        server.await_metric(&format!("fanfare_{name}{{protocol=\"msgpack\"}}"), count);
    }
}
