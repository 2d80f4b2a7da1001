//! Floods: of connections, of handshakes, of subscriptions; and running out of descriptors.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fanfare::config::Rate;
use rustix::process::Signal;
use serde_json::json;

use crate::support::{
    Client, Edit, Http, Process, Server, TEXT, Wire, config, connect_from, eventually,
    eventually_some, frame, raise_descriptors, sessions, try_base,
};

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The status that a handshake from `127.0.0.number` gets, and its connection.
fn open_from(server: &Server, number: u8) -> (u16, TcpStream) {
    let mut stream = connect_from(server.address, number);
    stream.write_all(UPGRADE.as_bytes()).unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    let status = std::str::from_utf8(&head[9..]).unwrap().parse().unwrap();
    (status, stream)
}

#[test]
fn a_flood_of_connections_is_held_back_by_address_and_the_others_come_in() {
    let server = Server::start(config().with(|c| {
        c.limits.rates.connections_per_ip = 20;
        c.limits.rates.handshakes = Rate::with_burst(1000, 1000);
    }));
    let mut sessions = Vec::new();
    // One address, then many: each has its own.
    for (number, tries) in [(1, 300)].into_iter().chain((2..100).map(|n| (n, 3))) {
        let mut opened = 0;
        for _ in 0..tries {
            let (status, stream) = open_from(&server, number);
            match status {
                101 => {
                    opened += 1;
                    sessions.push(stream);
                }
                _ => assert_eq!(status, 429, "from {number}"),
            }
        }
        assert_eq!(opened, tries.min(20), "from {number}");
    }
    assert_eq!(server.metric("fanfare_connections"), sessions.len() as u64);
    let refused = r#"fanfare_rate_limited_total{limit="connections_per_ip"}"#;
    assert_eq!(server.metric(refused), 280);
    // Connections that ask for nothing do not keep others out.
    let idle: Vec<_> = (0..500)
        .map(|_| connect_from(server.address, 200))
        .collect();
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(open_from(&server, 201).0, 101);
    drop((sessions, idle));
    server.await_metric("fanfare_connections", 0);
    assert_eq!(open_from(&server, 1).0, 101);
}

#[test]
fn running_out_of_descriptors_is_survived_told_and_over_when_it_is_over() {
    let broker = Process::start_with_descriptors(200, "server.workers = 2");
    let at = broker.address;
    let get = |path: &str| Http::new(at, "GET", path).try_send().map(|a| a.status);
    let mut sessions: Vec<_> = (0..60).map(|_| Client::open(at, "/ws")).collect();
    sessions[0].subscribe("a").await_ok();
    // Far more connections than there are descriptors, which ask for nothing.
    let idle: Vec<_> = (0..600).map(|_| TcpStream::connect(at).unwrap()).collect();
    eventually("it says that it is short", || get("/readyz") == Some(503));
    assert_eq!(get("/healthz"), Some(200));
    assert!(broker.descriptors() < 200);
    // It does not spin.
    let (used, started) = (broker.processor_time(), Instant::now());
    eventually("a second has passed", || {
        started.elapsed() > Duration::from_secs(1)
    });
    let used = broker.processor_time().saturating_sub(used);
    assert!(used < Duration::from_millis(500), "{used:?} in a second");
    // Whoever is in a session stays, and whoever asks for something gets it.
    for session in &mut sessions {
        session.expect_nothing();
    }
    sessions[1].publish("a", 1).await_ok();
    assert_eq!(sessions[0].expect_message("a")["data"], 1);
    // Who is turned away for lack of descriptors may be cut off rather than told: it tries again.
    let opened = eventually_some("one more gets in", || try_base(at, "/ws", &[]).ok()?.ok());
    let mut late = Client::over(opened);
    late.expect_nothing();
    assert_eq!(broker.metric("fanfare_descriptors_short"), 1);
    assert_eq!(broker.metric("fanfare_connections"), 61);
    // No more sessions than leave some for the rest.
    let mut more = Vec::new();
    let refused = loop {
        match try_base(at, "/ws", &[]) {
            Ok(Ok(session)) => more.push(session),
            Ok(Err(refused)) if more.len() == 100 - 61 => break refused,
            Ok(Err(_)) | Err(_) => {}
        }
    };
    assert_eq!(more.len(), 100 - 61);
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    drop((idle, sessions, more));
    eventually("it has recovered", || get("/readyz") == Some(200));
    assert_eq!(broker.metric("fanfare_descriptors_short"), 0);
    assert_eq!(broker.metric("fanfare_descriptor_shortages_total"), 1);
    broker.signal(Signal::TERM);
    drop(late);
    let (status, log) = broker.await_end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(
        log.matches("file descriptors are short").count(),
        1,
        "{log}"
    );
    assert_eq!(log.matches("no longer short").count(), 1, "{log}");
    assert!(!log.contains("Too many open files"), "{log}");
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    let broker = Process::start("server.workers = 2", &[]);
    let at = broker.address;
    let session = |open: bool| {
        let mut stream = TcpStream::connect(at).unwrap();
        if open {
            stream.write_all(UPGRADE.as_bytes()).unwrap();
            stream.read_exact(&mut [0; 12]).unwrap();
        }
        // A reset, as many clients end: no port stays in TIME_WAIT here.
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    };
    session(true);
    eventually("it is at rest", || {
        broker.metric("fanfare_connections") == 0
    });
    let before = broker.descriptors();
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (stop, done) = (&stop, &done);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    session(thread % 2 == 0);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(3) {
            let asked = Instant::now();
            assert_eq!(Http::new(at, "GET", "/healthz").send().status, 200);
            assert!(
                asked.elapsed() < Duration::from_secs(2),
                "{:?}",
                asked.elapsed()
            );
        }
        stop.store(true, Ordering::Relaxed);
    });
    let done = done.into_inner();
    assert!(done > 1000, "only {done} came and went");
    eventually("all is as before", || {
        broker.metric("fanfare_connections") == 0 && broker.descriptors() <= before
    });
    assert_eq!(broker.metric("fanfare_subscriptions"), 0);
    assert_eq!(broker.metric("fanfare_panics_total"), 0);
}

