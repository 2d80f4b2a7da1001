//! Paths and methods, the node, the metrics and the page.

use actix_web::test::TestRequest;
use serde_json::json;

use super::sessions::Opened;
use super::*;
use crate::config::Endpoint;
use crate::protocol::WireFormat;

#[test]
fn paths_that_are_not_there_are_not_found() {
    run(usual(), async |api| {
        for path in [
            "/nothing",
            "/v1",
            "/v1/",
            "/v1/nothing",
            "/v1/topics/../stats/x/y/z",
            "/console",
            "/demo/",
            "/demo/../Cargo.toml",
            "/v1/sessions/1/x",
            "/v1/broadcast/x",
            "/v1/users",
        ] {
            api.get(path).await.problem(404, "not_found");
        }
    });
}

#[test]
fn other_methods_are_told_which_there_are() {
    run(usual(), async |api| {
        for (method, path, allow) in [
            ("PUT", "/v1/topics/a/messages", "DELETE, GET, HEAD, POST"),
            ("GET", "/v1/publish", "POST"),
            ("POST", "/v1/topics", "GET, HEAD"),
            ("POST", "/v1/topics/a", "GET, HEAD"),
            ("POST", "/", "GET, HEAD"),
            ("POST", "/ws", "GET, HEAD"),
            ("OPTIONS", "/metrics", "GET, HEAD"),
            ("get", "/healthz", "GET, HEAD"),
        ] {
            let request = TestRequest::with_uri(path).method(method.parse().unwrap());
            let answer = api.send(local(request)).await;
            answer.problem(405, "bad_request");
            assert_eq!(answer.header("allow"), allow, "{path}");
        }
        let head = TestRequest::with_uri("/healthz").method("HEAD".parse().unwrap());
        assert_eq!(api.send(head).await.status, 200);
    });
}

#[test]
fn a_path_of_a_websocket_asks_for_an_upgrade() {
    let mut config = usual();
    config.endpoints.push(Endpoint {
        path: "/room".to_owned(),
        topic: crate::model::TopicName::new("room").unwrap(),
        last: 0,
        on_join: None,
        on_leave: None,
        max_chars: None,
    });
    run(config, async |api| {
        for path in ["/ws", "/ws?token=s3cret", "/room"] {
            let answer = api.get(path).await;
            answer.problem(426, "bad_request");
            assert_eq!(answer.header("upgrade"), "websocket");
            assert!(!answer.body.contains("s3cret"));
        }
    });
}

#[test]
fn it_is_ready_between_starting_and_draining() {
    run(usual(), async |api| {
        assert_eq!(api.get("/readyz").await.json(), json!({"status": "ready"}));
        api.trigger.fire();
        let detail = api.get("/readyz").await.problem(503, "unavailable");
        assert!(detail.contains("draining"), "{detail}");
        assert_eq!(api.get("/healthz").await.json(), json!({"status": "alive"}));
        assert_eq!(api.get("/v1/stats").await.json()["state"], "draining");
    });
}

#[test]
fn it_is_not_ready_while_a_worker_is_missing() {
    let settings = Settings {
        workers: 1,
        rules: Rules::default(),
        store: Arc::new(MemoryStore::new(usize::MAX, || 1, Timestamp(0))),
        max_topics: 20,
        max_replay: 100,
        max_subscriptions: 10,
        flush_interval: Duration::ZERO,
        compression: crate::protocol::Effort::default(),
        queue: 1024,
        idempotency_window: Duration::from_secs(60),
        max_answers: 10,
    };
    run(usual(), async |api| {
        let mut state = (**api.state).clone();
        state.broker = Broker::new(settings, Metrics::new("0", "test").unwrap());
        api.state = web::Data::new(state);
        let detail = api.get("/readyz").await.problem(503, "unavailable");
        assert!(detail.contains("starting"), "{detail}");
        assert_eq!(api.get("/healthz").await.status, 200);
        let answer = api.post("/v1/topics/a/messages", "text/plain", "x").await;
        answer.problem(503, "unavailable");
        assert_eq!(api.state.broker.workers(), (0, 1));
    });
}

