//! What is asked of and about sessions, on one worker and on several.

use std::sync::Arc;

use super::*;
use crate::broker::testing::caller_of;
use crate::broker::{SessionPage, SessionQuery, Whom};
use crate::model::{Filter, Origin, Payload};
use crate::protocol::{Close, CloseCode, ErrorCode, Subscribe};

pub const ROOM: usize = 1 << 20;

pub fn of(user: &str, id: u64, format: WireFormat) -> Opening {
    Opening {
        rights: Rc::new(Rights::of(&caller_of(user))),
        ..opening(id, format)
    }
}

pub fn user(name: &str) -> Whom {
    Whom::User(name.into())
}

pub fn session(id: u64) -> Whom {
    Whom::Session(SessionId(id))
}

pub fn text(text: &str) -> Payload {
    Payload::text(text)
}

fn all() -> SessionQuery {
    SessionQuery {
        user: None,
        topic: None,
        after: None,
        limit: 100,
    }
}

fn ask(text: &str) -> Subscribe {
    Subscribe::to(filter(text))
}

fn names(page: &SessionPage) -> Vec<u64> {
    page.sessions
        .iter()
        .map(|view| view.card.session.0)
        .collect()
}

pub async fn send(broker: &Broker, to: &Whom, what: &str) -> Result<usize, ErrorCode> {
    let sent = broker.send_direct(to, text(what), Origin::Http).await;
    sent.map_err(|refusal| refusal.code)
}

#[test]
fn sessions_are_listed_page_by_page_and_found_by_user_and_topic() {
    let broker = broker(1, ROOM);
    on_worker(&broker, async |worker| {
        let clients: Vec<_> = (0..2500)
            .map(|id| {
                let user = if id % 1000 == 7 { "anna" } else { "bert" };
                Client::open(&worker, of(user, id, WireFormat::Raw), usize::MAX)
            })
            .collect();
        clients[3].subscribe("a/b").await;
        clients[2400].subscribe("a/+").await;
        clients[2401].subscribe("a/+").await;
        clients[2402].subscribe("b").await;
        clients[1007].subscribe("a/#").await;
        let listed = async |query: SessionQuery| {
            let (mut query, mut found) = (query, Vec::new());
            loop {
                let page = broker.sessions(&query).await;
                assert!(page.sessions.len() <= query.limit);
                assert!(page.next.is_none() || !page.sessions.is_empty());
                found.extend(names(&page));
                if page.next.is_none() {
                    return found;
                }
                query.after = page.next;
            }
        };
        let everyone: Vec<_> = (0..2500).collect();
        for limit in [1000, 2499, 2500, 2501] {
            assert_eq!(
                listed(SessionQuery { limit, ..all() }).await,
                everyone,
                "{limit}"
            );
        }
        for (topic, limit, found) in [
            ("a/b", 10, &[3, 1007, 2400, 2401][..]),
            ("a/b", 1, &[3, 1007, 2400, 2401]),
            ("a/+", 2, &[2400, 2401]),
            ("b", 1, &[2402]),
            ("c", 1, &[]),
        ] {
            let topic = Some(filter(topic));
            let query = SessionQuery {
                topic,
                limit,
                ..all()
            };
            assert_eq!(listed(query).await, found, "{limit}");
        }
        let anna = Some(Arc::from("anna"));
        let annas = SessionQuery {
            user: anna,
            limit: 2,
            ..all()
        };
        assert_eq!(listed(annas.clone()).await, [7, 1007, 2007]);
        let topic = Some(filter("a/b"));
        assert_eq!(listed(SessionQuery { topic, ..annas }).await, [1007]);
        let nobody = Some(Arc::from("nobody"));
        assert_eq!(
            listed(SessionQuery {
                user: nobody,
                ..all()
            })
            .await,
            [0; 0]
        );
    });
}

