//! Publishing once only, by every way there is.

use actix_web::test::TestRequest;
use serde_json::json;

use super::*;

const MESSAGES: &str = "/v1/topics/chat/a/messages";

impl Api {
    /// Posts with an idempotency key in the header.
    async fn post_once(&self, path: &str, key: &str, body: &str) -> Answer {
        let request = local(TestRequest::post().uri(path))
            .insert_header(("Content-Type", "application/json"))
            .insert_header(("Idempotency-Key", key));
        self.send(request.set_payload(body.to_owned())).await
    }

    async fn offset(&self, topic: &str) -> u64 {
        let topic = self.get(&format!("/v1/topics/{topic}")).await;
        topic.json()["offset"].as_u64().unwrap()
    }
}

#[test]
fn a_repeat_is_answered_as_the_first_and_publishes_nothing() {
    run(usual(), async |api| {
        let first = api.post_once(MESSAGES, "k", "[1, 2]").await;
        assert_eq!(first.status, 200, "{}", first.body);
        api.publish("chat/a", "between").await;
        for body in ["[1, 2]", " [1,2] "] {
            let again = api.post_once(MESSAGES, "k", body).await;
            assert_eq!((again.status, &again.body), (200, &first.body));
        }
        // The same by the other ways, as a field.
        let item = r#"{"topic":"chat/a","data":[1,2],"idempotency_key":"k"}"#;
        assert_eq!(api.post_json("/v1/publish", item).await.body, first.body);
        let batch = format!("[{item},{item}]");
        let batch = api.post_json("/v1/publish", &batch).await.json();
        assert_eq!(batch, json!([first.json(), first.json()]));
        let line = api.post("/v1/publish", "application/x-ndjson", item).await;
        assert_eq!(line.body.trim_end(), first.body);
        assert_eq!(api.offset("chat/a").await, 2);
    });
}

#[test]
fn another_body_with_the_same_key_conflicts() {
    run(usual(), async |api| {
        api.post_once(MESSAGES, "k", "1").await;
        let refused = api.post_once(MESSAGES, "k", "2").await;
        refused.problem(409, "conflict");
        let with_key = api.post_once(&format!("{MESSAGES}?key=c"), "k", "1").await;
        with_key.problem(409, "conflict");
        let text = r#"{"topic":"chat/a","data":"1","encoding":"text","idempotency_key":"k"}"#;
        let batch = api.post_json("/v1/publish", &format!("[{text}]")).await;
        assert_eq!(batch.json()[0]["code"], "conflict");
        assert_eq!(api.offset("chat/a").await, 1);
    });
}

#[test]
fn a_key_counts_for_its_topic_and_each_of_several() {
    run(usual(), async |api| {
        let both = r#"{"topics":["chat/a","chat/b"],"data":1}"#;
        let first = api.post_once("/v1/publish", "k", both).await;
        assert_eq!(first.json()["results"][1]["offset"], 1, "{}", first.body);
        let again = api.post_once("/v1/publish", "k", both).await;
        assert_eq!(again.body, first.body);
        let more = r#"{"topics":["chat/b","chat/c"],"data":1}"#;
        let more = api.post_once("/v1/publish", "k", more).await.json();
        assert_eq!(more["results"][0], first.json()["results"][1]);
        assert_eq!(more["results"][1]["topic"], "chat/c");
        for topic in ["chat/a", "chat/b", "chat/c"] {
            assert_eq!(api.offset(topic).await, 1, "{topic}");
        }
    });
}

#[test]
fn each_api_key_has_idempotency_keys_of_its_own() {
    let scopes = [Scope::Publish, Scope::Read];
    let keys = [key("one", &scopes, None), key("other", &scopes, None)];
    run(with_keys(&keys), async |api| {
        let post = async |key: &str| {
            let request = with_key(remote(TestRequest::post().uri(MESSAGES)), key)
                .insert_header(("Idempotency-Key", "k"))
                .set_payload("x");
            api.send(request).await.json()["offset"].clone()
        };
        assert_eq!(post("one").await, 1);
        assert_eq!(post("other").await, 2);
        assert_eq!(post("one").await, 1);
    });
}

#[test]
fn what_failed_may_be_tried_again() {
    run(usual(), async |api| {
        let long = format!("\"{}\"", "x".repeat(100));
        let refused = api.post_once(MESSAGES, "k", &long).await;
        refused.problem(413, "too_large");
        assert_eq!(api.post_once(MESSAGES, "k", "1").await.status, 200);
    });
}

#[test]
fn as_many_keys_as_are_remembered_are_taken() {
    run(usual(), async |api| {
        for n in 0..10 {
            let taken = api.post_once(MESSAGES, &n.to_string(), "1").await;
            assert_eq!(taken.status, 200);
        }
        let refused = api.post_once(MESSAGES, "more", "1").await;
        let detail = refused.problem(503, "unavailable");
        assert!(detail.contains("api.idempotency_keys"), "{detail}");
        let seconds: u64 = refused.header("retry-after").parse().unwrap();
        assert!((2..=60).contains(&seconds), "{seconds}");
        assert_eq!(api.post_once(MESSAGES, "0", "1").await.json()["offset"], 1);
        assert_eq!(api.post_json(MESSAGES, "1").await.status, 200);
        tokio::task::yield_now().await;
        let text = api.state.broker.metrics().render().unwrap();
        for line in [
            "fanfare_idempotency_keys 10",
            "fanfare_publishes_repeated_total 1",
            r#"fanfare_messages_published_total{protocol="http"} 11"#,
            r#"fanfare_publish_errors_total{code="unavailable"} 1"#,
        ] {
            assert!(text.contains(line), "{line}");
        }
    });
}

#[test]
fn a_key_that_is_none_is_refused() {
    run(usual(), async |api| {
        let longest = "x".repeat(255);
        assert_eq!(api.post_once(MESSAGES, &longest, "1").await.status, 200);
        let longer = "x".repeat(256);
        for bad in ["", "a b", longer.as_str()] {
            let detail = api.post_once(MESSAGES, bad, "1").await;
            let detail = detail.problem(400, "bad_request");
            assert!(detail.contains("Idempotency-Key"), "{detail}");
            let item = json!({"topic": "chat/a", "data": 1, "idempotency_key": bad});
            let detail = api.post_json("/v1/publish", &item.to_string()).await;
            let detail = detail.problem(400, "bad_request");
            assert!(detail.contains("idempotency_key"), "{detail}");
        }
        for (body, named) in [
            (
                r#"{"topic":"chat/a","data":1,"idempotency_key":1}"#,
                "string",
            ),
            (
                r#"{"topic":"chat/a","data":1,"idempotency_key":"a"}"#,
                "not both",
            ),
            (r#"[{"topic":"chat/a","data":1}]"#, "one message"),
        ] {
            let refused = api.post_once("/v1/publish", "k", body).await;
            let detail = refused.problem(400, "bad_request");
            assert!(detail.contains(named), "{detail}");
        }
        let line = local(TestRequest::post().uri("/v1/publish"))
            .insert_header(("Content-Type", "application/x-ndjson"))
            .insert_header(("Idempotency-Key", "k"));
        let detail = api.send(line.set_payload("{}")).await;
        let detail = detail.problem(400, "bad_request");
        assert!(detail.contains("idempotency_key"), "{detail}");
        assert_eq!(api.offset("chat/a").await, 1);
    });
}
