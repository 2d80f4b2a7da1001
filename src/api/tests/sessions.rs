//! Sessions and users, whose sessions are opened here without a gateway.

use std::rc::Rc;

use super::*;
use crate::auth::Rights;
use crate::broker::testing::{FakeWire, caller_of, everything, opening};
use crate::broker::{Opening, Subscriber};
use crate::protocol::WireFormat;

/// A session that is open.
pub struct Opened {
    worker: Rc<Worker>,
    subscriber: Rc<Subscriber>,
    wire: Rc<FakeWire>,
}

impl Opened {
    pub fn new(api: &Api, id: u64, user: Option<&str>, format: WireFormat) -> Self {
        let opening = Opening {
            rights: user.map_or_else(everything, |user| Rc::new(Rights::of(&caller_of(user)))),
            address: Some("192.0.2.1".parse().unwrap()),
            ..opening(id, format)
        };
        let wire = FakeWire::with_room(usize::MAX);
        let worker = Rc::clone(&api.worker);
        let subscriber = worker.attach(opening, Rc::<FakeWire>::clone(&wire));
        subscriber.open(web::Bytes::new());
        Self {
            worker,
            subscriber,
            wire,
        }
    }

    /// The frames that came, once there are so many.
    async fn frames(&self, count: usize) -> Vec<Value> {
        while self.wire.objects().len() < count {
            tokio::task::yield_now().await;
        }
        let frames = self.wire.objects();
        assert_eq!(frames.len(), count, "{frames:?}");
        frames
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let member = crate::broker::testing::member(self.subscriber.id());
        self.worker.detach(&self.subscriber, &member);
    }
}

async fn delete(api: &Api, path: &str) -> Answer {
    api.send(local(TestRequest::delete().uri(path))).await
}

const ONE: &str = "/v1/sessions/0000000000000001";

