use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;

fn metrics() -> Metrics {
    Metrics::new("1.2.3", "abc").unwrap()
}

/// The value of a series as it is shown, if it is.
fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    let shown = metrics.render().unwrap();
    let line = shown
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

/// Something of everything.
fn busy() -> Metrics {
    let metrics = metrics();
    let worker = metrics.worker(0);
    for source in Source::ALL {
        worker.published(*source, 5);
    }
    for protocol in Protocol::ALL {
        worker.delivered(*protocol, 2, 30);
    }
    worker.delivery_latency(Duration::from_micros(70));
    worker.publish_latency(Durability::Memory, Duration::from_millis(2));
    worker.heartbeat_rtt(Duration::from_millis(30));
    worker.turn(Duration::from_micros(40));
    worker.mailbox(3);
    worker.flush();
    metrics.http_request("/v1/publish", "POST", 200, Duration::from_millis(1));
    metrics.set_topic_subscribers([("chat/\"a\"\\b", 3)]);
    metrics.disconnected(4008);
    metrics
}

#[test]
fn every_series_of_the_documentation_is_shown_and_no_other() {
    let documented: BTreeSet<_> = include_str!("../../docs/metrics.md")
        .split('`')
        .filter_map(|word| word.strip_prefix("fanfare_"))
        .filter_map(|word| word.split(['{', ' ']).next())
        .filter(|word| {
            let suffixes = ["_bucket", "_count", "_sum"];
            !suffixes.iter().any(|suffix| word.ends_with(suffix))
        })
        .map(str::to_owned)
        .collect();
    let shown: BTreeSet<_> = busy()
        .render()
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE fanfare_"))
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect();
    assert_eq!(shown, documented);
}

#[test]
fn the_exposition_keeps_to_the_conventions_of_prometheus() {
    let shown = busy().render().unwrap();
    assert!(shown.ends_with('\n'));
    let mut types = BTreeMap::new();
    let mut helped = BTreeSet::new();
    for line in shown.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.ends_with('.'), "{line}");
            assert!(helped.insert(name), "twice: {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(helped.contains(name), "no help before {line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            if kind == "histogram" {
                let has_unit = ["_seconds", "_ratio"]
                    .iter()
                    .any(|unit| name.ends_with(unit));
                assert!(has_unit, "no base unit: {line}");
            }
            assert!(types.insert(name, kind).is_none(), "twice: {line}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .filter(|family| types.get(family) == Some(&"histogram"))
                .unwrap_or(name);
            assert!(types.contains_key(family), "no type before {line}");
            assert!(
                name.starts_with("fanfare_") || name.starts_with("process_"),
                "{line}"
            );
        }
    }
}

#[test]
#[ignore = "needs promtool, of the Debian package prometheus"]
fn prometheus_has_nothing_to_say_of_the_exposition() {
    for metrics in [metrics(), busy()] {
        promtool::check(&metrics.render().unwrap()).unwrap();
    }
}

#[test]
fn what_has_a_bounded_label_is_shown_before_it_happens() {
    let metrics = metrics();
    for series in [
        r#"fanfare_connections{protocol="json",transport="websocket"}"#,
        r#"fanfare_connections_total{transport="sse"}"#,
        r#"fanfare_handshakes_refused_total{reason="origin"}"#,
        r#"fanfare_disconnects_total{code="4008"}"#,
        r#"fanfare_disconnects_total{code="app"}"#,
        "fanfare_config_last_reload_successful",
        "fanfare_topics",
        r#"fanfare_subscriptions{kind="filter"}"#,
        r#"fanfare_messages_published_total{protocol="http"}"#,
        r#"fanfare_published_bytes_total{protocol="raw"}"#,
        r#"fanfare_messages_delivered_total{protocol="raw"}"#,
        r#"fanfare_delivered_bytes_total{protocol="sse"}"#,
        r#"fanfare_messages_dropped_total{reason="slow"}"#,
        r#"fanfare_publish_errors_total{code="too_large"}"#,
        "fanfare_delivery_seconds_count",
        r#"fanfare_publish_seconds_count{durability="memory"}"#,
        "fanfare_heartbeat_rtt_seconds_count",
        "fanfare_heartbeat_timeouts_total",
        "fanfare_session_queued_bytes",
        "fanfare_sessions_slow",
        "fanfare_history_messages",
        "fanfare_history_bytes",
        "fanfare_retained_messages",
        "fanfare_retained_bytes",
        "fanfare_store_max_bytes",
        "fanfare_ready",
        r#"fanfare_recoveries_total{result="gap"}"#,
        r#"fanfare_auth_failures_total{reason="unknown"}"#,
        r#"fanfare_panics_total{place="flush"}"#,
    ] {
        assert_eq!(value(&metrics, series), Some(0.0), "{series}");
    }
    let build_info = r#"fanfare_build_info{revision="abc",version="1.2.3"}"#;
    assert_eq!(value(&metrics, build_info), Some(1.0));
    assert!(value(&metrics, "process_resident_memory_bytes").unwrap() > 0.0);
    assert!(value(&metrics, "process_open_fds").unwrap() > 0.0);
}

