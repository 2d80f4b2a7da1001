//! What is said to sessions themselves, and how they are ended.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::task::Poll;

use super::sessions::{ROOM, of, send, session, text, user};
use super::*;
use crate::broker::testing::caller_of;
use crate::model::{Origin, Payload};
use crate::protocol::{Close, CloseCode, ErrorCode};

#[test]
fn a_direct_message_goes_to_one_session_or_to_all_of_a_users() {
    let broker = broker(1, ROOM);
    on_worker(&broker, async |worker| {
        let anna = [1, 2].map(|id| Client::open(&worker, of("anna", id, WireFormat::Json), ROOM));
        let bert = Client::open(&worker, of("bert", 3, WireFormat::Raw), ROOM);
        assert_eq!(send(&broker, &user("anna"), "both").await, Ok(2));
        assert_eq!(send(&broker, &session(2), "second").await, Ok(1));
        assert_eq!(send(&broker, &user("bert"), "raw").await, Ok(1));
        settle().await;
        let data = |client: &Client| {
            let told = client.wire.objects();
            for message in &told {
                assert_eq!(message["type"], "message");
                assert_eq!(message["topic"], "$direct");
                assert!(message["time"].is_u64() && message.get("offset").is_none());
            }
            let data = told.iter().map(|m| m["data"].as_str().unwrap().to_owned());
            data.collect::<Vec<_>>()
        };
        assert_eq!(data(&anna[0]), ["both"]);
        assert_eq!(data(&anna[1]), ["both", "second"]);
        assert_eq!(bert.wire.payloads(), ["raw"]);
        for nobody in [user("carl"), session(9)] {
            assert_eq!(send(&broker, &nobody, "x").await, Err(ErrorCode::NotFound));
        }
        let published = r#"fanfare_messages_published_total{protocol="http"} 3"#;
        let metrics = broker.metrics().render().unwrap();
        assert!(metrics.contains(published), "{metrics}");
        assert_eq!(
            metric(broker.metrics(), "fanfare_messages_delivered_total"),
            4
        );
    });
}

#[test]
fn whose_a_session_is_follows_its_credentials() {
    let broker = broker(1, ROOM);
    on_worker(&broker, async |worker| {
        let client = Client::new(&worker, 1, WireFormat::Raw);
        assert_eq!(
            send(&broker, &user("anna"), "early").await,
            Err(ErrorCode::NotFound)
        );
        client.subscriber.rights().prove(&caller_of("anna"));
        worker.identify(&client.subscriber, None);
        assert_eq!(send(&broker, &user("anna"), "now").await, Ok(1));
        client.detach();
        assert_eq!(
            send(&broker, &user("anna"), "late").await,
            Err(ErrorCode::NotFound)
        );
        assert_eq!(client.wire.payloads(), ["now"]);
        assert_eq!(broker.session_count(), 0);
        assert_eq!(broker.sessions_of("anna"), []);
    });
}

#[test]
fn a_broadcast_to_many_is_handed_out_in_slices_and_written_once_to_each() {
    let broker = broker(1, ROOM);
    on_worker(&broker, async |worker| {
        let clients: Rc<[Client]> = (0..3000)
            .map(|id| Client::new(&worker, id, WireFormat::Raw))
            .collect();
        settle().await;
        let (watched, seen) = (Rc::clone(&clients), Rc::new(RefCell::new(BTreeSet::new())));
        let between = Rc::clone(&seen);
        let watching = actix_rt::spawn(std::future::poll_fn(move |cx| {
            let had = watched.iter().filter(|c| c.wire.writes.get() > 0);
            between.borrow_mut().insert(had.count());
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        let first = broker.broadcast(text("1"), Origin::Internal);
        let second = broker.broadcast(text("2"), Origin::Internal);
        assert_eq!(tokio::join!(first, second), (Ok(3000), Ok(3000)));
        settle().await;
        watching.abort();
        // Others had their turn while it was handed out.
        let seen = seen.borrow();
        assert!(seen.iter().any(|had| (1..3000).contains(had)), "{seen:?}");
        for client in clients.iter() {
            assert_eq!(client.wire.payloads(), ["1", "2"]);
        }
    });
}

#[test]
fn what_one_session_cannot_take_is_counted_and_does_not_hold_the_others() {
    let broker = broker(1, 100);
    on_worker(&broker, async |worker| {
        let stuck = Client::with_room(&worker, 1, WireFormat::Raw, 1);
        let other = Client::new(&worker, 2, WireFormat::Raw);
        let long = "x".repeat(80);
        assert_eq!(broker.broadcast(text(&long), Origin::Internal).await, Ok(2));
        settle().await;
        assert_eq!(broker.broadcast(text(&long), Origin::Internal).await, Ok(1));
        settle().await;
        assert_eq!(other.wire.payloads(), [long.clone(), long]);
        assert_eq!(stuck.subscriber.closed_with().unwrap().0, CloseCode::SLOW);
        let count = |name| metric(broker.metrics(), name);
        assert_eq!(count("fanfare_messages_delivered_total"), 2);
        // The first waits half written, and is still to go.
        assert_eq!(count("fanfare_messages_dropped_total"), 1);
        stuck.detach();
        settle().await;
        assert_eq!(count("fanfare_messages_dropped_total"), 2);
    });
}

#[test]
fn too_much_at_once_is_refused_and_reaches_nobody() {
    let broker = broker(1, ROOM);
    on_worker(&broker, async |worker| {
        let client = Client::new(&worker, 1, WireFormat::Raw);
        let huge = Payload::binary(Bytes::from(vec![0; 20 << 20]));
        let first = broker.broadcast(huge.clone(), Origin::Internal);
        let second = broker.broadcast(huge, Origin::Internal);
        let (first, second) = tokio::join!(first, second);
        assert_eq!(first, Ok(1));
        let refusal = second.unwrap_err();
        assert_eq!(refusal.code, ErrorCode::Unavailable);
        assert!(refusal.retry_after.is_some());
        settle().await;
        assert_eq!(client.wire.payloads().len(), 1);
        // What was delivered makes room.
        assert_eq!(
            broker.broadcast(text("more"), Origin::Internal).await,
            Ok(1)
        );
    });
}

#[test]
fn only_codes_of_the_application_end_a_session() {
    let broker = broker(1, ROOM);
    on_worker(&broker, async |worker| {
        let client = Client::new(&worker, 1, WireFormat::Json);
        for (code, reason) in [
            (1000, ""),
            (4008, "slow"),
            (4501, ""),
            (4200, &*"x".repeat(124)),
        ] {
            let close = Close::new(CloseCode(code), reason.to_owned());
            let refusal = broker.disconnect(&session(1), &close).await.unwrap_err();
            assert_eq!(refusal.code, ErrorCode::BadRequest, "{code} {reason}");
        }
        assert!(!client.subscriber.is_ending());
        let close = Close::new(CloseCode(4200), "x".repeat(123));
        assert_eq!(broker.disconnect(&session(1), &close).await, Ok(1));
        settle().await;
        let told = client.wire.objects();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0]["type"], "closing");
        assert_eq!(told[0]["code"], 4200);
        assert_eq!(told[0]["reconnect"], true);
    });
}
