//! Publishing lines, answered by lines.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_http::BoxedPayloadStream;
use actix_web::body::MessageBody as _;
use actix_web::dev;
use actix_web::error::PayloadError;
use actix_web::http::header::AUTHORIZATION;
use futures_util::stream;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::sleep;

use super::*;

const PUBLISH: &str = "/v1/publish";
const NDJSON: &str = "application/x-ndjson";

/// The lines that were answered.
fn answered(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("content-type"), NDJSON);
    assert!(answer.body.is_empty() || answer.body.ends_with('\n'));
    let lines = answer.body.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn each_line_is_answered_in_its_order_and_a_bad_one_loses_nothing() {
    run(usual(), async |api| {
        let body = [
            r#"{"topic":"chat/a","data":1}"#,
            "nonsense",
            "",
            r##"{"topic":"#","data":1}"##,
            r#" {"topic":"live","data":"x","encoding":"text"} "#,
            "  \r",
            r#"[{"topic":"chat/a","data":1}]"#,
            r#"{"topics":["chat/a","$sys/x"],"data":2}"#,
            r#"{"topic":"chat/a","data":3}"#,
        ];
        let answer = api.post(PUBLISH, NDJSON, body.join("\n")).await;
        let lines = answered(&answer);
        assert_eq!(lines.len(), 7, "{}", answer.body);
        assert_eq!(lines[0]["offset"], 1);
        assert_eq!(
            (&lines[1]["code"], &lines[1]["status"]),
            (&json!("bad_request"), &json!(400))
        );
        assert_eq!(lines[2]["code"], "invalid_topic");
        assert_eq!(lines[3], json!({"topic": "live", "subscribers": 0}));
        assert!(lines[4]["detail"].as_str().unwrap().contains("array"));
        let results = &lines[5]["results"];
        assert_eq!(
            (&results[0]["offset"], &results[1]["code"]),
            (&json!(2), &json!("forbidden"))
        );
        assert_eq!(lines[6]["offset"], 3);
        assert_eq!(answered(&api.post(PUBLISH, NDJSON, "").await).len(), 0);
    });
}

#[test]
fn a_line_that_is_too_long_or_no_text_is_answered_by_a_problem() {
    run(usual(), async |api| {
        let mut body = Vec::new();
        for line in [
            &b"{\"topic\":\"chat/a\",\"data\":1}"[..],
            &[b' '; 10_000],
            b"\xff",
            b"{\"topic\":\"chat/a\",\"data\":2}",
            &[b'x'; 5_000],
        ] {
            body.extend_from_slice(line);
            body.push(b'\n');
        }
        body.extend_from_slice(b"{\"topic\":\"chat/a\",\"data\":3}");
        let lines = answered(&api.post(PUBLISH, NDJSON, body).await);
        let told: Vec<_> = lines.iter().map(|line| line["code"].as_str()).collect();
        let (long, bad) = (Some("too_large"), Some("bad_request"));
        assert_eq!(told, [None, long, bad, None, long, None]);
        assert_eq!(lines[5]["offset"], 3);
    });
}

#[test]
fn thousands_of_lines_keep_their_order() {
    run(usual(), async |api| {
        let line = |n: usize| json!({"topic": format!("chat/{}", n % 3), "data": n}).to_string();
        let body: Vec<_> = (0..5000).map(line).collect();
        let lines = answered(&api.post(PUBLISH, NDJSON, body.join("\n")).await);
        assert_eq!(lines.len(), 5000);
        for (n, line) in lines.iter().enumerate() {
            assert_eq!(line["topic"], format!("chat/{}", n % 3));
            assert_eq!(line["offset"], n / 3 + 1);
        }
    });
}

#[test]
fn lines_are_not_taken_while_draining_or_compressed() {
    run(usual(), async |api| {
        let zipped = local(TestRequest::post().uri(PUBLISH))
            .insert_header(("Content-Type", NDJSON))
            .insert_header(("Content-Encoding", "gzip"));
        api.send(zipped).await.problem(415, "bad_request");
        api.trigger.fire();
        let refused = api.post(PUBLISH, NDJSON, "{}").await;
        refused.problem(503, "unavailable");
    });
}

