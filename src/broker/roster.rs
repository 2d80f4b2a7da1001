//! The sessions of one worker, in the order of their names.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound;
use std::rc::Rc;

use crate::auth::Rights;
use crate::model::{SessionId, Timestamp};
use crate::protocol::{Encoding, Window, WireFormat};

use super::Worker;
use super::session_directory::SessionCard;
use super::subscriber::Subscriber;
use super::wire::Wire;

/// The sessions of one worker: those whose handshake is under way, and those that end, included.
#[derive(Default)]
pub struct Roster(RefCell<BTreeMap<SessionId, Rc<Subscriber>>>);

impl Roster {
    /// Enters a session.
    pub fn insert(&self, subscriber: &Rc<Subscriber>) {
        let mut sessions = self.0.borrow_mut();
        sessions.insert(subscriber.id(), Rc::clone(subscriber));
    }

    /// Strikes a session out.
    pub fn remove(&self, subscriber: &Rc<Subscriber>) {
        let mut sessions = self.0.borrow_mut();
        let is_it = |known: &Rc<Subscriber>| Rc::ptr_eq(known, subscriber);
        if sessions.get(&subscriber.id()).is_some_and(is_it) {
            sessions.remove(&subscriber.id());
        }
    }

    /// That session, while it is open.
    pub fn open(&self, session: SessionId) -> Option<Rc<Subscriber>> {
        let sessions = self.0.borrow();
        let found = sessions.get(&session);
        found.filter(|known| known.is_open()).map(Rc::clone)
    }

    /// The first `most` sessions after that one.
    pub fn after(&self, after: Option<SessionId>, most: usize) -> Vec<Rc<Subscriber>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let sessions = self.0.borrow();
        let range = sessions.range((from, Bound::Unbounded)).take(most);
        range.map(|(_, subscriber)| Rc::clone(subscriber)).collect()
    }
}

/// What a session is opened with.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Its name.
    pub id: SessionId,
    /// What is spoken on its wire.
    pub format: WireFormat,
    /// The window for which its messages are compressed, where that was agreed on.
    pub window: Option<Window>,
    /// Where its connection comes from.
    pub address: Option<IpAddr>,
    /// Who it is, and what it may.
    pub rights: Rc<Rights>,
}

impl Worker {
    /// A new session of this worker: it counts and can subscribe; nothing is written before
    /// [`Subscriber::open`], and until then nobody sees it.
    pub fn attach(&self, opening: Opening, wire: Rc<dyn Wire>) -> Rc<Subscriber> {
        let Opening {
            id,
            format,
            window,
            address,
            rights,
        } = opening;
        let (queue, user) = (self.broker().node.settings.queue, rights.user());
        let subscriber = Subscriber::new(
            id,
            Encoding { format, window },
            rights,
            wire,
            queue,
            Rc::clone(&self.turn),
        );
        self.roster.insert(&subscriber);
        let card = SessionCard {
            session: id,
            format,
            address,
            since: Timestamp::now(),
            worker: self.shard(),
        };
        self.broker().node.sessions.insert(card, user);
        subscriber
    }

    /// Says whose a session is, which was `before`'s: its credentials have come.
    pub fn identify(&self, subscriber: &Subscriber, before: Option<&str>) {
        let directory = &self.broker().node.sessions;
        directory.identify(subscriber.id(), before, subscriber.rights().user());
    }

    /// All sessions of this worker: those whose handshake is under way, and those that end, included.
    pub fn sessions(&self) -> Vec<Rc<Subscriber>> {
        self.roster.after(None, usize::MAX)
    }
}
