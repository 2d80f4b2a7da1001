//! Who publishes: over sockets that are cut off in the middle of a frame, and over HTTP with
//! repeats of what was not answered.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;
use serde_json::{Value, json};

use super::ledger::{CALM, Ledger, TOPICS};
use crate::support::{Answer, Client, PATIENCE, TEXT, Wire, frame, read_answer};

/// Messages that are under way at a time.
const BATCH: u64 = 16;

/// Which topic the turn is for: now and then a calm one.
fn topic_of(turn: u64) -> usize {
    if turn.is_multiple_of(16) {
        CALM + (turn / 16) as usize % (TOPICS.len() - CALM)
    } else {
        turn as usize % CALM
    }
}

fn message(publisher: usize, topic: usize, number: u64) -> Value {
    let padding = if topic == 0 { 4000 } else { 10 };
    json!({"publisher": publisher, "number": number, "padding": "x".repeat(padding)})
}

pub fn by_socket(address: SocketAddr, ledger: &Ledger, publisher: usize, until: Instant) {
    let mut turn = 0;
    while Instant::now() < until {
        let mut wire = Wire::open(address, "/ws", "").welcomed();
        for _ in 0..20 {
            for id in 0..BATCH {
                turn += 1;
                let topic = topic_of(turn);
                let number = ledger.next(publisher, topic);
                let data = message(publisher, topic, number);
                wire.send_json(
                    &json!({"type": "publish", "topic": TOPICS[topic], "data": data, "id": id}),
                );
            }
            // Topics have homes of their own, so answers need not come as they were asked for.
            let mut open: BTreeSet<_> = (0..BATCH).collect();
            while !open.is_empty() {
                let ok = wire.json();
                assert_eq!(ok["type"], "ok", "{ok}");
                assert!(open.remove(&ok["id"].as_u64().unwrap()), "{ok}");
            }
        }
        // Half of a message is none.
        let data = message(publisher, 0, u64::MAX);
        let whole = json!({"type": "publish", "topic": TOPICS[0], "data": data}).to_string();
        let bytes = frame(TEXT, whole);
        wire.send(&bytes[..bytes.len() / 2]);
        wire.reset();
    }
}

pub fn by_http(address: SocketAddr, ledger: &Ledger, publisher: usize, until: Instant) {
    let mut stream = connect(address);
    let mut turn = 0;
    while Instant::now() < until {
        turn += 1;
        let topic = topic_of(turn);
        let number = ledger.next(publisher, topic);
        let body = message(publisher, topic, number).to_string();
        let request = format!(
            "POST /v1/topics/{}/messages HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Idempotency-Key: {publisher}-{number}\r\nContent-Length: {}\r\n\r\n{body}",
            TOPICS[topic],
            body.len(),
        );
        // Asked, and gone before the answer: whether it was done is not known. So it is asked again.
        if turn % 8 == 3 {
            stream.write_all(request.as_bytes()).unwrap();
            reset(std::mem::replace(&mut stream, connect(address)));
        }
        let first = ask(&mut stream, &request);
        assert_eq!(first.status, 200, "{}", first.text());
        if turn % 8 == 5 {
            assert_eq!(ask(&mut stream, &request).json(), first.json());
        }
    }
    reset(stream);
}

/// Sessions that come to a room, say something and go.
pub fn visit(address: SocketAddr, until: Instant) {
    let mut number = 0;
    while Instant::now() < until {
        number += 1;
        let room = format!("room/{}", number % 50);
        let mut client = Client::open(address, "/ws?topic=soak/calm/%2B");
        client.subscribe(&room).await_ok();
        client.publish(&room, number).await_ok();
        assert!(client.presence(&room).contains(&client.session()));
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn ask(stream: &mut TcpStream, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).unwrap();
    read_answer(stream).expect("an answer")
}

fn reset(stream: TcpStream) {
    set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
}