#[test]
fn lines_are_taken_only_as_far_as_answers_are_taken() {
    const UNANSWERED: u64 = 256;
    run(usual(), async |api| {
        let (request, sender) = open();
        for _ in 0..5000 {
            sender.feed("{\"topic\":\"chat/a\",\"data\":1}\n");
        }
        drop(sender);
        let app = App::new().configure(|services| configure(services, api.state.clone()));
        let service = init_service(app).await;
        let mut body = pin!(call_service(&service, request).await.into_body());
        let mut answered = 0;
        while let Some(piece) = poll_fn(|cx| body.as_mut().poll_next(cx)).await {
            let lines = piece.unwrap().split(|byte| *byte == b'\n').count() - 1;
            answered += lines as u64;
            let topic = api.get("/v1/topics/chat/a").await.json();
            let published = topic["offset"].as_u64().unwrap();
            assert!(answered <= published && published <= answered + UNANSWERED);
        }
        assert_eq!(answered, 5000);
    });
}

/// Sends a body; dropped, the body is whole.
struct Sender(UnboundedSender<Result<web::Bytes, PayloadError>>);

impl Sender {
    fn feed(&self, text: &'static str) {
        self.0.send(Ok(text.into())).unwrap();
    }
}

/// A request whose body comes as it is sent.
fn open() -> (actix_http::Request, Sender) {
    let request = local(TestRequest::post().uri(PUBLISH)).insert_header(("Content-Type", NDJSON));
    let (sender, mut receiver) = unbounded_channel();
    let body: BoxedPayloadStream = Box::pin(stream::poll_fn(move |cx| receiver.poll_recv(cx)));
    let (request, _) = request
        .to_request()
        .replace_payload(dev::Payload::from(body));
    (request, Sender(sender))
}

