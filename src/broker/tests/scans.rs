//! Filters with a past, while there are very many topics.

use super::*;
use crate::broker::Settings;
use crate::broker::testing::{rules, store};
use crate::metrics::Metrics;

fn roomy(workers: usize) -> Broker {
    let settings = Settings {
        workers,
        rules: rules(),
        store: store(),
        max_topics: 100_000,
        max_replay: 10,
        max_subscriptions: 100,
        flush_interval: Duration::ZERO,
        compression: crate::protocol::Effort::default(),
        queue: usize::MAX,
        idempotency_window: Duration::from_secs(60),
        max_answers: 1000,
    };
    Broker::new(settings, Metrics::new("0", "test").unwrap())
}

fn with_last(client: &Client, text: &str) -> Subscription {
    Subscription {
        last: Some(1),
        ..plain(text, &client.member)
    }
}

#[test]
fn while_very_many_topics_are_looked_through_others_are_served() {
    let broker = roomy(1);
    on_worker(&broker, async |worker| {
        for n in 0..20_000 {
            publish(&worker, &format!("h/{n}"), "x", None);
        }
        settle().await;
        let [asks, other] = [1, 2].map(|id| Client::new(&worker, id, WireFormat::Raw));
        let mut answers: Vec<_> = ["+/none", "#", "h/+/none"]
            .map(|text| asks.ask(with_last(&asks, text)))
            .into();
        // In this very turn, and in those that the filters take.
        let ok = other.subscribe("h/1").await;
        assert!(ok.position.is_some());
        publish(&worker, "h/1", "y", None);
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        assert_eq!(other.wire.payloads(), ["y"]);
        for answer in &mut answers {
            assert!(answer.try_recv().is_err(), "it was answered at once");
        }
        let mut replayed = Vec::new();
        for answer in answers {
            match answer.await {
                Ok(Ok(Reply::Subscribed(ok))) => replayed.push(ok.replayed.unwrap()),
                other => panic!("{other:?}"),
            }
        }
        // As many as limits.replay_messages, and the message that came meanwhile is live.
        assert_eq!(replayed, [0, 10, 0]);
        settle().await;
        let got = asks.wire.payloads();
        assert_eq!(got.iter().filter(|text| *text == "y").count(), 1);
    });
}

#[test]
fn a_session_that_goes_while_its_filter_waits_leaves_nothing() {
    let broker = roomy(1);
    on_worker(&broker, async |worker| {
        for n in 0..5_000 {
            publish(&worker, &format!("h/{n}"), "x", None);
        }
        let client = Client::new(&worker, 1, WireFormat::Raw);
        let answer = client.ask(with_last(&client, "h/#"));
        client.detach();
        settle().await;
        assert!(answer.await.is_err());
        assert_eq!(metric(broker.metrics(), "fanfare_subscriptions"), 0);
        let subscribers = || {
            let (reply, mut answer) = caller();
            let message = publication(&topic("h/0"), "y", None);
            worker.publish(message, Instant::now(), reply);
            match answer.try_recv() {
                Ok(Ok(Reply::Published(receipt))) => receipt.subscribers,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(subscribers(), 0);
    });
}
