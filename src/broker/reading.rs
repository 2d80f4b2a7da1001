//! What a session may read at this moment. Whatever comes to it of a topic's past is asked here
//! when it comes, since its rights, the rules and its subscriptions may have changed since it was read.

use std::rc::Rc;
use std::sync::Arc;

use crate::auth::Rights;
use crate::model::TopicName;

use super::book::Book;
use super::registry::Registry;
use super::rules::LiveRules;
use super::subscriber::Subscriber;

/// What one session may read, at whatever moment it is asked.
pub struct Reading {
    rights: Rc<Rights>,
    rules: Arc<LiveRules>,
}

impl Registry {
    /// What that session may read.
    pub(super) fn reading(&self, subscriber: &Subscriber) -> Reading {
        Reading {
            rights: Rc::clone(subscriber.rights()),
            rules: Arc::clone(&self.common.rules),
        }
    }
}

impl Reading {
    /// Whether the session may read the topic by itself, with nothing lent to it.
    pub fn may_read(&self, topic: &TopicName) -> bool {
        self.rules.now().may_read(&self.rights.access(), topic)
    }

    /// Whether it may by a filter that matches the topic, and that may be lent to it.
    pub fn may_read_by_filter(&self, is_lent: bool, topic: &TopicName) -> bool {
        let who = self.rules.now().of(topic).subscribe;
        let access = self.rights.access();
        access.may_read(who, topic) || (is_lent && access.may_read_granted(who))
    }

    /// Whether a subscription that stands brings it the topic.
    pub fn is_brought(&self, book: &Book, topic: &TopicName) -> bool {
        let who = self.rules.now().of(topic).subscribe;
        let access = self.rights.access();
        if access.may_read(who, topic) {
            book.stands_for(topic)
        } else {
            book.lends(topic, &access, who)
        }
    }
}
