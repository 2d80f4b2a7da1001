//! Stopping with many connections: 2000, or as many as `FANFARE_TEST_SESSIONS` says.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{
    Client, Events, Http, Process, Wire, base, eventually, raise_descriptors, sessions,
};

const DRAIN: Duration = Duration::from_secs(4);

/// A part of the drain time is for what is queued: sessions are told before.
const TELLING: Duration = Duration::from_millis(3200);

fn connect(address: SocketAddr, count: usize) -> Vec<Wire> {
    (0..count)
        .map(|_| Wire::open(address, "/ws?topic=all", "").welcomed())
        .collect()
}

/// Whether something is there to be read.
fn has_something(wire: &Wire) -> bool {
    match wire.stream.peek(&mut [0]) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
            false
        }
    }
}

#[test]
fn with_many_connections_readiness_fails_first_and_they_leave_spread_over_the_drain_time() {
    raise_descriptors();
    let process = Process::start("server.drain = \"4s\"\nserver.workers = 2", &[]);
    let address = process.address;
    let status = |path: &str| Http::new(address, "GET", path).send().status;
    let mut wires = connect(address, sessions(2000));
    let mut events = Events::open(address, "topic=other", &[]);
    for wire in &wires {
        wire.stream.set_nonblocking(true).unwrap();
    }
    let mut publisher = Client::open(address, "/ws");
    let mut reader = Client::open(address, "/ws?topic=kept");
    // Under way when the signal comes: each is answered before the session is closed.
    for id in 0..500 {
        publisher.send(&json!({"type": "publish", "topic": "kept", "data": id, "id": id}));
    }
    process.signal(Signal::TERM);
    let asked = Instant::now();
    eventually("it is not ready", || status("/readyz") == 503);
    let early = wires.iter().filter(|wire| has_something(wire)).count();
    assert_eq!(early, 0, "readiness fails before anyone is told");
    let mut told: Vec<Option<Duration>> = vec![None; wires.len()];
    let mut refused = 0;
    while told.contains(&None) {
        assert!(asked.elapsed() < DRAIN, "{:?}", asked.elapsed());
        for (at, wire) in told.iter_mut().zip(&wires) {
            if at.is_none() && has_something(wire) {
                *at = Some(asked.elapsed());
            }
        }
        // All the while nobody is let in, and what is published is refused, not lost.
        if asked.elapsed() < TELLING {
            assert_eq!(base(address, "/ws", &[]).unwrap_err().status(), 503);
            assert_eq!(status("/sse?topic=a"), 503);
            let publish = Http::new(address, "POST", "/v1/topics/kept/messages");
            assert_eq!(publish.body("late").send().status, 503);
            refused += 1;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(refused > 10, "{refused}");
    let (_, before) = publisher.expect_close(1001);
    let answered = |kind: &str| before.iter().filter(|frame| frame["type"] == kind).count();
    let acknowledged = answered("ok");
    assert_eq!(acknowledged + answered("error"), 500);
    let (_, before) = reader.expect_close(1001);
    let heard = before.iter().filter(|frame| frame["type"] == "message");
    assert_eq!(heard.count(), acknowledged);
    // In no tenth of the time more than three times what would be even.
    let mut tenths = [0; 10];
    for at in told.iter().flatten() {
        let tenth = at.as_millis() * 10 / TELLING.as_millis();
        tenths[(tenth as usize).min(9)] += 1;
    }
    let most = 3 * wires.len() / 10;
    assert!(tenths.iter().all(|tenth| *tenth <= most), "{tenths:?}");
    assert!(
        tenths.iter().filter(|tenth| **tenth > 0).count() >= 7,
        "{tenths:?}"
    );
    for wire in &mut wires {
        wire.stream.set_nonblocking(false).unwrap();
        let closing = wire.json();
        assert_eq!(
            (&closing["code"], &closing["reconnect"]),
            (&json!(1001), &json!(true))
        );
        assert!(closing["after_ms"].as_u64().unwrap() <= 4000, "{closing}");
        wire.expect_close(1001);
    }
    while events.next().is_some() {}
    let (status, log) = process.await_end();
    assert_eq!(status.code(), Some(0), "{log}");
    let grace = DRAIN + Duration::from_secs(3);
    assert!(asked.elapsed() < grace, "{:?}", asked.elapsed());
}

#[test]
fn a_second_sigterm_ends_many_connections_at_once() {
    raise_descriptors();
    let process = Process::start("server.drain = \"60s\"\nserver.workers = 2", &[]);
    let wires = connect(process.address, sessions(2000));
    process.signal(Signal::TERM);
    eventually("it is not ready", || {
        let ready = Http::new(process.address, "GET", "/readyz");
        ready.try_send().is_some_and(|answer| answer.status == 503)
    });
    process.signal(Signal::TERM);
    let asked = Instant::now();
    let (status, log) = process.await_end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
    drop(wires);
}
