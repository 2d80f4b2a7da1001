//! The end of all subscriptions of a session.

use std::rc::Rc;
use std::time::Instant;

use crate::model::{Filter, Member};

use super::book::Place;
use super::registry::Registry;
use super::reply::{Reply, ReplyTo};
use super::subscriber::Subscriber;

/// Several ends that are answered together, once the last of them has come.
pub struct Together(Option<ReplyTo>);

impl Registry {
    /// Ends all subscriptions; answered once those have ended that are opening still.
    pub(super) fn unsubscribe_all(
        &mut self,
        subscriber: &Rc<Subscriber>,
        member: &Member,
        now: Instant,
        reply: ReplyTo,
    ) {
        let book = subscriber.book.borrow();
        let all: Vec<Filter> = book.entries().iter().map(|e| e.filter.clone()).collect();
        let mut opening = book.entries().iter();
        let waits = opening.any(|e| matches!(e.place, Place::Opening(_)));
        drop(book);
        let together = match reply {
            ReplyTo::Nobody => None,
            reply if waits => Some(Together::new(reply.before_more())),
            reply => Some(Together::new(reply)),
        };
        for filter in &all {
            let part = together.as_ref().map(|all| ReplyTo::Part(Rc::clone(all)));
            let part = part.unwrap_or(ReplyTo::Nobody);
            self.unsubscribe(subscriber, Some(filter), member, now, part);
        }
    }
}

impl Together {
    /// What is to be answered once all parts of it are.
    pub(super) fn new(reply: ReplyTo) -> Rc<Self> {
        Rc::new(Self(Some(reply)))
    }
}

impl Drop for Together {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take() {
            reply.send(Ok(Reply::Unsubscribed(None)));
        }
    }
}
