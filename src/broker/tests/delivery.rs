//! Batches, audiences and outboxes, on one worker.

use super::*;

#[test]
fn several_messages_of_a_turn_leave_in_one_write() {
    let broker = broker(1, 1 << 20);
    on_worker(&broker, async |worker| {
        let clients = [1, 2].map(|id| Client::new(&worker, id, WireFormat::Raw));
        for client in &clients {
            client.subscribe("a").await;
        }
        for text in ["1", "2", "3"] {
            publish(&worker, "a", text, None);
        }
        settle().await;
        for client in &clients {
            assert_eq!(client.wire.payloads(), ["1", "2", "3"]);
            assert_eq!(client.wire.writes.get(), 1);
        }
        assert_eq!(
            metric(broker.metrics(), "fanfare_messages_delivered_total"),
            6
        );
    });
}

#[test]
fn several_topics_of_a_turn_leave_in_one_write() {
    let broker = broker(1, 1 << 20);
    on_worker(&broker, async |worker| {
        let client = Client::new(&worker, 1, WireFormat::Raw);
        for name in ["a", "b", "c/#"] {
            client.subscribe(name).await;
        }
        for name in ["a", "b", "c", "c/d"] {
            publish(&worker, name, name, None);
        }
        settle().await;
        assert_eq!(client.wire.payloads(), ["a", "b", "c", "c/d"]);
        assert_eq!(client.wire.writes.get(), 1);
    });
}

#[test]
fn large_frames_are_shared_and_go_with_the_small_ones_in_order() {
    let broker = broker(1, 1 << 20);
    on_worker(&broker, async |worker| {
        let client = Client::new(&worker, 1, WireFormat::Raw);
        client.subscribe("a").await;
        let large = "x".repeat(10_000);
        for text in ["1", &large, "2", &large] {
            publish(&worker, "a", text, None);
        }
        settle().await;
        assert_eq!(client.wire.payloads(), ["1", &large, "2", &large]);
        assert_eq!(client.wire.writes.get(), 1);
    });
}

#[test]
fn who_joins_while_a_batch_is_due_gets_only_what_comes_later() {
    let broker = broker(1, 1 << 20);
    on_worker(&broker, async |worker| {
        let early = Client::new(&worker, 1, WireFormat::Raw);
        early.subscribe("a").await;
        publish(&worker, "a", "1", None);
        let late = Client::new(&worker, 2, WireFormat::Raw);
        drop(late.ask(plain("a", &late.member)));
        let by_filter = Client::new(&worker, 3, WireFormat::Raw);
        drop(by_filter.ask(plain("+", &by_filter.member)));
        publish(&worker, "a", "2", None);
        settle().await;
        assert_eq!(early.wire.payloads(), ["1", "2"]);
        assert_eq!(late.wire.payloads(), ["2"]);
        assert_eq!(by_filter.wire.payloads(), ["2"]);
    });
}

#[test]
fn what_was_published_before_an_unsubscribe_is_delivered_and_nothing_after() {
    let broker = broker(1, 1 << 20);
    on_worker(&broker, async |worker| {
        for text in ["a", "#"] {
            let client = Client::new(&worker, 1, WireFormat::Raw);
            client.subscribe(text).await;
            publish(&worker, "a", "1", None);
            drop(client.unsubscribe(text));
            publish(&worker, "a", "2", None);
            settle().await;
            assert_eq!(client.wire.payloads(), ["1"], "{text}");
            client.detach();
        }
    });
}

