//! The subscriptions of one session, and the replays that run for it.

mod wish;

use std::collections::HashMap;
use std::rc::Rc;

use crate::auth::Access;
use crate::config::Who;
use crate::model::{Epoch, Filter, Member, TopicName};

use super::audience::Audience;
use super::reading::Reading;
use super::reply::ReplyTo;
use super::retained::RetainedCursors;
use super::subscribing::Subscription;
use wish::Wish;

type Caught = HashMap<TopicName, (Epoch, u64)>;

/// What a session has subscribed to, in the order in which it did.
#[derive(Default)]
pub struct Book {
    entries: Vec<Entry>,
    replays: Option<Box<Replays>>,
    /// Topics that went on while a filter opened, each with the first position that passed.
    caught: Option<Box<Caught>>,
    /// Retained messages that are still to come.
    pub(super) retained: Option<Box<RetainedCursors>>,
}

/// One subscription.
pub struct Entry {
    /// The name or filter, as it was given.
    pub filter: Filter,
    /// False: what this session publishes itself is not delivered to it.
    pub echo: bool,
    /// Whether the server's side began it: it need not be granted to the session.
    pub is_lent: bool,
    /// What it asked for should the session be too slow.
    wish: Wish,
    /// Where it stands.
    pub place: Place,
}

/// Where a subscription stands.
pub enum Place {
    /// It was asked for and does not stand at every home yet.
    Opening(Box<Pending>),
    /// It stands: a member of this audience, under that key.
    Standing(Rc<Audience>, usize),
}

/// What is kept of a subscription until it stands.
#[derive(Default)]
pub struct Pending {
    /// Where it notes what passes meanwhile, for a filter that is to be replayed.
    pub catching: Option<(Rc<Audience>, usize)>,
    /// What the session asked of this filter since: done once it stands, or is refused.
    pub then: Vec<Then>,
}

/// What waits until a subscription has opened.
pub enum Then {
    /// End it.
    Unsubscribe(Member, ReplyTo),
    /// Begin it again.
    Subscribe(Box<Subscription>, ReplyTo),
}

/// The replays of one session.
#[derive(Default)]
struct Replays {
    by_topic: HashMap<TopicName, Replay>,
    /// How many have a piece under way.
    asked: usize,
}

/// A replay that runs: a cursor into a topic's history, read in pieces as the outbox drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The life of the history that `after` counts in.
    pub epoch: Epoch,
    /// The offset before the first.
    pub began: u64,
    /// The last offset that was queued.
    pub after: u64,
    /// Up to here messages are told to be replayed; what comes later is live and merely waited.
    pub until: u64,
    /// Whether a piece has been asked for and has not come.
    pub asked: bool,
}