#[test]
fn the_sessions_of_a_user_are_reached_by_its_name() {
    run(usual(), async |api| {
        let annas = [1, 2].map(|id| Opened::new(api, id, Some("anna/é"), WireFormat::Json));
        let other = Opened::new(api, 3, Some("bert"), WireFormat::Json);
        let user = "/v1/users/anna%2F%C3%A9";
        let listed = api.get("/v1/sessions?user=anna/%C3%A9").await.json();
        assert_eq!(listed["sessions"].as_array().unwrap().len(), 2, "{listed}");
        assert_eq!(listed["sessions"][0]["user"], "anna/é");
        assert_eq!(listed["next"], Value::Null);

        let sent = api
            .post_json(&format!("{user}/messages"), r#"{"n": 1}"#)
            .await;
        assert_eq!((sent.status, &*sent.body), (200, r#"{"sessions":2}"#));

        let path = format!("{user}/subscriptions");
        let done = api.post_json(&path, r#"{"topic":"chat/a"}"#).await;
        assert_eq!(done.status, 200, "{}", done.body);
        let results = &done.json()["results"];
        for (at, session) in ["0000000000000001", "0000000000000002"].iter().enumerate() {
            assert_eq!(results[at]["session"], **session, "{results}");
            assert_eq!(results[at]["topic"], "chat/a", "{results}");
            assert_eq!(results[at]["offset"], 0, "{results}");
        }
        delete(api, &format!("{ONE}/subscriptions")).await;
        // One that refuses does not lose the rest.
        let done = api.post_json(&path, r#"{"topic":"chat/a"}"#).await;
        let results = &done.json()["results"];
        assert_eq!(results[0]["topic"], "chat/a", "{results}");
        assert_eq!(
            results[1]["problem"]["code"], "already_subscribed",
            "{results}"
        );
        assert_eq!(results[1]["session"], "0000000000000002", "{results}");
        let ended = delete(api, &format!("{path}?topic=chat/a")).await.json();
        assert_eq!(ended["results"][1]["topics"][0], "chat/a", "{ended}");

        let gone = delete(api, &format!("{user}?code=4100")).await;
        assert_eq!((gone.status, &*gone.body), (200, r#"{"sessions":2}"#));
        for (session, unsubscribed) in [(&annas[0], 2), (&annas[1], 1)] {
            let frames = session.frames(2 + unsubscribed).await;
            assert_eq!(frames[0]["topic"], "$direct");
            assert_eq!(frames[0]["data"]["n"], 1);
            assert_eq!(frames[unsubscribed]["type"], "unsubscribed");
            let closing = &frames[unsubscribed + 1];
            assert_eq!(
                (&closing["type"], &closing["code"]),
                (&"closing".into(), &4100.into())
            );
            assert_eq!(closing["reconnect"], true);
        }
        assert!(other.wire.objects().is_empty());
        for path in [user, "/v1/users/anna", "/v1/users/"] {
            delete(api, path).await.problem(404, "not_found");
            for (verb, body) in [("messages", "1"), ("subscriptions", r#"{"topic":"a"}"#)] {
                let sent = api.post_json(&format!("{path}/{verb}"), body).await;
                sent.problem(404, "not_found");
            }
        }
    });
}

#[test]
fn what_is_not_of_the_form_is_refused_and_says_what_would_do() {
    run(usual(), async |api| {
        let session = Opened::new(api, 1, None, WireFormat::Json);
        for (path, says) in [
            ("?code=1000", "4700 to 4899"),
            ("?code=4008", "'code'"),
            ("?code=4400", "4200 to 4399"),
            ("?code=x", "'code'"),
            ("?code=99999", "'code'"),
            ("?code=4500&code=4500", "twice"),
            (&*format!("?reason={}", "%C3%A9".repeat(62)), "123 bytes"),
            ("?reason=%ff", "UTF-8"),
        ] {
            let told = delete(api, &format!("{ONE}{path}"))
                .await
                .problem(400, "bad_request");
            assert!(told.contains(says), "{path}: {told}");
        }
        for (query, code) in [
            ("limit=0", "bad_request"),
            ("limit=1001", "bad_request"),
            ("after=x", "bad_request"),
            ("topic=a%23", "invalid_topic"),
        ] {
            api.get(&format!("/v1/sessions?{query}"))
                .await
                .problem(400, code);
        }
        let subscriptions = format!("{ONE}/subscriptions");
        for (body, code) in [
            ("", "bad_request"),
            ("[]", "bad_request"),
            ("{}", "bad_request"),
            (r#"{"topic":1}"#, "bad_request"),
            (r#"{"topic":"a","last":-1}"#, "bad_request"),
            (r#"{"topic":"a","echo":1}"#, "bad_request"),
            (r#"{"topic":"a#"}"#, "invalid_topic"),
        ] {
            api.post_json(&subscriptions, body).await.problem(400, code);
        }
        let sent = api
            .post(&subscriptions, "text/plain", r#"{"topic":"a"}"#)
            .await;
        sent.problem(415, "bad_request");
        delete(api, &format!("{subscriptions}?topic=a#")).await;
        let ended = delete(api, &format!("{subscriptions}?topic=a")).await;
        ended.problem(404, "not_subscribed");
        for path in [&*format!("{ONE}/messages"), "/v1/broadcast"] {
            for query in ["?retain=true", "?key=k"] {
                let sent = api.post_json(&format!("{path}{query}"), "1").await;
                let told = sent.problem(400, "bad_request");
                assert!(told.contains("goes with topics"), "{told}");
            }
            api.post_json(path, "{").await.problem(400, "bad_request");
            api.post(path, "text/plain", &b"\xff"[..])
                .await
                .problem(400, "bad_request");
            api.post(path, "a/b", vec![0; 101])
                .await
                .problem(413, "too_large");
        }
        let nowhere = ["0000000000000002", "1", "", "0000000000000001x", "%zz"];
        for name in nowhere {
            let path = format!("/v1/sessions/{name}");
            api.get(&path).await.problem(404, "not_found");
            delete(api, &path).await.problem(404, "not_found");
            let sent = api.post_json(&format!("{path}/messages"), "1").await;
            sent.problem(404, "not_found");
            let sent = api
                .post_json(&format!("{path}/subscriptions"), r#"{"topic":"a"}"#)
                .await;
            sent.problem(404, "not_found");
        }
        for (path, allow) in [
            ("/v1/sessions", "GET, HEAD"),
            (ONE, "DELETE, GET, HEAD"),
            (&*format!("{ONE}/messages"), "POST"),
            (&*subscriptions, "DELETE, POST"),
            ("/v1/users/a", "DELETE"),
            ("/v1/broadcast", "POST"),
        ] {
            let answer = api.send(local(TestRequest::patch().uri(path))).await;
            answer.problem(405, "bad_request");
            assert_eq!(answer.header("allow"), allow, "{path}");
        }
        assert!(session.wire.objects().is_empty());
        api.trigger.fire();
        let sent = api.post_json("/v1/broadcast", "1").await;
        sent.problem(503, "unavailable");
    });
}

#[test]
fn sessions_are_for_keys_with_the_scope_admin() {
    let keys = [
        key("all", &[Scope::Admin], None),
        key("some", &[Scope::Admin], Some(&["chat/#", "$sys/#"])),
        key("other", &[Scope::Read, Scope::Publish], None),
    ];
    run(with_keys(&keys), async |api| {
        let _session = Opened::new(api, 1, None, WireFormat::Json);
        let subscribe = |topic: &str| {
            let path = format!("{ONE}/subscriptions");
            let body = format!(r#"{{"topic":"{topic}"}}"#);
            let request = TestRequest::post().uri(&path).set_payload(body);
            remote(request.insert_header(("Content-Type", "application/json")))
        };
        let requests = || {
            [
                TestRequest::get().uri("/v1/sessions"),
                TestRequest::get().uri(ONE),
                TestRequest::post().uri(&format!("{ONE}/messages")),
                TestRequest::post().uri("/v1/broadcast"),
                TestRequest::post().uri("/v1/users/a/messages"),
                TestRequest::delete().uri("/v1/users/a"),
                TestRequest::delete().uri(ONE),
                TestRequest::delete().uri(&format!("{ONE}/subscriptions")),
                subscribe("chat/a"),
            ]
        };
        for request in requests() {
            api.send(remote(request)).await.problem(401, "unauthorized");
        }
        for request in requests() {
            let answer = api.send(with_key(remote(request), "other")).await;
            answer.problem(403, "forbidden");
        }
        for (key, topic, status) in [
            ("all", "chat/a", 200),
            ("all", "chat/a", 409),
            ("all", "$sys/#", 403),
            ("some", "chat/+", 200),
            ("some", "other", 403),
            ("some", "#", 403),
            ("some", "$sys/#", 200),
        ] {
            let answer = api.send(with_key(subscribe(topic), key)).await;
            assert_eq!(answer.status, status, "{key} {topic}: {}", answer.body);
        }
    });
}
