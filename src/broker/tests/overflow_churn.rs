//! Sessions of every kind that read now and then, while others publish: each message comes, is told to be
//! missing, or is stood for by a later one of its key.

use proptest::prelude::*;

use super::super::{Publication, Rule, Rules, TopicRule};
use super::*;
use crate::history::Bounds;
use crate::model::{Origin, Overflow, Overflows, Payload};

const NAMES: [&str; 3] = ["d/a", "d/b", "n/a"];
const KEYS: [Option<&str>; 3] = [None, Some("k"), Some("l")];
const ALL: [Overflow; 3] = [
    Overflow::Disconnect,
    Overflow::DropOldest,
    Overflow::Conflate,
];
const SESSIONS: usize = 3;

#[derive(Clone, Debug)]
enum Op {
    /// A message of a session's, or of nobody's, and so many bytes of it.
    Publish(usize, usize, usize, usize),
    Room(usize, usize),
    Unblock(usize),
    Release(usize),
    Turn,
}

/// What one asks for, whether it gets its own messages, whether it is to be spared what follows closely.
type Asked = (Overflow, bool, bool);

fn ops() -> impl Strategy<Value = Op> {
    let session = 0..SESSIONS;
    prop_oneof![
        12 => (0..=SESSIONS, 0..NAMES.len(), 0..KEYS.len(), 0..300_usize)
            .prop_map(|(s, n, k, len)| Op::Publish(s, n, k, len)),
        3 => (session.clone(), 0..600_usize).prop_map(|(s, room)| Op::Room(s, room)),
        1 => session.clone().prop_map(Op::Unblock),
        1 => session.prop_map(Op::Release),
        6 => Just(Op::Turn),
    ]
}

fn asked() -> impl Strategy<Value = Asked> {
    (prop::sample::select(&ALL[..]), any::<bool>(), any::<bool>())
}

/// A message that was published.
#[derive(Clone, Debug)]
struct Sent {
    number: u64,
    key: Option<&'static str>,
    by: usize,
}

fn lenient() -> Broker {
    let broker = broker(1, 2000);
    let rule = |text: &str, has_history: bool| Rule {
        filter: filter(text),
        topic: TopicRule {
            history: has_history.then_some(Bounds {
                messages: 1000,
                age: None,
                bytes: usize::MAX,
            }),
            overflow: Overflows::new(&ALL).unwrap(),
            ..TopicRule::default()
        },
    };
    let rules = Rules::new(vec![rule("d/#", true), rule("n/#", false)]);
    broker.reconfigure(rules, 1000, 1000);
    broker
}

/// Checks what a session got of a topic against what was published for it.
fn check(client: &Client, name: &str, sent: &[Sent], is_whole: bool) {
    let mut left = sent.to_vec();
    let mut last = 0;
    for frame in client.wire.objects() {
        if frame["topic"] != name {
            continue;
        }
        if frame["type"] == "gap" {
            let count = frame["count"].as_u64().unwrap() as usize;
            let missing: Vec<_> = left.drain(..count).collect();
            if name.starts_with('d') {
                assert_eq!(frame["from"], missing[0].number, "{frame}");
                assert_eq!(frame["to"], missing[count - 1].number, "{frame}");
            }
            last = missing[count - 1].number;
            continue;
        }
        let data = frame["data"].as_str().unwrap();
        let number: u64 = data.split(' ').next().unwrap().parse().unwrap();
        assert!(number > last, "{name}: {number} after {last}");
        last = number;
        let key = frame["key"].as_str();
        let mut stood_for = 0;
        left.retain(|sent| {
            let goes = sent.key == key && sent.number <= number;
            stood_for += u64::from(goes);
            !goes
        });
        let skipped = frame["skipped"].as_u64().unwrap_or(0);
        assert_eq!(stood_for, skipped + 1, "{name}: {frame}");
    }
    assert!(!is_whole || left.is_empty(), "{name}: {left:?}");
}

async fn run(worker: Rc<Worker>, asks: Vec<[Asked; 3]>, ops: Vec<Op>) -> u64 {
    let ids = 0..SESSIONS as u64;
    let clients: Vec<_> = ids
        .map(|id| Client::new(&worker, id, WireFormat::Json))
        .collect();
    for (client, asks) in clients.iter().zip(&asks) {
        for (name, (overflow, echo, is_paced)) in ["d/#", "n/#", "d/a"].iter().zip(asks) {
            let is_paced = *is_paced && *overflow == Overflow::Conflate;
            let ask = Subscription {
                echo: *echo,
                overflow: Some(*overflow),
                min_interval: is_paced.then(|| Duration::from_secs(60)),
                ..plain(name, &client.member)
            };
            client.subscribe_with(ask).await;
        }
    }
    let mut sent: HashMap<&str, Vec<Sent>> = HashMap::new();
    let mut later = Instant::now();
    for op in ops {
        match op {
            Op::Publish(by, name, key, len) => {
                let (name, key) = (NAMES[name], KEYS[key]);
                let of_topic = sent.entry(name).or_default();
                let number = of_topic.len() as u64 + 1;
                of_topic.push(Sent { number, key, by });
                let message = Publication {
                    topic: topic(name),
                    payload: Payload::text(format!("{number} {}", "x".repeat(len))),
                    key: key.map(Into::into),
                    retain: false,
                    user: None,
                    publisher: clients.get(by).map(|client| client.subscriber.id()),
                    origin: Origin::Internal,
                    once: None,
                };
                worker.publish(message, Instant::now(), ReplyTo::Nobody);
            }
            Op::Room(s, room) => clients[s].wire.room.set(room),
            Op::Unblock(s) => clients[s].unblock(),
            Op::Release(s) => {
                later += Duration::from_secs(120);
                clients[s].subscriber.release(later);
            }
            Op::Turn => settle().await,
        }
    }
    settle().await;
    for client in &clients {
        client.unblock();
    }
    settle().await;
    for client in &clients {
        while client.subscriber.next_release().is_some() {
            later += Duration::from_secs(120);
            client.subscriber.release(later);
            settle().await;
        }
    }
    let mut queued = 0;
    for (s, client) in clients.iter().enumerate() {
        let is_whole = client.subscriber.closed_with().is_none();
        assert!(!is_whole || client.subscriber.queued_bytes() == 0);
        for name in NAMES {
            // The options of the exact name count.
            let asked = match name {
                "d/a" => asks[s][2],
                "d/b" => asks[s][0],
                _ => asks[s][1],
            };
            let all = sent.get(name).into_iter().flatten();
            let wanted: Vec<_> = all
                .filter(|sent| asked.1 || sent.by != s)
                .cloned()
                .collect();
            queued += wanted.len() as u64;
            check(client, name, &wanted, is_whole);
        }
        client.detach();
    }
    settle().await;
    let is_any_closed = clients.iter().any(|c| c.subscriber.closed_with().is_some());
    if is_any_closed { 0 } else { queued }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn each_message_comes_or_is_told_to_be_missing(
        asks in prop::collection::vec([asked(), asked(), asked()], SESSIONS..=SESSIONS),
        ops in prop::collection::vec(ops(), 1..120),
    ) {
        let broker = lenient();
        let queued = on_worker(&broker, async |worker| run(worker, asks, ops).await);
        let sum = |name: &str| metric(broker.metrics(), name).cast_unsigned();
        if queued > 0 {
            let told = sum("fanfare_messages_delivered_total") + sum("fanfare_messages_dropped_total");
            assert_eq!(told, queued);
        }
        assert_eq!(sum("fanfare_session_queued_bytes"), 0);
    }
}
