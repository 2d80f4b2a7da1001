//! Topics below a granted filter that their rule keeps from a session: withheld in every way that a
//! message, or the knowledge of one, could come.

use std::sync::Arc;

use super::*;
use crate::auth::{Access, Standing};

/// Everything is granted to it, but it is no key.
fn visitor(worker: &Rc<Worker>, id: u64) -> Client {
    Client::new(worker, id, WireFormat::Json)
}

fn key(worker: &Rc<Worker>, id: u64) -> Client {
    let access = Access {
        standing: Standing::Api,
        ..Access::everything()
    };
    let rights = Rights::to(access);
    Client::that_may(worker, id, WireFormat::Json, usize::MAX, rights)
}

fn frames(client: &Client) -> Vec<serde_json::Value> {
    let payloads = client.wire.payloads();
    payloads
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect()
}

fn topics(client: &Client) -> Vec<String> {
    frames(client)
        .iter()
        .map(|frame| {
            format!(
                "{} {}",
                frame["type"].as_str().unwrap(),
                frame["topic"].as_str().unwrap()
            )
        })
        .collect()
}

#[test]
fn what_a_rule_keeps_from_a_session_does_not_reach_it_through_a_wider_filter() {
    let broker = broker(1, usize::MAX);
    on_worker(&broker, async |worker| {
        let (visitor, key) = (visitor(&worker, 1), key(&worker, 2));
        for client in [&visitor, &key] {
            client.subscribe("#").await;
            client.subscribe("keys/+").await;
        }
        publish(&worker, "keys/a", "secret", None);
        publish(&worker, "open", "known", None);
        let insider = self::key(&worker, 3);
        insider.subscribe("keys/a").await;
        settle().await;
        assert_eq!(topics(&visitor), ["message open"]);
        assert_eq!(
            topics(&key),
            ["message keys/a", "join keys/a", "message open"]
        );
    });
}

#[test]
fn what_is_withheld_is_not_replayed_and_spoils_no_recovery() {
    let broker = broker(1, usize::MAX);
    on_worker(&broker, async |worker| {
        publish(&worker, "keys/a", "secret", None);
        publish(&worker, "h/a", "known", None);
        let (visitor, key) = (visitor(&worker, 1), key(&worker, 2));
        for (client, expected) in [(&visitor, 1), (&key, 2)] {
            let ask = Subscription {
                last: Some(10),
                ..plain("#", &client.member)
            };
            assert_eq!(client.subscribe_with(ask).await.replayed, Some(expected));
        }
        settle().await;
        assert_eq!(topics(&visitor), ["message h/a"]);
        assert_eq!(topics(&key).len(), 2);
        // A position that it cannot have: it learns nothing of whether that is right.
        let unknown = Cursor {
            epoch: None,
            offset: 7,
        };
        let positions = Arc::new(vec![
            (topic("keys/a"), unknown),
            (topic("keys/none"), unknown),
        ]);
        let late = self::visitor(&worker, 4);
        let ask = Subscription {
            since_filter: Some((positions, Some(crate::model::Timestamp::now()))),
            ..plain("keys/#", &late.member)
        };
        let ok = late.subscribe_with(ask).await;
        assert_eq!(
            (ok.recovered, ok.gaps.len(), ok.replayed),
            (Some(true), 0, Some(0))
        );
    });
}

#[test]
fn rights_that_grow_or_shrink_count_from_the_next_message() {
    let broker = broker(1, usize::MAX);
    on_worker(&broker, async |worker| {
        let client = visitor(&worker, 1);
        client.subscribe("keys/#").await;
        publish(&worker, "keys/a", "1", None);
        settle().await;
        assert_eq!(frames(&client).len(), 0);
        client.subscriber.rights().replace(Arc::new(Access {
            standing: Standing::Api,
            ..Access::everything()
        }));
        publish(&worker, "keys/a", "2", None);
        settle().await;
        assert_eq!(frames(&client).len(), 1);
    });
}

#[test]
fn who_gets_what_is_published_to_a_topic_is_found_without_those_that_it_is_withheld_from() {
    let broker = broker(1, usize::MAX);
    on_worker(&broker, async |worker| {
        let (visitor, key) = (visitor(&worker, 1), key(&worker, 2));
        for client in [&visitor, &key] {
            client.subscribe("keys/#").await;
        }
        for (sought, found) in [("keys/a", &[2][..]), ("keys/#", &[1, 2])] {
            let query = crate::broker::SessionQuery {
                user: None,
                topic: Some(filter(sought)),
                after: None,
                limit: 10,
            };
            let page = broker.sessions(&query).await;
            let names = page.sessions.iter().map(|view| view.card.session.0);
            assert_eq!(names.collect::<Vec<_>>(), found, "{sought}");
        }
    });
}
