//! What the server says besides messages: answers, notices and the first and last frame.

use std::sync::Arc;

use super::out::{Object, Out};
use super::wire::{Sent, put_message};
use super::{Close, CloseCode, Published, Refusal};
use crate::model::{Epoch, Filter, Member, Position, SessionId, Timestamp, TopicName};

/// A frame of the server's that is no message (section 4).
#[derive(Clone, Debug)]
pub enum ServerFrame<'a> {
    /// The first frame.
    Welcome {
        /// The session's name.
        session: SessionId,
        /// Its user, where its credentials name one.
        user: Option<&'a str>,
        /// "fanfare/VERSION".
        server: &'a str,
        /// The full name of what is spoken.
        protocol: &'a str,
        /// Seconds between pings to a silent session; 0 is off.
        heartbeat: f64,
        /// The largest message that the session may send.
        max_message_bytes: u64,
        /// The subscriptions that stand from the start.
        subscriptions: &'a [SubscribeOk],
        /// When the token runs out, where it does.
        expires_at: Option<Timestamp>,
    },
    /// What was asked for is done.
    Ok {
        /// The number that the request gave.
        id: u64,
        /// What there is to say of it.
        answer: &'a Answer,
    },
    /// What was asked for is refused.
    Error {
        /// The number that the request gave, if any.
        id: Option<u64>,
        /// Why.
        refusal: &'a Refusal,
    },
    /// A session came.
    Join {
        /// Where.
        topic: &'a TopicName,
        /// Who.
        member: &'a Member,
    },
    /// A session went.
    Leave {
        /// Where.
        topic: &'a TopicName,
        /// Who.
        member: &'a Member,
    },
    /// Messages are missing.
    Gap {
        /// Of which topic; of an event stream's filter, where nobody knows of which.
        topic: &'a str,
        /// Why.
        reason: GapReason,
        /// How many.
        count: u64,
        /// The history's epoch; without one, `from` and `to` are not told.
        epoch: Option<Epoch>,
        /// The first missing offset.
        from: u64,
        /// The last missing offset.
        to: u64,
    },
    /// The server ended a subscription.
    Unsubscribed {
        /// Which.
        topic: &'a Filter,
        /// Why.
        refusal: &'a Refusal,
    },
    /// The answer to a `ping` without an `id`.
    Pong,
    /// A close frame follows.
    Closing {
        /// Its code.
        code: CloseCode,
        /// Why, in words.
        reason: &'a str,
        /// Whether the client should connect again.
        reconnect: bool,
        /// How long it should wait first, in milliseconds.
        after_ms: u64,
    },
}

/// Why messages are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The subscriber was too slow for them.
    Slow,
    /// The history no longer holds them.
    Trimmed,
    /// The history was cleared.
    Cleared,
}

impl GapReason {
    /// The reason as it stands in frames.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Trimmed => "trimmed",
            Self::Cleared => "cleared",
        }
    }
}

/// What an `ok` says besides its `id`.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The subscription stands.
    Subscribed(SubscribeOk),
    /// One subscription, or all of them, ended.
    Unsubscribed(Option<Filter>),
    /// The message is stored; with its place, where the topic keeps history.
    Published(Option<Position>),
    /// A piece of a topic's history.
    History {
        /// The history's epoch.
        epoch: Epoch,
        /// Its newest offset.
        offset: u64,
        /// Messages, oldest first; what is no message is left out.
        messages: Vec<Arc<Published>>,
    },
    /// Who is present.
    Presence(Vec<Member>),
    /// The credentials count from now on.
    Authenticated {
        /// The user that they name.
        user: Option<Arc<str>>,
        /// When they run out.
        expires_at: Option<Timestamp>,
    },
    /// A sign of life.
    Pong,
}

/// What is told of a subscription that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeOk {
    /// The text that was subscribed to.
    pub topic: Filter,
    /// The broker's clock when it stood: where a later recovery of a filter starts.
    pub time: Timestamp,
    /// The newest message, for a plain name with history.
    pub position: Option<Position>,
    /// Whether everything since `since` is here, where that was asked for.
    pub recovered: Option<bool>,
    /// How many messages are replayed, where `last` or `since` was given.
    pub replayed: Option<u64>,
    /// Topics of a filter that could not be recovered.
    pub gaps: Vec<TopicName>,
}

impl<'a> ServerFrame<'a> {
    /// The `closing` frame that tells of this end.
    pub fn closing(close: &'a Close) -> Self {
        Self::Closing {
            code: close.code,
            reason: &close.reason,
            reconnect: close.code.reconnect(),
            after_ms: close.after_ms(),
        }
    }

