//! `fanfare bench`: on a broker that keeps its promises, and on one that does not.

use std::fs;
use std::net::SocketAddr;

use serde_json::Value;

use fanfare::config::{ApiKey, Auth, KeySecret, KeySource, Scope};

use crate::support::{Edit, Liar, Lie, Server, config, kept, ran, ran_in};

/// What `bench` comes to with few sessions and little time: its exit code, its report and what it told.
fn bench(address: SocketAddr, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let url = format!("ws://{address}");
    let fixed = [
        "bench",
        "--url",
        &url,
        "--json",
        "--topic",
        "kept/bench",
        "--time",
        "300ms",
    ];
    let ran = ran(&[&fixed[..], arguments].concat());
    let report = serde_json::from_str(&ran.stdout.join("\n")).unwrap_or_default();
    (ran.code, report, ran.stderr)
}

fn names(report: &Value) -> Vec<&str> {
    let scenarios = report["scenarios"].as_array().unwrap().iter();
    scenarios
        .map(|scenario| scenario["scenario"].as_str().unwrap())
        .collect()
}

#[test]
fn every_scenario_finds_that_a_broker_keeps_its_promises() {
    let server = Server::start(config().with(|c| c.session.queue = 64 * 1024));
    for (protocol, scenarios) in [("json", 8), ("msgpack", 8), ("sse", 7)] {
        let asked = ["--protocol", protocol, "--sessions", "20"];
        let (code, report, stderr) = bench(server.address, &asked);
        assert_eq!(code, Some(0), "{protocol}: {stderr} {report:#}");
        assert_eq!(report["faultless"], true);
        assert_eq!(names(&report).len(), scenarios);
        for scenario in report["scenarios"].as_array().unwrap() {
            let is_idle = scenario["scenario"] == "idle";
            let delivered = scenario["deliveries"].as_u64().unwrap();
            assert_eq!(delivered == 0, is_idle, "{protocol}: {scenario:#}");
            assert_eq!(
                scenario["latency_us"].is_null(),
                is_idle,
                "{protocol}: {scenario:#}"
            );
        }
    }
}

#[test]
fn all_sessions_come_back_and_recover_everything() {
    let server = Server::start(config());
    let asked = ["reconnect", "--sessions", "30", "--rate", "200"];
    let (code, report, stderr) = bench(server.address, &asked);
    assert_eq!(code, Some(0), "{stderr} {report:#}");
    let told = &report["scenarios"][0]["told"];
    assert_eq!(told["recovered"], 30, "{report:#}");
    assert_eq!(told["unrecovered"], 0);
}

#[test]
fn a_server_that_lies_about_one_message_is_found_out() {
    let server = Server::start(config());
    for (lie, fault) in [
        (Lie::Drop, "lost"),
        (Lie::Double, "duplicated"),
        (Lie::Swap, "disordered"),
        (Lie::Damage, "damaged"),
        (Lie::Close, "closed"),
    ] {
        let liar = Liar::start(server.address, lie, "\"type\":\"message\"", 40);
        let (code, report, stderr) = bench(liar.address, &["fan-out", "--sessions", "3"]);
        assert_eq!(code, Some(1), "{lie:?}: {stderr} {report:#}");
        let faults = &report["scenarios"][0]["faults"];
        let found = faults[fault].as_u64().unwrap();
        assert!(found >= 1, "{lie:?}: {report:#}");
        assert_eq!(report["faultless"], false);
    }
}

#[test]
fn a_replay_that_lacks_or_repeats_a_message_is_found_out() {
    let server = Server::start(config());
    for (lie, fault) in [(Lie::Drop, "lost"), (Lie::Double, "duplicated")] {
        let liar = Liar::start(server.address, lie, "\"replay\":true", 1);
        let asked = ["reconnect", "--sessions", "4", "--rate", "50"];
        let (code, report, stderr) = bench(liar.address, &asked);
        assert_eq!(code, Some(1), "{lie:?}: {stderr} {report:#}");
        let faults = &report["scenarios"][0]["faults"];
        assert_eq!(faults[fault], 1, "{lie:?}: {report:#}");
    }
}

