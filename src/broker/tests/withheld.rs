//! Topics below a granted filter that their rule keeps from a session: withheld in every way that a
//! message, or the knowledge of one, could come.

use std::sync::Arc;

use super::faults::Other;
use super::*;
use crate::auth::{Access, Standing};
use crate::broker::testing::{retained, rules};
use crate::broker::{Rule, Rules, TopicRule};
use crate::config::Who;

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

/// What a session gets whose queue is so small that a replay of this takes many pieces.
fn publish_many(worker: &Worker, name: &str) {
    for n in 0..100 {
        publish(worker, name, &format!("{n} {}", "x".repeat(1000)), None);
    }
}

/// The rules of the tests, with that topic for keys alone.
fn without(name: &str) -> Rules {
    let first = Rule {
        filter: filter(name),
        topic: TopicRule {
            subscribe: Who::Api,
            ..rules().of(&topic(name))
        },
    };
    let all = rules();
    let others = ["h/#", "keys/#", "kr/#"].map(|text| {
        let name = topic(&text.replace('#', "any"));
        all.rule(&name).unwrap().clone()
    });
    Rules::new([first].into_iter().chain(others).collect())
}

fn lent(text: &str, last: Option<u64>, client: &Client) -> Subscription {
    Subscription {
        is_lent: true,
        last,
        ..plain(text, &client.member)
    }
}

#[test]
fn a_replay_of_what_was_lent_ends_with_its_subscription() {
    let broker = broker(1, 8 * 1024);
    on_worker(&broker, async |worker| {
        publish_many(&worker, "keys/a");
        let client = Client::with_room(&worker, 1, WireFormat::Json, 0);
        // It stands for the topic, and does not bring it.
        client.subscribe("keys/#").await;
        client
            .subscribe_with(lent("keys/a", Some(100), &client))
            .await;
        settle().await;
        client.unsubscribe("keys/a").await.unwrap().unwrap();
        client.unblock();
        settle().await;
        let had = frames(&client).len();
        assert!((1..50).contains(&had), "{had}");
        // It can be lent again.
        client
            .subscribe_with(lent("keys/a", Some(100), &client))
            .await;
        settle().await;
        assert_eq!(frames(&client).len(), had + 100);
    });
}

#[test]
fn a_replay_ends_where_a_new_rule_withholds_its_topic() {
    let broker = broker(1, 8 * 1024);
    on_worker(&broker, async |worker| {
        publish_many(&worker, "h/a");
        let client = Client::with_room(&worker, 1, WireFormat::Json, 0);
        let ask = Subscription {
            last: Some(100),
            ..plain("h/#", &client.member)
        };
        client.subscribe_with(ask).await;
        settle().await;
        broker.reconfigure(without("h/a"), 1000, 1000);
        client.unblock();
        settle().await;
        let had = frames(&client).len();
        assert!((1..50).contains(&had), "{had}");
        publish(&worker, "h/b", "known", None);
        settle().await;
        assert_eq!(topics(&client).last().unwrap(), "message h/b");
    });
}

/// Runs a test on one of two workers.
fn two_workers(test: impl AsyncFnOnce(Rc<Worker>, &Broker)) {
    let broker = broker(2, usize::MAX);
    on_worker(&broker, async |worker| {
        let _other = Other::start(&broker);
        until("the other worker", || broker.workers().0 == 2).await;
        test(worker, &broker).await;
    });
}

/// A topic below that name that is at home there.
fn at_home(broker: &Broker, stem: &str, home: usize) -> String {
    let names = (0..).map(|n| format!("{stem}/{n}"));
    let mut here = names.filter(|name| broker.node.shards.home(&topic(name)) == home);
    here.next().unwrap()
}

#[test]
fn what_a_new_rule_withholds_is_not_replayed_by_a_filter_that_opens() {
    two_workers(async |worker, broker| {
        let here = at_home(broker, "h", worker.shard());
        publish_many(&worker, &here);
        let client = visitor(&worker, 1);
        let opens = client.ask(Subscription {
            last: Some(100),
            ..plain("h/#", &client.member)
        });
        // This worker's home has answered, the other's has not.
        broker.reconfigure(without(&here), 1000, 1000);
        worker.recheck(&client.subscriber);
        let Reply::Subscribed(ok) = opens.await.unwrap().unwrap() else {
            panic!("it stands");
        };
        assert_eq!(ok.replayed, Some(0));
        publish(&worker, "h/known", "1", None);
        until("what is live", || !frames(&client).is_empty()).await;
        assert_eq!(topics(&client), ["message h/known"]);
    });
}

