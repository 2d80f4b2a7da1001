//! What sessions see, from subscribing to the bytes on their wires.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::testing::{FakeWire, broker, filter, member, metric, opening, publication, topic};
use super::{Broker, Opening, Reply, ReplyTo, Subscriber, Subscription, Worker};
use crate::auth::Rights;
use crate::model::{Member, SessionId};
use crate::protocol::{Cursor, Refusal, SubscribeOk, WireFormat};

mod churn;
mod delivery;
mod direct;
mod faults;
mod lost;
mod machine;
mod overflow;
mod overflow_churn;
mod removal;
mod retained;
mod retained_churn;
mod scans;
mod sessions;
mod turns;
mod withheld;

type Answer = oneshot::Receiver<Result<Reply, Refusal>>;

/// A session with a wire of its own.
struct Client {
    worker: Rc<Worker>,
    subscriber: Rc<Subscriber>,
    wire: Rc<FakeWire>,
    member: Member,
}

/// Runs a test on a thread that is a worker of this broker.
fn on_worker<F: Future>(broker: &Broker, test: impl FnOnce(Rc<Worker>) -> F) -> F::Output {
    actix_rt::System::new().block_on(async { test(broker.enter().unwrap()).await })
}

/// Lets the turns that are due end.
async fn settle() {
    for _ in 0..30 {
        tokio::task::yield_now().await;
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} never came about");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn caller() -> (ReplyTo, Answer) {
    let (sender, answer) = oneshot::channel();
    (ReplyTo::Caller(sender), answer)
}

/// A subscription without options.
fn plain(text: &str, member: &Member) -> Subscription {
    Subscription {
        filter: filter(text),
        echo: true,
        last: None,
        since: None,
        since_filter: None,
        from: None,
        overflow: None,
        min_interval: None,
        is_lent: false,
        member: member.clone(),
    }
}

impl Client {
    fn new(worker: &Rc<Worker>, id: u64, format: WireFormat) -> Self {
        Self::with_room(worker, id, format, usize::MAX)
    }

    fn with_room(worker: &Rc<Worker>, id: u64, format: WireFormat, room: usize) -> Self {
        Self::open(worker, opening(id, format), room)
    }

    fn that_may(
        worker: &Rc<Worker>,
        id: u64,
        format: WireFormat,
        room: usize,
        rights: Rc<Rights>,
    ) -> Self {
        let opening = Opening {
            rights,
            ..opening(id, format)
        };
        Self::open(worker, opening, room)
    }

    fn open(worker: &Rc<Worker>, opening: Opening, room: usize) -> Self {
        let wire = FakeWire::with_room(room);
        let member = Member {
            user: opening.rights.user(),
            ..member(opening.id)
        };
        let subscriber = worker.attach(opening, Rc::<FakeWire>::clone(&wire));
        subscriber.open(Bytes::new());
        Self {
            worker: Rc::clone(worker),
            subscriber,
            wire,
            member,
        }
    }

    fn ask(&self, ask: Subscription) -> Answer {
        let (reply, answer) = caller();
        self.worker.subscribe(&self.subscriber, ask, reply);
        answer
    }

    async fn subscribe_with(&self, ask: Subscription) -> SubscribeOk {
        match self.ask(ask).await {
            Ok(Ok(Reply::Subscribed(ok))) => ok,
            other => panic!("{other:?}"),
        }
    }

    async fn subscribe(&self, text: &str) -> SubscribeOk {
        self.subscribe_with(plain(text, &self.member)).await
    }

    fn unsubscribe(&self, text: &str) -> Answer {
        let (reply, answer) = caller();
        let filter = filter(text);
        self.worker
            .unsubscribe(&self.subscriber, Some(&filter), &self.member, reply);
        answer
    }

    fn publish(&self, name: &str, text: &str) {
        publish(&self.worker, name, text, Some(self.subscriber.id()));
    }

    fn unblock(&self) {
        self.wire.room.set(usize::MAX);
        self.subscriber.writable();
    }

    fn detach(&self) {
        self.worker.detach(&self.subscriber, &self.member);
    }

    /// The offsets it got, topic by topic.
    fn offsets(&self) -> HashMap<String, Vec<u64>> {
        let mut found: HashMap<String, Vec<u64>> = HashMap::new();
        // Found without a parser, since there are many.
        let after = |text: &str, name: &str| {
            let (_, rest) = text.split_once(name)?;
            rest.split(['"', ',', '}']).next().map(str::to_owned)
        };
        for text in self.wire.payloads() {
            assert!(!text.contains(r#""type":"gap""#), "{text}");
            if text.contains(r#""type":"message""#) {
                let topic = after(&text, r#""topic":""#).unwrap();
                let offset = after(&text, r#""offset":"#).unwrap();
                found
                    .entry(topic)
                    .or_default()
                    .push(offset.parse().unwrap());
            }
        }
        found
    }
}

fn publish(worker: &Worker, name: &str, text: &str, publisher: Option<SessionId>) {
    let message = publication(&topic(name), text, publisher);
    worker.publish(message, Instant::now(), ReplyTo::Nobody);
}
