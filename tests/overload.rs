//! A worker that does not get on, or is gone: what that means for those of the others.

use std::collections::HashMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use fanfare::broker::Publication;
use fanfare::model::{Payload, TopicName};

use crate::support::{
    Answer, CLOSE, Client, PATIENCE, Server, TEXT, Wire, config, eventually_some, frame,
    read_answer, try_base,
};

/// From here on nobody may be read who publishes to that worker, by a wide margin: 8 MiB wait, and the
/// kernel holds what is under way.
const HELD_BACK: usize = 64 << 20;

/// Topics of which each worker is home to some.
const TRIED: u64 = 32;

/// Two workers: which one serves a connection is told by `/worker`, and one goes no further from `/stop`
/// until it is told to, or ends for good with `/die`.
struct Workers {
    server: Server,
    stopped: mpsc::Receiver<()>,
    go_on: mpsc::Sender<()>,
}

impl Workers {
    fn start() -> Self {
        let (told, stopped) = mpsc::channel();
        let (go_on, waits) = mpsc::channel();
        let waits = Arc::new(Mutex::new(waits));
        let server = Server::start_with(config(), move |app| {
            app.routes(move |services| {
                let (told, waits) = (told.clone(), Arc::clone(&waits));
                let stop = move || {
                    told.send(()).unwrap();
                    let _ = waits.lock().unwrap().recv_timeout(3 * PATIENCE);
                    async { HttpResponse::Ok().body("on again") }
                };
                let worker = || async { format!("{:?}", std::thread::current().id()) };
                let die = || async {
                    actix_rt::Arbiter::current().stop();
                    HttpResponse::Ok().finish()
                };
                services
                    .route("/worker", web::get().to(worker))
                    .route("/stop", web::get().to(stop))
                    .route("/die", web::get().to(die));
            })
        });
        Self {
            server,
            stopped,
            go_on,
        }
    }

