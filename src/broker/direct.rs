//! Messages to sessions themselves, outside any topic, and the end of sessions from the server's
//! side.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::oneshot;

use crate::model::{Message, Origin, Payload, SessionId, Timestamp, TopicName};
use crate::protocol::{Close, ErrorCode, Event, Published, Refusal};

use super::direct_delivery::{DirectDelivery, Recipients};
use super::registry::label;
use super::subscriber::Ending;
use super::{Broker, Worker};

/// Bytes of messages to sessions themselves that are under way at once in the node.
pub const UNDER_WAY: usize = 32 * 1024 * 1024;

/// Sessions that one errand to a worker ends.
const SLICE: usize = 1024;

/// The longest reason of a close frame: what RFC 6455 §5.5 leaves beside the code.
const MAX_REASON: usize = 123;

/// Which sessions are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// One session.
    Session(SessionId),
    /// All sessions of one user.
    User(Arc<str>),
}

impl Broker {
    /// Sends one message to a session, or to all of a user's: outside any topic, with `$direct` in
    /// its place. Answers how many sessions it was queued for.
    ///
    /// # Errors
    /// `not_found` where there is no such session; `unavailable` where too much is under way.
    pub async fn send_direct(
        &self,
        to: &Whom,
        payload: Payload,
        origin: Origin,
    ) -> Result<usize, Refusal> {
        let sessions = self.by_worker(to).into_iter();
        let shares = sessions.map(|(worker, names)| (worker, Recipients::These(names.into_iter())));
        let shares: Vec<_> = shares.collect();
        if shares.is_empty() {
            return Err(to.not_found());
        }
        let reached = self.send(TopicName::direct(), payload, origin, shares);
        match reached.await? {
            0 => Err(to.not_found()),
            reached => Ok(reached),
        }
    }

    /// Sends one message to every session that is open: outside any topic, with `$broadcast` in its
    /// place. Answers how many sessions it was queued for.
    ///
    /// # Errors
    /// `unavailable` where too much is under way.
    pub async fn broadcast(&self, payload: Payload, origin: Origin) -> Result<usize, Refusal> {
        let workers = 0..self.node.shards.count();
        let shares = workers.map(|worker| (worker, Recipients::All(None)));
        self.send(TopicName::broadcast(), payload, origin, shares.collect())
            .await
    }

    /// Ends a session, or all of a user's: what is queued for them is written first. Answers how many
    /// were open.
    ///
    /// # Errors
    /// `not_found` where there is no such session; `bad_request` where the code is none that
    /// applications may use, or the reason is too long for a close frame.
    pub async fn disconnect(&self, whom: &Whom, close: &Close) -> Result<usize, Refusal> {
        check(close)?;
        let mut ended = 0;
        for (worker, sessions) in self.by_worker(whom) {
            for some in sessions.chunks(SLICE) {
                let (some, close) = (some.to_vec(), close.clone());
                let end = move |worker: &Worker| end_all(worker, &some, &close);
                ended += self.on(worker, end).await.unwrap_or(0);
            }
        }
        if ended == 0 {
            return Err(whom.not_found());
        }
        Ok(ended)
    }

    /// The sessions that are meant, by the worker that has them.
    fn by_worker(&self, whom: &Whom) -> BTreeMap<usize, Vec<SessionId>> {
        let directory = &self.node.sessions;
        let sessions = match whom {
            Whom::Session(session) => vec![*session],
            Whom::User(user) => directory.of_user(user, None),
        };
        let mut by_worker: BTreeMap<usize, Vec<SessionId>> = BTreeMap::new();
        for card in sessions.into_iter().filter_map(|name| directory.get(name)) {
            by_worker.entry(card.worker).or_default().push(card.session);
        }
        by_worker
    }

    async fn send(
        &self,
        topic: TopicName,
        payload: Payload,
        origin: Origin,
        shares: Vec<(usize, Recipients)>,
    ) -> Result<usize, Refusal> {
        let bytes = payload.data.len();
        let room = u32::try_from(bytes.clamp(1, UNDER_WAY)).unwrap_or(u32::MAX);
        let free = Arc::clone(&self.node.direct).try_acquire_many_owned(room);
        let room = Arc::new(free.map_err(|_| too_much())?);
        self.node.metrics.published(label(origin), bytes);
        let message = Message {
            topic,
            payload,
            time: Timestamp::now(),
            position: None,
            user: None,
            key: None,
            publisher: None,
        };
        let published = Arc::new(Published::new(Event::Message(Arc::new(message))));
        let each = shares.into_iter().map(|(worker, to)| {
            let (done, reached) = oneshot::channel();
            let delivery = DirectDelivery {
                published: Arc::clone(&published),
                to,
                done,
                room: Arc::clone(&room),
            };
            let taken = self.on(worker, |worker| worker.deliver_direct(delivery));
            async {
                taken.await?;
                reached.await.ok()
            }
        });
        Ok(join_all(each).await.into_iter().flatten().sum())
    }
}

impl Whom {
    /// Says that none of them is there.
    pub fn not_found(&self) -> Refusal {
        let message = match self {
            Self::Session(_) => "there is no session of that name; it may have ended",
            Self::User(_) => "no session of that user is here at present",
        };
        Refusal::new(ErrorCode::NotFound, message)
    }
}

fn end_all(worker: &Worker, sessions: &[SessionId], close: &Close) -> usize {
    let now = Instant::now();
    let open = sessions.iter().filter_map(|name| worker.roster.open(*name));
    open.map(|session| session.close(close, Ending::Orderly, now))
        .count()
}

fn check(close: &Close) -> Result<(), Refusal> {
    if !close.code.is_for_applications() {
        return Err(Refusal::new(
            ErrorCode::BadRequest,
            format!(
                "'code' must be 4500 (for good), 4100 (connect again), or of the application's own \
                 4700 to 4899 (for good) or 4200 to 4399 (connect again), found {}",
                close.code.0
            ),
        ));
    }
    if close.reason.len() > MAX_REASON {
        return Err(Refusal::new(
            ErrorCode::BadRequest,
            format!(
                "'reason' must have at most {MAX_REASON} bytes of UTF-8, found {}",
                close.reason.len()
            ),
        ));
    }
    Ok(())
}

fn too_much() -> Refusal {
    Refusal::new(
        ErrorCode::Unavailable,
        "as much is on its way to sessions as the broker holds; send it again after a moment",
    )
    .retry_after(Duration::from_secs(1))
}