impl Book {
    /// How many subscriptions there are, those that are opening included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The subscriptions, the earliest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The subscription of that very string.
    pub fn find(&self, filter: &Filter) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.filter == *filter)
    }

    /// As [`Book::find`], to be changed.
    pub fn find_mut(&mut self, filter: &Filter) -> Option<&mut Entry> {
        self.entries
            .iter_mut()
            .find(|entry| entry.filter == *filter)
    }

    /// Adds a subscription that opens.
    pub fn add(&mut self, ask: &Subscription) {
        let wish = Wish::new(ask, self.entries.last().map(|last| last.wish));
        // Most sessions have one; a list that grows by doubling would start with room for four.
        self.entries.reserve_exact(1);
        self.entries.push(Entry {
            filter: ask.filter.clone(),
            echo: ask.echo,
            is_lent: ask.is_lent,
            wish,
            place: Place::Opening(Box::default()),
        });
    }

    /// Says that a subscription stands; returns what was asked of it meanwhile.
    pub fn stand(&mut self, filter: &Filter, audience: Rc<Audience>, key: usize) -> Vec<Then> {
        let Some(entry) = self.find_mut(filter) else {
            return Vec::new();
        };
        // Those who subscribed to the same share its name.
        entry.filter = audience.filter.clone();
        match std::mem::replace(&mut entry.place, Place::Standing(audience, key)) {
            Place::Opening(pending) => pending.then,
            Place::Standing(..) => Vec::new(),
        }
    }

    /// Notes where an opening filter notes what passes.
    pub fn set_catching(&mut self, filter: &Filter, member: (Rc<Audience>, usize)) {
        if let Some(Place::Opening(pending)) = self.find_mut(filter).map(|entry| &mut entry.place) {
            pending.catching = Some(member);
        }
    }

    /// Takes out where an opening filter notes what passes.
    pub fn take_catching(&mut self, filter: &Filter) -> Option<(Rc<Audience>, usize)> {
        match &mut self.find_mut(filter)?.place {
            Place::Opening(pending) => pending.catching.take(),
            Place::Standing(..) => None,
        }
    }

    /// Takes a subscription out.
    pub fn remove(&mut self, filter: &Filter) -> Option<Entry> {
        let at = self.entries.iter().position(|e| e.filter == *filter)?;
        self.disown_retained(filter);
        let entry = self.entries.remove(at);
        Some(entry)
    }

    /// Takes everything out.
    pub fn drain(&mut self) -> Vec<Entry> {
        self.replays = None;
        self.caught = None;
        self.retained = None;
        std::mem::take(&mut self.entries)
    }

    /// Whether a subscription that stands matches the topic.
    pub fn stands_for(&self, topic: &TopicName) -> bool {
        self.entries
            .iter()
            .any(|e| matches!(e.place, Place::Standing(..)) && e.filter.matches(topic))
    }

    /// Whether the server's side subscribed to something, and it stands, that lets a session of that
    /// access read a topic that is for those: to its very name, or to a filter as if it were granted.
    pub fn lends(&self, topic: &TopicName, access: &Access, who: Who) -> bool {
        let mut lent = self.entries.iter().filter(|entry| entry.is_lent);
        lent.any(|entry| {
            matches!(entry.place, Place::Standing(..))
                && entry.filter.matches(topic)
                && (!entry.filter.has_wildcard() || access.may_read_granted(who))
        })
    }

    /// Whether any filter with a wildcard stands.
    pub fn has_filters(&self) -> bool {
        self.entries.iter().any(|e| e.filter.has_wildcard())
    }

    /// Whether the fan-out must look closer before it delivers.
    pub fn is_selective(&self) -> bool {
        let silent = self.entries.iter().any(|e| !e.echo);
        let is_paced = self.entries.iter().any(|e| e.wish.is_paced());
        self.is_behind() || is_paced || (silent && self.entries.len() > 1)
    }

    /// Whether something of the past is still to come: replays, or retained messages.
    pub fn is_behind(&self) -> bool {
        self.replays.is_some() || self.retained.is_some()
    }

    /// The replay of that topic, if one runs.
    pub fn replay(&self, topic: &TopicName) -> Option<Replay> {
        self.replays.as_ref()?.by_topic.get(topic).copied()
    }

    /// Whether a replay of that topic runs.
    pub fn replays(&self, topic: &TopicName) -> bool {
        self.replays
            .as_ref()
            .is_some_and(|replays| replays.by_topic.contains_key(topic))
    }

    /// Starts a replay. One that runs already, and that began no later, goes on instead: what it
    /// has queued is not queued again.
    pub fn start_replay(&mut self, topic: TopicName, replay: Replay) {
        let replays = self.replays.get_or_insert_default();
        if let Some(running) = replays.by_topic.get_mut(&topic)
            && running.epoch == replay.epoch
            && running.began <= replay.began
        {
            running.until = running.until.max(replay.until);
            return;
        }
        replays.put(topic, Some(replay));
    }

    /// The piece after `after` of a replay has come; false where nothing waits for it any more.
    pub fn take_asked(&mut self, topic: &TopicName, after: u64) -> bool {
        let Some(replays) = &mut self.replays else {
            return false;
        };
        match replays.by_topic.get_mut(topic) {
            Some(replay) if replay.asked && replay.after == after => {
                replay.asked = false;
                replays.asked = replays.asked.saturating_sub(1);
                true
            }
            _ => false,
        }
    }

    /// Sets a replay that has no piece under way to where it goes on.
    pub fn go_on(&mut self, topic: &TopicName, replay: Replay) {
        if let Some(replays) = &mut self.replays {
            replays.put(topic.clone(), Some(replay));
        }
    }

    /// Ends a replay: the topic is live for this session.
    pub fn end_replay(&mut self, topic: &TopicName) {
        if let Some(replays) = &mut self.replays {
            replays.put(topic.clone(), None);
        }
        self.replays.take_if(|replays| replays.by_topic.is_empty());
    }

    /// Ends the replays of topics that no subscription brings any more.
    pub fn end_orphaned_replays(&mut self, reading: &Reading) {
        if let Some(mut replays) = self.replays.take() {
            let is_brought = |topic: &TopicName| reading.is_brought(self, topic);
            replays.by_topic.retain(|topic, _| is_brought(topic));
            replays.asked = replays.by_topic.values().filter(|r| r.asked).count();
            if !replays.by_topic.is_empty() {
                self.replays = Some(replays);
            }
        }
    }

    /// Marks replays as having a piece under way, as many as there is room for, and says where
    /// these go on.
    pub fn ask_pieces(&mut self, room: usize) -> Vec<(TopicName, u64)> {
        let Some(replays) = &mut self.replays else {
            return Vec::new();
        };
        let room = room.saturating_sub(replays.asked);
        let idle = replays.by_topic.iter_mut().filter(|(_, r)| !r.asked);
        let asks: Vec<_> = idle
            .take(room)
            .map(|(topic, replay)| {
                replay.asked = true;
                (topic.clone(), replay.after)
            })
            .collect();
        replays.asked += asks.len();
        asks
    }

    /// Notes that a topic went on while a filter opened; the first note of a topic counts.
    pub fn catch(&mut self, topic: TopicName, epoch: Epoch, offset: u64) {
        self.caught
            .get_or_insert_default()
            .entry(topic)
            .or_insert((epoch, offset));
    }

    /// The topics that went on while that filter opened and of which it is to bring what passed, each
    /// with the first position that did.
    pub fn take_caught(
        &mut self,
        filter: &Filter,
        brings: impl Fn(&Self, &TopicName) -> bool,
    ) -> Vec<(TopicName, Epoch, u64)> {
        let Some(mut caught) = self.caught.take() else {
            return Vec::new();
        };
        let mine = caught
            .iter()
            .filter(|(topic, _)| filter.matches(topic) && brings(self, topic))
            .map(|(topic, (epoch, offset))| (topic.clone(), *epoch, *offset))
            .collect();
        // Other filters may be opening still, and need theirs.
        caught.retain(|topic, _| {
            self.entries.iter().any(|e| {
                let catches =
                    matches!(&e.place, Place::Opening(pending) if pending.catching.is_some());
                catches && e.filter.matches(topic)
            })
        });
        if !caught.is_empty() {
            self.caught = Some(caught);
        }
        mine
    }
}

impl Replay {
    /// A replay of what comes after `after`, of which what goes up to `until` is told to be one.
    pub fn new(epoch: Epoch, after: u64, until: u64) -> Self {
        Self {
            epoch,
            began: after,
            after,
            until,
            asked: false,
        }
    }
}

impl Replays {
    /// Puts a replay in, or takes it out.
    fn put(&mut self, topic: TopicName, replay: Option<Replay>) {
        let before = match replay {
            Some(replay) => self.by_topic.insert(topic, replay),
            None => self.by_topic.remove(&topic),
        };
        if before.is_some_and(|before| before.asked) {
            self.asked = self.asked.saturating_sub(1);
        }
    }
}
