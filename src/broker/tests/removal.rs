//! The removal of what topics keep, and who is told of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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

const LIVES: u64 = 6;

/// What one client has of one topic.
#[derive(Default)]
struct Had {
    epoch: Option<String>,
    offset: u64,
    is_over: bool,
}

impl Had {
    /// Takes the next frame of the topic: every message follows the one before it, and where a life
    /// of the history ends, that is told with all that is missing of it.
    fn take(&mut self, frame: &Value) {
        let epoch = frame["epoch"].as_str().unwrap().to_owned();
        let number = |name: &str| frame[name].as_u64().unwrap();
        let is_same = self.epoch.as_ref() == Some(&epoch);
        if frame["type"] == "gap" {
            // A topic that nobody is in by name goes with what it kept: a replay that was about to
            // begin finds nothing, and cannot tell why.
            assert!(["cleared", "trimmed"].contains(&frame["reason"].as_str().unwrap()));
            if is_same {
                assert!(!self.is_over, "{frame}");
                let is_missing = number("from") == self.offset + 1 && number("to") > self.offset;
                assert!(
                    is_missing || number("to") == self.offset,
                    "{} {frame}",
                    self.offset
                );
            }
            // Of a life that it had nothing of there is nothing to check.
            self.is_over = true;
        } else if frame["retain"] != true {
            let is_next = if is_same {
                !self.is_over && number("offset") == self.offset + 1
            } else if self.epoch.is_none() && !self.is_over {
                true
            } else {
                self.is_over && number("offset") == 1
            };
            assert!(is_next, "{:?} {} {frame}", self.epoch, self.offset);
            *self = Self {
                epoch: Some(epoch),
                offset: number("offset"),
                is_over: false,
            };
        }
    }
}

async fn lives(worker: Rc<Worker>, part: usize, parts: usize, phase: Arc<[AtomicUsize; 3]>) {
    let broker = worker.broker().clone();
    let reached = |at: usize| phase[at].load(Ordering::Relaxed) == parts;
    until("all workers", || worker.broker().workers().0 == parts).await;
    let names: Vec<_> = (0..6).map(|n| format!("hr/{n}")).collect();
    let mine: Vec<_> = names.iter().skip(part).step_by(parts).collect();
    let text = "x".repeat(200);
    let mut clients = Vec::new();
    for life in 0..LIVES {
        for n in 0..60 {
            for name in &mine {
                publish(&worker, name, &text, None);
            }
            if n % 12 == 0 {
                let id = 1000 * (part as u64 + 1) + life * 60 + n;
                let room = if clients.len() % 2 == 0 {
                    2_000
                } else {
                    usize::MAX
                };
                let client = Client::with_room(&worker, id, WireFormat::Json, room);
                let mut ask = plain(
                    ["hr/0", "hr/+", "hr/3", "#"][clients.len() % 4],
                    &client.member,
                );
                ask.last = (clients.len() % 3 > 0).then_some(50);
                let wants = ask.filter.clone();
                client.subscribe_with(ask).await;
                clients.push((client, wants));
            }
            for (client, _) in &clients {
                if client.wire.room.get() != usize::MAX {
                    client.wire.room.set(1_500);
                    client.subscriber.writable();
                }
            }
            tokio::task::yield_now().await;
        }
        for name in &mine {
            clear(&broker, name).await;
        }
    }
    phase[0].fetch_add(1, Ordering::Relaxed);
    until("the last life", || reached(0)).await;
    for name in &mine {
        publish(&worker, name, "the end", None);
    }
    phase[1].fetch_add(1, Ordering::Relaxed);
    until("the end", || reached(1)).await;
    for (client, wants) in &clients {
        client.unblock();
        let is_whole = || {
            let taken = client.wire.taken.borrow();
            let ends = taken.windows(7).filter(|seven| seven == b"the end").count();
            ends == names
                .iter()
                .filter(|name| wants.matches(&topic(name)))
                .count()
        };
        until("the last messages", is_whole).await;
        let mut had: HashMap<String, Had> = HashMap::new();
        for frame in client.wire.objects() {
            let topic = frame["topic"].as_str().unwrap().to_owned();
            had.entry(topic).or_default().take(&frame);
        }
    }
    for (client, _) in &clients {
        client.detach();
    }
    // A worker that went would take its topics with it.
    phase[2].fetch_add(1, Ordering::Relaxed);
    until("the others' end", || reached(2)).await;
    settle().await;
}

#[test]
fn whatever_is_removed_meanwhile_nothing_is_missed_that_is_not_told() {
    for parts in [1, 2] {
        let broker = broker(parts, 32 * 1024 * 1024);
        let phase: Arc<[AtomicUsize; 3]> = Arc::default();
        let threads: Vec<_> = (0..parts)
            .map(|part| {
                let (broker, phase) = (broker.clone(), Arc::clone(&phase));
                std::thread::spawn(move || {
                    on_worker(&broker, async |worker| {
                        lives(worker, part, parts, phase).await;
                    });
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