/// Its own filter brings it `h/own` and `r/own` alone.
async fn of_few_topics(worker: &Rc<Worker>) -> Client {
    let access = Access::anonymous(vec![filter("h/own"), filter("r/own")], Vec::new());
    let rights = Rights::to(access);
    let client = Client::that_may(worker, 1, WireFormat::Json, usize::MAX, rights);
    let ask = Subscription {
        last: Some(10),
        ..plain("#", &client.member)
    };
    client.subscribe_with(ask).await;
    settle().await;
    client
}

#[test]
fn a_lent_filter_brings_the_past_of_what_the_sessions_own_does_not() {
    let broker = broker(1, usize::MAX);
    on_worker(&broker, async |worker| {
        for kept in ["own", "lent"] {
            publish(&worker, &format!("h/{kept}"), "1", None);
            let retained = retained(&topic(&format!("r/{kept}")), "2");
            worker.publish(retained, Instant::now(), ReplyTo::Nobody);
        }
        settle().await;
        let client = of_few_topics(&worker).await;
        assert_eq!(topics(&client), ["message r/own", "message h/own"]);
        client.wire.taken.borrow_mut().clear();
        let ok = client.subscribe_with(lent("+/+", Some(10), &client)).await;
        settle().await;
        assert_eq!(ok.replayed, Some(1));
        assert_eq!(topics(&client), ["message r/lent", "message h/lent"]);
    });
}

#[test]
fn what_goes_on_while_a_lent_filter_opens_comes_once() {
    two_workers(async |worker, broker| {
        let here = at_home(broker, "h", worker.shard());
        publish(&worker, &here, "1", None);
        let client = of_few_topics(&worker).await;
        let opens = client.ask(lent("h/+", Some(1), &client));
        publish(&worker, &here, "2", None);
        let Reply::Subscribed(_) = opens.await.unwrap().unwrap() else {
            panic!("it stands");
        };
        publish(&worker, &here, "3", None);
        until("the last", || {
            frames(&client).iter().any(|f| f["data"] == "3")
        })
        .await;
        assert_eq!(client.offsets()[&here], [1, 2, 3]);
    });
}

#[test]
fn a_lost_right_is_told_after_the_answer_to_the_subscribe() {
    two_workers(async |worker, broker| {
        let there = at_home(broker, "keys", 1 - worker.shard());
        let client = key(&worker, 1);
        let ask = |id| ReplyTo::Session {
            to: Rc::clone(&client.subscriber),
            id: Some(id),
        };
        for (id, text) in [(1, there.as_str()), (2, "keys/#")] {
            worker.subscribe(&client.subscriber, plain(text, &client.member), ask(id));
        }
        let nothing = Arc::new(Access::nothing());
        client.subscriber.rights().replace(nothing);
        worker.recheck(&client.subscriber);
        worker.recheck(&client.subscriber);
        until("the end of both", || frames(&client).len() >= 4).await;
        settle().await;
        let mut told: Vec<_> = frames(&client)
            .iter()
            .map(|f| {
                (
                    f["topic"].as_str().unwrap().to_owned(),
                    f["type"].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        // Which of the two opens first is not said.
        told.sort_by(|a, b| a.0.cmp(&b.0));
        let both = ["keys/#", &there]
            .map(|topic| ["ok", "unsubscribed"].map(|what| (topic.to_owned(), what.to_owned())));
        assert_eq!(told, both.concat());
        assert_eq!(client.subscriber.filters().len(), 0);
    });
}

#[test]
fn the_end_of_all_is_answered_after_what_was_opening() {
    two_workers(async |worker, broker| {
        let there = at_home(broker, "h", 1 - worker.shard());
        let client = visitor(&worker, 1);
        let ask = |id| ReplyTo::Session {
            to: Rc::clone(&client.subscriber),
            id: Some(id),
        };
        let all = |id| worker.unsubscribe(&client.subscriber, None, &client.member, ask(id));
        all(1);
        for (id, text) in [(2, there.as_str()), (3, "h/#")] {
            worker.subscribe(&client.subscriber, plain(text, &client.member), ask(id));
        }
        all(4);
        assert!(
            client.subscriber.is_congested(),
            "no more is read meanwhile"
        );
        until("all answers", || frames(&client).len() >= 4).await;
        let answers = frames(&client);
        let ids: Vec<_> = answers.iter().map(|f| f["id"].as_u64().unwrap()).collect();
        assert_eq!((ids[0], ids[3]), (1, 4), "{ids:?}");
        assert!(answers.iter().all(|f| f["type"] == "ok"), "{answers:?}");
        assert!(!client.subscriber.is_congested());
        assert_eq!(client.subscriber.filters().len(), 0);
    });
}
