//! `fanfare pub`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use fanfare::config::{ApiKey, KeySecret, KeySource, Scope};

use crate::support::{Edit, Proxy, Running, Server, config, kept, ran, ran_in};

/// A broker that keeps whatever it is sent.
fn keeping() -> (Server, String) {
    let server = Server::start(config().with(|c| c.topics = vec![kept("#", 100_000)]));
    let url = format!("ws://{}", server.address);
    (server, url)
}

/// The data of all messages of a topic.
fn history(server: &Server, topic: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let (mut epoch, mut offset) = (String::new(), 0);
    loop {
        let since = match epoch.as_str() {
            "" => String::new(),
            epoch => format!("&since_epoch={epoch}&since_offset={offset}"),
        };
        let page = server.get(&format!("/v1/topics/{topic}/messages?limit=1000{since}"));
        let page = page.json();
        let messages = page["messages"].as_array().unwrap();
        let Some(last) = messages.last() else {
            return all;
        };
        page["epoch"].as_str().unwrap().clone_into(&mut epoch);
        offset = last["offset"].as_u64().unwrap();
        all.extend(messages.iter().map(|message| message["data"].clone()));
    }
}

#[test]
fn each_line_is_a_message_and_all_of_them_arrive_in_order() {
    let (server, url) = keeping();
    let mut running = Running::start(&["pub", "--url", &url, "--lines", "log"]);
    let mut text = String::new();
    for n in 0..20_000 {
        writeln!(text, "line {n}").unwrap();
    }
    text.push_str("the last one has no end");
    running.write(&text);
    let ran = running.end();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stdout, [""; 0]);
    assert!(
        ran.stderr.contains("20001 messages published in"),
        "{}",
        ran.stderr
    );
    let mut expected: Vec<Value> = text.lines().map(Value::from).collect();
    assert_eq!(history(&server, "log"), expected);
    expected.truncate(1);
    let quiet = ran_in(
        &std::env::temp_dir(),
        &["pub", "-q", "--url", &url, "--lines", "log"],
    );
    assert_eq!((quiet.code, quiet.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_line_is_published_as_soon_as_it_is_there() {
    let (server, url) = keeping();
    let mut subscriber = server.connect();
    subscriber.subscribe("log").await_ok();
    let mut running = Running::start(&["pub", "--url", &url, "--lines", "--json", "log"]);
    for n in 0..3 {
        running.write(&format!("{{\"n\":{n}}}\n\n"));
        assert_eq!(subscriber.expect_message("log")["data"]["n"], n);
    }
    assert_eq!(running.end().code, Some(0));
}

#[test]
fn what_cannot_be_published_is_told_by_its_line_and_the_rest_is_published() {
    let (server, url) = keeping();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("in.ndjson"), "1\n{\n\n\"x\"\nnope\n[2]\n").unwrap();
    let arguments = [
        "pub",
        "--url",
        &url,
        "--json",
        "--lines",
        "--file",
        "in.ndjson",
        "a",
    ];
    let ran = ran_in(dir.path(), &arguments);
    assert_eq!(ran.code, Some(1));
    for part in [
        "line 2 of in.ndjson: it is not JSON",
        "line 5 of in.ndjson: it is not JSON",
        "3 messages published",
        "2 of 5 messages were not published",
    ] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    assert_eq!(history(&server, "a"), [json!(1), json!("x"), json!([2])]);
    let long = "x".repeat(70_000);
    let ran = crate::support::ran(&["pub", "--url", &url, "a", &long]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("70000 bytes"), "{}", ran.stderr);
    let gone = ran_in(dir.path(), &["pub", "--url", &url, "--file", "gone", "a"]);
    assert_eq!(gone.code, Some(1));
    assert!(
        gone.stderr.contains("gone cannot be read"),
        "{}",
        gone.stderr
    );
}

#[test]
fn a_stream_of_lines_outlives_a_cut_and_nothing_is_lost() {
    let (server, url) = keeping();
    let proxy = Proxy::start(server.address);
    let through = format!("ws://{}", proxy.address);
    let mut running = Running::start(&["pub", "--url", &through, "--lines", "log"]);
    let mut next: u64 = 1;
    running.write("0\n");
    for round in 1..=3 {
        // It is back: what was written last, after the cut, has arrived.
        crate::support::eventually("it is back", || {
            let newest = server.get("/v1/topics/log/messages?last=1").json();
            newest["messages"][0]["data"].as_str() == Some((next - 1).to_string().as_str())
        });
        for _ in 0..2000 {
            running.write(&format!("{next}\n"));
            next += 1;
        }
        proxy.cut();
        running.write(&format!("{next}\n"));
        next += 1;
        crate::support::eventually("the loss is told", || {
            running.told().matches("connecting again").count() >= round
        });
        proxy.mend();
    }
    let ran = running.end();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let published = history(&server, "log");
    let mut seen = BTreeSet::new();
    let mut firsts: Vec<u64> = Vec::new();
    for data in &published {
        let number = data.as_str().unwrap().parse().unwrap();
        if seen.insert(number) {
            firsts.push(number);
        }
    }
    let expected: Vec<u64> = (0..next).collect();
    assert_eq!(firsts, expected, "each at least once, in order");
    if published.len() > firsts.len() {
        assert!(ran.stderr.contains("may arrive twice"), "{}", ran.stderr);
    }
    drop(url);
}

#[test]
fn topics_files_and_repeats_multiply() {
    let (server, url) = keeping();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("one"), "1").unwrap();
    fs::write(dir.path().join("two"), "2\n").unwrap();
    let arguments = ["pub", "--url", &url, "a", "--topic", "b", "--topic", "a"];
    let more = [
        "--file",
        "one",
        "--file",
        "two",
        "--repeat",
        "2",
        "--interval",
        "1ms",
    ];
    let ran = ran_in(dir.path(), &[&arguments[..], &more].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("8 messages published"),
        "{}",
        ran.stderr
    );
    for topic in ["a", "b"] {
        let expected = ["1", "1", "2\n", "2\n"].map(Value::from);
        assert_eq!(history(&server, topic), expected);
    }
    let misused = crate::support::ran(&["pub", "--lines", "a", "data"]);
    assert_eq!(misused.code, Some(2), "{}", misused.stderr);
}

#[test]
fn the_key_comes_from_a_file_and_a_refusal_names_it_never() {
    let server = Server::start(config().with(|c| {
        c.topics = vec![kept("#", 10)];
        c.auth = Some(fanfare::config::Auth::default());
        c.api.keys = vec![ApiKey {
            name: "backend".to_owned(),
            secret: KeySecret::of("s3cret", KeySource::Sha256),
            scopes: vec![Scope::Publish],
            topics: None,
        }];
    }));
    let url = format!("ws://{}", server.address);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("good"), "s3cret\n").unwrap();
    fs::write(dir.path().join("bad"), "wr0ng\n").unwrap();
    let run = |file: &str| {
        let arguments = ["pub", "--url", &url, "--token-file", file, "a", "x"];
        ran_in(dir.path(), &arguments)
    };
    let good = run("good");
    assert_eq!(
        (good.code, good.stdout),
        (Some(0), vec!["offset 1".to_owned()])
    );
    let bad = run("bad");
    assert_eq!(bad.code, Some(1));
    assert!(bad.stderr.contains("401"), "{}", bad.stderr);
    assert!(!bad.stderr.contains("wr0ng"), "{}", bad.stderr);
    assert_eq!(run("gone").code, Some(1));
    assert_eq!(
        ran(&["pub", "a", "x", "--token", "t", "--token-file", "f"]).code,
        Some(2)
    );
}
