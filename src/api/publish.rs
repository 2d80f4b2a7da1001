//! Publishing: `POST /v1/publish`, and what publishes for every call.

mod envelope;

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::future::{MaybeDone, maybe_done};
use serde::Serialize;

use self::envelope::{Ask, Asked};
use super::message::content_type;
use super::serve::{Call, json};
use super::{ApiState, Problem, body};
use crate::auth::{Caller, Scope};
use crate::broker::{Publication, Receipt};
use crate::limits;
use crate::metrics;
use crate::model::{Origin, TopicName};
use crate::protocol::{ErrorCode, Publish, Refusal};

/// Messages of one request that are on their way at a time.
const WINDOW: usize = 64;
/// How long a publish waits for what was published before to get on.
const HOLD: Duration = Duration::from_secs(1);
/// The longest body of a batch, however many messages it may have.
const LONGEST_BATCH: usize = 32 * 1024 * 1024;

/// What a publisher is told.
#[derive(Serialize)]
pub(super) struct Published {
    topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    subscribers: u64,
}

/// What came of one item.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Published(Published),
    Problem(crate::protocol::Problem),
    Several { results: Vec<Outcome> },
}

pub(super) async fn post(call: &Call<'_>, payload: Payload) -> Result<HttpResponse, Problem> {
    let caller = call.admit(Scope::Publish)?;
    refuse_idempotency(call.request)?;
    match content_type(call.request)?.as_deref() {
        None | Some("application/json") => {}
        Some("application/x-ndjson") => {
            return Err(Problem::with_status(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "application/x-ndjson is not carried out by this broker yet; send a JSON array",
            ));
        }
        Some(_) => {
            return Err(Problem::with_status(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the Content-Type must be application/json; \
                 to publish a body as it is, POST it to /v1/topics/{topic}/messages",
            ));
        }
    }
    let limits = &call.state.config.limits;
    let whole = limits.batch.saturating_mul(limits.message_bytes);
    // One message always has room, whatever its base64 and its fields take.
    let one = limits.message_bytes.saturating_mul(2).saturating_add(4096);
    let most = whole.min(LONGEST_BATCH).max(one);
    let data = body::read(call.request, payload, most).await?;
    let text = std::str::from_utf8(&data)
        .map_err(|_| Problem::bad_request("the body must be JSON, which is UTF-8"))?;
    let publisher = Publisher::new(call, &caller);
    match envelope::read(text, limits.batch)? {
        Ask::One(Asked::One(publish)) => json(&publisher.publish(publish?).await?),
        Ask::One(several @ Asked::Several(_)) => {
            json(&publisher.publish_all(vec![several]).await.pop())
        }
        Ask::Array(asked) => json(&publisher.publish_all(asked).await),
    }
}

/// Refuses what asks to be published once only.
///
/// # Errors
/// That this is not carried out.
pub(super) fn refuse_idempotency(request: &HttpRequest) -> Result<(), Problem> {
    if request.headers().contains_key("Idempotency-Key") {
        return Err(Problem::bad_request(
            "the header 'Idempotency-Key' is not carried out by this broker yet; leave it out",
        ));
    }
    Ok(())
}

/// Publishes for one caller.
pub(super) struct Publisher<'a> {
    state: &'a ApiState,
    caller: &'a Caller,
    client: Option<IpAddr>,
}

impl<'a> Publisher<'a> {
    /// Publishes what that caller may.
    pub(super) fn new(call: &Call<'a>, caller: &'a Caller) -> Self {
        Self {
            state: call.state,
            caller,
            client: call.client(),
        }
    }

    /// Publishes one message.
    ///
    /// # Errors
    /// Says why it was not published.
    pub(super) async fn publish(&self, publish: Publish) -> Result<Published, Refusal> {
        self.room().await?;
        self.hand_in(publish).await
    }

    /// Refuses topics that the caller may not publish to.
    ///
    /// # Errors
    /// `forbidden`.
    pub(super) fn check_topic(&self, topic: &TopicName) -> Result<(), Refusal> {
        if self.caller.access.may_publish(topic) {
            return Ok(());
        }
        let message = if topic.is_reserved() {
            "topics whose names begin with '$' are the broker's own; nobody may publish there"
        } else {
            "the key may not publish to this topic; use one whose 'topics' has it"
        };
        Err(self.counted(Refusal::new(ErrorCode::Forbidden, message)))
    }