#[test]
fn what_is_shown_of_a_session_is_what_it_did() {
    let broker = broker(1, ROOM);
    on_worker(&broker, async |worker| {
        let client = Client::open(&worker, of("anna", 1, WireFormat::Raw), usize::MAX);
        let reader = Client::with_room(&worker, 2, WireFormat::Raw, 4);
        for each in [&client, &reader] {
            each.subscribe("a").await;
        }
        client.subscribe("b/#").await;
        let reply = |id| ReplyTo::Session {
            to: Rc::clone(&client.subscriber),
            id,
        };
        for (name, id) in [("a", None), ("a", Some(1)), ("c", None)] {
            let message = publication(&topic(name), "x", Some(SessionId(1)));
            worker.publish(message, Instant::now(), reply(id));
        }
        client
            .subscriber
            .note_round_trip(Duration::from_micros(1500));
        settle().await;
        let view = broker.session(SessionId(1)).await.unwrap();
        assert_eq!(view.user.as_deref(), Some("anna"));
        assert_eq!(view.subscriptions, [filter("a"), filter("b/#")]);
        assert_eq!((view.counts.published, view.counts.delivered), (3, 2));
        assert_eq!(view.round_trip, Some(Duration::from_micros(1500)));
        assert_eq!(view.queued_bytes, 0);
        let view = broker.session(SessionId(2)).await.unwrap();
        assert_eq!((view.counts.published, view.counts.delivered), (0, 1));
        // Two frames of three bytes, of which the kernel took four.
        assert_eq!(view.queued_bytes, 2);
        assert_eq!(view.round_trip, None);
    });
}

#[test]
fn several_workers_are_one_broker() {
    let broker = broker(3, ROOM);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ids = 100_u64;
    let workers: Vec<_> = (0..3)
        .map(|number| {
            let (broker, stop) = (broker.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                on_worker(&broker, async |worker| {
                    let mine = (0..ids).filter(|id| id % 3 == number);
                    let clients: Vec<_> = mine
                        .map(|id| {
                            let user = format!("user {}", id % 10);
                            Client::open(&worker, of(&user, id, WireFormat::Raw), ROOM)
                        })
                        .collect();
                    until("the test ends", || {
                        stop.load(std::sync::atomic::Ordering::Relaxed)
                    })
                    .await;
                    clients
                        .iter()
                        .map(|client| (client.subscriber.id().0, client.wire.payloads()))
                        .collect::<Vec<_>>()
                })
            })
        })
        .collect();
    actix_rt::System::new().block_on(async {
        until("all are there", || {
            broker.workers() == (3, 3) && broker.session_count() == ids as usize
        })
        .await;
        // From a thread that is no worker.
        assert_eq!(
            broker.broadcast(text("all"), Origin::Internal).await,
            Ok(100)
        );
        assert_eq!(send(&broker, &user("user 4"), "some").await, Ok(10));
        let mut query = SessionQuery { limit: 7, ..all() };
        let mut found = Vec::new();
        loop {
            let page = broker.sessions(&query).await;
            found.extend(names(&page));
            query.after = page.next;
            if page.next.is_none() {
                break;
            }
        }
        assert_eq!(found, (0..ids).collect::<Vec<_>>());
        for id in broker.sessions_of("user 7") {
            let ok = broker.subscribe_session(id, ask("t")).await.unwrap();
            assert_eq!(ok.topic, Filter::from(topic("t")));
        }
        let told = broker.publish(publication(&topic("t"), "told", None)).await;
        assert_eq!(told.unwrap().subscribers, 10);
        let close = Close::new(CloseCode::RECONNECT, "again");
        assert_eq!(broker.disconnect(&user("user 2"), &close).await, Ok(10));
        until("what was told has come", || {
            metric(broker.metrics(), "fanfare_messages_delivered_total") == 120
        })
        .await;
    });
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for (id, payloads) in workers
        .into_iter()
        .flat_map(|worker| worker.join().unwrap())
    {
        let mut expected = vec!["all"];
        match id % 10 {
            4 => expected.push("some"),
            7 => expected.push("told"),
            _ => {}
        }
        let payloads: Vec<_> = payloads.iter().map(String::as_str).collect();
        let is_closed = id % 10 == 2;
        assert_eq!(payloads[..expected.len()], expected, "{id}");
        assert_eq!(
            payloads.len(),
            expected.len() + usize::from(is_closed),
            "{id}"
        );
    }
}
#[test]
fn a_session_that_is_not_welcomed_yet_or_ends_is_not_there() {
    let broker = broker(1, ROOM);
    on_worker(&broker, async |worker| {
        let wire = FakeWire::with_room(ROOM);
        let opening = of("anna", 1, WireFormat::Raw);
        let subscriber = worker.attach(opening, Rc::<FakeWire>::clone(&wire));
        let is_nowhere = async || {
            assert_eq!(
                send(&broker, &session(1), "x").await,
                Err(ErrorCode::NotFound)
            );
            assert_eq!(
                send(&broker, &user("anna"), "x").await,
                Err(ErrorCode::NotFound)
            );
            assert_eq!(broker.broadcast(text("x"), Origin::Internal).await, Ok(0));
            assert_eq!(broker.session(SessionId(1)).await, None);
            assert_eq!(names(&broker.sessions(&all()).await), [0; 0]);
            let asked = broker.subscribe_session(SessionId(1), ask("a")).await;
            assert_eq!(asked.unwrap_err().code, ErrorCode::NotFound);
            let asked = broker.unsubscribe_session(SessionId(1), None).await;
            assert_eq!(asked.unwrap_err().code, ErrorCode::NotFound);
        };
        is_nowhere().await;
        subscriber.open(Bytes::new());
        assert_eq!(send(&broker, &session(1), "open").await, Ok(1));
        let close = Close::new(CloseCode::DISCONNECTED, "bye");
        assert_eq!(broker.disconnect(&session(1), &close).await, Ok(1));
        let again = broker.disconnect(&session(1), &close).await;
        assert_eq!(again.unwrap_err().code, ErrorCode::NotFound);
        is_nowhere().await;
        settle().await;
        let written = wire.payloads();
        assert_eq!(written[0], "open");
        assert!(written[1].ends_with("bye"), "{written:?}");
        assert_eq!(written.len(), 2);
        assert!(wire.is_shut.get());
    });
}

