//! Who subscribes: by name, by filter and by event stream, is cut off, or does not read, and comes
//! again with what it had.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use super::ledger::{Ledger, Position, TOPICS};
use crate::support::{Events, PING, TEXT, Wire};

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    /// A subscription for each name.
    Names,
    /// One filter for all of them.
    Filter,
    /// By names, over a connection that it stops reading, until it is cut off for that.
    Slow,
    /// An event stream.
    Stream,
}

/// What somebody has, whatever connections it came by.
pub struct Subscriber {
    pub kind: Kind,
    /// How often it came.
    pub comings: usize,
    number: usize,
    had: BTreeMap<usize, Had>,
    /// Of an event stream: what `EventSource` would name on coming again.
    last_event: String,
}

/// What somebody has of a topic.
struct Had {
    position: Position,
    /// The last number of each publisher.
    numbers: BTreeMap<u64, u64>,
    ended: Option<u64>,
}

impl Subscriber {
    pub fn new(
        number: usize,
        kind: Kind,
        topics: &[usize],
        first: &[Position],
        ledger: &Ledger,
    ) -> Self {
        let had = topics.iter().map(|topic| {
            ledger.has(number, *topic, 1);
            let had = Had {
                position: first[*topic].clone(),
                numbers: BTreeMap::new(),
                ended: None,
            };
            (*topic, had)
        });
        let last = &first[topics[0]];
        Self {
            kind,
            comings: 0,
            number,
            had: had.collect(),
            last_event: format!("{}:{}:{}", last.epoch, last.offset, last.time),
        }
    }

    pub fn positions(&self) -> impl Iterator<Item = (usize, &Position)> {
        self.had.iter().map(|(topic, had)| (*topic, &had.position))
    }

    /// Takes a message that must be the very next of its topic.
    fn take(&mut self, message: &Value, ledger: &Ledger) {
        let topic = topic_of(message);
        let had = self
            .had
            .get_mut(&topic)
            .expect("a topic that was asked for");
        let offset = message["offset"].as_u64().unwrap();
        assert_eq!(offset, had.position.offset + 1, "{}", TOPICS[topic]);
        assert_eq!(message["epoch"], had.position.epoch.as_str());
        let time = message["time"].as_u64().unwrap();
        assert!(time >= had.position.time, "time goes back: {message}");
        had.position.offset = offset;
        had.position.time = time;
        let data = &message["data"];
        if let Some(publisher) = data["publisher"].as_u64() {
            let last = had.numbers.entry(publisher).or_default();
            assert_eq!(data["number"], *last + 1, "{}: {publisher}", TOPICS[topic]);
            *last += 1;
        } else {
            had.ended = Some(data["end"].as_u64().expect("an end"));
        }
        ledger.has(self.number, topic, offset);
    }

    /// The same, where what it has already may come again.
    /// Says whether it was new.
    fn take_again(&mut self, message: &Value, ledger: &Ledger) -> bool {
        let had = &self.had[&topic_of(message)].position;
        let is_new = message["offset"].as_u64().unwrap() > had.offset;
        if is_new {
            self.take(message, ledger);
        }
        is_new
    }

    fn has_all_of(&self, round: usize) -> bool {
        let round = Some(round as u64);
        self.had.values().all(|had| had.ended == round)
    }

    /// After how many messages it is cut off this time.
    fn patience(&self) -> usize {
        (self.comings * 7919 + self.number * 104_729) % 1500 + 1
    }
}

fn topic_of(message: &Value) -> usize {
    let name = message["topic"].as_str().unwrap();
    TOPICS.iter().position(|topic| *topic == name).unwrap()
}

