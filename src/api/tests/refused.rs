//! Publishes that are refused: how they are counted.

use super::*;

#[test]
fn refused_publishes_are_counted_once() {
    run(usual(), async |api| {
        api.post("/v1/topics/$sys/messages", "text/plain", "x")
            .await;
        api.post_json("/v1/publish", r#"[{"topic":"a"}]"#).await;
        api.publish("chat/a", "x").await;
        // The worker hands in what it counted at the end of its turn.
        tokio::task::yield_now().await;
        let text = api.state.broker.metrics().render().unwrap();
        for line in [
            r#"fanfare_publish_errors_total{code="forbidden"} 1"#,
            r#"fanfare_publish_errors_total{code="bad_request"} 1"#,
            r#"fanfare_messages_published_total{protocol="http"} 1"#,
        ] {
            assert!(text.contains(line), "{line}");
        }
    });
}

#[test]
fn a_refused_publish_is_counted_by_whichever_door_it_came() {
    const JSON: &str = "application/json";
    const LINES: &str = "application/x-ndjson";
    const TEXT: &str = "text/plain";
    let long = "x".repeat(200);
    let message = format!(r#"{{"topic":"chat/a","data":"{long}"}}"#);
    let longest = "x".repeat(10_000);
    let (one, all) = ("/v1/topics/chat/a/messages", "/v1/broadcast");
    let refused: [(&str, &[(&str, &str, &str)]); 3] = [
        (
            "too_large",
            &[
                (one, TEXT, &long),
                ("/v1/publish", JSON, &message),
                ("/v1/publish", JSON, &longest),
                ("/v1/publish", JSON, "[1,1,1,1,1]"),
                ("/v1/publish", LINES, &message),
                (all, TEXT, &long),
            ],
        ),
        (
            "bad_request",
            &[
                (one, JSON, "nonsense"),
                ("/v1/publish", JSON, "[nonsense"),
                ("/v1/publish", JSON, "{}"),
                ("/v1/publish", TEXT, "{}"),
                ("/v1/publish", LINES, "{}"),
                ("/v1/broadcast?retain=true", TEXT, "x"),
            ],
        ),
        (
            "invalid_topic",
            &[
                ("/v1/topics/%23/messages", TEXT, "x"),
                ("/v1/publish", JSON, r##"{"topic":"#","data":1}"##),
                ("/v1/publish", LINES, r##"{"topic":"#","data":1}"##),
            ],
        ),
    ];
    run(usual(), async |api| {
        let counted = |api: &Api, code: &str| {
            let text = api.state.broker.metrics().render().unwrap();
            let series = format!(r#"fanfare_publish_errors_total{{code="{code}"}} "#);
            let line = text.lines().find_map(|line| line.strip_prefix(&series));
            line.map_or(0, |count| count.parse().unwrap())
        };
        for (code, asks) in refused {
            for (n, (path, kind, body)) in asks.iter().enumerate() {
                let body = (*body).to_owned();
                let answer = api.post(path, kind, body).await;
                assert!(answer.body.contains(code), "{}", answer.body);
                assert_eq!(counted(api, code), n + 1, "{path} {kind}: {}", answer.body);
            }
        }
        // Nobody was there to get it.
        let path = "/v1/users/nobody/messages";
        api.post(path, TEXT, "x").await.problem(404, "not_found");
        assert_eq!(counted(api, "not_found"), 0);
    });
}
