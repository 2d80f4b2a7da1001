//! `fanfare sub`.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Edit, Proxy, Running, Server, command, config, eventually_some, kept, ran};

/// `sub` through that proxy, once its subscriptions stand.
fn following(proxy: &Proxy, arguments: &[&str], filters: &[&str]) -> Running {
    let url = format!("ws://{}", proxy.address);
    let running = Running::start(&[&["sub", "--url", &url], arguments, filters].concat());
    for filter in filters {
        running.await_told(&format!("subscribed to {filter}"));
    }
    running
}

/// Publishes the numbers of that range.
fn publish(server: &Server, topic: &str, numbers: std::ops::Range<u32>) {
    for number in numbers {
        server.publish(topic, &json!(number));
    }
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn a_cut_is_recovered_from_without_a_gap_or_a_double() {
    let server = Server::start(config());
    let proxy = Proxy::start(server.address);
    let running = following(&proxy, &["--raw"], &["kept/a"]);
    publish(&server, "kept/a", 0..5);
    running.await_lines(5);
    proxy.cut();
    running.await_told("connecting again in");
    publish(&server, "kept/a", 5..10);
    proxy.mend();
    running.await_told("subscribed to kept/a again; 5 missed messages follow");
    publish(&server, "kept/a", 10..12);
    assert_eq!(running.await_lines(12), numbers(0..12));
    running.signal(Signal::INT);
    let ran = running.end();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stdout, numbers(0..12));
    assert!(!ran.stderr.contains("missing"), "{}", ran.stderr);
}

#[test]
fn a_filter_recovers_topics_that_were_known_and_ones_born_meanwhile() {
    let server = Server::start(config());
    let proxy = Proxy::start(server.address);
    let running = following(&proxy, &["--json"], &["kept/#"]);
    publish(&server, "kept/a", 0..3);
    publish(&server, "kept/b", 0..2);
    running.await_lines(5);
    for (round, expected) in [(0, 11), (1, 17)] {
        proxy.cut();
        running.await_told("connecting again in");
        publish(&server, "kept/a", 10..12);
        publish(&server, "kept/b", 10..12);
        publish(&server, &format!("kept/new{round}"), 0..2);
        proxy.mend();
        running.await_lines(expected);
    }
    running.signal(Signal::TERM);
    let ran = running.end();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let mut seen: Vec<(String, u64)> = Vec::new();
    for line in &ran.stdout {
        let message: Value = serde_json::from_str(line).unwrap();
        let topic = message["topic"].as_str().unwrap().to_owned();
        seen.push((topic, message["offset"].as_u64().unwrap()));
    }
    seen.sort();
    let of = |topic: &str, count| {
        (1..=count)
            .map(|n| (topic.to_owned(), n))
            .collect::<Vec<_>>()
    };
    let expected = [
        of("kept/a", 7),
        of("kept/b", 6),
        of("kept/new0", 2),
        of("kept/new1", 2),
    ];
    assert_eq!(seen, expected.concat());
    assert!(!ran.stderr.contains("missing"), "{}", ran.stderr);
}

#[test]
fn what_is_missed_is_told() {
    let server = Server::start(config().with(|c| c.topics = vec![kept("kept/#", 10)]));
    let proxy = Proxy::start(server.address);
    let running = following(&proxy, &["--raw", "-q"], &[]);
    drop(running);
    let running = following(&proxy, &["--raw"], &["kept/a", "live"]);
    publish(&server, "kept/a", 0..3);
    publish(&server, "live", 100..101);
    running.await_lines(4);
    proxy.cut();
    running.await_told("connecting again in");
    publish(&server, "kept/a", 3..20);
    proxy.mend();
    running.await_told("kept/a: 7 messages are missing: the history does not reach back to them");
    running.await_told("live: what was published in the meantime to topics without history");
    let lines = running.await_lines(14);
    assert_eq!(lines[4..], numbers(10..20));
}

#[test]
fn a_restart_of_the_broker_is_outlived_and_told() {
    let first = Server::start(config());
    let address = first.address;
    let url = format!("http://{address}");
    let running = Running::start(&["sub", "--raw", "--url", &url, "kept/a", "kept/#"]);
    running.await_told("subscribed to kept/#");
    publish(&first, "kept/a", 0..3);
    running.await_lines(3);
    first.stop();
    running.await_told("1001");
    first.await_end();
    let second = Server::start(config().with(|c| c.server.listen = address));
    publish(&second, "kept/a", 3..5);
    running.await_told("kept/a: the history has begun anew, so messages may be missing");
    running.await_told("subscribed to kept/# again");
    publish(&second, "kept/b", 5..6);
    let lines = running.await_lines(6);
    assert_eq!(lines, numbers(0..6));
}

#[test]
fn without_reconnecting_a_lost_connection_is_a_failure() {
    let server = Server::start(config());
    let proxy = Proxy::start(server.address);
    let running = following(&proxy, &["--no-reconnect"], &["a"]);
    proxy.cut();
    let ran = running.end();
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("is lost"), "{}", ran.stderr);
    // What never stood is not tried again either.
    let url = format!("ws://{}", proxy.address);
    let away = crate::support::ran(&["sub", "--url", &url, "a"]);
    assert_eq!(away.code, Some(1));
}

#[test]
fn it_begins_where_it_is_told_to() {
    let server = Server::start(config());
    publish(&server, "kept/a", 0..9);
    let url = format!("ws://{}", server.address);
    let last = ran(&[
        "sub", "--url", &url, "--json", "--last", "3", "--count", "3", "kept/a",
    ]);
    assert_eq!(last.code, Some(0), "{}", last.stderr);
    let message: Value = serde_json::from_str(&last.stdout[0]).unwrap();
    assert_eq!(message["data"], 6);
    let (epoch, offset) = (message["epoch"].as_str().unwrap(), &message["offset"]);
    let since = format!("{epoch}:{offset}");
    let rest = [
        "sub", "--url", &url, "--raw", "--since", &since, "--count", "2", "kept/a",
    ];
    assert_eq!(ran(&rest).stdout, numbers(7..9));
}

#[test]
fn people_see_time_topic_and_data() {
    let server = Server::start(config());
    server.publish("kept/a", &json!({"n": 1}));
    let url = format!("ws://{}", server.address);
    let shown = ran(&[
        "sub", "--url", &url, "--last", "1", "--count", "1", "kept/a",
    ]);
    let [time, topic, data] = shown.stdout[0].splitn(3, ' ').collect::<Vec<_>>()[..] else {
        panic!("{shown:?}");
    };
    assert_eq!((topic, data), ("kept/a", r#"{"n":1}"#));
    let digits = time.rsplit('T').next().unwrap();
    assert_eq!(digits.len(), "00:00:00.000".len(), "{time}");
}

#[test]
fn a_reader_that_goes_ends_it_though_nothing_comes() {
    let server = Server::start(config());
    let url = format!("ws://{}", server.address);
    let mut child = command(&["sub", "--url", &url, "a"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    server.await_metric(r#"fanfare_subscriptions{kind="exact"}"#, 1);
    drop(child.stdout.take());
    let status = eventually_some("it ends", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}
