//! Publishing one message and many.

use actix_web::test::TestRequest;
use serde_json::json;

use super::*;

#[test]
fn the_content_type_says_what_kind_a_body_is() {
    run(usual(), async |api| {
        for (kind, body, data, encoding) in [
            (
                "application/json",
                "{ \"a\" : 1.0 }",
                json!({"a": 1.0}),
                None,
            ),
            (
                "Application/JSON; charset=utf-8",
                " null",
                json!(null),
                None,
            ),
            ("text/plain", "hé", json!("hé"), Some("text")),
            ("text/html; x=y", "<b>", json!("<b>"), Some("text")),
            (
                "application/octet-stream",
                "\0",
                json!("AA=="),
                Some("base64"),
            ),
            (
                "application/x-www-form-urlencoded",
                "a",
                json!("YQ=="),
                Some("base64"),
            ),
        ] {
            let answer = api.post("/v1/topics/chat/a/messages", kind, body).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            assert_eq!(answer.header("content-type"), "application/json");
            let history = api.get("/v1/topics/chat/a/messages?last=1").await.json();
            let message = &history["messages"][0];
            assert_eq!(message["data"], data, "{kind}");
            assert_eq!(message["encoding"].as_str(), encoding, "{kind}");
        }
        for (kind, body) in [("application/json", "{"), ("text/plain", "\u{80}")] {
            let mut body = body.as_bytes().to_vec();
            body.pop();
            let answer = api.post("/v1/topics/chat/a/messages", kind, body).await;
            answer.problem(400, "bad_request");
        }
    });
}

