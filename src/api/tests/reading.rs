//! Asking for topics, their history and who is there.

use serde_json::json;

use super::*;

#[test]
fn history_is_read_from_where_one_asks() {
    run(usual(), async |api| {
        for text in ["1", "2", "3", "4"] {
            api.publish("chat/a", text).await;
        }
        let all = api.get("/v1/topics/chat/a/messages").await.json();
        assert_eq!(all["offset"], 4);
        let epoch = all["epoch"].as_str().unwrap();
        let message = &all["messages"][0];
        assert_eq!(message["type"], "message");
        assert_eq!(message["topic"], "chat/a");
        assert_eq!(message["epoch"], epoch);
        for (query, expected) in [
            ("", &["2", "3", "4"][..]),
            ("last=2", &["3", "4"]),
            ("last=0", &[]),
            ("limit=1", &["2"]),
            ("limit=0", &[]),
            (&format!("since_epoch={epoch}&since_offset=3"), &["4"]),
            (&format!("since_epoch={epoch}&since_offset=4"), &[]),
            ("since_epoch=other&since_offset=3", &["2", "3", "4"]),
            ("since_epoch=%21%21&since_offset=3", &["2", "3", "4"]),
        ] {
            let page = api
                .get(&format!("/v1/topics/chat/a/messages?{query}"))
                .await
                .json();
            let messages = page["messages"].as_array().unwrap();
            let texts: Vec<_> = messages
                .iter()
                .map(|m| m["data"].as_str().unwrap())
                .collect();
            assert_eq!(texts, expected, "{query}");
        }
        for query in [
            "last=x",
            "limit=10001",
            "since_epoch=a",
            "since_offset=1",
            "last=1&last=1",
        ] {
            let answer = api
                .get(&format!("/v1/topics/chat/a/messages?{query}"))
                .await;
            answer.problem(400, "bad_request");
        }
    });
}

