//! Opening a WebSocket, and everything for which it is refused.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use crate::admission::guarded;
use crate::support::{Answer, Client, Edit, PATIENCE, Server, config, read_answer};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A request that opens a WebSocket, but for what a test changes.
#[derive(Clone)]
pub(crate) struct Ask {
    address: SocketAddr,
    line: String,
    headers: Vec<(String, String)>,
}

impl Ask {
    pub(crate) fn new(server: &Server, path: &str) -> Self {
        let headers = [
            ("Host", server.address.to_string()),
            ("Connection", "Upgrade".into()),
            ("Upgrade", "websocket".into()),
            ("Sec-WebSocket-Version", "13".into()),
            ("Sec-WebSocket-Key", KEY.into()),
        ];
        Self {
            address: server.address,
            line: format!("GET {path} HTTP/1.1"),
            headers: headers.map(|(name, value)| (name.into(), value)).into(),
        }
    }

    fn line(mut self, line: &str) -> Self {
        self.line = line.into();
        self
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| n != name);
        self
    }

    pub(crate) fn set(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    #[track_caller]
    pub(crate) fn send(self) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut text = self.line;
        for (name, value) in self.headers {
            text = text + "\r\n" + &name + ": " + &value;
        }
        stream
            .write_all(format!("{text}\r\n\r\n").as_bytes())
            .unwrap();
        read_answer(&mut stream).expect("an answer")
    }
}

type Change = fn(Ask) -> Ask;

#[test]
fn a_request_that_is_no_upgrade_as_it_should_be_is_refused() {
    let server = Server::start(config());
    let changes: [(u16, &str, Change); 17] = [
        (404, "other path", |a| a.line("GET /nope HTTP/1.1")),
        (404, "path below", |a| a.line("GET /ws/ HTTP/1.1")),
        (404, "path of the API", |a| {
            a.line("GET /v1/topics HTTP/1.1")
        }),
        (405, "POST", |a| a.line("POST /ws HTTP/1.1")),
        (426, "no upgrade", |a| {
            a.without("Upgrade").without("Connection")
        }),
        (426, "another upgrade", |a| a.set("Upgrade", "h2c")),
        (426, "no version", |a| a.without("Sec-WebSocket-Version")),
        (426, "version 12", |a| a.set("Sec-WebSocket-Version", "12")),
        (426, "versions", |a| a.set("Sec-WebSocket-Version", "13, 8")),
        (400, "no key", |a| a.without("Sec-WebSocket-Key")),
        (400, "short key", |a| a.set("Sec-WebSocket-Key", "AAAA")),
        (400, "no base64", |a| a.set("Sec-WebSocket-Key", "!")),
        (400, "two keys", |a| a.with("Sec-WebSocket-Key", KEY)),
        (400, "no host", |a| a.without("Host")),
        (400, "two hosts", |a| a.with("Host", "localhost")),
        (400, "a body", |a| a.with("Content-Length", "5")),
        (426, "chunks", |a| a.with("Transfer-Encoding", "chunked")),
    ];
    for (status, what, change) in changes {
        let answer = change(Ask::new(&server, "/ws")).send();
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        match status {
            405 => assert_eq!(answer.header("allow"), Some("GET")),
            426 => assert_eq!(answer.header("upgrade"), Some("websocket"), "{what}"),
            _ => {}
        }
        if what.contains("version") {
            assert_eq!(answer.header("sec-websocket-version"), Some("13"), "{what}");
        }
    }
    // None of them became a session, and the server goes on.
    assert_eq!(server.metric("fanfare_connections_total"), 0);
    server.connect();
}

