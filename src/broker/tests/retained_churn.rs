//! Subscribing to retained messages while all of them are replaced at full speed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::retained::retain;
use super::*;

const TOPICS: usize = 40;
const ROUNDS: u64 = 250;

fn name(n: usize) -> String {
    format!("{}/{n:02}", if n.is_multiple_of(2) { "r" } else { "hr" })
}

/// Everything that is published is retained: whoever subscribes sees, of each topic, the message that
/// is retained at that moment and each one after it, and no other.
async fn churn(worker: Rc<Worker>, part: usize, parts: usize, phase: Arc<[AtomicUsize; 3]>) {
    until("all workers", || worker.broker().workers().0 == parts).await;
    let padding = "x".repeat(200);
    let publish_all = |n: u64| {
        for t in (part..TOPICS).step_by(parts) {
            retain(&worker, &name(t), &format!("{n:06} {padding}"));
        }
    };
    publish_all(1);
    phase[0].fetch_add(1, Ordering::Relaxed);
    until("the start", || phase[0].load(Ordering::Relaxed) == parts).await;
    let mut clients = Vec::new();
    for n in 2..=ROUNDS {
        publish_all(n);
        if n % 9 == 0 && clients.len() < 25 {
            let id = 1000 * (part as u64 + 1) + n;
            // Some are read slowly: their cursors are overtaken by what is live.
            let room = if n % 2 == 0 { 3_000 } else { usize::MAX };
            let client = Client::with_room(&worker, id, WireFormat::Json, room);
            let mut ask = plain(
                ["#", "r/+", "hr/#", "r/02", "hr/03"][(n / 9) as usize % 5],
                &client.member,
            );
            if n % 4 == 0 {
                ask.last = Some(3);
            }
            let wants = ask.filter.clone();
            client.subscribe_with(ask).await;
            clients.push((client, wants));
        }
        for (client, _) in &clients {
            if client.wire.room.get() != usize::MAX {
                client.wire.room.set(6_000);
                client.subscriber.writable();
            }
        }
        tokio::task::yield_now().await;
    }
    phase[1].fetch_add(1, Ordering::Relaxed);
    until("the end", || phase[1].load(Ordering::Relaxed) == parts).await;
    for (client, wants) in &clients {
        client.unblock();
        let topics: Vec<_> = (0..TOPICS)
            .map(name)
            .filter(|t| wants.matches(&topic(t)))
            .collect();
        let mut seen: HashMap<String, Vec<u64>> = HashMap::new();
        let is_whole = || {
            seen.clear();
            for text in client.wire.payloads() {
                // Found without a parser, since there are many.
                let after = |name: &str| text.split_once(name).unwrap().1;
                let topic = after(r#""topic":""#).split('"').next().unwrap();
                let number = after(r#""data":""#).get(..6).unwrap().parse().unwrap();
                seen.entry(topic.to_owned()).or_default().push(number);
            }
            let at_end = |t: &String| seen.get(t).and_then(|n| n.last()) == Some(&ROUNDS);
            topics.iter().all(at_end)
        };
        until("the last messages", is_whole).await;
        assert_eq!(client.subscriber.closed_with(), None);
        assert_eq!(seen.len(), topics.len());
        for (topic, numbers) in &seen {
            let all: Vec<u64> = (numbers[0]..=ROUNDS).collect();
            assert_eq!(*numbers, all, "{wants} {topic}");
        }
        assert!(!client.subscriber.is_selective());
    }
    for (client, _) in &clients {
        client.detach();
    }
    // A worker that went would take its topics with it.
    phase[2].fetch_add(1, Ordering::Relaxed);
    until("the others' end", || {
        phase[2].load(Ordering::Relaxed) == parts
    })
    .await;
    settle().await;
}

#[test]
fn while_all_is_retained_anew_nothing_is_missed_or_doubled() {
    for parts in [1, 2] {
        let broker = broker(parts, 1 << 24);
        let phase: Arc<[AtomicUsize; 3]> = Arc::default();
        let threads: Vec<_> = (0..parts)
            .map(|part| {
                let (broker, phase) = (broker.clone(), Arc::clone(&phase));
                std::thread::spawn(move || {
                    on_worker(&broker, async |worker| {
                        churn(worker, part, parts, phase).await;
                    });
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