    /// Connections to either worker, so many at least: each is in no request.
    fn connections(&self, least: usize) -> [Vec<TcpStream>; 2] {
        let mut found: HashMap<String, Vec<TcpStream>> = HashMap::new();
        while found.len() < 2 || found.values().any(|some| some.len() < least) {
            let mut stream = TcpStream::connect(self.server.address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            let worker = get(&mut stream, "/worker").text();
            let of_worker = found.entry(worker).or_default();
            of_worker.push(stream);
            assert!(of_worker.len() < 100, "the other worker gets none");
        }
        let mut found = found.into_values();
        [found.next().unwrap(), found.next().unwrap()]
    }
}

fn ask(stream: &mut TcpStream, line: &str, body: &[u8]) {
    let length = body.len();
    let head = format!("{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
}

#[track_caller]
fn get(stream: &mut TcpStream, path: &str) -> Answer {
    ask(stream, &format!("GET {path}"), b"");
    read_answer(stream).expect("an answer")
}

/// A topic that is at home on the worker that has stopped, and one that is not: a publish to that is
/// answered.
fn topics_of_either(session: &mut Wire) -> (String, String) {
    for id in 0..TRIED {
        let topic = format!("t/{id}");
        session.send_json(&json!({"type": "publish", "topic": topic, "data": 1, "id": id}));
    }
    session.send_json(&json!({"type": "ping", "id": TRIED}));
    let mut answered = Vec::new();
    loop {
        let answer = session.json();
        assert_eq!(answer["type"], "ok", "{answer}");
        match answer["id"].as_u64().unwrap() {
            TRIED => break,
            id => answered.push(id),
        }
    }
    let name = |id: Option<u64>| format!("t/{}", id.expect("a topic at home on that worker"));
    let there = (0..TRIED).find(|id| !answered.contains(id));
    (name(there), name(answered.first().copied()))
}

#[test]
fn a_home_that_is_full_refuses_with_503_and_holds_back_whoever_publishes_to_it() {
    let workers = Workers::start();
    let [mut free, mut stuck] = workers.connections(4);
    let mut reader = Wire::over(free.pop().unwrap(), "/ws?topic=t/%23", "").welcomed();
    let mut writer = Wire::over(free.pop().unwrap(), "/ws", "").welcomed();
    ask(&mut stuck[0], "GET /stop", b"");
    workers.stopped.recv_timeout(PATIENCE).unwrap();
    let (there, here) = topics_of_either(&mut writer);

    // A session that publishes on and on is not read in the end, and is told of no error for it.
    let patience = Duration::from_millis(500);
    writer.stream.set_write_timeout(Some(patience)).unwrap();
    let publish = json!({"type": "publish", "topic": there, "data": "x".repeat(60_000)});
    let publish = frame(TEXT, publish.to_string());
    let mut sent = 0;
    while let Ok(bytes) = writer.stream.write(&publish[sent % publish.len()..]) {
        sent += bytes;
        assert!(sent < HELD_BACK, "it is read without end");
    }

    // Over HTTP it is refused after a moment, and told when to come again.
    let mut backend = free.pop().unwrap();
    ask(
        &mut backend,
        &format!("POST /v1/topics/{there}/messages"),
        b"1",
    );
    let refused = read_answer(&mut backend).expect("an answer");
    assert_eq!(refused.expect_problem(503), "unavailable");
    assert_eq!(refused.header("retry-after"), Some("1"));
    // Topics of the other homes are delivered to the sessions that are held back too.
    let topic = TopicName::new(&here).unwrap();
    let publication = Publication::new(topic, Payload::text("meanwhile"));
    let published = workers.server.broker.publish(publication);
    actix_rt::System::new().block_on(published).unwrap();
    while reader.json()["data"] != "meanwhile" {}

    // Once the home gets on, so does everyone, and what was taken is there.
    workers.go_on.send(()).unwrap();
    writer.stream.set_write_timeout(Some(PATIENCE)).unwrap();
    writer.send(&publish[sent % publish.len()..]);
    writer.send_json(&json!({"type": "ping", "id": 1000}));
    loop {
        let answer = writer.json();
        assert_eq!(answer["type"], "ok", "{answer}");
        if answer["id"] == 1000 {
            break;
        }
    }
    ask(
        &mut backend,
        &format!("POST /v1/topics/{there}/messages"),
        b"1",
    );
    assert_eq!(read_answer(&mut backend).expect("an answer").status, 200);
    let refused = r#"fanfare_publish_errors_total{code="unavailable"}"#;
    assert_eq!(workers.server.metric(refused), 1);
    let by_session = r#"fanfare_messages_published_total{protocol="json"}"#;
    let by_session = workers.server.metric(by_session);
    assert_eq!(by_session, TRIED + (sent / publish.len()) as u64 + 1);
}

#[test]
fn when_a_worker_dies_who_listened_to_its_topics_is_closed_with_1013_and_comes_again() {
    let workers = Workers::start();
    let [mut free, mut dying] = workers.connections(4);
    let mut listener = Wire::over(free.pop().unwrap(), "/ws?topic=a/%23", "").welcomed();
    let mut idle = Wire::over(free.pop().unwrap(), "/ws", "").welcomed();
    let mut lost = Wire::over(dying.pop().unwrap(), "/ws?topic=a/%23", "").welcomed();
    ask(&mut dying[0], "GET /die", b"");
    let closing: Value = listener.json();
    assert_eq!(closing["type"], "closing", "{closing}");
    assert_eq!(
        (&closing["code"], &closing["reconnect"]),
        (&json!(1013), &json!(true))
    );
    let (opcode, payload) = listener.frame().expect("a close frame");
    assert_eq!(
        (opcode, &payload[..2]),
        (CLOSE, &1013_u16.to_be_bytes()[..])
    );
    lost.expect_end();
    // Another takes its place, and who was not concerned stays.
    idle.send_json(&json!({"type": "ping", "id": 1}));
    assert_eq!(idle.json()["id"], 1);
    let mut again = eventually_some("another takes its place", || {
        let opened = try_base(workers.server.address, "/ws?topic=a/%23", &[]);
        opened.ok()?.ok().map(Client::over)
    });
    workers.server.publish("a/b", &json!(1));
    assert_eq!(again.expect_message("a/b")["data"], 1);
    let closed = r#"fanfare_disconnects_total{code="1013"}"#;
    workers.server.await_metric(closed, 1);
}