#[test]
fn a_refusal_is_a_problem_body_and_ends_the_connection() {
    let server = Server::start(config());
    let answer = Ask::new(&server, "/ws?topic=a%23").send();
    assert_eq!(answer.expect_problem(400), "invalid_topic");
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[test]
fn headers_of_an_upgrade_are_read_in_any_case_and_as_lists() {
    let server = Server::start(config());
    let changes: [Change; 4] = [
        |a| a.set("Upgrade", "WebSocket"),
        |a| a.set("Connection", "keep-alive, UPGRADE"),
        |a| {
            a.set("Connection", "keep-alive")
                .with("Connection", "upgrade")
        },
        |a| a.set("Content-Length", "0"),
    ];
    for (place, change) in changes.into_iter().enumerate() {
        let answer = change(Ask::new(&server, "/ws")).send();
        assert_eq!(answer.status, 101, "change {place}: {answer:?}");
        assert_eq!(
            answer.header("sec-websocket-accept"),
            Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
    }
}

#[test]
fn a_query_that_makes_no_sense_is_refused() {
    let server = Server::start(config().with(|c| c.session.subscriptions = 2));
    for (query, status, code) in [
        ("topic=", 400, "invalid_topic"),
        ("topic=a%2F%23%2Fb", 400, "invalid_topic"),
        ("topic=a%2B", 400, "invalid_topic"),
        ("topic=a%00", 400, "invalid_topic"),
        ("topic=a%0Ab", 400, "invalid_topic"),
        ("topic=a&topic=b%23", 400, "invalid_topic"),
        ("topic=%ff", 400, "bad_request"),
        ("topic=a&last=x", 400, "bad_request"),
        ("topic=a&last=-1", 400, "bad_request"),
        ("topic=a&last=", 400, "bad_request"),
        ("topic=a&echo=1", 400, "bad_request"),
        ("topic=a&last=1&last=2", 400, "bad_request"),
        ("publish=a%2F%2B", 400, "invalid_topic"),
        ("publish=%24sys%2Fx", 403, "forbidden"),
        ("token=", 401, "unauthorized"),
        ("token=unknown", 401, "unauthorized"),
        ("token=a&token=a", 401, "unauthorized"),
        ("topic=a&topic=b&topic=c", 429, "limit_exceeded"),
    ] {
        let answer = Ask::new(&server, &format!("/ws?{query}")).send();
        assert_eq!(answer.expect_problem(status), code, "{query}");
        assert!(!answer.text().contains("unknown"), "{}", answer.text());
        let is_waited_for = code == "limit_exceeded" && answer.header("retry-after").is_some();
        assert!(!is_waited_for, "it would not help: {answer:?}");
    }
    let long = format!("/ws?topic={}", "a".repeat(256));
    let answer = Ask::new(&server, &long).send();
    assert_eq!(answer.expect_problem(400), "invalid_topic");
    // What was refused half way holds nothing.
    server.await_metric("fanfare_subscriptions", 0);
    server.await_metric("fanfare_connections", 0);
    // The same topic twice is one; what nobody names here is not ours.
    Client::open(server.address, "/ws?topic=a&topic=a&utm=x&topic=b");
}

#[test]
fn refusals_are_counted_by_their_reason() {
    let server = Server::start(guarded());
    let count = |reason: &str| {
        server.metric(&format!(
            r#"fanfare_handshakes_refused_total{{reason="{reason}"}}"#
        ))
    };
    let refuse = |path: &str, change: Change| change(Ask::new(&server, path)).send().status;
    for (status, reason, path, change) in [
        (400, "malformed", "/ws?last=x", (|a| a) as Change),
        (400, "invalid_topic", "/ws?topic=a%23", |a| a),
        (401, "credentials", "/ws?token=x", |a| a),
        (403, "origin", "/ws", |a| {
            a.with("Origin", "http://evil.example")
        }),
        (403, "forbidden", "/ws?topic=private", |a| a),
        (404, "not_found", "/nope", |a| a),
        (426, "not_upgrade", "/ws", |a| {
            a.set("Sec-WebSocket-Version", "7")
        }),
    ] {
        assert_eq!(count(reason), 0, "{reason}");
        assert_eq!(refuse(path, change), status, "{reason}");
        assert_eq!(count(reason), 1, "{reason}");
    }
    assert_eq!(server.metric("fanfare_handshakes_refused_total"), 7);
    // What asks for no upgrade at all, and what is no request.
    for (status, reason, method, path) in [
        (426, "not_upgrade", "GET", "/ws"),
        (405, "not_upgrade", "DELETE", "/ws"),
        (405, "not_upgrade", "POST", "/sse?topic=public"),
    ] {
        let before = count(reason);
        assert_eq!(server.http(method, path).send().status, status);
        assert_eq!(count(reason), before + 1, "{method} {path}");
    }
    assert_eq!(refuse("/ws", |a| a.without("Host")), 400);
    assert_eq!(count("malformed"), 2);
    assert_eq!(server.metric("fanfare_handshakes_refused_total"), 11);
    let unknown = r#"fanfare_auth_failures_total{reason="unknown"}"#;
    assert_eq!(server.metric(unknown), 1);
}

#[test]
fn the_first_subprotocol_that_is_known_is_spoken_and_no_other_is_named() {
    let server = Server::start(guarded());
    let none = None;
    for (offers, status, chosen) in [
        (&[][..], 101, none),
        (&["fanfare.v1.json"], 101, Some("fanfare.v1.json")),
        (&["fanfare.v1.raw"], 101, Some("fanfare.v1.raw")),
        (&["fanfare.v1.msgpack"], 101, Some("fanfare.v1.msgpack")),
        (
            &["fanfare.v1.msgpack", "fanfare.v1.json"],
            101,
            Some("fanfare.v1.msgpack"),
        ),
        (
            &["fanfare.v1.raw, fanfare.v1.json"],
            101,
            Some("fanfare.v1.raw"),
        ),
        (&["x, ,fanfare.v1.json ,y"], 101, Some("fanfare.v1.json")),
        (&["x", "fanfare.v1.json"], 101, Some("fanfare.v1.json")),
        (
            &["bearer.s3cret, fanfare.v1.json"],
            101,
            Some("fanfare.v1.json"),
        ),
        (
            &["fanfare.v1.raw, bearer.s3cret"],
            101,
            Some("fanfare.v1.raw"),
        ),
        // A browser would close what is opened without one.
        (&["bearer.s3cret"], 400, none),
        (&["bearer.wrong"], 401, none),
        (&["bearer.wrong, fanfare.v1.json"], 401, none),
        (&["fanfare.v2.json"], 400, none),
        (&["FANFARE.V1.JSON"], 400, none),
        (&["graphql-ws, chat"], 400, none),
        (&["bearer.s3cret, chat"], 400, none),
    ] {
        let mut ask = Ask::new(&server, "/ws");
        for offer in offers {
            ask = ask.with("Sec-WebSocket-Protocol", offer);
        }
        let answer = ask.send();
        assert_eq!(answer.status, status, "{offers:?}: {answer:?}");
        assert_eq!(
            answer.header("sec-websocket-protocol"),
            chosen,
            "{offers:?}"
        );
        if status == 400 {
            let text = answer.text();
            for known in ["fanfare.v1.json", "fanfare.v1.msgpack", "fanfare.v1.raw"] {
                assert!(text.contains(known), "{text}");
            }
        }
        let body = String::from_utf8_lossy(&answer.body);
        assert!(!body.contains("s3cret"), "{body}");
    }
}

#[test]
fn where_to_publish_is_refused_like_what_to_subscribe_to() {
    let server = Server::start(guarded());
    let ask = |query: &str| {
        Ask::new(&server, &format!("/ws?{query}"))
            .with("Sec-WebSocket-Protocol", "fanfare.v1.raw")
            .send()
    };
    for topic in ["private", "%24sys%2Fx"] {
        let answer = ask(&format!("topic=public&publish={topic}"));
        assert_eq!(answer.expect_problem(403), "forbidden", "{topic}");
    }
    // Whoever says nothing may still listen where it may not publish.
    assert_eq!(ask("topic=public").status, 101);
}

#[test]
fn no_more_sessions_come_in_than_there_may_be() {
    let server = Server::start(config().with(|c| c.server.max_connections = 2));
    let one = server.connect();
    let _two = server.raw("/ws");
    let full = Ask::new(&server, "/ws").send();
    assert_eq!(full.expect_problem(503), "unavailable");
    let wait: u64 = full.header("retry-after").unwrap().parse().unwrap();
    assert!(wait >= 1);
    assert_eq!(server.http("GET", "/sse?topic=a").send().status, 503);
    let reason = r#"fanfare_handshakes_refused_total{reason="full"}"#;
    assert_eq!(server.metric(reason), 2);
    one.close(1000);
    server.await_metric("fanfare_connections", 1);
    server.connect();
}
