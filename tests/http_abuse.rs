//! HTTP as it should not be: requests that two readers could read differently, that are too big, or that
//! take for ever.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, Server, config};

/// What came of a connection: the statuses of its answers, and whether it was ended.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    statuses: Vec<u16>,
    is_closed: bool,
    text: String,
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads to the end of the connection, or for as long as something comes.
fn outcome(mut stream: TcpStream, silence: Duration) -> Outcome {
    stream.set_read_timeout(Some(silence)).unwrap();
    let mut read = Vec::new();
    let mut piece = [0; 8192];
    let is_closed = loop {
        match stream.read(&mut piece) {
            Ok(0) => break true,
            Ok(n) => read.extend_from_slice(&piece[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break true,
            Err(error) => panic!("{error}"),
        }
    };
    let text = String::from_utf8_lossy(&read).into_owned();
    let statuses = text
        .split("HTTP/1.")
        .skip(1)
        .filter_map(|answer| answer.get(2..5)?.parse().ok())
        .collect();
    Outcome {
        statuses,
        is_closed,
        text,
    }
}

fn ask(address: SocketAddr, request: &[u8]) -> Outcome {
    let mut stream = connect(address);
    // What is refused at its head may not be read to its end.
    let _ = stream.write_all(request);
    outcome(stream, PATIENCE)
}

const UPGRADE: &str = "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn a_request_that_could_be_read_in_two_ways_is_refused_and_the_connection_ends() {
    let server = Server::start(config());
    let hidden = "GET /v1/topics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let chunks = "0\r\n\r\n";
    for (what, head, body) in [
        (
            "a length and chunks",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            chunks,
        ),
        (
            "chunks and a length",
            "Transfer-Encoding: chunked\r\nContent-Length: 50",
            chunks,
        ),
        (
            "two lengths",
            "Content-Length: 5\r\nContent-Length: 6",
            "hello",
        ),
        (
            "one length twice",
            "Content-Length: 5\r\nContent-Length: 5",
            "hello",
        ),
        ("a list of lengths", "Content-Length: 5, 5", "hello"),
        ("a length with a sign", "Content-Length: +5", "hello"),
        ("a negative length", "Content-Length: -5", "hello"),
        ("a length in hexadecimal", "Content-Length: 0x5", "hello"),
        (
            "too large a length",
            "Content-Length: 99999999999999999999",
            "hello",
        ),
        ("an unknown encoding", "Transfer-Encoding: xchunked", chunks),
        (
            "an encoding behind chunks",
            "Transfer-Encoding: chunked, gzip",
            chunks,
        ),
        (
            "an encoding before chunks",
            "Transfer-Encoding: gzip, chunked",
            chunks,
        ),
        ("no encoding", "Transfer-Encoding: identity", chunks),
        (
            "an encoding with a tab",
            "Transfer-Encoding: \u{b}chunked",
            chunks,
        ),
        (
            "two encodings",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            chunks,
        ),
        ("a folded header", "X-A: b\r\n c", ""),
        (
            "a folded encoding",
            "Transfer-Encoding:\r\n chunked",
            chunks,
        ),
        ("a blank before the colon", "Content-Length : 5", "hello"),
        ("a header without a colon", "Content-Length", "hello"),
        ("a header without a name", ": b", ""),
        ("a CR in a header", "X-A: b\rc", ""),
        ("a CR before the colon", "X-A\r: b", ""),
        ("a NUL in a header", "X-A: b\0c", ""),
        ("two hosts", "Host: other", ""),
        (
            "an overflow of a chunk's size",
            "Transfer-Encoding: chunked",
            "FFFFFFFFFFFFFFFFF\r\n",
        ),
        ("a negative chunk", "Transfer-Encoding: chunked", "-1\r\n"),
        (
            "a chunk in C",
            "Transfer-Encoding: chunked",
            "0x5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "a chunk that is longer",
            "Transfer-Encoding: chunked",
            "5\r\nhelloX\r\n0\r\n\r\n",
        ),
        (
            "a chunk ended by LF",
            "Transfer-Encoding: chunked",
            "5\nhello\n0\n\n",
        ),
        (
            "a CR in an extension",
            "Transfer-Encoding: chunked",
            "5;a=\rb\r\nhello\r\n0\r\n\r\n",
        ),
    ] {
        let request = format!(
            "POST /v1/topics/a/messages HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n{body}{hidden}"
        );
        let outcome = ask(server.address, request.as_bytes());
        assert!(outcome.is_closed, "{what}: {outcome:?}");
        assert_eq!(outcome.statuses.first(), Some(&400), "{what}: {outcome:?}");
        let problem = outcome.text.contains(r#""code":"bad_request""#);
        assert!(problem, "{what}: {outcome:?}");
        // What was hidden behind it is never answered.
        assert!(!outcome.statuses.contains(&200), "{what}: {outcome:?}");
    }
    assert_eq!(server.metric("fanfare_messages_published_total"), 0);
}

#[test]
fn a_request_of_another_kind_than_http_1_1_is_refused() {
    let server = Server::start(config());
    for (what, status, request) in [
        (
            "without a host",
            400,
            "GET /healthz HTTP/1.1\r\n\r\n".to_owned(),
        ),
        (
            "HTTP/2",
            400,
            "GET / HTTP/2.0\r\nHost: localhost\r\n\r\n".to_owned(),
        ),
        (
            "the preface of HTTP/2",
            400,
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        ),
        ("TLS", 400, "\u{16}\u{3}\u{1}\u{2}\r\n\r\n".to_owned()),
        (
            "a blank in the target",
            400,
            "GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        ),
        (
            "a WebSocket of HTTP/1.0",
            400,
            format!("GET /ws HTTP/1.0\r\n{UPGRADE}\r\n"),
        ),
        (
            "a WebSocket by POST",
            405,
            format!("POST /ws HTTP/1.1\r\n{UPGRADE}\r\n"),
        ),
        (
            "a WebSocket with a body",
            400,
            format!("GET /ws HTTP/1.1\r\n{UPGRADE}Content-Length: 5\r\n\r\nhello"),
        ),
        (
            "a WebSocket with a length and chunks",
            400,
            format!(
                "GET /ws HTTP/1.1\r\n{UPGRADE}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
            ),
        ),
        (
            "a tunnel",
            404,
            "CONNECT other:80 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        ),
        (
            "chunks in HTTP/1.0",
            400,
            "POST /v1/publish HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        ),
    ] {
        let outcome = ask(server.address, request.as_bytes());
        assert_eq!(outcome.statuses, [status], "{what}: {outcome:?}");
        assert!(outcome.is_closed, "{what}: {outcome:?}");
        let told = format!(r#""status":{status},"detail":""#);
        assert!(outcome.text.contains(&told), "{what}: {outcome:?}");
        let head = outcome.text.to_ascii_lowercase();
        assert!(head.contains("application/problem+json"), "{what}: {head}");
    }
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn a_head_that_is_too_big_is_answered_431_and_the_connection_ends() {
    let server = Server::start(config());
    let head =
        |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\n{UPGRADE}{more}\r\n").into_bytes();
    let long = "a".repeat(1_000_000);
    for path in ["/ws", "/healthz"] {
        for (what, request) in [
            ("a header of 1 MB", head(path, &format!("X-A: {long}\r\n"))),
            ("2000 headers", head(path, &"X-A: b\r\n".repeat(2000))),
            ("100 headers", head(path, &"X-A: b\r\n".repeat(100))),
            ("a path of 1 MB", head(&format!("{path}?{long}"), "")),
        ] {
            let outcome = ask(server.address, &request);
            assert_eq!(outcome.statuses, [431], "{what}: {}", outcome.text);
            let told = outcome.text.contains(r#""status":431,"detail":""#);
            assert!(told, "{what}: {}", outcome.text);
            assert!(outcome.is_closed, "{what}");
        }
    }
    assert_eq!(server.metric("fanfare_connections_total"), 0);
    let reason = r#"fanfare_handshakes_refused_total{reason="malformed"}"#;
    assert_eq!(server.metric(reason), 8);
}

/// Sends the head piece by piece until the server has had enough; tells how long that took.
fn drip(mut stream: TcpStream, mut text: impl Iterator<Item = u8>) -> (Duration, Outcome) {
    let started = Instant::now();
    stream
        .set_read_timeout(Some(Duration::from_millis(250)))
        .unwrap();
    let mut peeked = [0];
    loop {
        assert!(started.elapsed() < PATIENCE, "it is still listened to");
        let sent = stream.write_all(&[text.next().unwrap()]);
        let heard = stream.peek(&mut peeked);
        let waits = matches!(&heard, Err(error) if error.kind() == ErrorKind::WouldBlock);
        if sent.is_err() || !waits {
            return (started.elapsed(), outcome(stream, PATIENCE));
        }
    }
}

#[test]
fn whoever_sends_byte_by_byte_is_dropped_after_five_seconds_whenever_it_begins() {
    let server = Server::start(config());
    let address = server.address;
    let head = format!("GET /ws HTTP/1.1\r\n{UPGRADE}X-A: ");
    let endless = |head: String| head.into_bytes().into_iter().chain(std::iter::repeat(b'a'));
    let served = |request: &str| {
        let mut stream = connect(address);
        stream.write_all(request.as_bytes()).unwrap();
        let answer = crate::support::read_answer(&mut stream).unwrap();
        (stream, answer.status)
    };
    let slow = [
        std::thread::spawn({
            let text = endless(head.clone());
            move || drip(connect(address), text)
        }),
        // After an answer, on the same connection.
        std::thread::spawn({
            let (stream, status) = served("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_eq!(status, 200);
            let text = endless(head);
            move || drip(stream, text)
        }),
    ];
    let outcomes = slow.map(|thread| thread.join().unwrap());
    for (place, (took, outcome)) in outcomes.iter().enumerate() {
        assert!(outcome.is_closed, "{place}");
        let seconds = took.as_secs_f64();
        assert!((4.0..7.0).contains(&seconds), "{place}: {seconds}");
    }
    assert_eq!(outcomes[0].1.statuses, [408]);
    let told = &outcomes[0].1.text;
    assert!(told.contains(r#""status":408,"detail":""#), "{told}");
    // It is counted where it never asked for anything.
    server.await_metric(r#"fanfare_handshakes_refused_total{reason="timeout"}"#, 1);
    server.connect();
}

#[test]
fn a_body_that_does_not_come_ends_the_connection_with_the_answer() {
    let server = Server::start(config());
    let chunks = "Host: localhost\r\nTransfer-Encoding: chunked\r\n";
    let lines = "Content-Type: application/x-ndjson\r\n";
    let length = "Host: localhost\r\nContent-Length: 5\r\n";
    let cases = [
        (404, false, format!("GET /nope HTTP/1.1\r\n{chunks}\r\n")),
        (404, true, format!("GET /nope HTTP/1.1\r\n{chunks}\r\n")),
        (404, false, format!("GET /nope HTTP/1.1\r\n{length}\r\n")),
        (
            408,
            false,
            format!("POST /v1/topics/a/messages HTTP/1.1\r\n{chunks}\r\n"),
        ),
        (
            200,
            false,
            format!("POST /v1/publish HTTP/1.1\r\n{lines}{chunks}\r\n"),
        ),
    ];
    let asked = cases.map(|(status, drips, request)| {
        let mut stream = connect(server.address);
        std::thread::spawn(move || {
            stream.write_all(request.as_bytes()).unwrap();
            let outcome = if drips {
                drip(stream, b"1\r\na\r\n".iter().copied().cycle()).1
            } else {
                // The broker waits 30 s for what is to be published.
                outcome(stream, 4 * PATIENCE)
            };
            assert_eq!(outcome.statuses, [status], "{request}: {outcome:?}");
            assert!(outcome.is_closed, "{request}: {outcome:?}");
            let head = outcome.text.to_ascii_lowercase();
            assert!(head.contains("connection: close"), "{request}: {outcome:?}");
            let told = outcome.text.contains(r#""status":408"#);
            assert_eq!(told, status != 404, "{request}: {outcome:?}");
        })
    });
    for thread in asked {
        thread.join().unwrap();
    }
    // A body that is read keeps the connection.
    let mut stream = connect(server.address);
    for _ in 0..2 {
        let request =
            format!("POST /v1/topics/a/messages HTTP/1.1\r\n{chunks}\r\n1\r\n1\r\n0\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(
            crate::support::read_answer(&mut stream).unwrap().status,
            200
        );
    }
}

#[test]
fn whoever_does_not_take_its_answer_is_dropped() {
    use crate::support::Edit as _;
    let server = Server::start(config().with(|c| {
        c.session.write_timeout = Duration::from_millis(500);
        c.limits.message_bytes = 1 << 20;
        c.topics = vec![crate::support::kept("kept/#", 1000)];
    }));
    let data = serde_json::json!("x".repeat(500_000));
    for _ in 0..16 {
        server.publish("kept/a", &data);
    }
    let mut stream = connect(server.address);
    let request = "GET /v1/topics/kept%2Fa/messages?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for _ in 0..40 {
        stream.write_all(request.as_bytes()).unwrap();
    }
    crate::support::eventually("the connection is gone", || {
        // Only a socket that is gone refuses what is sent.
        stream.write_all(b" ").is_err()
    });
}