#[test]
fn a_message_comes_once_and_the_exact_names_options_count() {
    let broker = broker(1, 1 << 20);
    on_worker(&broker, async |worker| {
        // Subscriptions in order, with their echo, and whether one's own message comes.
        for (subscriptions, comes) in [
            (&[("a/b", false)][..], 0),
            (&[("#", false)], 0),
            (&[("a/b", true), ("#", false)], 1),
            (&[("#", true), ("a/b", false)], 0),
            (&[("a/#", false), ("#", true)], 0),
            (&[("a/#", true), ("#", false)], 1),
            (&[("c", false), ("a/+", true), ("a/b", true)], 1),
        ] {
            let client = Client::new(&worker, 1, WireFormat::Raw);
            for (text, echo) in subscriptions {
                let ask = Subscription {
                    echo: *echo,
                    ..plain(text, &client.member)
                };
                client.subscribe_with(ask).await;
            }
            client.publish("a/b", "own");
            publish(&worker, "a/b", "other", Some(SessionId(9)));
            settle().await;
            let mut expected = vec!["own"; comes];
            expected.push("other");
            assert_eq!(client.wire.payloads(), expected, "{subscriptions:?}");
            client.detach();
        }
    });
}

#[test]
fn comings_and_goings_are_told_to_everyone_else() {
    let broker = broker(1, 1 << 20);
    on_worker(&broker, async |worker| {
        let clients = [1, 2].map(|id| Client::new(&worker, id, WireFormat::Json));
        let watcher = Client::new(&worker, 3, WireFormat::Json);
        watcher.subscribe("p/#").await;
        for client in &clients {
            client.subscribe("p/a").await;
        }
        settle().await;
        assert_eq!(broker.presence(topic("p/a")).await.unwrap().len(), 2);
        clients[0].detach();
        clients[0].detach();
        settle().await;
        let told = |client: &Client| -> Vec<String> {
            let objects = client.wire.objects();
            let of =
                |o: &serde_json::Value| format!("{} {}", o["type"], o["session"]).replace('"', "");
            objects.iter().map(of).collect()
        };
        let (join, leave) = (
            |n: u64| format!("join {n:016x}"),
            |n: u64| format!("leave {n:016x}"),
        );
        assert_eq!(told(&clients[0]), [join(2)]);
        assert_eq!(told(&clients[1]), [leave(1)]);
        assert_eq!(told(&watcher), [join(1), join(2), leave(1)]);
        assert_eq!(broker.presence(topic("p/a")).await.unwrap().len(), 1);
    });
}

#[test]
fn a_session_that_does_not_read_is_closed_and_what_it_misses_is_counted() {
    let broker = broker(1, 100);
    on_worker(&broker, async |worker| {
        let client = Client::with_room(&worker, 1, WireFormat::Raw, 3);
        client.subscribe("a").await;
        for turn in 0..8 {
            for n in 0..4 {
                publish(&worker, "a", &format!("message {turn} {n}"), None);
            }
            settle().await;
        }
        assert_eq!(
            client.subscriber.closed_with().map(|(code, _)| code.0),
            Some(4008)
        );
        assert_eq!(metric(broker.metrics(), "fanfare_sessions_slow"), 1);
        client.unblock();
        settle().await;
        let taken = client.wire.payloads();
        assert_eq!(
            taken.len(),
            2,
            "the message that was begun, and the close frame"
        );
        assert_eq!(taken[0], "message 0 0");
        let bytes = client.wire.taken.borrow().clone();
        assert!(bytes.windows(2).any(|two| two == 4008_u16.to_be_bytes()));
        assert!(client.wire.is_shut.get());
        client.detach();
        settle().await;
        let delivered = metric(broker.metrics(), "fanfare_messages_delivered_total");
        let dropped = metric(broker.metrics(), "fanfare_messages_dropped_total");
        // Two batches were for it: the first waited, the second was too much.
        assert_eq!((delivered, dropped), (1, 7));
        assert_eq!(metric(broker.metrics(), "fanfare_session_queued_bytes"), 0);
        assert_eq!(metric(broker.metrics(), "fanfare_sessions_slow"), 0);
    });
}

