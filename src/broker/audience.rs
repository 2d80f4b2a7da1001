//! Those who subscribed to one name or filter on one worker.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use slab::Slab;
use smallvec::SmallVec;

use crate::auth::Access;
use crate::config::Who;
use crate::model::{Filter, Overflows, TopicName};
use crate::protocol::{Encoding, EncodingSet};

use super::batch::Batch;
use super::filters::FilterTrie;
use super::rules::LiveRules;
use super::subscriber::Subscriber;

/// Those of this worker's sessions that subscribed to one name, or to one filter.
///
/// What every message touches stands first and together: of many topics none is in the processor's cache.
#[repr(C)]
pub struct Audience {
    /// What is due to it, and to the audiences of the filters that match it.
    pub(super) batch: RefCell<Option<Box<Batch>>>,
    /// The audiences of the filters that match this topic, and the trie's generation they are of.
    pub(super) matched: RefCell<Matched>,
    /// What the topic's rule says of those who read it, where it is that of one, and the generation of
    /// the rules that say so.
    readers: Cell<(u64, Who, Overflows)>,
    /// Whether a job delivers messages of this topic: what comes meanwhile waits for its end.
    pub(super) is_served: Cell<bool>,
    /// The encodings that any member speaks: what nobody speaks is not encoded.
    spoken: Cell<EncodingSet>,
    pub(super) members: RefCell<Slab<Membership>>,
    pub(super) filter: Filter,
    /// Members per encoding.
    speaking: [Cell<u32>; Encoding::COUNT],
}

/// The audiences of filters, and the generation of the trie they were found in.
type Matched = (u64, SmallVec<[Rc<Audience>; 1]>);

/// One session's standing in an audience.
pub struct Membership {
    /// The session.
    pub subscriber: Rc<Subscriber>,
    /// The worker's count of messages when it joined: nothing earlier is for it.
    pub from: u64,
    /// What it gets.
    pub role: Role,
    /// Whether it was granted all that the audience's filter matches.
    pub is_granted: bool,
}

/// What a member gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Live,
    /// Everything but what it published itself.
    LiveWithoutEcho,
    /// Nothing yet: the filter opens. What passes is noted in the session's book.
    Catching,
}

impl Role {
    /// The role of a subscription that stands.
    pub fn standing(echo: bool) -> Self {
        if echo {
            Self::Live
        } else {
            Self::LiveWithoutEcho
        }
    }
}

impl Audience {
    pub(super) fn new(filter: Filter) -> Rc<Self> {
        Rc::new(Self {
            filter,
            members: RefCell::default(),
            speaking: Default::default(),
            spoken: Cell::default(),
            readers: Cell::new((0, Who::Granted, Overflows::default())),
            is_served: Cell::new(false),
            batch: RefCell::default(),
            matched: RefCell::new((0, SmallVec::new())),
        })
    }

    /// Whether nobody is in it.
    pub fn is_deserted(&self) -> bool {
        self.members.borrow().is_empty()
    }

    /// Adds a member, for which only messages from that count on are.
    pub(super) fn add(&self, subscriber: &Rc<Subscriber>, from: u64, role: Role) -> usize {
        self.count(subscriber.encoding(), 1);
        let is_granted = self.is_granted(&subscriber.rights().access());
        self.members.borrow_mut().insert(Membership {
            subscriber: Rc::clone(subscriber),
            from,
            role,
            is_granted,
        })
    }

    /// Looks again whether a member was granted all that the filter matches.
    pub(super) fn refresh_grant(&self, key: usize, access: &Access) {
        if let Some(member) = self.members.borrow_mut().get_mut(key) {
            member.is_granted = self.is_granted(access);
        }
    }

    /// Whether that access grants all that the filter matches.
    fn is_granted(&self, access: &Access) -> bool {
        !self.filter.has_wildcard() || access.subscribe.allows_filter(&self.filter)
    }

    /// Takes a member out.
    pub(super) fn remove(&self, key: usize) {
        let mut members = self.members.borrow_mut();
        let Some(member) = members.try_remove(key) else {
            return;
        };
        let (left, room) = (members.len(), members.capacity());
        // A delivery looks at every place that there is. Only at some sizes, since it may be in vain.
        if room > 64 && left < room / 4 && left.is_power_of_two() {
            members.shrink_to_fit();
        }
        drop(members);
        self.count(member.subscriber.encoding(), -1);
    }

    /// Finds the filters' audiences again, where filters have come or gone.
    pub(super) fn refresh_matches(&self, filters: &FilterTrie<Rc<Self>>, topic: &TopicName) {
        let generation = filters.generation();
        let mut matched = self.matched.borrow_mut();
        if matched.0 != generation {
            let found = filters.matching(topic).into_iter();
            matched.1 = found.map(|(_, audience)| Rc::clone(audience)).collect();
            matched.0 = generation;
        }
    }

    /// Looks up what the topic's rule says of those who read it, where rules have changed.
    pub(super) fn refresh_rule(&self, rules: &LiveRules, topic: &TopicName) {
        let generation = rules.generation();
        if self.readers.get().0 != generation {
            let rule = rules.now().of(topic);
            self.readers
                .set((generation, rule.subscribe, rule.overflow));
        }
    }

    /// Who may read the topic.
    pub(super) fn reader(&self) -> Who {
        self.readers.get().1
    }

    /// What the topic's subscriptions may ask for, should their sessions be too slow.
    pub(super) fn overflows(&self) -> Overflows {
        self.readers.get().2
    }

    /// The encodings that somebody here speaks.
    pub(super) fn spoken(&self) -> EncodingSet {
        self.spoken.get()
    }

    fn count(&self, encoding: Encoding, by: i32) {
        if let Some(count) = self.speaking.get(encoding.index()) {
            count.set(count.get().saturating_add_signed(by));
            let is_spoken = count.get() > 0;
            self.spoken.set(self.spoken.get().with(encoding, is_spoken));
        }
    }
}
