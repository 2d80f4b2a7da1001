//! Publishes for one caller of the API.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_web::web::Data;

use super::envelope::Item;
use super::outcome::Published;
use crate::api::serve::Call;
use crate::api::{ApiState, Problem};
use crate::auth::{Caller, Door, Scope};
use crate::broker::Publication;
use crate::limits;
use crate::metrics;
use crate::model::{Origin, TopicName};
use crate::protocol::{ErrorCode, Refusal};

/// How long a request waits for what was published before to get on.
const HOLD: Duration = Duration::from_secs(1);

/// Publishes what one caller may.
pub struct Publisher {
    state: Data<ApiState>,
    caller: RefCell<Caller>,
    /// What it was let in for.
    scope: Scope,
    /// The door by which the caller's rights were looked at last.
    door: RefCell<Option<Arc<Door>>>,
    client: Option<IpAddr>,
}

impl Publisher {
    /// Publishes what that caller may, who was let in for that.
    pub fn new(call: &Call<'_>, caller: Caller, scope: Scope) -> Self {
        Self {
            state: call.state.clone(),
            caller: RefCell::new(caller),
            scope,
            door: RefCell::default(),
            client: call.client(),
        }
    }

    /// Publishes one message.
    ///
    /// # Errors
    /// Says why it was not published.
    pub async fn publish(&self, item: Item) -> Result<Published, Refusal> {
        self.room().await.map_err(|refusal| self.counted(refusal))?;
        self.hand_in(item).await
    }

    /// Looks again at what the caller may, where who may come in has been configured anew since: what
    /// it sends may come for as long as it likes.
    ///
    /// # Errors
    /// `unauthorized` or `forbidden`, not counted yet, where it would not be let in any more.
    pub fn renew(&self) -> Result<(), Refusal> {
        let door = self.state.door.now();
        let mut seen = self.door.borrow_mut();
        if seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &door)) {
            return Ok(());
        }
        let mut caller = self.caller.borrow_mut();
        let renewed = door.renewed_caller(&caller, self.scope);
        *caller = renewed.map_err(|denied| denied.refusal())?;
        *seen = Some(door);
        Ok(())
    }

    /// Refuses topics that the caller may not publish to.
    ///
    /// # Errors
    /// `forbidden`, not counted yet.
    pub fn check_topic(&self, topic: &TopicName) -> Result<(), Refusal> {
        let rules = self.state.broker.rules().now();
        if rules.may_publish(&self.caller.borrow().access, topic) {
            return Ok(());
        }
        let message = if topic.is_reserved() {
            "topics whose names begin with '$' are the broker's own; nobody may publish there"
        } else {
            "the key may not publish to this topic; use one whose 'topics' has it"
        };
        Err(Refusal::new(ErrorCode::Forbidden, message))
    }

    /// Waits a moment until this worker can take more.
    ///
    /// # Errors
    /// `unavailable`, which is not counted yet.
    pub async fn room(&self) -> Result<(), Refusal> {
        let room = poll_fn(|cx| self.poll_room(cx));
        tokio::time::timeout(HOLD, room).await.unwrap_or_else(|_| {
            Err(unavailable(
                "the broker has more to deliver than it can; publish again after a moment",
            ))
        })
    }

    /// Whether this worker can take more.
    ///
    /// # Errors
    /// `unavailable`, which is not counted yet, where nothing is published at all.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        if self.is_draining() {
            return Poll::Ready(Err(unavailable(
                "the broker is stopping; publish again, to another node or after its start",
            )));
        }
        let broker = &self.state.broker;
        let (running, all) = broker.workers();
        if running < all {
            let refusal = unavailable("the broker is starting; publish again");
            return Poll::Ready(Err(refusal));
        }
        // All workers run, so this makes no new one.
        match broker.enter() {
            Ok(worker) if worker.holds_back(cx.waker()) => Poll::Pending,
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Whether the broker is about to stop.
    pub fn is_draining(&self) -> bool {
        self.state.shutdown.is_draining()
    }

    /// Counts a message against the rate of whoever sends it.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn admitted(&self) -> Result<(), Refusal> {
        let key = self.caller.borrow().key.clone();
        let who = || match key {
            Some(key) => limits::Publisher::Key(key),
            None => limits::Publisher::Address(limits::Source::of(self.client)),
        };
        let admitted = self.state.throttle.publish(who, Instant::now());
        admitted.map_err(|excess| self.counted(excess.refusal()))
    }

    /// Sends a message to its topic's home, in the moment that this is first polled.
    pub fn hand_in(&self, item: Item) -> impl Future<Output = Result<Published, Refusal>> + use<> {
        let checked = self.checked(item);
        let broker = self.state.broker.clone();
        async move {
            let publication = checked?;
            let topic = publication.topic.clone();
            let receipt = broker.publish(publication).await?;
            Ok(Published::new(&topic, &receipt))
        }
    }

    fn checked(&self, item: Item) -> Result<Publication, Refusal> {
        let Item { publish, key } = item;
        self.renew().map_err(|refusal| self.counted(refusal))?;
        self.check_topic(&publish.topic)
            .map_err(|refusal| self.counted(refusal))?;
        let most = self.state.config.now().limits.message_bytes;
        let length = publish.payload.data.len();
        if length > most {
            let message = format!("the message has {length} bytes; it may have {most}");
            return Err(self.counted(Refusal::new(ErrorCode::TooLarge, message)));
        }
        self.admitted()?;
        let publisher = self.caller.borrow().key.clone();
        let once = key.map(|key| Box::new(key.once(publisher.as_deref(), &publish)));
        Ok(Publication {
            topic: publish.topic,
            payload: publish.payload,
            key: publish.key,
            retain: publish.retain,
            user: None,
            publisher: None,
            origin: Origin::Http,
            once,
        })
    }

    /// Counts what the broker never got to see.
    pub fn counted(&self, refusal: Refusal) -> Refusal {
        self.count(refusal.code);
        refusal
    }

    /// Counts a request that was refused as a whole, as one message.
    pub fn refused(&self, problem: Problem) -> Problem {
        self.count(problem.code());
        problem
    }

    fn count(&self, code: ErrorCode) {
        let code = metrics::ErrorCode::named(code.as_str());
        self.state.broker.metrics().publish_failed(code);
    }
}

fn unavailable(message: &'static str) -> Refusal {
    Refusal::new(ErrorCode::Unavailable, message).retry_after(Duration::from_secs(1))
}
