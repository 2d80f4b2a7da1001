//! Any sequence of what sessions do, against a model that is too simple to be wrong.

use proptest::prelude::*;

use super::super::Publication;
use super::super::testing::retained;
use super::*;
use crate::model::Filter;

const NAMES: [&str; 7] = ["a/1", "a/2", "h/1", "h/2", "r/1", "r/2", "hr/1"];
const FILTERS: [&str; 12] = [
    "a/1", "a/2", "h/1", "h/2", "r/1", "hr/1", "a/+", "h/#", "r/#", "hr/+", "#", "+/1",
];

#[derive(Clone, Debug)]
enum Op {
    Subscribe(usize, usize, bool, Option<u64>),
    Unsubscribe(usize, usize),
    Publish(usize, usize),
    Retain(usize, usize),
    Forget(usize),
    Clear(usize),
    Room(usize, usize),
    Unblock(usize),
    Detach(usize),
    Turn,
}

fn ops() -> impl Strategy<Value = Op> {
    let (session, filter) = (0..3_usize, 0..FILTERS.len());
    prop_oneof![
        4 => (session.clone(), filter.clone(), any::<bool>(), prop::option::of(0..4_u64))
            .prop_map(|(s, f, echo, last)| Op::Subscribe(s, f, echo, last)),
        2 => (session.clone(), filter).prop_map(|(s, f)| Op::Unsubscribe(s, f)),
        10 => (session.clone(), 0..NAMES.len()).prop_map(|(s, n)| Op::Publish(s, n)),
        4 => (session.clone(), 4..NAMES.len()).prop_map(|(s, n)| Op::Retain(s, n)),
        1 => (4..NAMES.len()).prop_map(Op::Forget),
        1 => (0..NAMES.len()).prop_map(Op::Clear),
        1 => (session.clone(), 0..60_usize).prop_map(|(s, room)| Op::Room(s, room)),
        1 => session.clone().prop_map(Op::Unblock),
        1 => session.prop_map(Op::Detach),
        4 => Just(Op::Turn),
    ]
}

/// What one session should see of each topic.
#[derive(Default)]
struct Model {
    subscriptions: Vec<(Filter, bool)>,
    seen: HashMap<&'static str, Vec<String>>,
    is_gone: bool,
}

impl Model {
    fn wants(&self, name: &str, is_own: bool) -> bool {
        let matching = |(f, _): &&(Filter, bool)| f.matches(&topic(name));
        let exact = self.subscriptions.iter().find(|(f, _)| f.as_str() == name);
        exact
            .or_else(|| self.subscriptions.iter().find(matching))
            .is_some_and(|(_, echo)| *echo || !is_own)
    }

    fn subscribe(&mut self, text: Filter, echo: bool, last: Option<u64>, kept: &Kept) {
        for name in NAMES {
            // A filter brings nothing of what another subscription delivers already.
            let is_had = text.has_wildcard() && self.covers(name);
            if text.matches(&topic(name)) && !is_had {
                self.seen
                    .entry(name)
                    .or_default()
                    .extend(kept.of(name, last));
            }
        }
        self.subscriptions.push((text, echo));
    }

    fn covers(&self, name: &str) -> bool {
        self.subscriptions
            .iter()
            .any(|(f, _)| f.matches(&topic(name)))
    }
}

/// What the topics keep.
#[derive(Default)]
struct Kept {
    history: HashMap<&'static str, Vec<String>>,
    retained: HashMap<&'static str, String>,
}

impl Kept {
    /// What one gets who subscribes: the retained message, then what is replayed, which it may be in.
    fn of(&self, name: &str, last: Option<u64>) -> Vec<String> {
        let held = self.history.get(name).map_or(&[][..], Vec::as_slice);
        let from = held.len().saturating_sub(last.unwrap_or(0) as usize);
        let replayed = held[from..].to_vec();
        let retained = self.retained.get(name).cloned();
        let retained = retained.filter(|text| !replayed.contains(text));
        retained.into_iter().chain(replayed).collect()
    }
}

