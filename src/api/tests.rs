//! The API as a client sees it, over a broker of one worker.

mod access;
mod lines;
mod node;
mod once;
mod openapi;
mod publishing;
mod reading;
mod refused;
mod sessions;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, web};
use serde_json::Value;

use super::{ApiState, configure};
use crate::auth::{Door, LiveDoor};
use crate::broker::{Broker, Rules, Settings, Worker};
use crate::config::{
    ApiKey, Auth, Config, HistoryRule, KeySecret, KeySource, Limits, Scope, TopicRule,
};
use crate::history::MemoryStore;
use crate::limits::Throttle;
use crate::metrics::Metrics;
use crate::model::{Filter, Timestamp};
use crate::shutdown::{self, Trigger};

/// A broker and its API.
struct Api {
    state: web::Data<ApiState>,
    trigger: Trigger,
    worker: Rc<Worker>,
}

/// What was answered.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Api {
    async fn send(&self, request: TestRequest) -> Answer {
        self.send_whole(request.to_request()).await
    }

    async fn send_whole(&self, request: actix_http::Request) -> Answer {
        let app = App::new().configure(|services| configure(services, self.state.clone()));
        let service = init_service(app).await;
        let response = call_service(&service, request).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = read_body(response).await;
        Answer {
            status,
            headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(local(TestRequest::get().uri(path))).await
    }

    async fn post(&self, path: &str, kind: &str, body: impl Into<web::Bytes>) -> Answer {
        let request = TestRequest::post()
            .uri(path)
            .insert_header(("Content-Type", kind));
        self.send(local(request).set_payload(body)).await
    }

    async fn post_json(&self, path: &str, body: &str) -> Answer {
        self.post(path, "application/json", body.to_owned()).await
    }

    /// Publishes and fails the test if that is not done.
    async fn publish(&self, topic: &str, text: &str) {
        let path = format!("/v1/topics/{topic}/messages");
        let answer = self.post(&path, "text/plain", text.to_owned()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// Fails the test if this is not a problem of that status and code. Gives its detail.
    fn problem(&self, status: u16, code: &str) -> String {
        let told = &self.body;
        assert_eq!(self.status, status, "{told}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let body = self.json();
        assert_eq!(body["status"], status, "{told}");
        assert_eq!(body["code"], code, "{told}");
        assert_eq!(body["type"], "about:blank", "{told}");
        assert!(!body["title"].as_str().unwrap().is_empty(), "{told}");
        let waits = matches!(status, 429 | 503) && code != "limit_exceeded";
        assert_eq!(body["retry_after_ms"].is_u64(), waits, "{told}");
        assert_eq!(self.headers.contains_key("retry-after"), waits, "{told}");
        assert_eq!(self.header("www-authenticate") == "Bearer", status == 401);
        body["detail"].as_str().unwrap().to_owned()
    }
}

/// A request of this machine.
fn local(request: TestRequest) -> TestRequest {
    request
        .peer_addr("127.0.0.1:4000".parse().unwrap())
        .insert_header(("Host", "localhost:8080"))
}

/// A request from elsewhere.
fn remote(request: TestRequest) -> TestRequest {
    request
        .peer_addr("192.0.2.7:4000".parse().unwrap())
        .insert_header(("Host", "broker.example"))
}

fn with_key(request: TestRequest, key: &str) -> TestRequest {
    request.insert_header(("Authorization", format!("Bearer {key}")))
}

fn filter(text: &str) -> Filter {
    Filter::new(text).unwrap()
}

fn key(name: &str, scopes: &[Scope], topics: Option<&[&str]>) -> ApiKey {
    let topics = topics.map(|texts| texts.iter().map(|text| filter(text)).collect());
    ApiKey {
        name: name.to_owned(),
        // Each key is called what it is.
        secret: KeySecret::of(name, KeySource::Sha256),
        scopes: scopes.to_vec(),
        topics,
    }
}

/// `chat/#` keeps three messages and tells who is there; nothing else keeps anything.
fn usual() -> Config {
    let rule = TopicRule {
        history: Some(HistoryRule::last(3)),
        presence: true,
        ..TopicRule::live(filter("chat/#"))
    };
    let limits = Limits {
        message_bytes: 100,
        batch: 4,
        ..Limits::default()
    };
    Config {
        topics: vec![rule],
        limits,
        ..Config::default()
    }
}

/// As [`usual`], with keys, listening on every address.
fn with_keys(keys: &[ApiKey]) -> Config {
    let mut config = usual();
    config.server.listen = "0.0.0.0:8080".parse().unwrap();
    config.auth = Some(Auth::default());
    config.api.keys = keys.to_vec();
    config
}

/// Runs a test with a broker of that configuration.
fn run(config: Config, test: impl AsyncFnOnce(&mut Api)) {
    // Another epoch each time.
    let lives = AtomicU64::new(1);
    let random = move || lives.fetch_add(1, Ordering::Relaxed);
    let settings = Settings {
        workers: 1,
        rules: Rules::from_config(&config.topics),
        store: Arc::new(MemoryStore::new(usize::MAX, random, Timestamp(0))),
        max_topics: 20,
        max_replay: 100,
        max_subscriptions: 10,
        flush_interval: Duration::ZERO,
        compression: crate::protocol::Effort::default(),
        queue: 1024,
        idempotency_window: Duration::from_secs(60),
        max_answers: 10,
    };
    let (trigger, shutdown) = shutdown::pair();
    let broker = Broker::new(settings, Metrics::new("0", "test").unwrap());
    let door = LiveDoor::new(Door::from_config(&config));
    let throttle = Throttle::new(&config.limits, broker.metrics().clone());
    let state = ApiState::new(broker, door, Arc::new(throttle), shutdown, config.into());
    actix_rt::System::new().block_on(async {
        let worker = state.broker.enter().unwrap();
        let mut api = Api {
            state: web::Data::new(state),
            trigger,
            worker,
        };
        test(&mut api).await;
    });
}
