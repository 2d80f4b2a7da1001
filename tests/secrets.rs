//! What nobody may read: keys, tokens, queries and payloads are in no metric, no log and no answer.

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Client, Events, Http, Packed, Process, base};

const KEY: &str = "KEYxSECRETx";
/// Of `KEY`; whoever reads it can look for the key at leisure.
const HASH: &str = "b73b11a42aa352d4e4546e43e7376fe92ed7d7a6f3a75b3dc9afb21d870b7cf3";
const WRONG: &str = "WRONGxSECRETx";
const PAYLOAD: &str = "PAYLOADxSECRETx";
const TOPIC: &str = "TOPICxSECRETx";
const QUERY: &str = "QUERYxSECRETx";

#[test]
fn no_key_token_query_topic_or_payload_is_in_the_log_the_metrics_or_a_refusal() {
    for format in ["json", "pretty"] {
        let toml = format!(
            "server.drain = \"200ms\"\nlog.level = \"trace,mio=off\"\nlog.format = \"{format}\"\n\
             [[api.key]]\nname = \"backend\"\nsha256 = \"{HASH}\"\n\
             scopes = [\"publish\", \"read\", \"admin\"]\n[auth]\n"
        );
        let process = Process::start(&toml, &[]);
        let mut answers = vec![];
        let mut keep = |answer: Option<crate::support::Answer>| {
            let answer = answer.expect("an answer");
            answers.push(answer.text());
            answer.status
        };
        let http = |method: &str, path: &str| Http::new(process.address, method, path);
        let messages = format!("/v1/topics/{TOPIC}/messages");
        let post = || http("POST", &messages).json(&json!(PAYLOAD));
        assert_eq!(
            post()
                .key(KEY)
                .header("Idempotency-Key", QUERY)
                .send()
                .status,
            200
        );
        // The wrong key, no key, the key where it does not belong, and what nobody understands.
        assert_eq!(keep(post().key(WRONG).try_send()), 401);
        assert_eq!(keep(post().try_send()), 401);
        assert_eq!(
            keep(http("GET", &format!("/v1/stats?token={KEY}")).try_send()),
            401
        );
        let bad = http("POST", "/v1/publish")
            .key(KEY)
            .body(format!("{{\"{PAYLOAD}"));
        assert_eq!(
            keep(bad.header("Content-Type", "application/json").try_send()),
            400
        );
        let nowhere = format!("/{QUERY}?{QUERY}={QUERY}");
        assert_eq!(keep(http("GET", &nowhere).key(KEY).try_send()), 404);
        for path in ["/ws", "/sse"] {
            let refused = format!("{path}?token={WRONG}&topic={TOPIC}&x={QUERY}");
            assert!(matches!(keep(http("GET", &refused).try_send()), 400..=426));
        }
        let wrong = format!("/ws?token={WRONG}&topic={TOPIC}");
        assert_eq!(
            base(process.address, &wrong, &[]).unwrap_err().status(),
            401
        );
        // In sessions of every kind, with the credential in every place.
        let right = format!("/ws?token={KEY}&x={QUERY}");
        let mut client = Client::open(process.address, &right);
        client.subscribe(TOPIC).await_ok();
        client.publish(TOPIC, PAYLOAD).await_ok();
        client.send(&json!({"type": PAYLOAD, "id": 7}));
        let _packed = Packed::open(process.address, &right);
        let offer = format!("fanfare.v1.json, bearer.{KEY}");
        let offered = [("Sec-WebSocket-Protocol", offer.as_str())];
        let _offered = Client::open_with(process.address, "/ws", &offered);
        let bearer = format!("Bearer {KEY}");
        let query = format!("topic={TOPIC}&x={QUERY}");
        let _events = Events::open(process.address, &query, &[("Authorization", &bearer)]);
        let mut late = Client::open(process.address, &right);
        late.send(&json!({"type": "auth", "token": WRONG}));
        late.expect_close(4501);

        let metrics = http("GET", "/metrics").send();
        assert_eq!(metrics.status, 200);
        answers.push(metrics.text());
        let page = |path: &str| http("GET", path).key(KEY).send().text();
        for path in ["/v1/stats", "/v1/sessions", "/openapi.json", "/readyz"] {
            let page = page(path);
            for secret in [KEY, HASH, WRONG, PAYLOAD, QUERY] {
                assert!(!page.contains(secret), "{secret} in {path}: {page}");
            }
        }
        process.signal(Signal::TERM);
        let (status, log) = process.await_end();
        assert!(status.success(), "{log}");
        assert!(log.lines().count() > 3, "{log}");
        for secret in [KEY, HASH, WRONG, PAYLOAD, QUERY, TOPIC] {
            for text in answers.iter().chain([&log]) {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
        }
    }
}