async fn run(worker: Rc<Worker>, ops: Vec<Op>) -> Kept {
    let clients = [0, 1, 2].map(|id| Client::new(&worker, id, WireFormat::Raw));
    let mut models = [0, 1, 2].map(|_| Model::default());
    let mut kept = Kept::default();
    for (step, op) in ops.into_iter().enumerate() {
        match op {
            Op::Subscribe(s, f, echo, last) if !models[s].is_gone => {
                let ask = Subscription {
                    echo,
                    last,
                    ..plain(FILTERS[f], &clients[s].member)
                };
                let text = filter(FILTERS[f]);
                let answer = clients[s].ask(ask).await.unwrap();
                let known = models[s].subscriptions.iter().any(|(k, _)| *k == text);
                assert_eq!(answer.is_ok(), !known);
                if known {
                    continue;
                }
                models[s].subscribe(text, echo, last, &kept);
                // A subscription that ends early ends its replay.
                settle().await;
            }
            Op::Unsubscribe(s, f) => {
                let answer = clients[s].unsubscribe(FILTERS[f]).await.unwrap();
                let before = models[s].subscriptions.len();
                models[s]
                    .subscriptions
                    .retain(|(k, _)| *k != filter(FILTERS[f]));
                assert_eq!(answer.is_ok(), models[s].subscriptions.len() < before);
            }
            Op::Publish(s, n) | Op::Retain(s, n) => {
                let text = format!("{}:{step}", NAMES[n]);
                let retain = matches!(op, Op::Retain(..));
                let message = Publication {
                    retain,
                    ..publication(&topic(NAMES[n]), &text, Some(clients[s].subscriber.id()))
                };
                worker.publish(message, Instant::now(), ReplyTo::Nobody);
                for (id, model) in models.iter_mut().enumerate() {
                    if model.wants(NAMES[n], id == s) {
                        model.seen.entry(NAMES[n]).or_default().push(text.clone());
                    }
                }
                if retain {
                    kept.retained.insert(NAMES[n], text.clone());
                }
                if NAMES[n].starts_with('h') {
                    kept.history.entry(NAMES[n]).or_default().push(text);
                }
            }
            Op::Forget(n) => {
                let message = retained(&topic(NAMES[n]), "");
                worker.publish(message, Instant::now(), ReplyTo::Nobody);
                kept.retained.remove(NAMES[n]);
                if NAMES[n].starts_with('h') {
                    // It is as much a message of the history as any, but cannot be told by its text.
                    kept.history
                        .entry(NAMES[n])
                        .or_default()
                        .push(String::new());
                }
            }
            Op::Clear(n) => {
                let (reply, answer) = caller();
                worker.clear(topic(NAMES[n]), reply);
                drop(answer);
                kept.retained.remove(NAMES[n]);
                kept.history.remove(NAMES[n]);
            }
            Op::Room(s, room) => clients[s].wire.room.set(room),
            Op::Unblock(s) => clients[s].unblock(),
            Op::Detach(s) => {
                clients[s].detach();
                models[s].is_gone = true;
                models[s].subscriptions.clear();
            }
            Op::Subscribe(..) => {}
            Op::Turn => settle().await,
        }
    }
    for client in &clients {
        client.unblock();
    }
    settle().await;
    for (client, model) in clients.iter().zip(&models) {
        let payloads = client.wire.payloads();
        for name in NAMES {
            let got: Vec<_> = payloads.iter().filter(|p| p.starts_with(name)).collect();
            let seen = model.seen.get(name).into_iter().flatten();
            let all: Vec<_> = seen.filter(|text| !text.is_empty()).collect();
            if model.is_gone {
                assert!(all.starts_with(&got), "{name}: {got:?} of {all:?}");
            } else {
                assert_eq!(got, all, "{name}");
            }
        }
        client.detach();
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn every_session_sees_what_it_should_in_order(ops in prop::collection::vec(ops(), 1..60)) {
        let broker = broker(1, 1 << 20);
        // What topics there are goes with the worker.
        let (kept, left) = on_worker(&broker, async |worker| {
            let kept = run(worker, ops).await;
            (kept, broker.topics(None, None, 100))
        });
        assert_eq!(metric(broker.metrics(), "fanfare_subscriptions"), 0);
        let left: Vec<_> = left
            .iter()
            .map(|view| (view.topic.as_str(), view.subscribers, view.retained))
            .collect();
        let mut names: Vec<_> = kept.history.keys().chain(kept.retained.keys()).collect();
        names.sort();
        names.dedup();
        let expected: Vec<_> = names
            .into_iter()
            .map(|name| (*name, 0, kept.retained.contains_key(name)))
            .collect();
        assert_eq!(left, expected);
    }
}
