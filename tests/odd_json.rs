//! JSON that is right and yet odd: handed on as it is, or refused; nothing ends by it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Edit, Server, TEXT, config, frame};

#[test]
fn odd_json_is_handed_on_as_it_is() {
    let server = Server::start(config());
    let mut wire = server.wire().welcomed();
    wire.send_json(&json!({"type": "subscribe", "topic": "o", "id": 1}));
    assert_eq!(wire.json()["type"], "ok");
    for data in [
        r#"{"a":1,"a":2}"#,
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#"{"\ud800":1,"":2}"#,
        r#""\u0000\u2028""#,
        "-0",
        "1e999999",
        "0.000000000000000000000000000000000000001e-99999",
        &"9".repeat(10_000),
    ] {
        let publish = format!(r#"{{"type":"publish","topic":"o","data":{data}}}"#);
        wire.send(frame(TEXT, publish));
        let (_, message) = wire.frame().expect(data);
        let message = String::from_utf8(message).unwrap();
        assert!(message.contains(&format!(r#""data":{data},"#)), "{message}");
    }
}

#[test]
fn a_frame_that_names_a_field_twice_is_a_bad_request() {
    let server = Server::start(config());
    let mut client = server.connect();
    for text in [
        r#"{"type":"ping","type":"ping"}"#,
        r#"{"type":"publish","topic":"a","topic":"b","data":1}"#,
        r#"{"type":"publish","topic":"a","data":1,"data":2}"#,
        r#"{"type":"ping","id":1,"id":2}"#,
    ] {
        client.send_text(text);
        let error = client.frame();
        assert_eq!(error["code"], "bad_request", "{text}: {error}");
    }
    client.ask(json!({"type": "ping"})).await_ok();
    assert_eq!(server.metric("fanfare_messages_published_total"), 0);
}

#[test]
fn nests_as_deep_as_a_message_is_long_cost_no_stack() {
    const DEEP: usize = 1_000_000;
    let server = Server::start(config().with(|c| c.limits.message_bytes = 4 << 20));
    let post = |path: &str, body: String| {
        let ask = server.http("POST", path);
        ask.header("Content-Type", "application/json")
            .body(body)
            .send()
    };
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        for whole in [false, true] {
            let middle = if whole { "1" } else { "" };
            let times = DEEP / open.len();
            let end = if whole {
                close.repeat(times)
            } else {
                String::new()
            };
            let nest = format!("{}{middle}{end}", open.repeat(times));
            let begun = Instant::now();
            for (path, body) in [
                ("/v1/topics/a/messages", nest.clone()),
                ("/v1/publish", nest.clone()),
                ("/v1/publish", format!(r#"{{"topic":"a","data":{nest}}}"#)),
            ] {
                let status = post(path, body).status;
                assert!(
                    [200, 400].contains(&status),
                    "{open} {whole} {path}: {status}"
                );
                assert!(whole || status == 400, "{open} {path}: half of a value");
            }
            assert!(begun.elapsed() < Duration::from_secs(5));
        }
    }
    server.connect();
}
