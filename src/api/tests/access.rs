//! Who may, and what is answered to who may not.

use actix_web::test::TestRequest;

use super::*;

const CALLS: [(&str, &str); 9] = [
    ("POST", "/v1/topics/a/messages"),
    ("DELETE", "/v1/topics/a/messages"),
    ("POST", "/v1/publish"),
    ("GET", "/v1/topics"),
    ("GET", "/v1/topics/a"),
    ("GET", "/v1/topics/a/messages"),
    ("GET", "/v1/topics/a/presence"),
    ("GET", "/v1/stats"),
    ("GET", "/metrics"),
];

fn request(method: &str, path: &str) -> TestRequest {
    TestRequest::with_uri(path).method(method.parse().unwrap())
}

#[test]
fn without_keys_only_this_machine_is_served() {
    run(usual(), async |api| {
        for (method, path) in CALLS {
            let refused = api.send(remote(request(method, path))).await;
            let detail = refused.problem(403, "forbidden");
            assert!(detail.contains("this machine"), "{detail}");
            for (name, value) in [
                ("Host", "rebound.example"),
                ("Origin", "http://evil.example"),
                ("X-Forwarded-For", "127.0.0.1"),
            ] {
                let mut strange = local(request(method, path));
                strange = strange.insert_header((name, value));
                let refused = api.send(strange).await;
                refused.problem(403, "forbidden");
            }
            let served = api.send(local(request(method, path))).await;
            assert!(!matches!(served.status, 401 | 403), "{method} {path}");
        }
    });
}

#[test]
fn with_keys_every_call_needs_one() {
    run(
        with_keys(&[key("all", &[Scope::Read], None)]),
        async |api| {
            for (method, path) in CALLS {
                let refused = api.send(remote(request(method, path))).await;
                refused.problem(401, "unauthorized");
                let unknown = with_key(remote(request(method, path)), "s3cret");
                let unknown = api.send(unknown).await;
                let detail = unknown.problem(401, "unauthorized");
                assert!(!detail.contains("s3cret"), "{detail}");
                let basic = remote(request(method, path));
                let basic = basic.insert_header(("Authorization", "Basic s3cret"));
                let refused = api.send(basic).await;
                refused.problem(401, "unauthorized");
                // A key in the query is none: it would stand in the logs of proxies.
                let in_query = request(method, &format!("{path}?token=all"));
                let refused = api.send(remote(in_query)).await;
                refused.problem(401, "unauthorized");
            }
            let text = api.state.broker.metrics().render().unwrap();
            for reason in ["missing", "malformed", "unknown"] {
                let line = format!("fanfare_auth_failures_total{{reason=\"{reason}\"}} ");
                assert!(
                    text.contains(&line) && !text.contains(&format!("{line}0\n")),
                    "{reason}"
                );
            }
        },
    );
}

#[test]
fn a_key_does_what_its_scopes_say() {
    let keys = [
        key("writer", &[Scope::Publish], None),
        key("reader", &[Scope::Read], None),
        key("admin", &[Scope::Admin], None),
    ];
    run(with_keys(&keys), async |api| {
        for (method, path) in CALLS {
            for (name, may) in [
                ("writer", method == "POST"),
                ("reader", method == "GET"),
                ("admin", method == "DELETE"),
            ] {
                let answer = api
                    .send(with_key(remote(request(method, path)), name))
                    .await;
                if may {
                    assert!(!matches!(answer.status, 401 | 403), "{name} {path}");
                } else {
                    let detail = answer.problem(403, "forbidden");
                    assert!(detail.contains("scope"), "{detail}");
                }
            }
        }
    });
}

#[test]
fn a_key_reaches_the_topics_it_is_for_and_no_others() {
    let scopes = [Scope::Publish, Scope::Read, Scope::Admin];
    let keys = [
        key("all", &scopes, None),
        key("some", &scopes, Some(&["chat/a/#", "news"])),
    ];
    run(with_keys(&keys), async |api| {
        for topic in ["chat/a", "chat/a/b", "chat/b", "other"] {
            for (name, may) in [("all", true), ("some", topic.starts_with("chat/a"))] {
                let path = format!("/v1/topics/{topic}/messages");
                let post = TestRequest::post().uri(&path).set_payload("x");
                let answer = api.send(with_key(remote(post), name)).await;
                assert_eq!(answer.status, if may { 200 } else { 403 }, "{name} {topic}");
                for end in ["", "/messages", "/presence"] {
                    let get = TestRequest::with_uri(&format!("/v1/topics/{topic}{end}"));
                    let answer = api.send(with_key(remote(get), name)).await;
                    assert_eq!(answer.status == 403, !may, "{name} {topic}{end}");
                }
            }
        }
        for (topic, status) in [
            ("chat/b", 403),
            ("other", 403),
            ("chat/a/c", 404),
            ("news", 404),
        ] {
            let delete = TestRequest::delete().uri(&format!("/v1/topics/{topic}/messages"));
            let answer = api.send(with_key(remote(delete), "some")).await;
            assert_eq!(answer.status, status, "{topic}");
        }
        let list = TestRequest::with_uri("/v1/topics");
        let list = api.send(with_key(remote(list), "some")).await.json();
        let names: Vec<_> = list["topics"].as_array().unwrap().iter().collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!(names[0]["topic"], "chat/a");
        assert_eq!(names[1]["topic"], "chat/a/b");
        let batch = r#"[{"topic":"news","data":1},{"topic":"other","data":1}]"#;
        let post = TestRequest::post().uri("/v1/publish").set_payload(batch);
        let answer = api.send(with_key(remote(post), "some")).await.json();
        assert_eq!(answer[0]["topic"], "news");
        assert_eq!(answer[1]["code"], "forbidden");
    });
}

#[test]
fn nobody_publishes_to_the_brokers_own_topics() {
    run(usual(), async |api| {
        let answer = api
            .post("/v1/topics/$sys/x/messages", "text/plain", "x")
            .await;
        answer.problem(403, "forbidden");
    });
}

#[test]
fn the_metrics_are_read_on_this_machine_without_a_key() {
    let keys = [key("reader", &[Scope::Read], None)];
    run(with_keys(&keys), async |api| {
        assert_eq!(api.get("/metrics").await.status, 200);
        let proxied = local(TestRequest::with_uri("/metrics"));
        let proxied = proxied.insert_header(("Forwarded", "for=192.0.2.7"));
        api.send(proxied).await.problem(401, "unauthorized");
        let remote = with_key(remote(TestRequest::with_uri("/metrics")), "reader");
        assert_eq!(api.send(remote).await.status, 200);
    });
}

#[test]
fn whether_it_lives_and_what_it_shows_needs_no_key() {
    let keys = [key("reader", &[Scope::Read], None)];
    run(with_keys(&keys), async |api| {
        for path in ["/healthz", "/readyz", "/", "/demo/main.js"] {
            let answer = api.send(remote(TestRequest::with_uri(path))).await;
            assert_eq!(answer.status, 200, "{path}");
        }
    });
}