#[test]
fn a_flood_of_subscriptions_on_one_connection_is_refused_in_bounded_memory() {
    let broker = Process::start("", &[]);
    let mut client = Client::open(broker.address, "/ws");
    let memory = || broker.metric("process_resident_memory_bytes");
    let before = memory();
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..100u32 {
        for n in 0..1000u32 {
            let topic = format!("flood/{}", round * 1000 + n);
            client.send(&json!({"type": "subscribe", "topic": topic, "id": n}));
        }
        for _ in 0..1000 {
            let answer = client.frame();
            if answer["type"] == "ok" {
                accepted += 1;
            } else {
                assert_eq!(answer["code"], "limit_exceeded", "{answer}");
                refused += 1;
            }
        }
    }
    assert_eq!((accepted, refused), (128, 100_000 - 128));
    assert_eq!(broker.metric("fanfare_subscriptions"), 128);
    assert_eq!(broker.metric("fanfare_topics"), 128);
    let grown = memory().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
}

#[test]
fn subscribing_and_unsubscribing_again_and_again_leaks_nothing() {
    let broker = Process::start("", &[]);
    let mut client = Client::open(broker.address, "/ws");
    let mut wire = Wire::open(broker.address, "/ws", "").welcomed();
    let once = [
        frame(TEXT, r#"{"type":"subscribe","topic":"again"}"#),
        frame(TEXT, r#"{"type":"unsubscribe","topic":"again"}"#),
    ]
    .concat();
    let mut run = |times: usize| {
        for _ in 0..times / 1000 {
            wire.send(once.repeat(1000));
            wire.send_json(&json!({"type": "ping", "id": 1}));
            // What is asked before the last of it stands may be refused: that is told, and bounded.
            while wire.json()["type"] != "ok" {}
        }
    };
    let memory = || broker.metric("process_resident_memory_bytes");
    run(20_000);
    let before = memory();
    run(100_000);
    let grown = memory().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes more");
    wire.send_json(&json!({"type": "unsubscribe", "id": 2}));
    while wire.json()["id"] != 2 {}
    assert_eq!(broker.metric("fanfare_subscriptions"), 0);
    eventually("the topic is forgotten", || {
        broker.metric("fanfare_topics") == 0
    });
    client.expect_nothing();
}

#[test]
fn a_port_that_is_taken_is_told_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_fanfare"))
        .args(["--listen", &address.to_string()])
        .current_dir(tempfile::tempdir().unwrap().path())
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(
        told.contains(&address.to_string()) && told.contains("in use"),
        "{told}"
    );
    assert!(told.contains("--listen"), "{told}");
}

#[test]
fn who_opens_and_never_authenticates_is_gone_in_time_and_takes_little() {
    const FIRST: usize = 50;
    let all = sessions(1000);
    raise_descriptors();
    let broker = Process::start("server.workers = 2\n[auth]\ntimeout = '8s'", &[]);
    let began = Instant::now();
    let open = || Wire::open(broker.address, "/ws", "").welcomed();
    // What the first ones need is not theirs alone.
    let mut silent: Vec<_> = (0..FIRST).map(|_| open()).collect();
    let before = broker.resident();
    silent.resize_with(all, open);
    let each = broker.resident().saturating_sub(before) / (all - FIRST);
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(8),
        "all are there at once: {took:?}"
    );
    assert!(each < 20 << 10, "{each} bytes for each");
    for wire in &mut silent {
        wire.expect_close(4501);
    }
    // The last came a moment ago; the look at a deadline may be late, and they have a second to leave.
    let late = began.elapsed().saturating_sub(took);
    assert!(late < Duration::from_secs(8 + 5), "{late:?}");
    drop(silent);
    let told = |name: &str| broker.metric(name);
    eventually("all are gone", || told("fanfare_connections") == 0);
    let closed = r#"fanfare_disconnects_total{code="4501"}"#;
    assert_eq!(told(closed), all as u64);
}