#[test]
fn what_a_history_dropped_and_told_is_no_fault_and_without_one_nobody_can_come_back() {
    let server = Server::start(config().with(|c| c.topics = vec![kept("kept/#", 1)]));
    let asked = [
        "reconnect",
        "--sessions",
        "4",
        "--topics",
        "2",
        "--rate",
        "100",
    ];
    let (code, report, stderr) = bench(server.address, &asked);
    assert_eq!(code, Some(0), "{stderr} {report:#}");
    let told = &report["scenarios"][0]["told"];
    assert_eq!(told["unrecovered"], 4, "{report:#}");
    assert!(told["missing"].as_u64().unwrap() > 4, "{report:#}");

    let url = format!("ws://{}", server.address);
    let live = ran(&["bench", "--url", &url, "reconnect", "--topic", "live"]);
    assert_eq!(live.code, Some(1));
    assert!(live.stderr.contains("keep a history"), "{}", live.stderr);
}

#[test]
fn a_key_is_used_and_never_shown_and_a_refusal_is_told() {
    let server = Server::start(config().with(|c| {
        c.auth = Some(Auth::default());
        c.api.keys = vec![ApiKey {
            name: "bench".to_owned(),
            secret: KeySecret::of("s3cret", KeySource::Sha256),
            scopes: vec![Scope::Read, Scope::Publish],
            topics: None,
        }];
    }));
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("good"), "s3cret\n").unwrap();
    fs::write(dir.path().join("bad"), "wr0ng\n").unwrap();
    let url = format!("ws://{}", server.address);
    let run = |key: &str| {
        let common = ["bench", "--url", &url, "--time", "200ms", "--sessions", "5"];
        let more = [
            "--token-file",
            key,
            "--html",
            "page.html",
            "fan-out",
            "http",
        ];
        ran_in(dir.path(), &[&common[..], &more].concat())
    };
    let good = run("good");
    assert_eq!(good.code, Some(0), "{}", good.stderr);
    let text = good.stdout.join("\n");
    for part in ["fan-out: 1 topic", "latency: p50", "answers to publishes"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let page = fs::read_to_string(dir.path().join("page.html")).unwrap();
    assert_eq!(page.matches("<svg").count(), 6, "three plots for each");
    // It needs nothing else to be seen.
    let foreign = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!foreign.contains("http://") && !foreign.contains("https://"));
    assert!(!foreign.contains("src=") && !foreign.contains("<script"));
    let bad = run("bad");
    assert_eq!(bad.code, Some(1));
    assert!(bad.stderr.contains("401"), "{}", bad.stderr);
    for text in [text, page, bad.stderr, bad.stdout.join("\n")] {
        assert!(
            !text.contains("s3cret") && !text.contains("wr0ng"),
            "{text}"
        );
    }
}

#[test]
fn what_cannot_be_run_is_told_at_once() {
    for (arguments, code, part) in [
        (&["reconnect", "--protocol", "sse"][..], 2, "WebSocket"),
        (&["--size", "8B"], 2, "16 bytes"),
        (&["--sessions", "0"], 2, "whole number"),
        (&["--rate", "0"], 2, "number from"),
        (&["no-such"], 2, "fan-out"),
        (&["fan-out", "--sessions", "9999999"], 1, "descriptors"),
        (&["fan-out", "--sessions", "1"], 1, "cannot be reached"),
    ] {
        let fixed = ["bench", "--url", "ws://127.0.0.1:1"];
        let ran = ran(&[&fixed[..], arguments].concat());
        assert_eq!(ran.code, Some(code), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(part), "{arguments:?}: {}", ran.stderr);
    }
}
