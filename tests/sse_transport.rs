//! Event streams over HTTP as it comes: old clients, other methods, pages of other origins, and peers
//! that do not read.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use fanfare::config::{AllowedOrigin, Anonymous, Auth};
use serde_json::json;

use crate::support::{
    Answer, Edit, Events, PATIENCE, Process, Server, bulky, config, eventually, narrow,
    publish_until, read_answer,
};

const SLOW: &str = r#"fanfare_disconnects_total{code="4008"}"#;
const STREAMS: &str = r#"fanfare_connections{transport="sse"}"#;

/// Sends bytes as they are, and gives the connection.
fn send(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn head(answer: &Answer) -> Vec<(&str, &str)> {
    let of_connection = |name: &&str| *name != "date" && *name != "connection";
    let headers = answer.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    let mut head: Vec<_> = headers.filter(|(name, _)| of_connection(name)).collect();
    head.sort_unstable();
    head
}

#[test]
fn nothing_on_the_way_is_to_keep_change_or_hold_back_a_stream() {
    let server = Server::start(config());
    let events = Events::open(server.address, "topic=a", &[]);
    for header in [
        "content-type: text/event-stream\r\n",
        "cache-control: no-store, no-transform\r\n",
        "x-accel-buffering: no\r\n",
        "connection: close\r\n",
    ] {
        assert!(events.head.contains(header), "{}", events.head);
    }
    for header in ["transfer-encoding", "content-length", "access-control"] {
        assert!(!events.head.contains(header), "{}", events.head);
    }
}

#[test]
fn a_client_of_http_1_0_gets_a_stream_that_lasts_as_long_as_its_connection() {
    let server = Server::start(config());
    let request = format!(
        "GET /sse?topic=kept/a HTTP/1.0\r\nHost: {}\r\n\r\n",
        server.address
    );
    let mut reader = BufReader::new(send(server.address, &request));
    server.await_metric(STREAMS, 1);
    server.publish("kept/a", &json!("old"));
    let mut read = String::new();
    while !read.contains(r#""data":"old""#) {
        assert_ne!(reader.read_line(&mut read).unwrap(), 0, "{read}");
    }
    assert!(read.starts_with("HTTP/1.0 200 "), "{read}");
    assert!(!read.to_lowercase().contains("chunked"), "{read}");
    server.stop();
    reader.read_to_string(&mut read).unwrap();
    assert!(read.contains("event: closing\n"), "{read}");
}

#[test]
fn head_tells_what_a_stream_would_answer_and_opens_none() {
    let server = Server::start(config());
    let ask = |method: &str| {
        let request = format!(
            "{method} /sse?topic=a HTTP/1.1\r\nHost: {}\r\n\r\n",
            server.address
        );
        read_answer(&mut send(server.address, &request)).unwrap()
    };
    let (of_head, of_get) = (ask("HEAD"), ask("GET"));
    assert_eq!((of_head.status, of_head.body.len()), (200, 0));
    assert_eq!(head(&of_head), head(&of_get));
    server.await_metric("fanfare_connections_total", 1);
    let mut line = String::new();
    let wrong = format!(
        "HEAD /sse?topic=a%23 HTTP/1.1\r\nHost: {}\r\n\r\n",
        server.address
    );
    BufReader::new(send(server.address, &wrong))
        .read_line(&mut line)
        .unwrap();
    assert!(line.starts_with("HTTP/1.1 400 "), "{line}");
}

#[test]
fn a_stream_is_opened_whatever_is_accepted() {
    let server = Server::start(config());
    for accept in [
        "text/event-stream",
        "application/json",
        "*/*;q=0",
        "\u{fffd}",
    ] {
        Events::open(server.address, "topic=a", &[("Accept", accept)]);
    }
}

#[test]
fn a_page_of_an_allowed_origin_may_read_a_stream_and_no_other() {
    let server = Server::start(config().with(|c| {
        c.auth = Some(Auth {
            anonymous: Some(Anonymous {
                subscribe: vec![fanfare::model::Filter::new("#").unwrap()],
                ..Anonymous::default()
            }),
            allowed_origins: vec![
                AllowedOrigin::SameOrigin,
                AllowedOrigin::Exact("https://app.example".into()),
            ],
            ..Auth::default()
        });
    }));
    let own = format!("http://{}", server.address);
    for origin in ["https://app.example", &own] {
        let events = Events::open(server.address, "topic=a", &[("Origin", origin)]);
        let allowed = format!("access-control-allow-origin: {origin}\r\n");
        assert!(events.head.contains(&allowed), "{}", events.head);
        assert!(events.head.contains("vary: origin\r\n"), "{}", events.head);
    }
    for origin in ["http://app.example", "https://app.example.evil", "null"] {
        let ask = server.http("GET", "/sse?topic=a").header("Origin", origin);
        let refused = ask.send();
        assert_eq!(refused.expect_problem(403), "forbidden", "{origin}");
        assert_eq!(refused.header("access-control-allow-origin"), None);
    }
}

#[test]
fn what_was_asked_before_a_stream_is_answered_before_it() {
    let server = Server::start(config());
    let host = server.address;
    let request = format!(
        "GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\nGET /sse?topic=a HTTP/1.1\r\nHost: {host}\r\n\r\n"
    );
    let mut reader = BufReader::new(send(host, &request));
    server.await_metric(STREAMS, 1);
    server.publish("a", &json!("after"));
    let mut read = String::new();
    while !read.contains(r#""data":"after""#) {
        assert_ne!(reader.read_line(&mut read).unwrap(), 0, "{read}");
    }
    let answers: Vec<_> = read.match_indices("HTTP/1.1 200 OK").map(|m| m.0).collect();
    assert_eq!(answers.len(), 2, "{read}");
    assert!(
        read.find("text/event-stream").unwrap() > answers[1],
        "{read}"
    );
}

#[test]
fn what_a_client_sends_into_its_stream_changes_nothing() {
    let server = Server::start(config());
    let request = format!(
        "GET /sse?topic=a HTTP/1.1\r\nHost: {}\r\n\r\n",
        server.address
    );
    let stream = send(server.address, &request);
    server.await_metric(STREAMS, 1);
    let mut writing = stream.try_clone().unwrap();
    writing.write_all(&vec![b'x'; 300_000]).unwrap();
    server.publish("a", &json!("still there"));
    let mut read = String::new();
    let mut reader = BufReader::new(stream);
    while !read.contains("still there") {
        assert_ne!(reader.read_line(&mut read).unwrap(), 0, "{read}");
    }
    writing.shutdown(std::net::Shutdown::Write).unwrap();
    server.await_metric(STREAMS, 0);
    server.await_metric(r#"fanfare_disconnects_total{code="1006"}"#, 1);
}

#[test]
fn a_stream_that_is_not_read_is_ended_and_nobody_else_notices() {
    let server = Server::start(config().with(|c| {
        c.session.queue = 64 * 1024 * 1024;
        c.session.write_timeout = Duration::from_millis(500);
    }));
    let mut deaf = Events::raw(narrow(server.address), "topic=a", &[]);
    let mut same = Events::open(server.address, "topic=a", &[]);
    let mut other = Events::open(server.address, "topic=b", &[]);
    let mut writer = server.connect();
    let published = publish_until(&mut writer, bulky(32_000), || {
        server.metric("fanfare_sessions_slow") > 0
    });
    let reading = std::thread::spawn(move || {
        for n in 0..published {
            assert_eq!(same.expect("message").data["data"][0], n);
        }
        same
    });
    server.await_metric(SLOW, 1);
    server.await_metric(STREAMS, 2);
    let _same = reading.join().unwrap();
    eventually("every message is delivered or dropped", || {
        let delivered = server.metric("fanfare_messages_delivered_total");
        let dropped = server.metric("fanfare_messages_dropped_total");
        delivered + dropped == 2 * published
    });
    server.await_metric("fanfare_session_queued_bytes", 0);
    // What it had was counted; it was told why, if there was room, and is gone.
    let mut had = 0;
    while let Some(event) = deaf.next() {
        had += u64::from(event.name.as_deref() == Some("message"));
    }
    let dropped = server.metric("fanfare_messages_dropped_total");
    assert!(
        dropped > 0 && had <= published - dropped,
        "{had}, {dropped}"
    );
    writer.publish("b", 1).await_ok();
    assert_eq!(other.expect("message").data["data"], 1);
}

#[test]
fn streams_that_are_not_read_take_no_more_than_their_queues() {
    const STREAMS: usize = 40;
    const QUEUE: usize = 256 * 1024;
    let toml = "session.queue = \"256KiB\"\nsession.write_timeout = \"60s\"";
    let process = Process::start(toml, &[]);
    let deaf: Vec<_> = (0..STREAMS)
        .map(|_| Events::raw(narrow(process.address), "topic=a", &[]))
        .collect();
    let mut writer = crate::support::Client::open(process.address, "/ws");
    let before = process.resident();
    let ended = || {
        let metrics = crate::support::Http::new(process.address, "GET", "/metrics").send();
        metrics
            .text()
            .contains(&format!("{{code=\"4008\"}} {STREAMS}\n"))
    };
    let published = publish_until(&mut writer, bulky(32_000), ended);
    // Each was sent far more than its queue holds.
    assert!(published * 32_000 > 4 * QUEUE as u64, "{published}");
    let grown = process.resident().saturating_sub(before);
    assert!(grown < STREAMS * QUEUE * 2, "{grown} bytes more");
    drop(deaf);
}

#[test]
fn curl_shows_a_stream_as_it_comes_and_ends_well_with_it() {
    let server = Server::start(config());
    let url = format!("http://{}/sse?topic=kept/a&topic=live/%23", server.address);
    let mut curl = Command::new("curl")
        .args(["--no-buffer", "--silent", "--show-error", "--include", &url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("curl is installed");
    let mut out = BufReader::new(curl.stdout.take().unwrap());
    let mut read = String::new();
    server.await_metric(STREAMS, 1);
    for (topic, data) in [("kept/a", "one"), ("live/x/y", "two"), ("kept/a", "three")] {
        server.publish(topic, &json!(data));
        // Each is there before the next is sent.
        while !read.contains(&format!("\"data\":\"{data}\"")) {
            assert_ne!(out.read_line(&mut read).unwrap(), 0, "{read}");
        }
    }
    server.stop();
    out.read_to_string(&mut read).unwrap();
    assert!(read.contains("event: closing\ndata: "), "{read}");
    let mut errors = String::new();
    curl.stderr
        .take()
        .unwrap()
        .read_to_string(&mut errors)
        .unwrap();
    assert!(curl.wait().unwrap().success(), "{errors}");
    assert_eq!(errors, "");
}