pub fn by_socket_again_and_again(
    address: SocketAddr,
    ledger: &Ledger,
    subscriber: &mut Subscriber,
    round: usize,
) {
    while !subscriber.has_all_of(round) {
        let mut wire = subscribed(address, subscriber);
        for count in 0.. {
            if subscriber.has_all_of(round) {
                break;
            }
            if count == subscriber.patience() {
                if subscriber.kind == Kind::Slow {
                    ledger.be_deaf(subscriber.number);
                } else {
                    // In the middle of a frame, either way.
                    wire.send([0x81, 0xfe, 0x01]);
                    if subscriber.comings.is_multiple_of(2) {
                        wire.reset();
                    }
                    break;
                }
            }
            // Whoever is cut off for being slow comes again, as any client does.
            let payload = match wire.frame() {
                Some((TEXT, payload)) => payload,
                Some((PING, _)) => continue,
                _ => break,
            };
            let frame: Value = serde_json::from_slice(&payload).unwrap();
            match frame["type"].as_str() {
                Some("message") => subscriber.take(&frame, ledger),
                Some("ok") => assert_eq!(frame["recovered"], true, "{frame}"),
                Some("closing") => assert_eq!(frame["code"], 4008, "{frame}"),
                _ => panic!("{frame}"),
            }
        }
    }
}

/// A session that asks for everything behind what the subscriber has.
fn subscribed(address: SocketAddr, subscriber: &mut Subscriber) -> Wire {
    subscriber.comings += 1;
    let wire = match subscriber.kind {
        Kind::Slow => Wire::narrow(address, "/ws"),
        _ => Wire::open(address, "/ws", ""),
    };
    let mut wire = wire.welcomed();
    let since = |had: &Position| json!({"epoch": had.epoch, "offset": had.offset});
    if subscriber.kind == Kind::Filter {
        let positions: Map<_, _> = subscriber
            .positions()
            .map(|(topic, had)| (TOPICS[topic].to_owned(), since(had)))
            .collect();
        let from = subscriber.positions().map(|(_, had)| had.time).min();
        let since = json!({"positions": positions, "from": from});
        wire.send_json(&json!({"type": "subscribe", "topic": "soak/#", "since": since, "id": 1}));
    } else {
        for (topic, had) in subscriber.positions() {
            let topic = TOPICS[topic];
            let since = since(had);
            wire.send_json(&json!({"type": "subscribe", "topic": topic, "since": since, "id": 1}));
        }
    }
    wire
}

pub fn by_stream_again_and_again(
    address: SocketAddr,
    ledger: &Ledger,
    subscriber: &mut Subscriber,
    round: usize,
) {
    let query: Vec<_> = subscriber
        .positions()
        .map(|(topic, _)| format!("topic={}", TOPICS[topic]))
        .collect();
    let is_exact = query.len() == 1;
    let query = query.join("&");
    while !subscriber.has_all_of(round) {
        subscriber.comings += 1;
        let id = subscriber.last_event.clone();
        let mut events = Events::open(address, &query, &[("Last-Event-ID", &id)]);
        assert_eq!(events.gaps().len(), 0, "{query}: {:?}", events.gaps());
        events.first_id().clone_into(&mut subscriber.last_event);
        let patience = subscriber.patience();
        let mut taken = 0;
        while taken < patience && !subscriber.has_all_of(round) {
            // The stream may be ended for being slow.
            let Some(event) = events.next() else { break };
            if let Some(id) = event.id {
                subscriber.last_event = id;
            } else {
                assert!(event.name.is_none(), "without an id: {:?}", event.data);
            }
            let is_new = match event.name.as_deref() {
                Some("message") if is_exact => {
                    subscriber.take(&event.data, ledger);
                    true
                }
                Some("message") => subscriber.take_again(&event.data, ledger),
                Some(name) => {
                    let had: Vec<_> = subscriber.positions().collect();
                    panic!("{name} {:?}, from {id:?}, having {had:?}", event.data)
                }
                None => false,
            };
            // Only what is new counts: a stream of several topics that is cut before it is through
            // begins where it began.
            taken += usize::from(is_new);
        }
    }
}