    /// Publishes in the order of the items; each has its own outcome.
    async fn publish_all(&self, asked: Vec<Asked>) -> Vec<Outcome> {
        let shape: Vec<_> = asked.iter().map(Asked::several).collect();
        let mut publishes = asked.into_iter().flat_map(Asked::into_each);
        let mut outcomes = Vec::new();
        loop {
            let window: Vec<_> = publishes.by_ref().take(WINDOW).collect();
            if window.is_empty() {
                break;
            }
            let room = &self.room().await;
            let each = window.into_iter().map(|publish| async move {
                let publish = publish.map_err(|refusal| self.counted(refusal))?;
                room.clone()?;
                self.hand_in(publish).await
            });
            outcomes.extend(in_order(each).await.into_iter().map(Outcome::from));
        }
        let mut outcomes = outcomes.into_iter();
        let regrouped = shape.into_iter().filter_map(|several| match several {
            None => outcomes.next(),
            Some(count) => Some(Outcome::Several {
                results: outcomes.by_ref().take(count).collect(),
            }),
        });
        regrouped.collect()
    }

    /// Waits until this worker can take more.
    async fn room(&self) -> Result<(), Refusal> {
        let unavailable = |message| {
            self.counted(
                Refusal::new(ErrorCode::Unavailable, message).retry_after(Duration::from_secs(1)),
            )
        };
        if self.state.shutdown.is_draining() {
            return Err(unavailable(
                "the broker is stopping; publish again, to another node or after its start",
            ));
        }
        let broker = &self.state.broker;
        let (running, all) = broker.workers();
        if running < all {
            return Err(unavailable("the broker is starting; publish again"));
        }
        // All workers run, so this makes no new one.
        let Ok(worker) = broker.enter() else {
            return Ok(());
        };
        let has_room = poll_fn(|cx| {
            if worker.holds_back(cx.waker()) {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        });
        tokio::time::timeout(HOLD, has_room).await.map_err(|_| {
            unavailable("the broker has more to deliver than it can; publish again after a moment")
        })
    }

    async fn hand_in(&self, publish: Publish) -> Result<Published, Refusal> {
        self.check_topic(&publish.topic)?;
        let most = self.state.config.limits.message_bytes;
        let length = publish.payload.data.len();
        if length > most {
            let message = format!("the message has {length} bytes; it may have {most}");
            return Err(self.counted(Refusal::new(ErrorCode::TooLarge, message)));
        }
        let who = || match &self.caller.key {
            Some(key) => limits::Publisher::Key(Arc::clone(key)),
            None => limits::Publisher::Address(limits::Source::of(self.client)),
        };
        let admitted = self.state.throttle.publish(who, Instant::now());
        admitted.map_err(|excess| self.counted(excess.refusal()))?;
        let topic = publish.topic.clone();
        let publication = Publication {
            topic: publish.topic,
            payload: publish.payload,
            key: publish.key,
            user: None,
            publisher: None,
            origin: Origin::Http,
        };
        let receipt = self.state.broker.publish(publication).await?;
        Ok(Published::new(&topic, &receipt))
    }

    /// Counts what the broker never got to see.
    fn counted(&self, refusal: Refusal) -> Refusal {
        let code = metrics::ErrorCode::named(refusal.code.as_str());
        self.state.broker.metrics().publish_failed(code);
        refusal
    }
}

impl Published {
    fn new(topic: &TopicName, receipt: &Receipt) -> Self {
        Self {
            topic: topic.as_str().to_owned(),
            epoch: receipt.position.map(|at| at.epoch.to_string()),
            offset: receipt.position.map(|at| at.offset),
            subscribers: receipt.subscribers,
        }
    }
}

impl From<Result<Published, Refusal>> for Outcome {
    fn from(result: Result<Published, Refusal>) -> Self {
        match result {
            Ok(published) => Self::Published(published),
            Err(refusal) => Self::Problem(Problem::from(refusal).body()),
        }
    }
}

/// Awaits all of them, begun in their order: what was first reaches its topic's home first.
async fn in_order<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<Pin<Box<MaybeDone<F>>>> = all.map(|f| Box::pin(maybe_done(f))).collect();
    poll_fn(|cx| {
        let mut is_done = true;
        for each in &mut all {
            is_done &= each.as_mut().poll(cx).is_ready();
        }
        if is_done {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    all.iter_mut()
        .filter_map(|each| each.as_mut().take_output())
        .collect()
}
