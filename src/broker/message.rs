//! What homes are asked, and what they answer: between workers, and within one.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use crate::auth::Access;
use crate::history::{Limit, Once};
use crate::model::{
    Epoch, Filter, Member, Message, Origin, Payload, Position, SessionId, Timestamp, TopicName,
};
use crate::protocol::{Cursor, Published, Refusal};

use super::book::Replay;
use super::shards::Shards;

/// A message on its way to its topic's home.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Where it goes.
    pub topic: TopicName,
    /// What it carries.
    pub payload: Payload,
    /// The conflation key.
    pub key: Option<Arc<str>>,
    /// Whether the topic is to retain it.
    pub retain: bool,
    /// Who published it; told where the topic's rule says so.
    pub user: Option<Arc<str>>,
    /// The session that published it.
    pub publisher: Option<SessionId>,
    /// By which door it came.
    pub origin: Origin,
    /// Where it is to be published once only, however often it comes.
    pub once: Option<Box<Once>>,
}

impl Publication {
    /// A message of the broker itself, or of the program that embeds it.
    pub fn new(topic: TopicName, payload: Payload) -> Self {
        Self {
            topic,
            payload,
            key: None,
            retain: false,
            user: None,
            publisher: None,
            origin: Origin::Internal,
            once: None,
        }
    }
}

/// What a publisher is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The message's place, where the topic keeps history.
    pub position: Option<Position>,
    /// Subscriptions that matched at that moment.
    pub subscribers: u64,
}

/// A subscription by name, for its home.
pub struct ExactAsk {
    /// The name.
    pub topic: TopicName,
    /// Who subscribes.
    pub member: Member,
    /// Replay at most so many.
    pub last: Option<u64>,
    /// Recover from here.
    pub since: Option<Cursor>,
    /// Where that is of no use, recover what was published since then.
    pub from: Option<Timestamp>,
}

/// A subscription by filter, for every home.
pub struct WildAsk {
    /// The filter.
    pub filter: Filter,
    /// Replay at most so many of each topic.
    pub last: Option<u64>,
    /// Recover from here.
    pub since: Option<WildSince>,
    /// What the session may: topics that it may not read are left out.
    pub access: Arc<Access>,
    /// Tells a home which topics are its own.
    pub homes: HomeOf,
}

/// Which home is asked.
#[derive(Clone)]
pub struct HomeOf {
    /// The placing of topics.
    pub shards: Arc<Shards>,
    /// The home that is asked.
    pub shard: usize,
}

impl HomeOf {
    /// Whether the topic is at home there.
    pub fn is_home(&self, topic: &TopicName) -> bool {
        self.shards.home(topic) == self.shard
    }
}

/// Where a client says it is in a filter's topics.
pub struct WildSince {
    /// The topics it knows.
    pub positions: Arc<Vec<(TopicName, Cursor)>>,
    /// When it last had everything, for the topics it does not know.
    pub from: Option<Timestamp>,
}

/// A run of a topic's history: what comes after `after` up to `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The life of the history.
    pub epoch: Epoch,
    /// The offset before the first.
    pub after: u64,
    /// The last offset.
    pub until: u64,
}

impl Span {
    /// How many messages it names.
    pub fn count(&self) -> u64 {
        self.until.saturating_sub(self.after)
    }

    /// A replay of them.
    pub fn replay(&self) -> Replay {
        Replay::new(self.epoch, self.after, self.until)
    }
}

/// A subscription by name stands.
#[derive(Clone, Debug, Default)]
pub struct Stand {
    /// When.
    pub time: Timestamp,
    /// The newest message, where the topic keeps history.
    pub position: Option<Position>,
    /// What is to be replayed.
    pub span: Option<Span>,
    /// Whether the client can be brought up to date, if it asked.
    pub recovered: Option<bool>,
    /// Whether it is to get the topic's retained message.
    pub has_retained: bool,
}

/// Topics that an answer names as not recovered. Where there are more, it names none of them, and
/// any may have a gap.
pub const MAX_GAPS: usize = 100;

/// A subscription by filter stands at one home.
#[derive(Clone, Debug, Default)]
pub struct WildStand {
    /// What is to be replayed of which topic.
    pub spans: Vec<(TopicName, Span)>,
    /// Whether all of this home's topics can be brought up to date.
    pub recovered: bool,
    /// Those that cannot: more than [`MAX_GAPS`] are not named.
    pub gaps: Vec<TopicName>,
    /// Those that can and that may retain a message: it is not for who has it already.
    pub has_retained: Vec<TopicName>,
    /// Whether any of this home's topics may have a retained message.
    pub may_retain: bool,
}

impl WildStand {
    /// Notes a topic that could not be recovered.
    pub fn add_gap(&mut self, topic: &TopicName) {
        self.recovered = false;
        // One too many says that there are too many.
        if self.gaps.len() <= MAX_GAPS {
            self.gaps.push(topic.clone());
        }
    }

    /// Takes back that these topics can be recovered.
    pub fn lose(&mut self, topics: &HashSet<TopicName>) {
        for topic in topics {
            self.add_gap(topic);
        }
        self.has_retained.retain(|topic| !topics.contains(topic));
    }

    /// Those that could not be recovered, where they are few enough to be named.
    pub fn named_gaps(&mut self) -> Vec<TopicName> {
        let mut gaps = std::mem::take(&mut self.gaps);
        if gaps.len() > MAX_GAPS {
            gaps.clear();
        }
        gaps
    }
}

/// Asks for a piece of a replay.
pub struct ReadAsk {
    /// The topic.
    pub topic: TopicName,
    /// The last offset that the session was given.
    pub after: u64,
    /// How much.
    pub limit: Limit,
}

