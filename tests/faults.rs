//! What goes wrong inside stays where it is, and nothing secret gets out.

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::support::{Client, Http, Process, Server, base, config, eventually};

#[test]
fn a_route_that_panics_ends_its_request_and_nothing_else() {
    let server = Server::start_with(config(), |app| {
        app.routes(|services| {
            let panics = || async {
                assert!(std::env::var_os("NOT_SET").is_some(), "on purpose");
                HttpResponse::Ok().finish()
            };
            services.route("/panics", web::get().to(panics)).route(
                "/own",
                web::get().to(|| async { HttpResponse::Ok().body("mine") }),
            );
        })
    });
    // On both workers, before and after.
    let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.subscribe("a").await_ok();
    }
    for _ in 0..4 {
        let died = server.http("GET", "/panics").try_send();
        assert!(
            died.as_ref().is_none_or(|answer| answer.status == 500),
            "{died:?}"
        );
    }
    server.await_metric("fanfare_panics_total", 4);
    assert_eq!(server.get("/own").text(), "mine");
    server.publish("a", &json!(1));
    for client in &mut clients {
        assert_eq!(client.expect_message("a")["data"], 1);
        client.expect_nothing();
    }
    assert_eq!(server.metric("fanfare_connections"), 4);
    let (running, configured) = server.broker.workers();
    assert_eq!(running, configured);
}

#[test]
fn no_token_reaches_the_log() {
    const KEY: &str = "9a6c0ee1deadbeefcafe";
    const WRONG: &str = "wr0ngt0kenwr0ngt0ken";
    const TOPIC: &str = "n0b0dysbusiness";
    // The hash is of KEY; what is tested is that neither is seen.
    let sha256 = {
        use std::fmt::Write as _;
        let secret = fanfare::config::KeySecret::of(KEY, fanfare::config::KeySource::Sha256);
        let mut text = String::new();
        for byte in secret.sha256 {
            write!(text, "{byte:02x}").unwrap();
        }
        text
    };
    let toml = format!(
        "[auth]\nanonymous = {{ subscribe = [\"#\"] }}\n\
         [[api.key]]\nname = \"backend\"\nsha256 = \"{sha256}\"\nscopes = [\"publish\", \"read\"]\n"
    );
    let process = Process::start(&toml, &["--log-level", "info,fanfare=trace"]);
    let at = process.address;
    let mut answers = Vec::new();
    for token in [KEY, WRONG] {
        let open =
            |path: String, headers: &[(&'static str, &str)]| base(at, &path, headers).is_ok();
        let bearer = format!("Bearer {token}");
        let good = token == KEY;
        assert_eq!(open(format!("/ws?topic={TOPIC}&token={token}"), &[]), good);
        assert_eq!(open("/ws".into(), &[("Authorization", &bearer)]), good);
        let offer = format!("bearer.{token}, fanfare.v1.json");
        assert_eq!(
            open("/ws".into(), &[("Sec-WebSocket-Protocol", &offer)]),
            good
        );
        answers.push(Http::new(at, "GET", "/v1/stats").key(token).send());
        answers.push(Http::new(at, "GET", &format!("/v1/stats?token={token}")).send());
        answers.push(Http::new(at, "GET", &format!("/nope?token={token}")).send());
        answers.push(Http::new(at, "GET", &format!("/sse?token={token}")).send());
        let mut client = Client::open(at, "/ws");
        let answer = client.ask(json!({"type": "auth", "token": token})).answer();
        assert_eq!(answer["type"] == "ok", good);
        assert!(!answer.to_string().contains(token));
        client.send_text(&format!(r#"{{"type":"auth","token":"{token}""#));
    }
    for answer in answers {
        let text = format!("{:?} {}", answer.headers, answer.text());
        assert!(!text.contains(KEY) && !text.contains(WRONG), "{text}");
    }
    let metrics = Http::new(at, "GET", "/metrics").send().text();
    eventually("all of it was seen", || {
        Http::new(at, "GET", "/metrics")
            .send()
            .text()
            .contains("fanfare_auth_failures_total")
    });
    process.signal(rustix::process::Signal::TERM);
    let (status, log) = process.await_end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        log.contains("session opened"),
        "the log is a detailed one: {log}"
    );
    for text in [&log, &metrics] {
        for secret in [KEY, WRONG, &sha256, TOPIC, "token="] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}
