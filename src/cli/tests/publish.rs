use serde_json::json;

use super::broker::{Broker, http, nowhere};
use super::*;

/// Publishes to a broker that answers `ok`; what it was sent.
fn published(arguments: &[&str], stdin: &[u8]) -> serde_json::Value {
    let broker = Broker::start(|session| {
        let frame = session.receive();
        session.send(r#"{"type":"message","topic":"t","data":1}"#);
        session.send(r#"{"type":"ok","id":1,"epoch":"e","offset":42}"#);
        assert_eq!(session.parting(), Some(1000));
        frame
    });
    let url = broker.url.clone();
    let arguments = [&["pub", "--url", &url], arguments].concat();
    let ran = Line::new(&arguments).stdin(stdin).run();
    assert_eq!(ran.exit, Exit::Done, "{}", ran.stderr);
    assert_eq!(ran.stderr, "");
    let quiet = arguments.contains(&"-q");
    assert_eq!(ran.stdout(), if quiet { "" } else { "offset 42\n" });
    broker.end()
}

#[test]
fn data_is_published_as_the_kind_that_is_asked_for() {
    for (arguments, stdin, data, encoding) in [
        (&["t", "21"][..], &b""[..], json!("21"), Some("text")),
        (&["t", "-21", "-q"], b"", json!("-21"), Some("text")),
        (&["--text", "t", "[1]"], b"", json!("[1]"), Some("text")),
        (&["--", "t", "-dash"], b"", json!("-dash"), Some("text")),
        (&["t", ""], b"unread", json!(""), Some("text")),
        (&["t"], b"a\nb\n", json!("a\nb\n"), Some("text")),
        (&["t", "-"], b"in", json!("in"), Some("text")),
        (&["--json", "t", " {\"n\": 1} "], b"", json!({"n": 1}), None),
        (&["--json", "t"], b"null\n", json!(null), None),
        (
            &["--binary", "t"],
            b"\x00\xff",
            json!("AP8="),
            Some("base64"),
        ),
    ] {
        let frame = published(arguments, stdin);
        assert_eq!(frame["type"], "publish");
        assert_eq!(frame["topic"], "t");
        assert_eq!(frame["data"], data, "{arguments:?}");
        assert_eq!(frame["encoding"].as_str(), encoding, "{arguments:?}");
        assert_eq!(frame.get("key"), None);
    }
    assert_eq!(published(&["t", "x", "--key", "k"], b"")["key"], "k");
}

#[test]
fn the_token_is_sent_and_never_shown() {
    let environment = &[("FANFARE_TOKEN", "from-env")][..];
    for (option, environment, expected) in [
        (
            &["--token", "s3cret"][..],
            environment,
            Some("Bearer s3cret"),
        ),
        (&[], environment, Some("Bearer from-env")),
        (&[], &[("FANFARE_TOKEN", "")], None),
    ] {
        let broker = Broker::start(|session| {
            session.receive();
            session.send(r#"{"type":"error","id":1,"code":"forbidden","message":"Not here."}"#);
            session.parting();
            (session.authorization.clone(), session.path.clone())
        });
        let url = broker.url.replace("ws://", "http://").replace("/ws", "/");
        let arguments = [&["pub", "t", "x"], option].concat();
        let environment = [environment, &[("FANFARE_URL", &url)]].concat();
        let ran = Line::new(&arguments).environment(&environment).run();
        assert_eq!(ran.exit, Exit::Failed);
        assert!(
            ran.stderr.contains("forbidden: Not here."),
            "{}",
            ran.stderr
        );
        assert!(!ran.stderr.contains("s3cret"));
        let (authorization, path) = broker.end();
        assert_eq!(authorization.as_deref(), expected);
        assert_eq!(path, "/ws");
    }
    let ran = ran(&["pub", "t", "x", "--token", "s3c\nret"]);
    assert_eq!(ran.exit, Exit::Misused);
    assert!(!ran.stderr.contains("s3c"), "{}", ran.stderr);
}

#[test]
fn data_of_another_kind_is_refused_before_anything_is_sent() {
    for (arguments, stdin, word) in [
        (&["pub", "t", "--json", "{"][..], &b""[..], "not JSON"),
        (&["pub", "t", "--json"], b"", "not JSON"),
        (&["pub", "t"], b"\xff", "--binary"),
    ] {
        let url = format!("ws://{}", nowhere());
        let environment = [("FANFARE_URL", url.as_str())];
        let line = Line::new(arguments).stdin(stdin);
        let ran = line.environment(&environment).run();
        assert_eq!(ran.exit, Exit::Failed);
        assert!(ran.stderr.contains(word), "{}", ran.stderr);
    }
}

#[test]
fn data_over_the_broker_s_limit_is_not_sent() {
    let broker = Broker::start(broker::Session::parting);
    let data = "x".repeat(65);
    let ran = ran(&["pub", "t", &data, "--url", &broker.url]);
    assert_eq!(ran.exit, Exit::Failed);
    assert!(ran.stderr.contains("65 bytes"), "{}", ran.stderr);
    assert_eq!(broker.end(), Some(1000));
}

#[test]
fn a_broker_that_is_not_there_or_refuses_is_a_failure() {
    let url = format!("ws://{}/?token=s3cret", nowhere());
    let away = ran(&["pub", "t", "x", "--url", &url]);
    assert_eq!(away.exit, Exit::Failed);
    assert!(away.stderr.contains("cannot be reached"), "{}", away.stderr);
    assert!(!away.stderr.contains("s3cret"), "{}", away.stderr);

    let url = http(
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 33\r\n\r\n{\"detail\":\"The token is unknown\"}",
    );
    let refused = ran(&["pub", "t", "x", "--url", &url]);
    assert_eq!(refused.exit, Exit::Failed);
    for part in ["401", "The token is unknown"] {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
}