#[test]
fn the_stats_say_what_the_node_does() {
    run(usual(), async |api| {
        // Nobody has counted this one: its handshake is under way.
        let _coming = Opened::new(api, 1, None, WireFormat::Json);
        api.publish("chat/a", "x").await;
        api.publish("chat/b", "x").await;
        tokio::task::yield_now().await;
        let stats = api.get("/v1/stats").await.json();
        assert_eq!(stats["state"], "running");
        assert_eq!(stats["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(stats["workers"], json!({"running": 1, "configured": 1}));
        assert_eq!(
            (&stats["topics"], &stats["published"]),
            (&json!(2), &json!(2))
        );
        for zero in ["connections", "subscriptions", "delivered"] {
            assert_eq!(stats[zero], 0, "{zero}");
        }
        assert!(stats["memory_bytes"].as_u64().unwrap() > 100_000);
        assert!(stats["uptime_seconds"].is_u64());
    });
}

#[test]
fn requests_are_counted_by_the_pattern_of_their_path() {
    run(usual(), async |api| {
        for path in [
            "/v1/topics/a/b",
            "/v1/topics/c",
            "/x",
            "/y",
            "/ws",
            "/demo/dom.js",
        ] {
            api.get(path).await;
        }
        let invented = TestRequest::with_uri("/x").method("INVENTED".parse().unwrap());
        api.send(local(invented)).await;
        let answer = api.get("/metrics").await;
        assert_eq!(answer.header("content-type"), Metrics::CONTENT_TYPE);
        for (labels, count) in [
            (r#"method="GET",route="/v1/topics/{topic}",status="404""#, 2),
            (r#"method="GET",route="unknown",status="404""#, 2),
            (r#"method="other",route="unknown",status="404""#, 1),
            (r#"method="GET",route="websocket",status="426""#, 1),
            (r#"method="GET",route="page",status="200""#, 1),
        ] {
            let line = format!("fanfare_http_requests_total{{{labels}}} {count}\n");
            assert!(answer.body.contains(&line), "{line}{}", answer.body);
        }
    });
}

#[test]
fn the_metrics_are_where_the_configuration_puts_them() {
    let mut config = usual();
    config.metrics.path = "/numbers".to_owned();
    run(config, async |api| {
        assert_eq!(api.get("/numbers").await.status, 200);
        api.get("/metrics").await.problem(404, "not_found");
    });
}

#[test]
fn the_page_is_served_with_a_strict_policy_and_kept_by_browsers() {
    run(usual(), async |api| {
        for (path, kind) in [
            ("/", "text/html; charset=utf-8"),
            ("/demo/main.js", "text/javascript; charset=utf-8"),
            ("/demo/chat.css", "text/css; charset=utf-8"),
        ] {
            let answer = api.get(path).await;
            assert_eq!((answer.status, answer.header("content-type")), (200, kind));
            assert_eq!(
                answer.header("content-security-policy"),
                "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                 img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            );
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert_eq!(answer.header("referrer-policy"), "no-referrer");
            assert_eq!(answer.header("cache-control"), "no-cache");
            let tag = answer.header("etag");
            for (known, status) in [
                (tag.to_owned(), 304),
                (format!("\"x\", W/{tag}"), 304),
                ("\"x\"".to_owned(), 200),
            ] {
                let request =
                    local(TestRequest::with_uri(path)).insert_header(("If-None-Match", known));
                let again = api.send(request).await;
                assert_eq!(again.status, status, "{path}");
                assert_eq!(again.body.is_empty(), status == 304);
            }
        }
        assert_eq!(
            api.get("/healthz").await.header("cache-control"),
            "no-store"
        );
    });
}