#[test]
fn a_worker_that_is_made_shows_its_shard() {
    let metrics = metrics();
    let _workers = [metrics.worker(0), metrics.worker(1)];
    for series in [
        r#"fanfare_registry_mailbox_messages{shard="1"}"#,
        r#"fanfare_registry_turn_seconds_count{shard="0"}"#,
    ] {
        assert_eq!(value(&metrics, series), Some(0.0), "{series}");
    }
}

#[test]
fn a_worker_hands_its_counts_in_once_a_turn() {
    let metrics = metrics();
    let worker = metrics.worker(0);
    let delivered = r#"fanfare_messages_delivered_total{protocol="json"}"#;
    let dropped = r#"fanfare_messages_dropped_total{reason="closed"}"#;
    let queued = "fanfare_session_queued_bytes";
    worker.delivered(Protocol::Json, 3, 300);
    worker.delivered(Protocol::Json, 1, 100);
    worker.dropped(DropReason::Closed, 2);
    worker.queued_bytes(70);
    worker.queued_bytes(-20);
    for series in [delivered, dropped, queued] {
        assert_eq!(value(&metrics, series), Some(0.0), "{series}");
    }
    // The second time there is nothing left to hand in.
    for _ in 0..2 {
        worker.flush();
        for (series, expected) in [(delivered, 4.0), (dropped, 2.0), (queued, 50.0)] {
            assert_eq!(value(&metrics, series), Some(expected), "{series}");
        }
    }
    let bytes = r#"fanfare_delivered_bytes_total{protocol="json"}"#;
    assert_eq!(value(&metrics, bytes), Some(400.0));
}

#[test]
fn a_worker_that_ends_loses_no_counts() {
    let metrics = metrics();
    let worker = metrics.worker(0);
    worker.published(Source::Http, 7);
    drop(worker);
    let bytes = r#"fanfare_published_bytes_total{protocol="http"}"#;
    assert_eq!(value(&metrics, bytes), Some(7.0));
}

#[test]
fn workers_add_up() {
    let metrics = metrics();
    std::thread::scope(|scope| {
        for shard in 0..4 {
            let metrics = metrics.clone();
            scope.spawn(move || {
                let worker = metrics.worker(shard);
                for _ in 0..100 {
                    worker.published(Source::Raw, 1);
                    worker.publish_latency(Durability::Memory, Duration::from_micros(20));
                    worker.flush();
                }
            });
        }
    });
    for series in [
        r#"fanfare_messages_published_total{protocol="raw"}"#,
        r#"fanfare_publish_seconds_count{durability="memory"}"#,
    ] {
        assert_eq!(value(&metrics, series), Some(400.0), "{series}");
    }
}

#[test]
fn a_session_counts_as_connected_for_as_long_as_it_lives() {
    let metrics = metrics();
    let now = r#"fanfare_connections{protocol="json",transport="websocket"}"#;
    let ever = r#"fanfare_connections_total{transport="websocket"}"#;
    let slow = "fanfare_sessions_slow";
    let session = metrics.connected(Protocol::Json);
    let stuck = metrics.slow_session();
    assert_eq!(value(&metrics, now), Some(1.0));
    assert_eq!(value(&metrics, slow), Some(1.0));
    drop((session, stuck));
    assert_eq!(value(&metrics, now), Some(0.0));
    assert_eq!(value(&metrics, slow), Some(0.0));
    assert_eq!(value(&metrics, ever), Some(1.0));
}

#[test]
fn a_session_that_panics_is_not_counted_any_longer() {
    let metrics = metrics();
    let inside = metrics.clone();
    let ended = std::thread::spawn(move || {
        let _session = inside.connected(Protocol::Sse);
        std::panic::resume_unwind(Box::new(()));
    })
    .join();
    assert!(ended.is_err());
    let now = r#"fanfare_connections{protocol="sse",transport="sse"}"#;
    assert_eq!(value(&metrics, now), Some(0.0));
}

#[test]
fn brokers_in_one_process_count_apart() {
    let (one, other) = (metrics(), metrics());
    one.heartbeat_timed_out();
    let series = "fanfare_heartbeat_timeouts_total";
    assert_eq!(value(&one, series), Some(1.0));
    assert_eq!(value(&other, series), Some(0.0));
}

