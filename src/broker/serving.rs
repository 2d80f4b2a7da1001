//! Subscriptions of sessions that the server's side begins and ends.

use std::rc::Rc;

use tokio::sync::oneshot;

use crate::model::{Filter, SessionId};
use crate::protocol::{Refusal, Subscribe, SubscribeOk};

use super::direct::Whom;
use super::reply::{Reply, ReplyTo};
use super::subscribing::Subscription;
use super::{Broker, Worker, internal};

type Answer = oneshot::Receiver<Result<Reply, Refusal>>;

impl Broker {
    /// Subscribes a session from the server's side: as if it had asked itself, but whatever its
    /// credentials grant. It is not told; the messages come. Returns once the subscription stands.
    ///
    /// # Errors
    /// `not_found` where there is no such session, `already_subscribed`, and `limit_exceeded` where
    /// it has as many subscriptions as it may.
    pub async fn subscribe_session(
        &self,
        session: SessionId,
        ask: Subscribe,
    ) -> Result<SubscribeOk, Refusal> {
        let gone = || Whom::Session(session).not_found();
        let card = self.node.sessions.get(session).ok_or_else(gone)?;
        let (sender, answer) = oneshot::channel();
        let asked = self.on(card.worker, move |worker| {
            if let Some(subscriber) = worker.roster.open(session) {
                let ask = Subscription {
                    is_lent: true,
                    ..Subscription::new(ask, subscriber.member())
                };
                worker.subscribe(&subscriber, ask, ReplyTo::Caller(sender));
            }
        });
        asked.await.ok_or_else(gone)?;
        // Without an answer the session was not there, or has ended meanwhile.
        match answer.await.map_err(|_| gone())?? {
            Reply::Subscribed(ok) => Ok(ok),
            _ => Err(internal()),
        }
    }

    /// Ends one subscription of a session from the server's side, or all; the session is told by
    /// `unsubscribed`. Answers which ended.
    ///
    /// # Errors
    /// `not_found` where there is no such session, `not_subscribed` where it has no such subscription.
    pub async fn unsubscribe_session(
        &self,
        session: SessionId,
        filter: Option<Filter>,
    ) -> Result<Vec<Filter>, Refusal> {
        let gone = || Whom::Session(session).not_found();
        let card = self.node.sessions.get(session).ok_or_else(gone)?;
        let is_one = filter.is_some();
        let asked = self.on(card.worker, move |worker| {
            unsubscribe(worker, session, filter)
        });
        let answers = asked.await.flatten().ok_or_else(gone)?;
        let mut ended = Vec::with_capacity(answers.len());
        for answer in answers {
            match answer.await.map_err(|_| gone())? {
                Ok(Reply::Unsubscribed(filter)) => ended.extend(filter),
                Ok(_) => return Err(internal()),
                Err(refusal) if is_one => return Err(refusal),
                // It has ended by itself meanwhile.
                Err(_) => {}
            }
        }
        Ok(ended)
    }
}

/// Ends what was named; an answer will come for each. `None` where the session is not there.
fn unsubscribe(worker: &Worker, session: SessionId, filter: Option<Filter>) -> Option<Vec<Answer>> {
    let subscriber = worker.roster.open(session)?;
    let filters = filter.map_or_else(|| subscriber.filters(), |filter| vec![filter]);
    let member = subscriber.member();
    let each = filters.iter().map(|filter| {
        let (caller, answer) = oneshot::channel();
        let reply = ReplyTo::Ended {
            session: Rc::clone(&subscriber),
            caller,
        };
        worker.unsubscribe(&subscriber, Some(filter), &member, reply);
        answer
    });
    Some(each.collect())
}
