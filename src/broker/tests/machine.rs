//! Any sequence of what sessions do, against a model that is too simple to be wrong.

use proptest::prelude::*;

use super::*;
use crate::model::Filter;

const NAMES: [&str; 4] = ["a/1", "a/2", "h/1", "h/2"];
const FILTERS: [&str; 8] = ["a/1", "a/2", "h/1", "h/2", "a/+", "h/#", "#", "+/1"];

#[derive(Clone, Debug)]
enum Op {
    Subscribe(usize, usize, bool, Option<u64>),
    Unsubscribe(usize, usize),
    Publish(usize, usize),
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

    fn covers(&self, name: &str) -> bool {
        self.subscriptions
            .iter()
            .any(|(f, _)| f.matches(&topic(name)))
    }
}

async fn run(worker: Rc<Worker>, ops: Vec<Op>) {
    let clients = [0, 1, 2].map(|id| Client::new(&worker, id, WireFormat::Raw));
    let mut models = [0, 1, 2].map(|_| Model::default());
    let mut history: HashMap<&str, Vec<String>> = HashMap::new();
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
                for name in NAMES {
                    let replays = text.matches(&topic(name)) && name.starts_with('h');
                    // A filter replays nothing of what another subscription delivers already.
                    if replays && !(text.has_wildcard() && models[s].covers(name)) {
                        let held = history.get(name).map_or(&[][..], Vec::as_slice);
                        let from = held.len().saturating_sub(last.unwrap_or(0) as usize);
                        models[s]
                            .seen
                            .entry(name)
                            .or_default()
                            .extend_from_slice(&held[from..]);
                    }
                }
                models[s].subscriptions.push((text, echo));
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
            Op::Publish(s, n) => {
                let text = format!("{}:{step}", NAMES[n]);
                clients[s].publish(NAMES[n], &text);
                for (id, model) in models.iter_mut().enumerate() {
                    if model.wants(NAMES[n], id == s) {
                        model.seen.entry(NAMES[n]).or_default().push(text.clone());
                    }
                }
                history.entry(NAMES[n]).or_default().push(text);
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
            let all: Vec<_> = model.seen.get(name).into_iter().flatten().collect();
            if model.is_gone {
                assert!(all.starts_with(&got), "{name}: {got:?} of {all:?}");
            } else {
                assert_eq!(got, all, "{name}");
            }
        }
        client.detach();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn every_session_sees_what_it_should_in_order(ops in prop::collection::vec(ops(), 1..60)) {
        let broker = broker(1, 1 << 20);
        on_worker(&broker, async |worker| run(worker, ops).await);
        assert_eq!(metric(broker.metrics(), "fanfare_subscriptions"), 0);
        let held = |name: &str| ["h/1", "h/2"].contains(&name);
        let left = broker.topics(None, None, 100);
        assert!(left.iter().all(|view| held(view.topic.as_str()) && view.subscribers == 0));
    }
}