#[test]
fn the_servers_side_subscribes_whatever_is_granted_and_the_session_hears_of_the_end() {
    let broker = broker(1, ROOM);
    on_worker(&broker, async |worker| {
        let nothing = Rights::to(crate::auth::Access::nothing());
        let client = Client::that_may(&worker, 1, WireFormat::Json, ROOM, nothing);
        let name = SessionId(1);
        publish(&worker, "h/a", "kept", None);
        settle().await;
        let wish = Subscribe {
            last: Some(5),
            ..ask("h/a")
        };
        let ok = broker.subscribe_session(name, wish).await.unwrap();
        assert_eq!((ok.replayed, ok.position.unwrap().offset), (Some(1), 1));
        let wish = Subscribe {
            last: Some(5),
            ..ask("h/+")
        };
        broker.subscribe_session(name, wish).await.unwrap();
        let again = broker.subscribe_session(name, ask("h/a")).await;
        assert_eq!(again.unwrap_err().code, ErrorCode::AlreadySubscribed);
        settle().await;
        publish(&worker, "h/b", "live", None);
        // A rule that is for keys alone withholds it from the filter all the same.
        broker.subscribe_session(name, ask("#")).await.unwrap();
        // Nor do its rights matter when they are looked at again.
        worker.recheck(&client.subscriber);
        publish(&worker, "keys/a", "secret", None);
        publish(&worker, "other", "open", None);
        settle().await;
        let ended = broker.unsubscribe_session(name, Some(filter("h/a"))).await;
        assert_eq!(ended.unwrap(), [filter("h/a")]);
        let none = broker.unsubscribe_session(name, Some(filter("h/a"))).await;
        assert_eq!(none.unwrap_err().code, ErrorCode::NotSubscribed);
        let ended = broker.unsubscribe_session(name, None).await.unwrap();
        assert_eq!(ended, [filter("h/+"), filter("#")]);
        assert_eq!(broker.unsubscribe_session(name, None).await, Ok(vec![]));
        publish(&worker, "h/b", "late", None);
        settle().await;
        let told = client.wire.objects();
        let told: Vec<_> = told
            .iter()
            .map(|frame| match frame["type"].as_str().unwrap() {
                "message" => frame["data"].as_str().unwrap().to_owned(),
                kind => format!("{kind} {} {}", frame["topic"], frame["code"]),
            })
            .collect();
        assert_eq!(
            told,
            [
                "kept",
                "live",
                "open",
                r#"unsubscribed "h/a" "not_subscribed""#,
                r#"unsubscribed "h/+" "not_subscribed""#,
                r##"unsubscribed "#" "not_subscribed""##,
            ]
        );
        assert_eq!(metric(broker.metrics(), "fanfare_subscriptions"), 0);
    });
}
