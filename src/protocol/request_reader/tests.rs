//! Every row of section 3, and what is none of them.

use super::*;
use crate::model::Kind;
use crate::protocol::ErrorCode;

fn action(text: &str) -> Action {
    parse_json(text)
        .unwrap_or_else(|bad| panic!("{text}: {bad:?}"))
        .action
}

fn bad_frame(text: &str) -> BadFrame {
    match parse_json(text) {
        Ok(request) => panic!("{text}: {request:?}"),
        Err(bad) => bad,
    }
}

fn topic(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

fn filter(text: &str) -> Filter {
    Filter::new(text).unwrap()
}

fn cursor(epoch: &str, offset: u64) -> Cursor {
    Cursor {
        epoch: Epoch::parse(epoch),
        offset,
    }
}

/// The rows `given => what the message says` of a table, one a line.
fn rows(table: &str) -> impl Iterator<Item = (&str, &str)> {
    table
        .lines()
        .filter_map(|line| line.trim().split_once(" => "))
}

fn payload(fields: &str) -> Payload {
    match action(&format!(r#"{{"type":"publish","topic":"t",{fields}}}"#)) {
        Action::Publish(publish) => publish.payload,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_subscribe_is_read_with_its_options() {
    let plain = |topic| Subscribe::to(filter(topic));
    let positions = |positions, from| Some(Since::Positions { positions, from });
    for (fields, expected) in [
        (r#""topic":"a/b""#, plain("a/b")),
        (
            r#""topic":"a/#","last":0,"echo":false,"overflow":"disconnect""#,
            Subscribe {
                last: Some(0),
                echo: false,
                overflow: Some(Overflow::Disconnect),
                ..plain("a/#")
            },
        ),
        (
            r#""topic":"a","overflow":"conflate","min_interval_ms":86400000"#,
            Subscribe {
                overflow: Some(Overflow::Conflate),
                min_interval: Some(Duration::from_secs(86_400)),
                ..plain("a")
            },
        ),
        (
            r#""topic":"a","since":{"epoch":"e1","offset":0}"#,
            Subscribe {
                since: Some(Since::Position(cursor("e1", 0))),
                ..plain("a")
            },
        ),
        (
            r#""topic":"a/+","last":5,"since":{"from":1700000000000,"positions":{
                "a/c":{"offset":18446744073709551615,"epoch":"no epoch"},
                "a/b":{"epoch":"e1","offset":7,"more":1}}}"#,
            Subscribe {
                last: Some(5),
                since: positions(
                    vec![
                        (topic("a/b"), cursor("e1", 7)),
                        (topic("a/c"), cursor("no epoch", u64::MAX)),
                    ],
                    Some(Timestamp(1_700_000_000_000)),
                ),
                ..plain("a/+")
            },
        ),
        (
            r##""topic":"#","since":{"from":0}"##,
            Subscribe {
                since: positions(vec![], Some(Timestamp(0))),
                ..plain("#")
            },
        ),
        (
            r##""topic":"#","since":{"positions":{}}"##,
            Subscribe {
                since: positions(vec![], None),
                ..plain("#")
            },
        ),
    ] {
        let found = action(&format!(r#"{{"type":"subscribe",{fields}}}"#));
        assert_eq!(found, Action::Subscribe(expected), "{fields}");
    }
    assert_eq!(cursor("no epoch", 1).epoch, None);
}

#[test]
fn every_other_type_is_read_with_its_fields() {
    let history = |since, last, limit| {
        Action::History(HistoryQuery {
            topic: topic("a"),
            since,
            last,
            limit,
        })
    };
    for (text, expected) in [
        (
            r#"{"type":"unsubscribe","topic":"a/+"}"#,
            Action::Unsubscribe(Some(filter("a/+"))),
        ),
        (r#"{"type":"unsubscribe"}"#, Action::Unsubscribe(None)),
        (
            r#"{"type":"publish","topic":"a","data":{"n": 1},"key":"k\n","retain":false}"#,
            Action::Publish(Publish {
                topic: topic("a"),
                payload: Payload::json_checked(r#"{"n":1}"#),
                key: Some("k\n".into()),
                retain: false,
            }),
        ),
        (
            r#"{"type":"publish","topic":"a","data":null,"retain":true}"#,
            Action::Publish(Publish {
                topic: topic("a"),
                payload: Payload::json_checked("null"),
                key: None,
                retain: true,
            }),
        ),
        (
            r#"{"type":"history","topic":"a"}"#,
            history(None, None, None),
        ),
        (
            r#"{"type":"history","topic":"a","since":{"epoch":"x","offset":3},"last":2,"limit":1}"#,
            history(Some(cursor("x", 3)), Some(2), Some(1)),
        ),
        (
            r#"{"type":"presence","topic":"a"}"#,
            Action::Presence(topic("a")),
        ),
        (
            r#"{"type":"auth","token":"a.b.c"}"#,
            Action::Auth("a.b.c".into()),
        ),
        (r#" {"type":"ping"} "#, Action::Ping),
    ] {
        let found = action(text);
        assert_eq!(found, expected, "{text}");
        assert!(text.contains(&format!("\"{}\"", found.name())));
    }
}

#[test]
fn data_is_kept_as_it_was_written() {
    for (written, kept) in [
        ("null", "null"),
        ("\"\"", "\"\""),
        ("[ 1.50 , -0, 1e400 ]", "[1.50,-0,1e400]"),
        (r#""\ud800 \u0041""#, r#""\ud800 \u0041""#),
        ("{\"a\":1,\"a\":2}", "{\"a\":1,\"a\":2}"),
        ("\"\u{2028}\"", "\"\u{2028}\""),
    ] {
        let payload = payload(&format!(r#""data": {written} "#));
        assert_eq!(
            (payload.kind, payload.as_str()),
            (Kind::Json, Some(kept)),
            "{written}"
        );
    }
    let digits = "9".repeat(100_000);
    assert_eq!(
        payload(&format!(r#""data":{digits}"#)).as_str(),
        Some(&*digits)
    );
}

#[test]
fn data_of_an_encoding_is_decoded() {
    for (fields, kind, data) in [
        (
            r#""data":"a\n\"é","encoding":"text""#,
            Kind::Text,
            "a\n\"é".as_bytes(),
        ),
        (r#""data":"","encoding":"text""#, Kind::Text, b""),
        (
            r#""encoding":"base64","data":"/+8=""#,
            Kind::Binary,
            b"\xff\xef",
        ),
        (
            r#""encoding":"base64","data":"\/+8""#,
            Kind::Binary,
            b"\xff\xef",
        ),
        (r#""encoding":"base64","data":"""#, Kind::Binary, b""),
    ] {
        let found = payload(fields);
        assert_eq!((found.kind, &*found.data), (kind, data), "{fields}");
    }
}

#[test]
fn fields_that_no_version_names_are_ignored() {
    let text = r#"{"colour":{"deep":[1]},"type":"ping","colour":1,"":null,"Id":"x"}"#;
    assert_eq!(action(text), Action::Ping);
}

#[test]
fn names_and_values_may_be_escaped() {
    let text = r#"{"\u0074ype":"\u0070ing","id":7}"#;
    assert_eq!(
        parse_json(text).unwrap(),
        Request {
            id: Some(7),
            action: Action::Ping
        }
    );
}

#[test]
fn an_id_is_an_unsigned_integer_below_two_to_the_53() {
    for (id, read) in [("0", 0), ("1", 1), ("9007199254740991", MAX_ID)] {
        let request = parse_json(&format!(r#"{{"id":{id},"type":"ping"}}"#)).unwrap();
        assert_eq!(request.id, Some(read));
    }
    for id in [
        "9007199254740992",
        "18446744073709551616",
        "-1",
        "-0",
        "1.0",
        "1e3",
        "\"1\"",
        "null",
        "true",
        "{}",
        "[1]",
    ] {
        let bad = bad_frame(&format!(r#"{{"id":{id},"type":"ping"}}"#));
        assert_eq!(bad.id, None);
        assert_eq!(bad.refusal.code, ErrorCode::BadRequest);
        assert!(bad.refusal.message.contains("'id' must be"), "{bad:?}");
    }
}

#[test]
fn an_error_carries_the_id_wherever_it_stood() {
    for text in [
        r#"{"id":4}"#,
        r#"{"type":"nonsense","id":4}"#,
        r#"{"type":"publish","topic":"a","id":4}"#,
        r#"{"type":"subscribe","topic":"","id":4}"#,
        r#"{"topic":"a","topic":"a","type":"subscribe","id":4}"#,
    ] {
        assert_eq!(bad_frame(text).id, Some(4), "{text}");
    }
    assert_eq!(bad_frame(r#"{"id":4,"id":5,"type":"ping"}"#).id, None);
    assert_eq!(bad_frame(r#"{"id":4,"type":"ping""#).id, None);
}

#[test]
fn what_is_no_frame_is_a_bad_request_that_names_the_field() {
    let table = r#"
        [] => found an array
        "ping" => found a string
        null => found null
        12 => a frame must be a JSON object
        nonsense => a frame must be a JSON object
        { => not valid JSON
        {"type":"ping"} x => not valid JSON
        {"type":"ping",} => not valid JSON
        {} => 'type' is missing
        {"type":1} => 'type' must be a string
        {"type":"PING"} => 'type' must be one of subscribe
        {"type":"message"} => found "message"
        {"type":"ping","type":"ping"} => 'type' stands twice
        {"type":"subscribe"} => 'topic' is missing
        {"type":"subscribe","topic":5} => 'topic' must be a string, found a number
        {"type":"unsubscribe","topic":null} => 'topic' must be a string, found null
        {"type":"subscribe","topic":"\ud800"} => 'topic' must be a string of Unicode
        {"type":"publish","topic":"a"} => 'data' is missing
        {"type":"publish","data":1} => 'topic' is missing
        {"type":"publish","topic":"a","data":1,"data":2} => 'data' stands twice
        {"type":"publish","topic":"a","data":1,"\u0064ata":2} => 'data' stands twice
        {"type":"publish","topic":"a","data":1,"key":1} => 'key' must be a string
        {"type":"publish","topic":"a","data":1,"retain":"true"} => 'retain' must be true or false
        {"type":"publish","topic":"a","data":1,"retain":null} => 'retain' must be true or false
        {"type":"publish","topic":"a","data":1,"encoding":"text"} => 'data' must be a string
        {"type":"publish","topic":"a","data":{},"encoding":"base64"} => 'data' must be a string
        {"type":"publish","topic":"a","data":"_-8","encoding":"base64"} => 'data' must be base64
        {"type":"publish","topic":"a","data":"\udc00","encoding":"text"} => 'data' must be a string of Unicode
        {"type":"publish","topic":"a","data":"a","encoding":"hex"} => 'encoding' must be
        {"type":"publish","topic":"a","data":"a","encoding":null} => 'encoding' must be
        {"type":"subscribe","topic":"a","last":1.5} => 'last' must be an integer
        {"type":"subscribe","topic":"a","last":"1"} => 'last' must be an integer
        {"type":"subscribe","topic":"a","echo":0} => 'echo' must be true or false
        {"type":"subscribe","topic":"a","overflow":"x"} => 'overflow' must be
        {"type":"subscribe","topic":"a","overflow":1} => 'overflow' must be a string
        {"type":"subscribe","topic":"a","min_interval_ms":5} => 'min_interval_ms' goes with
        {"type":"subscribe","topic":"a","overflow":"conflate","min_interval_ms":86400001} => 'min_interval_ms' must be
        {"type":"history","topic":"a","limit":null} => 'limit' must be an integer
        {"type":"auth"} => 'token' is missing
        {"type":"auth","token":["s3cret"]} => 'token' must be a string
    "#;
    for (text, named) in rows(table).chain([("", "found nothing")]) {
        let refusal = bad_frame(text).refusal;
        assert_eq!(refusal.code, ErrorCode::BadRequest, "{text}");
        assert!(refusal.message.contains(named), "{text}: {refusal}");
        assert!(!refusal.message.contains("s3cret"));
    }
}

#[test]
fn a_text_that_is_no_topic_is_an_invalid_topic() {
    let table = r#"
        {"type":"subscribe","topic":""} => 'topic'
        {"type":"subscribe","topic":"a/#/b"} => 'topic'
        {"type":"subscribe","topic":"a\u0000"} => 'topic'
        {"type":"unsubscribe","topic":"a+"} => 'topic'
        {"type":"publish","topic":"a/+","data":1} => 'topic'
        {"type":"history","topic":"a/#"} => 'topic'
        {"type":"presence","topic":"+"} => 'topic'
        {"type":"subscribe","topic":"a/#","since":{"positions":{"a/+":1}}} => 'since.positions'
    "#;
    let long = format!(r#"{{"type":"presence","topic":"{}"}}"#, "x".repeat(256));
    for (text, field) in rows(table).chain([(long.as_str(), "'topic'")]) {
        let refusal = bad_frame(text).refusal;
        assert_eq!(refusal.code, ErrorCode::InvalidTopic, "{text}");
        assert!(refusal.message.starts_with(field), "{refusal}");
    }
}

#[test]
fn a_since_of_the_wrong_shape_is_a_bad_request() {
    let table = r#"
        a 1 => 'since' must be a JSON object
        a null => 'since' must be a JSON object, found null
        a [] => 'since' must be a JSON object
        a {} => 'since.epoch' is missing
        a {"epoch":"e"} => 'since.offset' is missing
        a {"epoch":1,"offset":1} => 'since.epoch' must be a string
        a {"epoch":null,"offset":1} => 'since.epoch' must be a string
        a {"epoch":"e","offset":-1} => 'since.offset' must be an integer
        a {"epoch":"e","offset":1.0} => 'since.offset' must be an integer
        a {"epoch":"e","offset":1e3} => a fraction or an exponent
        a {"epoch":"e","offset":18446744073709551616} => found a larger number
        a {"epoch":"e","offset":"1"} => 'since.offset' must be an integer
        a {"epoch":"e","offset":1,"offset":1} => 'offset' stands twice
        a {"positions":{},"from":1} => which goes with filters
        a {"epoch":"e","offset":1,"from":1} => which goes with filters
        a/# {} => found neither
        a/# {"epoch":"e","offset":1} => which goes with plain topic names
        a/# {"positions":[]} => 'since.positions' must be a JSON object
        a/# {"positions":{"a":1}} => 'since.positions["a"]' must be
        a/# {"positions":{"a":{"epoch":"e"}}} => 'since.positions["a"].offset' is missing
        a/# {"positions":{"b":{"epoch":"e","offset":1}}} => only topics that the filter matches
        + {"positions":{"$sys":{"epoch":"e","offset":1}}} => only topics that the filter matches
        a/# {"positions":{"a":{"epoch":"e","offset":1},"\u0061":{"epoch":"e","offset":1}}} => twice
        a/# {"positions":{},"positions":{}} => 'positions' stands twice
        a/# {"positions":{},"from":-1} => 'since.from' must be an integer
        a/# {"positions":{},"from":"now"} => 'since.from' must be an integer
    "#;
    for (given, named) in rows(table) {
        let (topic, since) = given.split_once(' ').unwrap();
        let text = format!(r#"{{"type":"subscribe","topic":"{topic}","since":{since}}}"#);
        let refusal = bad_frame(&text).refusal;
        assert_eq!(refusal.code, ErrorCode::BadRequest, "{text}: {refusal}");
        assert!(refusal.message.contains(named), "{text}: {refusal}");
    }
}

#[test]
fn a_message_to_publish_is_read_without_a_type() {
    let publish = parse_publish(r#"{"topic":"a","data":"x","encoding":"text"}"#).unwrap();
    assert_eq!(publish.payload, Payload::text("x"));
    assert!(parse_publish(r#"{"topic":"a"}"#).is_err());
    assert!(parse_publish("[]").is_err());
}