    /// The frame's `type`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Welcome { .. } => "welcome",
            Self::Ok { .. } => "ok",
            Self::Error { .. } => "error",
            Self::Join { .. } => "join",
            Self::Leave { .. } => "leave",
            Self::Gap { .. } => "gap",
            Self::Unsubscribed { .. } => "unsubscribed",
            Self::Pong => "pong",
            Self::Closing { .. } => "closing",
        }
    }

    /// Writes the frame.
    pub(super) fn put(&self, out: &mut dyn Out) {
        let mut object = Object::of_type(out, self.name());
        match *self {
            Self::Welcome {
                session,
                user,
                server,
                protocol,
                heartbeat,
                max_message_bytes,
                subscriptions,
                expires_at,
            } => {
                object.string("session", &session.to_string());
                object.string_or_null("user", user);
                object.string("server", server);
                object.string("protocol", protocol);
                // What is no number of seconds is 0.
                let seconds = if heartbeat.is_finite() {
                    heartbeat
                } else {
                    0.0
                };
                object.name("heartbeat").decimal(seconds);
                object.number("max_message_bytes", max_message_bytes);
                object.array("subscriptions", subscriptions, |out, subscription| {
                    let mut object = Object::new(out);
                    subscription.put_fields(&mut object);
                    object.end();
                });
                object.number_if("expires_at", expires_at.map(|time| time.0));
            }
            Self::Ok { id, answer } => {
                object.number("id", id);
                answer.put_fields(&mut object);
            }
            Self::Error { id, refusal } => {
                object.number_if("id", id);
                object.string("code", refusal.code.as_str());
                object.string("message", &refusal.message);
                object.number_if("retry_after_ms", refusal.retry_after_ms());
            }
            Self::Join { topic, member } | Self::Leave { topic, member } => {
                object.string("topic", topic.as_str());
                put_member(&mut object, member);
            }
            Self::Gap {
                topic,
                reason,
                count,
                epoch,
                from,
                to,
            } => {
                object.string("topic", topic);
                object.string("reason", reason.as_str());
                object.number("count", count);
                if let Some(epoch) = epoch {
                    object.string("epoch", epoch.as_str());
                    object.number("from", from);
                    object.number("to", to);
                }
            }
            Self::Unsubscribed { topic, refusal } => {
                object.string("topic", topic.as_str());
                object.string("code", refusal.code.as_str());
                object.string("message", &refusal.message);
            }
            Self::Pong => {}
            Self::Closing {
                code,
                reason,
                reconnect,
                after_ms,
            } => {
                object.number("code", u64::from(code.0));
                object.string("reason", reason);
                object.boolean("reconnect", reconnect);
                object.number("after_ms", after_ms);
            }
        }
        object.end();
    }
}

impl Answer {
    fn put_fields(&self, object: &mut Object<'_>) {
        match self {
            Self::Subscribed(subscription) => subscription.put_fields(object),
            Self::Unsubscribed(filter) => {
                object.string_if("topic", filter.as_ref().map(Filter::as_str));
            }
            Self::Published(position) => put_position(object, *position),
            Self::History {
                epoch,
                offset,
                messages,
            } => {
                object.string("epoch", epoch.as_str());
                object.number("offset", *offset);
                let messages = messages.iter().filter_map(|published| published.message());
                object.array("messages", messages, |out, message| {
                    put_message(out, message, Sent::Live);
                });
            }
            Self::Presence(members) => {
                object.array("sessions", members, |out, member| {
                    let mut object = Object::new(out);
                    put_member(&mut object, member);
                    object.number("since", member.since.0);
                    object.end();
                });
                object.number("count", members.len() as u64);
            }
            Self::Authenticated { user, expires_at } => {
                object.string_or_null("user", user.as_deref());
                object.number_if("expires_at", expires_at.map(|time| time.0));
            }
            Self::Pong => {}
        }
    }
}

impl SubscribeOk {
    fn put_fields(&self, object: &mut Object<'_>) {
        object.string("topic", self.topic.as_str());
        object.number("time", self.time.0);
        put_position(object, self.position);
        if let Some(recovered) = self.recovered {
            object.boolean("recovered", recovered);
        }
        object.number_if("replayed", self.replayed);
        if !self.gaps.is_empty() {
            object.array("gaps", &self.gaps, |out, topic| out.string(topic.as_str()));
        }
    }
}

/// `epoch` and `offset`, where there is a position.
pub(super) fn put_position(object: &mut Object<'_>, position: Option<Position>) {
    if let Some(position) = position {
        object.string("epoch", position.epoch.as_str());
        object.number("offset", position.offset);
    }
}

fn put_member(object: &mut Object<'_>, member: &Member) {
    object.string("session", &member.session.to_string());
    object.string_or_null("user", member.user.as_deref());
    // In a JSON text, line ends stand only between tokens; in an event stream they would end it.
    let info = member.info.as_deref().unwrap_or("null");
    let info = info.replace(['\r', '\n'], "");
    object.name("info").json(info.as_bytes(), &[]);
}

#[cfg(test)]
mod tests;