#[test]
fn a_burst_over_the_bound_is_no_fault_of_a_session_that_reads() {
    let broker = broker(1, 1000);
    on_worker(&broker, async |worker| {
        let client = Client::new(&worker, 1, WireFormat::Raw);
        for n in 0..20 {
            client.subscribe(&format!("h/{n}")).await;
        }
        for n in 0..20 {
            publish(&worker, &format!("h/{n}"), &"x".repeat(300), None);
        }
        settle().await;
        assert_eq!(client.wire.payloads().len(), 20);
        // Nor is a replay that is longer than the outbox.
        let late = Client::new(&worker, 2, WireFormat::Raw);
        let ask = Subscription {
            last: Some(100),
            ..plain("h/#", &late.member)
        };
        assert_eq!(late.subscribe_with(ask).await.replayed, Some(20));
        until("the replay's end", || late.wire.payloads().len() == 20).await;
        assert_eq!(late.subscriber.closed_with(), None);
    });
}

#[test]
fn nothing_is_written_before_the_handshake_and_all_of_it_after() {
    let broker = broker(1, 100);
    on_worker(&broker, async |worker| {
        let wire = FakeWire::with_room(usize::MAX);
        let session = worker.attach(opening(1, WireFormat::Raw), Rc::<FakeWire>::clone(&wire));
        worker.subscribe(&session, plain("a", &member(SessionId(1))), ReplyTo::Nobody);
        publish(&worker, "a", "x", None);
        settle().await;
        assert_eq!(wire.writes.get(), 0);
        session.open(Bytes::from_static(b"\x81\x03101"));
        session.send_urgent(Bytes::from_static(b"\x8a\x04pong"));
        settle().await;
        assert_eq!(wire.payloads(), ["101", "pong", "x"]);
    });
}

#[test]
fn a_long_delivery_yields_and_goes_on_where_it_was() {
    let broker = broker(1, 1 << 20);
    on_worker(&broker, async |worker| {
        let clients: Vec<_> = (0..2500)
            .map(|id| Client::new(&worker, id, WireFormat::Raw))
            .collect();
        for client in &clients {
            drop(client.ask(plain("a", &client.member)));
        }
        settle().await;
        publish(&worker, "a", "1", None);
        tokio::task::yield_now().await;
        publish(&worker, "a", "2", None);
        clients[7].detach();
        clients[2400].detach();
        let late = Client::new(&worker, 9999, WireFormat::Raw);
        drop(late.ask(plain("a", &late.member)));
        publish(&worker, "a", "3", None);
        settle().await;
        for (id, client) in clients.iter().enumerate() {
            if id != 7 && id != 2400 {
                assert_eq!(client.wire.payloads(), ["1", "2", "3"], "{id}");
            }
        }
        assert_eq!(late.wire.payloads(), ["3"]);
    });
}

#[test]
fn topics_that_nobody_is_in_are_forgotten() {
    let broker = broker(1, 1 << 20);
    on_worker(&broker, async |worker| {
        let client = Client::new(&worker, 1, WireFormat::Raw);
        for text in ["a", "b/#", "h/x"] {
            client.subscribe(text).await;
        }
        assert_eq!(metric(broker.metrics(), "fanfare_subscriptions"), 3);
        assert_eq!(metric(broker.metrics(), "fanfare_topics"), 2);
        publish(&worker, "h/y", "kept", None);
        client.detach();
        settle().await;
        assert_eq!(broker.topic_count(), 1);
        assert_eq!(metric(broker.metrics(), "fanfare_subscriptions"), 0);
        assert_eq!(metric(broker.metrics(), "fanfare_topics"), 1);
        assert_eq!(Rc::strong_count(&client.subscriber), 1);
    });
}

#[test]
fn a_worker_goes_with_its_system_and_its_place_is_free_again() {
    let broker = broker(1, 1 << 20);
    for _ in 0..3 {
        on_worker(&broker, async |worker| {
            let client = Client::new(&worker, 1, WireFormat::Raw);
            client.subscribe("a").await;
            publish(&worker, "a", "x", None);
            settle().await;
            assert_eq!(client.wire.payloads(), ["x"]);
            client.detach();
        });
    }
}
