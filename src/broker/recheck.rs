//! What a session has subscribed to is looked at again, once its rights or the rules have changed.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::model::{Filter, Member, Timestamp, TopicName};

use super::book::Place;
use super::message::ToHome;
use super::registry::Registry;
use super::reply::ReplyTo;
use super::rules::Rules;
use super::subscriber::Subscriber;

impl Registry {
    /// Holds the topics at home here to the rules that hold now, and tells the homes of those that
    /// say who is there from now on, who of this worker is.
    pub(super) fn amend(&mut self, before: &Rules) {
        let now = Timestamp::now();
        for delivery in self.home.amend(now) {
            self.deliver(&delivery);
        }
        let common = Arc::clone(&self.common);
        let rules = common.rules.now();
        let is_new = |topic: &TopicName| rules.of(topic).presence && !before.of(topic).presence;
        for (topic, session) in self.fanout.present(is_new) {
            let member = Member {
                since: now,
                ..session.member()
            };
            let home = self.shards.home(&topic);
            self.ask_home(home, ToHome::Present(topic, member));
        }
    }

    /// Ends the subscriptions that the session may have no longer, and tells it; what remains
    /// delivers what it may read now.
    pub(super) fn recheck(&mut self, subscriber: &Rc<Subscriber>, now: Instant) {
        let access = subscriber.rights().access();
        let common = Arc::clone(&self.common);
        let rules = common.rules.now();
        let mut lost: Vec<Filter> = Vec::new();
        let mut book = subscriber.book.borrow_mut();
        for entry in book.entries() {
            if !entry.is_lent && !rules.may_subscribe(&access, &entry.filter) {
                lost.push(entry.filter.clone());
            } else if let Place::Standing(audience, key) = &entry.place {
                audience.refresh_grant(*key, &access);
            }
        }
        book.end_orphaned_replays(&self.reading(subscriber));
        subscriber.settle_book(&book);
        drop(book);
        drop(rules);
        let member = subscriber.member();
        for filter in lost {
            let told = ReplyTo::Lost(Rc::clone(subscriber));
            self.unsubscribe(subscriber, Some(&filter), &member, now, told);
        }
    }
}