/// Asks for a page of a topic's history.
pub struct HistoryAsk {
    /// The topic.
    pub topic: TopicName,
    /// After that position, where it is of this life of the topic.
    pub since: Option<Cursor>,
    /// The newest so many.
    pub last: Option<u64>,
    /// How much.
    pub limit: Limit,
}

/// A piece of a replay.
#[derive(Debug)]
pub struct Piece {
    /// The life of the history; `None` where the topic has been forgotten.
    pub epoch: Option<Epoch>,
    /// The messages, oldest first.
    pub messages: Vec<Arc<Message>>,
    /// The newest offset at that moment.
    pub newest: u64,
    /// Whether there is nothing after it: what comes later is delivered live.
    pub is_head: bool,
    /// The topic's retained message, where it is one of those that are missing before the first.
    pub skipped: Option<Arc<Message>>,
}

/// Asks for a piece of the retained messages at one home.
pub struct RetainedAsk {
    /// The topics: a name or a filter.
    pub filter: Filter,
    /// The last name that was looked at.
    pub after: Option<TopicName>,
    /// What whoever asks may read.
    pub access: Arc<Access>,
    /// How much.
    pub limit: Limit,
}

/// A piece of the retained messages at one home, in the order of the topics' names.
#[derive(Debug, Default)]
pub struct RetainedPiece {
    /// The messages; none does not mean that no more come.
    pub messages: Vec<Retained>,
    /// The last name that was looked at; `None` where there are no more.
    pub reached: Option<TopicName>,
}

/// A retained message as its home has it.
#[derive(Debug)]
pub struct Retained {
    /// The message.
    pub message: Arc<Message>,
    /// This life of the topic's history, where it keeps one.
    pub epoch: Option<Epoch>,
}

/// What was removed from a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleared {
    /// Messages of its history.
    pub messages: u64,
    /// Whether there was a retained message.
    pub retained: bool,
}

/// What a topic remembers.
#[derive(Clone, Debug)]
pub struct HistoryPage {
    /// The newest message's place.
    pub position: Position,
    /// The messages, oldest first.
    pub messages: Vec<Arc<Message>>,
}

/// Names what waits for an answer, on the worker that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its place among what waits.
    pub key: usize,
    /// Tells it from others that had the place before.
    pub number: u32,
}

/// From one registry to another.
pub enum PeerMessage {
    /// For the home that the other is.
    ToHome(ToHome),
    /// For the sessions of the other's worker: an event of a topic at home here.
    Deliver(Arc<Published>, Instant),
    /// The answer to what the other asked.
    Answer(Token, Result<HomeAnswer, Refusal>),
}

/// What a home is asked. A token asks for an answer.
pub enum ToHome {
    /// Publish.
    Publish(Publication, Instant, Option<Token>),
    /// Subscribe by name.
    Subscribe(Box<ExactAsk>, Token),
    /// Somebody was there before the topic told who is.
    Present(TopicName, Member),
    /// End a subscription by name.
    Unsubscribe(TopicName, Member),
    /// Subscribe by filter.
    SubscribeFilter(Box<WildAsk>, Token),
    /// End a subscription by filter.
    UnsubscribeFilter(Filter),
    /// Read a piece of a replay.
    Read(ReadAsk, Token),
    /// Read a piece of the retained messages.
    ReadRetained(RetainedAsk, Token),
    /// Read history.
    History(Box<HistoryAsk>, Token),
    /// Remove what is kept.
    Clear(TopicName, Token),
    /// Who is there.
    Presence(TopicName, Token),
}

impl ToHome {
    fn token(&self) -> Option<Token> {
        match self {
            Self::Publish(_, _, token) => *token,
            Self::Present(..) | Self::Unsubscribe(..) | Self::UnsubscribeFilter(_) => None,
            Self::Subscribe(_, token)
            | Self::SubscribeFilter(_, token)
            | Self::Read(_, token)
            | Self::ReadRetained(_, token)
            | Self::History(_, token)
            | Self::Clear(_, token)
            | Self::Presence(_, token) => Some(*token),
        }
    }
}

/// What a home answers.
pub enum HomeAnswer {
    /// Published.
    Published(Receipt),
    /// Subscribed by name.
    Subscribed(Stand),
    /// Subscribed by filter.
    SubscribedFilter(WildStand),
    /// A piece of a replay.
    Piece(Piece),
    /// A piece of the retained messages.
    Retained(RetainedPiece),
    /// Removed.
    Cleared(Cleared),
    /// History.
    History(HistoryPage),
    /// Who is there.
    Presence(Vec<Member>),
}

impl PeerMessage {
    /// What an answer is to name, where one is asked for.
    pub fn token(&self) -> Option<Token> {
        match self {
            Self::ToHome(ask) => ask.token(),
            Self::Deliver(..) | Self::Answer(..) => None,
        }
    }

    /// About how many bytes it holds, for the bound of the queue between workers.
    pub fn weight(&self) -> usize {
        const STRUCTURES: usize = 200;
        STRUCTURES
            + match self {
                Self::ToHome(ToHome::Publish(publication, ..)) => publication.payload.weight(),
                Self::Deliver(published, _) => {
                    published.message().map_or(0, |m| m.payload.weight())
                }
                Self::Answer(_, Ok(HomeAnswer::Piece(piece))) => {
                    let messages = piece.messages.iter().chain(&piece.skipped);
                    messages.map(|m| m.weight()).sum()
                }
                Self::Answer(_, Ok(HomeAnswer::Retained(piece))) => {
                    piece.messages.iter().map(|r| r.message.weight()).sum()
                }
                _ => 0,
            }
    }
}
