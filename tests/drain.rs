//! Stopping: sessions are told and leave spread over the drain time.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{
    Client, Edit, Events, Process, Server, base, bulky, config, eventually, publish_until,
};

#[test]
fn sigterm_sends_sessions_away_spread_over_the_drain_time_and_exits_with_0() {
    let process = Process::start("server.drain = \"2s\"\nserver.workers = 2", &[]);
    let http = |path: &str| crate::support::Http::new(process.address, "GET", path);
    let mut clients: Vec<_> = (0..20)
        .map(|_| Client::open(process.address, "/ws"))
        .collect();
    let mut raw = crate::support::Raw::open(process.address, "/ws?topic=a");
    let mut events = Events::open(process.address, "topic=a", &[]);
    let metrics_say = |ready: u8| {
        let text = http("/metrics").send().text();
        text.contains(&format!("\nfanfare_ready {ready}\n"))
    };
    assert_eq!(http("/readyz").send().status, 200);
    assert!(metrics_say(1));
    process.signal(Signal::TERM);
    let asked = Instant::now();
    eventually("it is not ready", || http("/readyz").send().status == 503);
    assert!(metrics_say(0));
    // Until the end it answers, and takes nobody new.
    assert_eq!(http("/healthz").send().status, 200);
    let refused = base(process.address, "/ws", &[]).unwrap_err();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let refused = http("/sse?topic=a").send();
    assert_eq!(refused.expect_problem(503), "unavailable");
    assert!(refused.header("retry-after").is_some());
    assert!(asked.elapsed() < Duration::from_secs(2));
    let ends: Vec<_> = std::thread::scope(|scope| {
        let waiting: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(move || {
                    let (closing, _) = client.expect_close(1001);
                    assert_eq!(closing["reconnect"], true);
                    (asked.elapsed(), closing["after_ms"].as_u64().unwrap())
                })
            })
            .collect();
        waiting.into_iter().map(|w| w.join().unwrap()).collect()
    });
    raw.expect_close(1001);
    while events.next().is_some() {}
    let (process_end, _) = process.await_end();
    assert_eq!(process_end.code(), Some(0));
    assert!(
        asked.elapsed() < Duration::from_secs(4),
        "{:?}",
        asked.elapsed()
    );
    // Neither the ends nor the returns fall together.
    let first = ends.iter().map(|(at, _)| *at).min().unwrap();
    let last = ends.iter().map(|(at, _)| *at).max().unwrap();
    assert!(
        last.abs_diff(first) > Duration::from_millis(800),
        "{first:?} to {last:?}"
    );
    assert!(last < Duration::from_secs(2), "{last:?}");
    let after: std::collections::BTreeSet<_> = ends.iter().map(|(_, after)| *after).collect();
    assert!(after.len() > 10, "{after:?}");
    assert!(after.iter().all(|ms| *ms <= 2000), "{after:?}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let process = Process::start("server.drain = \"60s\"", &[]);
    let clients: Vec<_> = (0..5)
        .map(|_| Client::open(process.address, "/ws"))
        .collect();
    process.signal(Signal::INT);
    eventually("it drains", || {
        crate::support::Http::new(process.address, "GET", "/readyz")
            .send()
            .status
            == 503
    });
    process.signal(Signal::INT);
    let asked = Instant::now();
    let (status, log) = process.await_end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        asked.elapsed() < Duration::from_secs(3),
        "{:?}",
        asked.elapsed()
    );
    drop(clients);
}

#[test]
fn without_sessions_it_stops_at_once() {
    let process = Process::start("server.drain = \"60s\"", &[]);
    process.signal(Signal::TERM);
    let asked = Instant::now();
    let (status, log) = process.await_end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        asked.elapsed() < Duration::from_secs(3),
        "{:?}",
        asked.elapsed()
    );
}

#[test]
fn what_was_queued_before_the_drain_is_delivered_before_the_close() {
    let server = Server::start(config().with(|c| {
        c.server.drain = Duration::from_secs(5);
        c.session.queue = 64 * 1024 * 1024;
    }));
    let mut reader = crate::support::Wire::narrow(server.address, "/ws").welcomed();
    reader.send_json(&json!({"type": "subscribe", "topic": "a", "id": 1}));
    assert_eq!(reader.json()["type"], "ok");
    let mut writer = server.connect();
    let published = publish_until(&mut writer, bulky(32_000), || {
        server.metric("fanfare_session_queued_bytes") >= 500_000
    });
    server.stop();
    writer.expect_close(1001);
    for n in 0..published {
        assert_eq!(reader.json()["data"][0], n);
    }
    assert_eq!(reader.json()["code"], 1001);
    reader.expect_close(1001);
    server.await_end();
}

#[test]
fn a_session_that_does_not_leave_holds_the_drain_up_no_longer_than_its_time() {
    let server = Server::start(config().with(|c| c.server.drain = Duration::from_secs(1)));
    let mut deaf = server.wire().welcomed();
    let asked = Instant::now();
    server.stop();
    let refused = r#"fanfare_handshakes_refused_total{reason="draining"}"#;
    assert_eq!(base(server.address, "/ws", &[]).unwrap_err().status(), 503);
    server.await_metric(refused, 1);
    deaf.expect_close(1001);
    server.await_end();
    assert!(
        asked.elapsed() < Duration::from_secs(4),
        "{:?}",
        asked.elapsed()
    );
}

#[test]
fn metrics_of_a_broker_that_drained_say_that_everyone_left() {
    let server = Server::start(config().with(|c| c.server.drain = Duration::from_secs(1)));
    let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.subscribe("a").await_ok();
    }
    let broker = server.broker.clone();
    server.stop();
    for client in &mut clients {
        client.expect_close(1001);
    }
    server.await_end();
    let text = broker.metrics().render().unwrap();
    for line in [
        r#"fanfare_disconnects_total{code="1001"} 4"#,
        r#"fanfare_subscriptions{kind="exact"} 0"#,
        r#"fanfare_connections{transport="websocket",protocol="json"} 0"#,
        "fanfare_session_queued_bytes 0",
    ] {
        let labels = |line: &str| {
            let mut parts: Vec<_> = line.split(['{', ',', '}']).map(str::to_owned).collect();
            parts.sort();
            parts
        };
        assert!(
            text.lines().any(|there| labels(there) == labels(line)),
            "{line} in {text}"
        );
    }
}
