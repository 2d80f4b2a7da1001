//! A fault inside, met over real sockets: it ends as little as it may, and is told and counted.

use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use actix_rt::System;
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use super::*;
use crate::config::{Config, HistoryRule, TopicRule};
use crate::gateway::random;
use crate::history::MemoryStore;
use crate::history::trapped::Trapped;
use crate::model::{Filter, Timestamp};
use crate::shutdown;

/// Two workers, every topic with a history.
fn trapped() -> App {
    let mut config = Config::default();
    config.server.listen.set_port(0);
    config.server.workers = 2;
    config.server.drain = Duration::ZERO;
    config.topics = vec![TopicRule {
        history: Some(HistoryRule::last(100)),
        ..TopicRule::live(Filter::new("#").unwrap())
    }];
    let store = MemoryStore::new(config.store.memory, random, Timestamp::now());
    let settings = settings(&config, Arc::new(Trapped(store)));
    let mut app = App::build(config).unwrap();
    app.broker = Broker::new(settings, app.broker.metrics().clone());
    app
}

fn connect(address: SocketAddr, path: &str, protocol: &str) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let url = format!("ws://{address}{path}");
    let mut request = url.into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
    tungstenite::client(request, stream).unwrap().0
}

/// A JSON session, its welcome read.
fn session(address: SocketAddr) -> WebSocket<TcpStream> {
    let mut session = connect(address, "/ws", "fanfare.v1.json");
    assert_eq!(frame(&mut session)["type"], "welcome");
    session
}

fn frame(session: &mut WebSocket<TcpStream>) -> Value {
    serde_json::from_str(session.read().unwrap().to_text().unwrap()).unwrap()
}

fn ask(session: &mut WebSocket<TcpStream>, ask: &Value) -> Value {
    session.send(Message::text(ask.to_string())).unwrap();
    frame(session)
}

/// The code that the session is closed with.
fn close_code(session: &mut WebSocket<TcpStream>) -> u16 {
    match session.read().unwrap() {
        Message::Close(Some(close)) => close.code.into(),
        other => panic!("{other:?}"),
    }
}

fn shown(broker: &Broker, series: &str) -> u64 {
    let text = broker.metrics().render().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.map_or(0, |value| value.trim().parse().unwrap())
}

#[test]
fn a_panic_ends_the_session_whose_turn_it_is_and_no_other() {
    let (trigger, shutdown) = shutdown::pair();
    let (sender, bound) = mpsc::channel();
    let server = std::thread::spawn(move || {
        System::new().block_on(async move {
            let bound = trapped().bind().unwrap();
            sender.send((bound.address(), bound.broker())).unwrap();
            bound.run(shutdown).await.unwrap();
        });
    });
    let (address, broker) = bound.recv().unwrap();
    while broker.workers().0 < 2 {
        std::thread::yield_now();
    }
    let mut others: Vec<_> = (0..4).map(|_| session(address)).collect();
    for other in &mut others {
        let ok = ask(other, &json!({"type": "subscribe", "topic": "a", "id": 1}));
        assert_eq!(ok["type"], "ok", "{ok}");
    }

    // What is at home on the session's own worker panics in its turn, and it ends; what is not fails there,
    // and the session is told and goes on.
    let (mut ended, mut told) = (0, 0);
    for number in 0..64 {
        if ended > 0 && told > 0 {
            break;
        }
        let topic = format!("{number}/trap");
        let mut victim = session(address);
        let publish = json!({"type": "publish", "topic": topic, "data": 1, "id": 1});
        let answer = ask(&mut victim, &publish);
        if answer["type"] == "closing" {
            assert_eq!(
                (&answer["code"], &answer["reconnect"]),
                (&json!(1011), &json!(true))
            );
            assert_eq!(close_code(&mut victim), 1011);
            ended += 1;
        } else {
            assert_eq!(answer["code"], "internal", "{answer}");
            assert_eq!(ask(&mut victim, &json!({"type": "ping", "id": 2}))["id"], 2);
            told += 1;
        }
    }
    assert!(ended > 0 && told > 0, "{ended} {told}");
    let panics = |place: &str| {
        shown(
            &broker,
            &format!("fanfare_panics_total{{place=\"{place}\"}}"),
        )
    };
    assert_eq!((panics("session"), panics("registry")), (ended, told));
    // A raw session has no error frames, so it is closed wherever the topic is at home.
    for number in 0..4 {
        let mut raw = connect(
            address,
            &format!("/ws?publish={number}/trap"),
            "fanfare.v1.raw",
        );
        raw.send(Message::text("x")).unwrap();
        assert_eq!(close_code(&mut raw), 1011);
    }
    let closed = || shown(&broker, r#"fanfare_disconnects_total{code="1011"}"#);
    let deadline = Instant::now() + Duration::from_secs(10);
    while closed() < ended + 4 {
        assert!(Instant::now() < deadline, "{}", closed());
        std::thread::yield_now();
    }

    // Everybody else is there, and both workers.
    let mut writer = session(address);
    let ok = ask(
        &mut writer,
        &json!({"type": "publish", "topic": "a", "data": 7, "id": 1}),
    );
    assert_eq!(ok["offset"], 1, "{ok}");
    for other in &mut others {
        assert_eq!(frame(other)["data"], 7);
    }
    assert_eq!(broker.workers(), (2, 2));
    assert_eq!(panics("flush"), 0);
    trigger.fire();
    trigger.fire();
    server.join().unwrap();
}
