//! Looking at sessions: page by page, asked of the workers that have them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::config::Who;
use crate::model::{Filter, SessionId, TopicName};

use super::session_directory::SessionCard;
use super::subscriber::{SessionCounts, Subscriber};
use super::{Broker, Worker};

/// Sessions and subscriptions that one errand to a worker looks at.
const SLICE: usize = 1024;

/// Bytes of subscriptions after which a worker's part of a page ends.
const PART_BYTES: usize = 1024 * 1024;

/// Which sessions are asked for.
#[derive(Clone, Debug)]
pub struct SessionQuery {
    /// Only those of this user.
    pub user: Option<Arc<str>>,
    /// Only those that have subscribed to this very name or filter or, where it is a name, to a
    /// filter that matches it, unless the topic's rule keeps the topic from them.
    pub topic: Option<Filter>,
    /// Only those whose names come after this one.
    pub after: Option<SessionId>,
    /// At most so many.
    pub limit: usize,
}

/// Some of the sessions, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionPage {
    /// The sessions.
    pub sessions: Vec<SessionView>,
    /// The name after which the next page begins; `None` where this is the last.
    pub next: Option<SessionId>,
}

/// A session at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// What does not change.
    pub card: SessionCard,
    /// Its user, where its credentials name one.
    pub user: Option<Arc<str>>,
    /// Its subscriptions that stand, the earliest first.
    pub subscriptions: Vec<Filter>,
    /// Bytes that wait to be written to it.
    pub queued_bytes: usize,
    /// How long its last answer to a ping took.
    pub round_trip: Option<Duration>,
    /// What went to and fro.
    pub counts: SessionCounts,
}

/// Which of a worker's sessions an errand looks at.
#[derive(Clone)]
enum Among {
    All,
    These(Arc<[SessionId]>),
}

/// What a worker has found.
#[derive(Default)]
struct Part {
    sessions: Vec<SessionView>,
    bytes: usize,
    /// Up to here nothing is missing; `None`: to the end.
    until: Option<SessionId>,
}

impl Broker {
    /// A page of the sessions that are open.
    pub async fn sessions(&self, query: &SessionQuery) -> SessionPage {
        let among = query.user.as_ref().map_or(Among::All, |user| {
            Among::These(self.node.sessions.of_user(user, query.after).into())
        });
        let workers = 0..self.node.shards.count();
        let parts = workers.map(|worker| self.part(worker, among.clone(), query));
        merge(join_all(parts).await, query.limit)
    }

    /// One session, if it is open.
    pub async fn session(&self, session: SessionId) -> Option<SessionView> {
        let card = self.node.sessions.get(session)?;
        let look = move |worker: &Worker| view(&*worker.roster.open(session)?, worker);
        self.on(card.worker, look).await.flatten()
    }

    /// The names of a user's sessions, in their order.
    pub fn sessions_of(&self, user: &str) -> Vec<SessionId> {
        self.node.sessions.of_user(user, None)
    }

    /// Looks through a worker's sessions, in slices, until the page is full.
    async fn part(&self, worker: usize, among: Among, query: &SessionQuery) -> Part {
        let mut part = Part {
            until: query.after,
            ..Part::default()
        };
        loop {
            // One more than the page has tells whether it is the last.
            let room = (query.limit + 1).saturating_sub(part.sessions.len());
            let (among, topic, after) = (among.clone(), query.topic.clone(), part.until);
            let look = move |worker: &Worker| slice(worker, &among, topic.as_ref(), after, room);
            // A worker that is gone has no sessions.
            let found = self.on(worker, look).await.unwrap_or_default();
            part.sessions.extend(found.sessions);
            part.bytes += found.bytes;
            part.until = found.until;
            let is_full = part.sessions.len() > query.limit || part.bytes > PART_BYTES;
            if is_full || part.until.is_none() {
                return part;
            }
        }
    }
}

fn merge(parts: Vec<Part>, limit: usize) -> SessionPage {
    let end = parts.iter().filter_map(|part| part.until).min();
    let mut sessions: Vec<_> = parts.into_iter().flat_map(|part| part.sessions).collect();
    sessions.sort_unstable_by_key(|view| view.card.session);
    if let Some(end) = end {
        sessions.retain(|view| view.card.session <= end);
    }
    let next = if sessions.len() > limit {
        sessions.truncate(limit);
        sessions.last().map(|view| view.card.session)
    } else {
        end
    };
    SessionPage { sessions, next }
}

/// Looks at the worker's next sessions, and finds at most `room`.
fn slice(
    worker: &Worker,
    among: &Among,
    topic: Option<&Filter>,
    after: Option<SessionId>,
    room: usize,
) -> Part {
    let names = match among {
        Among::All => worker
            .roster
            .after(after, SLICE)
            .iter()
            .map(|s| s.id())
            .collect(),
        Among::These(names) => {
            let from = names.partition_point(|name| Some(*name) <= after);
            let names = names.iter().skip(from).take(SLICE);
            names.copied().collect::<Vec<_>>()
        }
    };
    let name = topic.and_then(Filter::as_name);
    let name = name.map(|name| (worker.broker().rules().now().of(&name).subscribe, name));
    let mut part = Part::default();
    let mut effort = 0;
    for session in &names {
        part.until = Some(*session);
        if let Some(subscriber) = worker.roster.open(*session) {
            effort += 1 + subscriber.subscription_count();
            let is_wanted = topic.is_none_or(|topic| has(&subscriber, topic, name.as_ref()));
            if is_wanted {
                part.add(view(&subscriber, worker));
            }
        }
        if part.sessions.len() >= room || part.bytes > PART_BYTES || effort > SLICE {
            return part;
        }
    }
    if names.len() < SLICE {
        part.until = None;
    }
    part
}

impl Part {
    fn add(&mut self, view: Option<SessionView>) {
        if let Some(view) = view {
            let texts = view
                .subscriptions
                .iter()
                .map(|filter| filter.as_str().len());
            self.bytes += texts.sum::<usize>();
            self.sessions.push(view);
        }
    }
}

/// Whether a subscription of the session's is that very text, or a filter that matches the name, which
/// is for those.
fn has(subscriber: &Subscriber, topic: &Filter, name: Option<&(Who, TopicName)>) -> bool {
    let may_read = || name.is_some_and(|(who, name)| subscriber.may_read(*who, name));
    subscriber.has_subscription(|filter| filter == topic)
        || (subscriber
            .has_subscription(|filter| name.is_some_and(|(_, name)| filter.matches(name)))
            && may_read())
}

fn view(subscriber: &Subscriber, worker: &Worker) -> Option<SessionView> {
    Some(SessionView {
        card: worker.broker().node.sessions.get(subscriber.id())?,
        user: subscriber.rights().user(),
        subscriptions: subscriber.filters(),
        queued_bytes: subscriber.queued_bytes(),
        round_trip: subscriber.round_trip(),
        counts: subscriber.counts(),
    })
}
