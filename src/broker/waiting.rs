//! What waits for the answers of homes.

use std::rc::Rc;

use slab::Slab;

use crate::model::{Filter, Member, TopicName};

use super::message::Token;
use super::reply::ReplyTo;
use super::subscriber::Subscriber;
use super::subscribing_filter::Opening;

/// What waits for the answer of a home.
pub enum Waiting {
    /// Somebody who asked for no more than the answer.
    Reply(ReplyTo),
    /// A subscription by name.
    Exact {
        /// The session.
        subscriber: Rc<Subscriber>,
        /// The name.
        filter: Filter,
        /// What others are told of the session.
        member: Member,
        /// Who is answered.
        reply: ReplyTo,
    },
    /// A subscription by filter, which waits for every home.
    Wild(Box<Opening>),
    /// A piece of a replay.
    Replay {
        /// The session.
        subscriber: Rc<Subscriber>,
        /// The topic.
        topic: TopicName,
        /// The offset before the piece.
        after: u64,
    },
    /// A piece of the retained messages.
    Retained {
        /// The session.
        subscriber: Rc<Subscriber>,
        /// The cursor that it is for.
        number: u64,
    },
}

/// All that waits on one worker, each under a token that is never given twice: an answer that comes
/// too late finds nothing.
#[derive(Default)]
pub struct WaitingList {
    entries: Slab<Entry>,
    given: u32,
}

struct Entry {
    token: Token,
    home: usize,
    what: Waiting,
}

impl WaitingList {
    /// Adds what waits for that home; a filter that opens says itself which homes it waits for.
    pub fn add(&mut self, home: usize, what: Waiting) -> Token {
        self.given = self.given.wrapping_add(1);
        let vacant = self.entries.vacant_entry();
        let token = Token {
            key: vacant.key(),
            number: self.given,
        };
        vacant.insert(Entry { token, home, what });
        token
    }

    /// The filter that opens under that token, if it is one.
    pub fn opening(&mut self, token: Token) -> Option<&mut Opening> {
        match self.entries.get_mut(token.key) {
            Some(Entry {
                token: held,
                what: Waiting::Wild(opening),
                ..
            }) if *held == token => Some(opening),
            _ => None,
        }
    }

    /// Takes out what waits under that token.
    pub fn take(&mut self, token: Token) -> Option<Waiting> {
        let held = self.entries.get(token.key)?.token;
        if held != token {
            return None;
        }
        self.entries.try_remove(token.key).map(|entry| entry.what)
    }

    /// What waits for that home, and the filters that open: those that it has answered for need
    /// another one's answer now.
    pub fn lost_with(&self, home: usize) -> Vec<Token> {
        let is_lost = |entry: &&Entry| match &entry.what {
            Waiting::Wild(_) => true,
            _ => entry.home == home,
        };
        let lost = self.entries.iter().map(|(_, entry)| entry).filter(is_lost);
        lost.map(|entry| entry.token).collect()
    }

    /// The subscriptions by name that open: of whom, and to what.
    pub fn names(&self) -> impl Iterator<Item = (TopicName, Rc<Subscriber>)> + '_ {
        self.entries
            .iter()
            .filter_map(|(_, entry)| match &entry.what {
                Waiting::Exact {
                    subscriber, filter, ..
                } => Some((filter.as_name()?, Rc::clone(subscriber))),
                _ => None,
            })
    }

    /// What waits for that home.
    pub fn of_home(&self, home: usize) -> Vec<Token> {
        let waits = |entry: &Entry| match &entry.what {
            Waiting::Wild(opening) => opening.waits_for(home),
            _ => entry.home == home,
        };
        let entries = self.entries.iter().map(|(_, entry)| entry);
        entries
            .filter(|entry| waits(entry))
            .map(|entry| entry.token)
            .collect()
    }
}
