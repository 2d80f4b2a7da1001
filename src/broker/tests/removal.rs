//! The removal of what topics keep, and who is told of it.

use serde_json::Value;

use super::retained::{retain, told};
use super::*;
use crate::protocol::ErrorCode;

async fn clear(broker: &Broker, name: &str) {
    broker.clear(topic(name)).await.unwrap();
}

#[test]
fn a_removal_is_told_in_order_and_what_follows_is_of_another_life() {
    let broker = broker(1, 1 << 20);
    on_worker(&broker, async |worker| {
        let client = Client::new(&worker, 1, WireFormat::Json);
        for text in ["hr/a", "#", "live"] {
            client.subscribe(text).await;
        }
        publish(&worker, "hr/a", "1", None);
        retain(&worker, "hr/a", "2");
        retain(&worker, "r/a", "1");
        clear(&broker, "hr/a").await;
        clear(&broker, "r/a").await;
        clear(&broker, "live").await;
        publish(&worker, "hr/a", "3", None);
        settle().await;
        let expected = ["hr/a 1", "hr/a 2", "hr/a gap cleared 1..2", "hr/a 3"];
        let (of_hr, of_r): (Vec<_>, Vec<_>) = told(&client)
            .into_iter()
            .partition(|line| line.starts_with("hr/"));
        assert_eq!(of_hr, expected);
        assert_eq!(of_r, ["r/a 1", "r/a gap cleared null..null"]);
        let gap = client.wire.objects();
        let gap = gap
            .iter()
            .find(|f| f["type"] == "gap" && f["topic"] == "hr/a")
            .unwrap();
        assert_eq!(gap["count"], 2);
        let late = Client::new(&worker, 2, WireFormat::Json);
        late.subscribe_with(Subscription {
            last: Some(9),
            ..plain("#", &late.member)
        })
        .await;
        settle().await;
        assert_eq!(told(&late), ["hr/a 3 replay"]);
        let refused = broker.clear(topic("r/a")).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::NotFound);
    });
}

#[test]
fn a_removal_ends_a_replay_and_loses_nothing_that_it_does_not_tell() {
    let broker = broker(1, 64 * 1024);
    on_worker(&broker, async |worker| {
        let text = "x".repeat(1000);
        for n in 0..300 {
            publish(&worker, "h/a", &format!("{n} {text}"), None);
        }
        settle().await;
        let epoch = |client: &Client| {
            let objects = client.wire.objects();
            objects.last().unwrap()["epoch"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        for wild in [false, true] {
            let client = Client::with_room(&worker, 1, WireFormat::Json, 20_000);
            client
                .subscribe_with(Subscription {
                    last: Some(300),
                    ..plain(if wild { "h/#" } else { "h/a" }, &client.member)
                })
                .await;
            settle().await;
            let before = broker.topic(&topic("h/a")).unwrap().position.unwrap();
            // These wait in the history, and go with it.
            publish(&worker, "h/a", "waits", None);
            clear(&broker, "h/a").await;
            for n in 0..300 {
                publish(&worker, "h/a", &format!("{n} {text}"), None);
                if n % 20 == 0 {
                    client.wire.room.set(40_000);
                    client.subscriber.writable();
                    settle().await;
                }
            }
            client.unblock();
            settle().await;
            let objects = client.wire.objects();
            let gap = objects.iter().position(|f| f["type"] == "gap").unwrap();
            let offsets = |part: &[Value]| -> Vec<u64> {
                part.iter().map(|m| m["offset"].as_u64().unwrap()).collect()
            };
            let replayed = offsets(&objects[..gap]);
            let reached = replayed.len() as u64;
            assert!((1..300).contains(&reached), "{reached}");
            assert_eq!(replayed, (1..=reached).collect::<Vec<_>>());
            let gap_frame = &objects[gap];
            assert_eq!(gap_frame["reason"], "cleared");
            assert_eq!(gap_frame["epoch"], before.0.as_str());
            assert_eq!(
                (&gap_frame["from"], &gap_frame["to"]),
                (&(reached + 1).into(), &301.into())
            );
            assert_eq!(gap_frame["count"], 301 - reached);
            assert_eq!(offsets(&objects[gap + 1..]), (1..=300).collect::<Vec<_>>());
            assert_ne!(epoch(&client), before.0.as_str());
            assert!(!client.subscriber.is_selective());
            client.detach();
        }
    });
}