#[test]
fn what_a_topic_does_not_keep_is_a_conflict_to_ask_for() {
    run(usual(), async |api| {
        api.get("/v1/topics/live/messages")
            .await
            .problem(409, "history_disabled");
        api.get("/v1/topics/live/presence")
            .await
            .problem(409, "presence_disabled");
        let empty = api.get("/v1/topics/chat/a/presence").await;
        assert_eq!(empty.body, r#"{"sessions":[],"count":0}"#);
    });
}

#[test]
fn a_topic_is_shown_with_the_rule_that_applies_to_it() {
    run(usual(), async |api| {
        api.publish("chat/a", "x").await;
        let topic = api.get("/v1/topics/chat%2Fa").await.json();
        assert_eq!(topic["topic"], "chat/a");
        assert_eq!(
            (&topic["subscribers"], &topic["messages"]),
            (&json!(0), &json!(1))
        );
        assert_eq!(topic["offset"], 1);
        let history = json!({"messages": 3, "age_ms": null, "bytes": 16 << 20});
        let rule = json!({
            "filter": "chat/#", "history": history, "durability": "memory", "presence": true, "join_leave": false,
            "subscribe": "granted", "publish": "granted", "expose_user": false,
            "max_message": null, "overflow": ["disconnect"], "retain": false,
        });
        assert_eq!(topic["rule"], rule);
        // One, in less than a second.
        assert_eq!(topic["rates"], json!({"published_per_second": 1.0}));
        api.get("/v1/topics/chat/b").await.problem(404, "not_found");
        api.get("/v1/topics/").await.problem(400, "invalid_topic");
        api.get("/v1/topics/a+").await.problem(400, "invalid_topic");
    });
}

#[test]
fn topics_are_listed_page_by_page() {
    run(usual(), async |api| {
        for topic in ["chat/c", "chat/a", "chat/b/x", "chat/b"] {
            api.publish(topic, "x").await;
        }
        for limit in 1..6 {
            let (mut names, mut after) = (Vec::new(), String::new());
            loop {
                let page = api
                    .get(&format!("/v1/topics?limit={limit}{after}"))
                    .await
                    .json();
                let topics = page["topics"].as_array().unwrap();
                assert!(topics.len() <= limit);
                names.extend(
                    topics
                        .iter()
                        .map(|t| t["topic"].as_str().unwrap().to_owned()),
                );
                match page["next"].as_str() {
                    Some(next) => after = format!("&after={next}"),
                    None => break,
                }
            }
            assert_eq!(names, ["chat/a", "chat/b", "chat/b/x", "chat/c"], "{limit}");
        }
        let some = api.get("/v1/topics?filter=chat/+").await.json();
        assert_eq!(some["topics"].as_array().unwrap().len(), 3);
        assert_eq!(some["topics"][0]["messages"], 1);
        assert_eq!(some["next"], json!(null));
        for query in [
            "limit=0",
            "limit=1001",
            "after=%20",
            "after=",
            "limit=1&limit=2",
        ] {
            api.get(&format!("/v1/topics?{query}"))
                .await
                .problem(400, "bad_request");
        }
        api.get("/v1/topics?filter=a%23")
            .await
            .problem(400, "invalid_topic");
    });
}

#[test]
fn a_limited_key_gets_every_topic_of_its_own_however_small_the_pages() {
    let scopes = [Scope::Publish, Scope::Read];
    let topics = ["chat/+/x", "chat/b/#", "chat/a/x"];
    let keys = [
        key("some", &scopes, Some(&topics)),
        key("all", &scopes, None),
    ];
    run(with_keys(&keys), async |api| {
        for topic in [
            "chat/a/x", "chat/a/y", "chat/b", "chat/b/x", "chat/b/y", "chat/c/x", "other",
        ] {
            let path = format!("/v1/topics/{topic}/messages");
            let post = TestRequest::post().uri(&path).set_payload("x");
            assert_eq!(api.send(with_key(remote(post), "all")).await.status, 200);
        }
        for (filter, expected) in [
            (
                "",
                &["chat/a/x", "chat/b", "chat/b/x", "chat/b/y", "chat/c/x"][..],
            ),
            (
                "&filter=chat/%23",
                &["chat/a/x", "chat/b", "chat/b/x", "chat/b/y", "chat/c/x"],
            ),
            ("&filter=chat/b/%2B", &["chat/b/x", "chat/b/y"]),
            ("&filter=%2B/%2B/y", &["chat/b/y"]),
            ("&filter=other", &[]),
        ] {
            for limit in 1..4 {
                let (mut names, mut after) = (Vec::new(), String::new());
                loop {
                    let path = format!("/v1/topics?limit={limit}{filter}{after}");
                    let get = with_key(remote(TestRequest::with_uri(&path)), "some");
                    let page = api.send(get).await.json();
                    let topics = page["topics"].as_array().unwrap();
                    names.extend(
                        topics
                            .iter()
                            .map(|t| t["topic"].as_str().unwrap().to_owned()),
                    );
                    match page["next"].as_str() {
                        Some(next) => after = format!("&after={next}"),
                        None => break,
                    }
                }
                assert_eq!(names, expected, "{filter} {limit}");
            }
        }
    });
}

#[test]
fn a_retained_message_is_published_listed_and_removed_with_the_history() {
    let mut config = usual();
    config.topics.push(TopicRule {
        retain: true,
        ..TopicRule::live(filter("state/#"))
    });
    config.topics[0].retain = true;
    run(config, async |api| {
        let retain = async |topic: &str, text: &str| {
            let path = format!("/v1/topics/{topic}/messages?retain=true");
            api.post(&path, "text/plain", text.to_owned()).await
        };
        api.publish("chat/a", "1").await;
        assert_eq!(retain("chat/a", "2").await.json()["offset"], 2);
        assert!(retain("state/a", "on").await.json()["offset"].is_null());
        retain("state/b", "on").await;
        let batch = r#"[{"topic":"state/b","data":null,"retain":true},{"topic":"live","data":1,"retain":true}]"#;
        let answer = api.post_json("/v1/publish", batch).await.json();
        assert_eq!(answer[0]["topic"], "state/b");
        assert_eq!(answer[1]["code"], "forbidden", "{answer}");
        let list = api.get("/v1/topics").await.json();
        let names = |list: &Value| -> Vec<String> {
            let topics = list["topics"].as_array().unwrap().iter();
            topics
                .map(|t| format!("{} {}", t["topic"], t["retained"]))
                .collect()
        };
        // What is cleared and holds nothing else is gone.
        assert_eq!(names(&list), [r#""chat/a" true"#, r#""state/a" true"#]);
        let epoch = list["topics"][0]["epoch"].clone();
        let topic = api.get("/v1/topics/state/a").await.json();
        assert_eq!(
            (&topic["messages"], &topic["rule"]["retain"]),
            (&json!(0), &json!(true))
        );

        let remove = async |topic: &str| {
            let path = format!("/v1/topics/{topic}/messages");
            api.send(local(TestRequest::delete().uri(&path))).await
        };
        let removed = remove("chat/a").await.json();
        assert_eq!(
            removed,
            json!({"topic": "chat/a", "messages": 2, "retained": true})
        );
        let removed = remove("state/a").await.json();
        assert_eq!(
            removed,
            json!({"topic": "state/a", "messages": 0, "retained": true})
        );
        for topic in ["chat/a", "state/a", "live"] {
            remove(topic).await.problem(404, "not_found");
        }
        api.publish("chat/a", "3").await;
        let again = api.get("/v1/topics/chat/a").await.json();
        assert_ne!(again["epoch"], epoch);
        assert_eq!(
            (&again["offset"], &again["retained"]),
            (&json!(1), &Value::Null)
        );
    });
}
