//! How topics take turns on one worker.

use super::*;

const MANY: u64 = 4000;

#[test]
fn a_topic_of_one_does_not_wait_for_all_of_a_large_one() {
    let broker = broker(1, 1 << 20);
    on_worker(&broker, async |worker| {
        let hot = hot(&worker).await;
        let quiet = Client::new(&worker, MANY, WireFormat::Raw);
        quiet.subscribe("quiet").await;
        publish(&worker, "hot", "1", None);
        until_some_have_it(&hot).await;
        publish(&worker, "quiet", "now", None);
        while quiet.wire.payloads().is_empty() {
            tokio::task::yield_now().await;
        }
        let had = served(&hot);
        assert!(had < hot.len(), "it waited for all {had}");
        all_is_written(&broker, MANY + 1).await;
        assert_eq!(served(&hot), hot.len());
    });
}

#[test]
fn what_comes_while_a_large_topic_is_served_is_served_after_it_and_in_order() {
    let broker = broker(1, 1 << 20);
    on_worker(&broker, async |worker| {
        let hot = hot(&worker).await;
        publish(&worker, "hot", "1", None);
        until_some_have_it(&hot).await;
        for text in ["2", "3"] {
            publish(&worker, "hot", text, None);
        }
        all_is_written(&broker, 3 * MANY).await;
        for client in &hot {
            assert_eq!(client.wire.payloads(), ["1", "2", "3"]);
            assert_eq!(client.wire.writes.get(), 2, "what waited left in one write");
        }
    });
}

#[test]
fn who_matches_a_large_topic_twice_gets_it_once_though_others_are_served_meanwhile() {
    let broker = broker(1, 1 << 20);
    on_worker(&broker, async |worker| {
        let hot = hot(&worker).await;
        for client in hot.iter().step_by(100) {
            client.subscribe("+").await;
        }
        settle().await;
        publish(&worker, "hot", "1", None);
        until_some_have_it(&hot).await;
        publish(&worker, "other", "2", None);
        all_is_written(&broker, MANY + MANY / 100).await;
        for (number, client) in hot.iter().enumerate() {
            let both = number % 100 == 0;
            let expected: &[&str] = if both { &["1", "2"] } else { &["1"] };
            assert_eq!(client.wire.payloads(), expected, "{number}");
        }
    });
}

/// Waits until so many were delivered, and a while longer for what should not be.
async fn all_is_written(broker: &Broker, count: u64) {
    let count = count as i64;
    let delivered = || metric(broker.metrics(), "fanfare_messages_delivered_total");
    until("the last delivery", || delivered() >= count).await;
    settle().await;
    assert_eq!(delivered(), count);
}

/// Many who subscribed to one topic.
async fn hot(worker: &Rc<Worker>) -> Vec<Client> {
    let mut clients = Vec::new();
    for id in 0..MANY {
        let client = Client::new(worker, id, WireFormat::Raw);
        client.subscribe("hot").await;
        clients.push(client);
    }
    settle().await;
    clients
}

fn served(clients: &[Client]) -> usize {
    let served = clients.iter().filter(|client| client.wire.writes.get() > 0);
    served.count()
}

async fn until_some_have_it(clients: &[Client]) {
    while served(clients) == 0 {
        tokio::task::yield_now().await;
    }
    assert!(
        served(clients) < clients.len(),
        "all were served in one turn"
    );
}