#[test]
fn the_answer_tells_where_the_message_stands() {
    run(usual(), async |api| {
        for offset in 1..=2 {
            let answer = api
                .post("/v1/topics/chat/a/messages", "text/plain", "x")
                .await
                .json();
            assert_eq!(answer["topic"], "chat/a");
            assert_eq!(answer["offset"], offset);
            assert_eq!(answer["subscribers"], 0);
            assert!(answer["epoch"].is_string());
        }
        let live = api
            .post("/v1/topics/live/messages", "text/plain", "x")
            .await;
        assert_eq!(live.body, r#"{"topic":"live","subscribers":0}"#);
    });
}

#[test]
fn slashes_of_a_topic_may_be_encoded_or_not() {
    run(usual(), async |api| {
        for (path, topic) in [
            ("chat/a", "chat/a"),
            ("chat%2Fa", "chat/a"),
            ("/x", "/x"),
            ("caf%C3%A9", "café"),
            ("a%20b", "a b"),
            ("chat/messages", "chat/messages"),
            ("a%3Fb", "a?b"),
        ] {
            let path = format!("/v1/topics/{path}/messages");
            let answer = api.post(&path, "text/plain", "x").await;
            assert_eq!(answer.json()["topic"], topic, "{}", answer.body);
        }
        for bad in [
            "",
            "a+b",
            "a%23",
            "a%00b",
            "a%",
            "a%zz",
            "a%ff",
            &"x".repeat(256),
        ] {
            let path = format!("/v1/topics/{bad}/messages");
            let answer = api.post(&path, "text/plain", "x").await;
            answer.problem(400, "invalid_topic");
        }
    });
}

#[test]
fn what_is_not_carried_out_yet_is_refused_and_not_dropped() {
    run(usual(), async |api| {
        let path = "/v1/topics/chat/a/messages";
        for query in ["retain=yes", "retain", "key=a&key=b", "key=%zz"] {
            let answer = api
                .post(&format!("{path}?{query}"), "text/plain", "x")
                .await;
            answer.problem(400, "bad_request");
        }
        let answer = api
            .post(
                &format!("{path}?retain=false&key=k%20&other=1"),
                "text/plain",
                "x",
            )
            .await;
        assert_eq!(answer.status, 200);
        let history = api.get(path).await.json();
        assert_eq!(history["messages"].as_array().unwrap().len(), 1);
        assert_eq!(history["messages"][0]["key"], "k ");
        let retain = r#"{"topic":"a","data":1,"retain":1}"#;
        api.post_json("/v1/publish", retain)
            .await
            .problem(400, "bad_request");
        let answer = api.post("/v1/publish", "text/plain", "{}").await;
        let detail = answer.problem(415, "bad_request");
        assert!(detail.contains("application/x-ndjson"), "{detail}");
        let zipped =
            local(TestRequest::post().uri(path)).insert_header(("Content-Encoding", "gzip"));
        api.send(zipped.set_payload("x"))
            .await
            .problem(415, "bad_request");
    });
}

#[test]
fn a_message_over_the_limit_is_refused_however_it_comes() {
    run(usual(), async |api| {
        let path = "/v1/topics/chat/a/messages";
        let fits = api.post(path, "text/plain", "x".repeat(100)).await;
        assert_eq!(fits.status, 200);
        let longer = api.post(path, "text/plain", "x".repeat(101)).await;
        longer.problem(413, "too_large");
        // Announced only: nothing of it has to come.
        let announced =
            local(TestRequest::post().uri(path)).insert_header(("Content-Length", "101"));
        api.send(announced).await.problem(413, "too_large");
        let item = json!({"topic": "chat/a", "data": "x".repeat(101), "encoding": "text"});
        let one = api.post_json("/v1/publish", &item.to_string()).await;
        one.problem(413, "too_large");
        let many = json!([item, {"topic": "chat/a", "data": 1}]).to_string();
        let many = api.post_json("/v1/publish", &many).await;
        assert_eq!(many.status, 200);
        assert_eq!(many.json()[0]["code"], "too_large");
        assert_eq!(many.json()[0]["status"], 413);
        assert_eq!(many.json()[1]["offset"], 2);
        let padding = " ".repeat(5000);
        let body = api.post_json("/v1/publish", &padding).await;
        body.problem(413, "too_large");
    });
}

#[test]
fn one_object_is_answered_by_one() {
    run(usual(), async |api| {
        let answer = api
            .post_json(
                "/v1/publish",
                r#" {"topic":"chat/a","data":"aGk=","encoding":"base64","key":"k"} "#,
            )
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.json()["offset"], 1);
        let message = &api.get("/v1/topics/chat/a/messages").await.json()["messages"][0];
        assert_eq!(
            (&message["data"], &message["key"]),
            (&json!("aGk="), &json!("k"))
        );
        for (body, code) in [
            ("", "bad_request"),
            ("1", "bad_request"),
            ("{", "bad_request"),
            ("{}", "bad_request"),
            ("[", "bad_request"),
            (r#"{"topic":"a"}"#, "bad_request"),
            (r#"{"topic":"a","topic":"b","data":1}"#, "bad_request"),
            (r#"{"topic":"a","data":1,"encoding":"text"}"#, "bad_request"),
            (r#"{"topic":"a","topics":["b"],"data":1}"#, "bad_request"),
            (r#"{"topics":"b","data":1}"#, "bad_request"),
            (r#"{"topics":[],"data":1}"#, "bad_request"),
            (r#"{"topics":[1],"data":1}"#, "bad_request"),
            (r#"{"topics":["b"]}"#, "bad_request"),
            (r#"{"topic":"a/+","data":1}"#, "invalid_topic"),
        ] {
            api.post_json("/v1/publish", body).await.problem(400, code);
        }
        let invalid = api
            .post("/v1/publish", "application/json", &b"\"\xff\""[..])
            .await;
        invalid.problem(400, "bad_request");
    });
}

#[test]
fn an_array_is_answered_in_its_order_and_a_bad_item_loses_nothing() {
    run(usual(), async |api| {
        let batch = r##"[{"topic":"chat/a","data":1},
            {"topics":["chat/b","#","chat/a"],"data":2}]"##;
        let answer = api.post_json("/v1/publish", batch).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let answer = answer.json();
        assert_eq!(answer[0]["offset"], 1);
        let results = &answer[1]["results"];
        assert_eq!(
            (&results[0]["topic"], &results[0]["offset"]),
            (&json!("chat/b"), &json!(1))
        );
        assert_eq!(
            (&results[1]["code"], &results[1]["status"]),
            (&json!("invalid_topic"), &json!(400))
        );
        assert_eq!(
            (&results[2]["topic"], &results[2]["offset"]),
            (&json!("chat/a"), &json!(2))
        );
        let mixed = r#"[5,{"topic":"chat/a","data":3},{"topic":"x"}]"#;
        let answer = api.post_json("/v1/publish", mixed).await.json();
        assert_eq!(answer[0]["code"], "bad_request");
        assert_eq!(answer[1]["offset"], 3);
        assert_eq!(answer[2]["code"], "bad_request");
        assert_eq!(api.post_json("/v1/publish", "[]").await.body, "[]");
        let topics = r#"{"topics":["a","chat/a"],"data":4}"#;
        let answer = api.post_json("/v1/publish", topics).await.json();
        assert_eq!(answer["results"][0]["topic"], "a");
        assert_eq!(answer["results"][1]["offset"], 4);
    });
}

#[test]
fn a_batch_has_a_bound_that_counts_topics() {
    run(usual(), async |api| {
        let five = r#"[{"topic":"chat/a","data":1},1,1,1,1]"#;
        api.post_json("/v1/publish", five)
            .await
            .problem(413, "too_large");
        let topics = r#"{"topics":["a","b","c","d","e"],"data":1}"#;
        api.post_json("/v1/publish", topics)
            .await
            .problem(413, "too_large");
        let together = r#"[{"topics":["a","b","c"],"data":1},{"topics":["a","b"],"data":1},
            {"topic":"a","data":1},{"topic":"a","data":1}]"#;
        let answer = api.post_json("/v1/publish", together).await.json();
        assert_eq!(answer[0]["results"].as_array().unwrap().len(), 3);
        assert_eq!(answer[1]["code"], "too_large", "{answer}");
        assert_eq!(answer[3]["code"], "too_large", "{answer}");
    });
}

#[test]
fn a_large_batch_keeps_the_order_of_a_topic() {
    let mut config = usual();
    config.limits.batch = 1000;
    run(config, async |api| {
        let items: Vec<_> = (0..1000)
            .map(|n| json!({"topic": "chat/a", "data": n}))
            .collect();
        let answer = api
            .post_json("/v1/publish", &json!(items).to_string())
            .await
            .json();
        let offsets: Vec<_> = answer
            .as_array()
            .unwrap()
            .iter()
            .map(|a| a["offset"].as_u64())
            .collect();
        assert_eq!(offsets, (1..=1000).map(Some).collect::<Vec<_>>());
        let history = api.get("/v1/topics/chat/a/messages?last=1").await.json();
        assert_eq!(history["messages"][0]["data"], 999);
    });
}

#[test]
fn while_draining_a_publish_is_told_to_come_again() {
    run(usual(), async |api| {
        api.trigger.fire();
        let one = api
            .post("/v1/topics/chat/a/messages", "text/plain", "x")
            .await;
        one.problem(503, "unavailable");
        assert_eq!(one.header("retry-after"), "1");
        let item = r#"{"topic":"chat/a","data":1}"#;
        api.post_json("/v1/publish", item)
            .await
            .problem(503, "unavailable");
        let batch = api.post_json("/v1/publish", &format!("[{item}]")).await;
        assert_eq!(batch.status, 200);
        assert_eq!(batch.json()[0]["code"], "unavailable");
        assert_eq!(batch.json()[0]["retry_after_ms"], 1000);
        assert_eq!(api.get("/v1/topics/chat/a").await.status, 404);
    });
}

#[test]
fn topics_beyond_the_limit_are_refused() {
    run(usual(), async |api| {
        for n in 0..20 {
            api.publish(&format!("chat/{n}"), "x").await;
        }
        let answer = api
            .post("/v1/topics/chat/more/messages", "text/plain", "x")
            .await;
        answer.problem(429, "limit_exceeded");
    });
}