#[test]
fn nothing_a_client_chooses_becomes_a_series() {
    let metrics = metrics();
    let lines = |metrics: &Metrics| metrics.render().unwrap().lines().count();
    let before = lines(&metrics);
    for code in 0..=u16::MAX {
        metrics.disconnected(code);
    }
    for n in 0..1000 {
        metrics.publish_failed(ErrorCode::named(&format!("code{n}")));
    }
    assert_eq!(lines(&metrics), before);

    metrics.http_request("/x", "GET", 200, Duration::ZERO);
    metrics.http_request("/x", "BREW", 200, Duration::ZERO);
    metrics.http_request("/x", "GET", 999, Duration::ZERO);
    let bounded = lines(&metrics);
    for n in 0..1000_u16 {
        metrics.http_request("/x", &format!("M{n}"), 200, Duration::ZERO);
        metrics.http_request("/x", "GET", 1000 + n, Duration::ZERO);
    }
    assert_eq!(lines(&metrics), bounded);
}

#[test]
fn a_scrape_asks_for_what_is_worked_out_only_then() {
    let metrics = metrics();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    metrics.on_scrape(Box::new(move |metrics| {
        let times = counted.fetch_add(1, Ordering::Relaxed) + 1;
        metrics.set_topics(10 * times);
        metrics.set_history(times, 100 * times);
        metrics.set_mailbox(0, times);
    }));
    metrics.render().unwrap();
    let shown = metrics.render().unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    for line in [
        "fanfare_topics 20",
        "fanfare_history_messages 2",
        "fanfare_history_bytes 200",
        "fanfare_registry_mailbox_messages{shard=\"0\"} 2",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}");
    }
}

#[test]
fn a_fault_while_filling_in_does_not_end_the_metrics() {
    let metrics = metrics();
    let times = AtomicUsize::new(0);
    metrics.on_scrape(Box::new(move |metrics| {
        if times.fetch_add(1, Ordering::Relaxed) == 0 {
            std::panic::resume_unwind(Box::new(()));
        }
        metrics.set_topics(1);
    }));
    let inside = metrics.clone();
    assert!(std::thread::spawn(move || inside.render()).join().is_err());
    assert_eq!(value(&metrics, "fanfare_topics"), Some(1.0));
}

#[test]
fn a_topic_has_a_series_only_while_it_is_named() {
    let metrics = metrics();
    let series = |name: &str| format!("fanfare_topic_subscribers{{topic=\"{name}\"}}");
    assert_eq!(metrics.set_topic_subscribers([("a", 1), ("b", 2)]), 0);
    assert_eq!(value(&metrics, &series("a")), Some(1.0));
    assert_eq!(metrics.set_topic_subscribers([("b", 3)]), 0);
    assert_eq!(value(&metrics, &series("a")), None);
    assert_eq!(value(&metrics, &series("b")), Some(3.0));
}

#[test]
fn many_topics_do_not_become_many_series() {
    let metrics = metrics();
    let topics = (0..100_000).map(|n| (format!("t/{n}"), n));
    let omitted = metrics.set_topic_subscribers(topics);
    assert_eq!(omitted, 100_000 - MAX_TOPIC_SERIES);
    let shown = metrics.render().unwrap();
    let series = shown
        .lines()
        .filter(|line| line.starts_with("fanfare_topic_subscribers{"));
    assert_eq!(series.count(), MAX_TOPIC_SERIES);
    assert!(
        shown.contains("topic=\"t/99999\""),
        "the greatest are shown"
    );
}

#[test]
fn a_topic_cannot_write_lines_of_its_own() {
    let metrics = metrics();
    metrics.set_topic_subscribers([("a\"} 1\nfanfare_topics 9\\", 1)]);
    let shown = metrics.render().unwrap();
    assert!(shown.contains(r#"topic="a\"} 1\nfanfare_topics 9\\"} 1"#));
    assert!(!shown.lines().any(|line| line == "fanfare_topics 9\\\"} 1"));
}

#[test]
fn latencies_from_50_microseconds_to_10_seconds_can_be_told_apart() {
    let metrics = metrics();
    let worker = metrics.worker(0);
    worker.delivery_latency(Duration::from_micros(40));
    worker.delivery_latency(Duration::from_secs(9));
    worker.delivery_latency(Duration::from_secs(11));
    worker.flush();
    for (le, expected) in [("0.00005", 1.0), ("2.5", 1.0), ("10", 2.0), ("+Inf", 3.0)] {
        let series = format!("fanfare_delivery_seconds_bucket{{le=\"{le}\"}}");
        assert_eq!(value(&metrics, &series), Some(expected), "{le}");
    }
}