#[test]
fn a_body_that_stalls_is_ended_and_what_came_is_answered() {
    run(usual(), async |api| {
        tokio::time::pause();
        let (request, sender) = open();
        sender.feed(r#"{"topic":"chat/a","data":1}"#);
        sender.feed("\n{\"topic\":");
        let lines = answered(&api.send_whole(request).await);
        assert_eq!(lines[0]["offset"], 1);
        assert_eq!(
            (&lines[1]["status"], &lines[1]["code"]),
            (&json!(408), &json!("bad_request"))
        );
        assert_eq!(lines.len(), 2);
    });
}

#[test]
fn empty_lines_keep_a_body_open() {
    run(usual(), async |api| {
        tokio::time::pause();
        let (request, sender) = open();
        let slow = actix_rt::spawn(async move {
            for _ in 0..10 {
                sleep(Duration::from_secs(20)).await;
                sender.feed("\n");
            }
            sender.feed(r#"{"topic":"chat/a","data":1}"#);
        });
        let lines = answered(&api.send_whole(request).await);
        assert_eq!((lines.len(), &lines[0]["offset"]), (1, &json!(1)));
        slow.await.unwrap();
    });
}

#[test]
fn a_key_that_is_gone_publishes_no_further_line_and_one_that_changed_what_it_still_may() {
    let (publish, read) = (&[Scope::Publish][..], &[Scope::Read][..]);
    let before = with_keys(&[key("k", publish, None)]);
    for (after, expected) in [
        (
            key("other", publish, None),
            [json!("unauthorized"), Value::Null],
        ),
        (key("k", read, None), [json!("forbidden"), Value::Null]),
        (
            key("k", publish, Some(&["chat/b"])),
            [json!("forbidden"), json!("chat/b")],
        ),
    ] {
        run(before.clone(), async |api| {
            let (mut request, sender) = open();
            let bearer = "Bearer k".parse().unwrap();
            request.headers_mut().insert(AUTHORIZATION, bearer);
            let app = App::new().configure(|services| configure(services, api.state.clone()));
            let service = init_service(app).await;
            let mut body = pin!(call_service(&service, request).await.into_body());
            sender.feed("{\"topic\":\"chat/a\",\"data\":1}\n");
            let first = poll_fn(|cx| body.as_mut().poll_next(cx)).await;
            assert!(
                first
                    .unwrap()
                    .unwrap()
                    .starts_with(b"{\"topic\":\"chat/a\"")
            );
            api.state
                .door
                .replace(Door::from_config(&with_keys(&[after])));
            sender.feed("{\"topic\":\"chat/a\",\"data\":2}\n");
            sender.feed("{\"topic\":\"chat/b\",\"data\":3}\n");
            drop(sender);
            let mut rest = Vec::new();
            while let Some(piece) = poll_fn(|cx| body.as_mut().poll_next(cx)).await {
                rest.extend_from_slice(&piece.unwrap());
            }
            let lines: Vec<Value> = String::from_utf8(rest)
                .unwrap()
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            assert_eq!(lines[0]["code"], expected[0]);
            assert_eq!(
                lines.get(1).map_or(&Value::Null, |line| &line["topic"]),
                &expected[1]
            );
        });
    }
}

#[test]
fn a_message_that_came_slowly_is_not_published_by_a_key_that_is_gone() {
    let keys = [key("k", &[Scope::Publish, Scope::Admin], None)];
    for path in ["/v1/topics/chat/a/messages", "/v1/broadcast"] {
        run(with_keys(&keys), async |api| {
            let request = TestRequest::post()
                .uri(path)
                .insert_header(("Authorization", "Bearer k"));
            let (sender, mut receiver) = unbounded_channel::<Result<web::Bytes, PayloadError>>();
            let (door, gone) = (Arc::clone(&api.state.door), with_keys(&[]));
            let body: BoxedPayloadStream = Box::pin(stream::poll_fn(move |cx| {
                // The body is being read, so the key was accepted.
                door.replace(Door::from_config(&gone));
                receiver.poll_recv(cx)
            }));
            sender.send(Ok("1".into())).unwrap();
            drop(sender);
            let request = request.to_request();
            let (request, _) = request.replace_payload(dev::Payload::from(body));
            api.send_whole(request).await.problem(401, "unauthorized");
        });
    }
}

#[test]
fn a_body_that_breaks_off_publishes_no_half_of_a_line() {
    run(usual(), async |api| {
        let (request, sender) = open();
        sender.feed("{\"topic\":\"chat/a\",\"data\":1}\n");
        sender.feed("{\"topic\":\"chat/a\",\"data\":2}");
        sender.0.send(Err(PayloadError::Incomplete(None))).unwrap();
        let lines = answered(&api.send_whole(request).await);
        assert_eq!((lines.len(), &lines[0]["offset"]), (2, &json!(1)));
        assert_eq!(lines[1]["code"], "bad_request");
        assert_eq!(api.get("/v1/topics/chat/a").await.json()["offset"], 1);
    });
}

#[test]
fn a_connection_whose_answers_are_not_read_is_ended() {
    static ENDED: AtomicBool = AtomicBool::new(false);
    run(usual(), async |api| {
        let mut state = ApiState::clone(&api.state);
        state.hang_up = |_| Some(Box::new(|| ENDED.store(true, Ordering::Relaxed)));
        api.state = web::Data::new(state);
        tokio::time::pause();
        let app = App::new().configure(|services| configure(services, api.state.clone()));
        let service = init_service(app).await;
        let (request, sender) = open();
        let response = call_service(&service, request).await;
        let mut body = pin!(response.into_body());
        let line = "{\"topic\":\"chat/a\",\"data\":1}\n";
        sender.feed(line);
        assert!(poll_fn(|cx| body.as_mut().poll_next(cx)).await.is_some());
        // Read on, it waits for more, which is nobody's fault.
        tokio::select! {
            _ = poll_fn(|cx| body.as_mut().poll_next(cx)) => panic!("there is no more"),
            () = sleep(Duration::from_secs(25)) => {}
        }
        sender.feed(line);
        sleep(Duration::from_secs(60)).await;
        assert!(
            !ENDED.load(Ordering::Relaxed),
            "it was read whenever there was something"
        );
        assert!(poll_fn(|cx| body.as_mut().poll_next(cx)).await.is_some());
        sleep(Duration::from_secs(60)).await;
        assert!(
            ENDED.load(Ordering::Relaxed),
            "what was given last was never written"
        );
    });
}
