//! Publishing lines, answered while the body is still coming; and publishing once only.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Chunks, Edit, PATIENCE, Server, config};

const PUBLISHED: &str = "fanfare_messages_published_total{protocol=\"http\"}";

/// A body that is being sent, and its answer.
struct Lines {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Lines {
    fn open(server: &Server) -> Self {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let address = server.address;
        let head = format!(
            "POST /v1/publish HTTP/1.1\r\nHost: {address}\r\n\
             Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        Self {
            reader: BufReader::new(stream.try_clone().unwrap()),
            stream,
        }
    }

    fn send(&mut self, text: &str) {
        self.stream.write_all(chunk(text).as_bytes()).unwrap();
    }

    fn end(&mut self) {
        self.stream.write_all(b"0\r\n\r\n").unwrap();
    }

    /// The answers, after the head, which says that they are lines.
    fn answers(self) -> impl Iterator<Item = Value> {
        let Self { mut reader, .. } = self;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let head = head.to_ascii_lowercase();
        assert!(
            head.contains("content-type: application/x-ndjson"),
            "{head}"
        );
        let lines = BufReader::new(Chunks::new(reader)).lines();
        lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap())
    }
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn line(topic: &str, data: usize) -> String {
    json!({"topic": topic, "data": data}).to_string() + "\n"
}

#[test]
fn lines_are_answered_while_the_body_is_still_coming() {
    let server = Server::start(config());
    let mut reader = server.connect();
    reader.subscribe("kept/a").await_ok();
    let mut lines = Lines::open(&server);
    let mut sender = lines.stream.try_clone().unwrap();
    let mut send = |text: &str| sender.write_all(chunk(text).as_bytes()).unwrap();
    // In pieces, as they come from a terminal or a slow link.
    send("{\"topic\": \"kept/");
    send("a\", \"data\": 1}\n");
    lines.stream.flush().unwrap();
    let mut answers = lines.answers();
    let first = answers.next().unwrap();
    assert_eq!(
        (&first["offset"], &first["subscribers"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(reader.expect_message("kept/a")["data"], 1);
    send("nonsense\n\n{\"topic\":\"kept/a\",\"data\":2}\n{\"topic\":\"kept/a\",\"data\":3}");
    assert_eq!(answers.next().unwrap()["code"], "bad_request");
    assert_eq!(answers.next().unwrap()["offset"], 2);
    // The last line needs no end of its own.
    sender.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(answers.next().unwrap()["offset"], 3);
    assert_eq!(answers.next(), None);
    assert_eq!(reader.expect_data(2), [json!(2), json!(3)]);
}

#[test]
fn who_does_not_read_the_answers_is_not_read_and_loses_none() {
    const MOST: usize = 200_000;
    let server = Server::start(config());
    let mut lines = Lines::open(&server);
    let timeout = Some(Duration::from_secs(1));
    lines.stream.set_write_timeout(timeout).unwrap();
    // Long names make long answers.
    let topic = "t".repeat(255);
    let mut sent = 0;
    let left = 'full: loop {
        assert!(sent < MOST, "it reads on and on");
        let piece: String = (sent..sent + 100).map(|n| line(&topic, n)).collect();
        let piece = chunk(&piece);
        let mut left = piece.as_bytes();
        sent += 100;
        while !left.is_empty() {
            match lines.stream.write(left) {
                Ok(count) => left = &left[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break 'full left.to_vec(),
                Err(error) => panic!("{error}"),
            }
        }
    };
    let taken = server.metric(PUBLISHED);
    assert!(taken < sent as u64, "{taken} of {sent}");
    let mut sender = lines.stream.try_clone().unwrap();
    let rest = std::thread::spawn(move || {
        sender.set_write_timeout(Some(PATIENCE)).unwrap();
        sender.write_all(&left).unwrap();
        sender.write_all(b"0\r\n\r\n").unwrap();
    });
    assert_eq!(
        lines
            .answers()
            .filter(|line| line["topic"] == *topic)
            .count(),
        sent
    );
    rest.join().unwrap();
    server.await_metric(PUBLISHED, sent as u64);
}

#[test]
fn a_line_keeps_its_place_among_those_of_other_connections() {
    let server =
        Server::start(config().with(|c| c.topics[0].history.as_mut().unwrap().messages = 9000));
    let streams: Vec<_> = (0..4)
        .map(|of| {
            let mut lines = Lines::open(&server);
            std::thread::spawn(move || {
                for n in 0..500 {
                    // One topic is at home on each worker, whichever took the connection.
                    lines.send(&(line("kept/a", of * 1000 + n) + &line("kept/b", of * 1000 + n)));
                }
                lines.end();
                let answers: Vec<_> = lines.answers().collect();
                assert_eq!(answers.len(), 1000);
                for topic in ["kept/a", "kept/b"] {
                    let offsets: Vec<_> = answers
                        .iter()
                        .filter(|answer| answer["topic"] == topic)
                        .map(|answer| answer["offset"].as_u64().unwrap())
                        .collect();
                    assert!(offsets.is_sorted(), "{topic}: {offsets:?}");
                    assert_eq!(offsets.len(), 500);
                }
            })
        })
        .collect();
    for stream in streams {
        stream.join().unwrap();
    }
    for topic in ["kept/a", "kept/b"] {
        let kept = server.get(&format!("/v1/topics/{topic}/messages?limit=9000"));
        let mut next = [0; 4];
        for message in kept.json()["messages"].as_array().unwrap() {
            let data = usize::try_from(message["data"].as_u64().unwrap()).unwrap();
            assert_eq!(data % 1000, next[data / 1000], "{topic}");
            next[data / 1000] += 1;
        }
        assert_eq!(next, [500; 4], "{topic}");
    }
}

#[test]
fn a_drain_ends_the_lines_with_a_reason() {
    let server = Server::start(config().with(|c| c.server.drain = Duration::from_secs(5)));
    let mut lines = Lines::open(&server);
    lines.send(&line("kept/a", 1));
    let mut answers = lines.answers();
    assert_eq!(answers.next().unwrap()["offset"], 1);
    server.stop();
    let last = answers.next().unwrap();
    assert_eq!(
        (&last["code"], &last["status"]),
        (&json!("unavailable"), &json!(503))
    );
    assert!(last["retry_after_ms"].is_u64(), "{last}");
    assert_eq!(answers.next(), None);
}

#[test]
fn a_repeat_by_any_connection_gets_the_first_answer() {
    let server = Server::start(config());
    let mut reader = server.connect();
    reader.subscribe("kept/a").await_ok();
    let tries: Vec<_> = (0..80)
        .map(|n| {
            let key = format!("order-{}", n % 10);
            let request = server
                .http("POST", "/v1/topics/kept/a/messages")
                .header("Idempotency-Key", &key)
                .json(&json!({"order": n % 10}));
            std::thread::spawn(move || (key, request.send().text()))
        })
        .collect();
    let answers: BTreeSet<_> = tries.into_iter().map(|t| t.join().unwrap()).collect();
    assert_eq!(answers.len(), 10, "one answer to each key: {answers:?}");
    let mut orders: Vec<_> = reader.expect_data(10);
    orders.sort_by_key(|data| data["order"].as_u64());
    let expected: Vec<_> = (0..10).map(|n| json!({"order": n})).collect();
    assert_eq!(orders, expected);
    reader.expect_nothing();
    assert_eq!(server.metric("fanfare_publishes_repeated_total"), 70);
    assert_eq!(server.metric(PUBLISHED), 10);
}

#[test]
fn a_key_is_forgotten_once_its_window_is_over() {
    let server = Server::start(config().with(|c| {
        c.api.idempotency_window = Duration::from_millis(300);
    }));
    let publish = || {
        let request = server
            .http("POST", "/v1/topics/kept/a/messages")
            .header("Idempotency-Key", "k");
        request.body("x").send().json()["offset"].as_u64()
    };
    assert_eq!(publish(), Some(1));
    server.await_metric("fanfare_idempotency_keys", 0);
    assert_eq!(publish(), Some(2));
}
