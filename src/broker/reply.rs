//! Answers to what sessions and callers ask of the broker.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::model::{Filter, Member};
use crate::protocol::{
    Answer, Close, CloseCode, ErrorCode, Event, Published, Refusal, ServerFrame, SubscribeOk,
    WireFormat,
};

use super::message::{Cleared, HistoryPage, Receipt};
use super::subscriber::{Debt, Ending, Subscriber};
use super::unsubscribing::Together;

/// Whom an answer is for.
pub enum ReplyTo {
    /// Nobody asked for one.
    Nobody,
    /// A session; with an `id` it gets an `ok`, errors it always gets.
    Session {
        /// The session.
        to: Rc<Subscriber>,
        /// The `id` of its frame.
        id: Option<u64>,
    },
    /// A session, by an answer that may be long.
    Long {
        /// The session, which is not read before it has been answered.
        debt: Debt,
        /// The `id` of its frame.
        id: Option<u64>,
    },
    /// Someone who awaits that a session's subscription ends; the session is told of it.
    Ended {
        /// The session.
        session: Rc<Subscriber>,
        /// Who awaits it.
        caller: oneshot::Sender<Result<Reply, Refusal>>,
    },
    /// A session that has lost the right to a subscription: it is told that it has ended.
    Lost(Rc<Subscriber>),
    /// One of several that are answered together.
    Part(Rc<Together>),
    /// Someone who awaits it.
    Caller(oneshot::Sender<Result<Reply, Refusal>>),
}

/// An answer.
#[derive(Debug)]
pub enum Reply {
    /// Published.
    Published(Receipt),
    /// Subscribed.
    Subscribed(SubscribeOk),
    /// Unsubscribed.
    Unsubscribed(Option<Filter>),
    /// History.
    History(HistoryPage),
    /// Who is there.
    Presence(Vec<Member>),
    /// What a topic kept was removed.
    Cleared(Cleared),
}

impl ReplyTo {
    /// The same, for what has to wait: a session is not read before it has been answered, so that no
    /// more of what it asks waits, and the answers come in their order.
    pub(super) fn before_more(self) -> Self {
        match self {
            Self::Session { to, id } => Self::Long { debt: to.owe(), id },
            other => other,
        }
    }

    /// Sends the answer on.
    pub(super) fn send(self, answer: Result<Reply, Refusal>) {
        match self {
            // Of several, the last to go answers.
            Self::Nobody | Self::Part(_) => {}
            Self::Lost(session) => {
                if let Ok(Reply::Unsubscribed(Some(filter))) = &answer {
                    tell_lost(&session, filter);
                }
            }
            Self::Caller(caller) => {
                // A caller that went away does not want it any more.
                let _gone = caller.send(answer);
            }
            Self::Long { debt, id } => {
                let to = Rc::clone(debt.session());
                Self::Session { to, id }.send(answer);
            }
            Self::Ended { session, caller } => {
                if let Ok(Reply::Unsubscribed(Some(topic))) = &answer {
                    session.send_frame(&ServerFrame::Unsubscribed {
                        topic,
                        refusal: &Refusal::new(
                            ErrorCode::NotSubscribed,
                            "an operator or the application ended this subscription; subscribe again \
                             if it is still wanted",
                        ),
                    });
                }
                Self::Caller(caller).send(answer);
            }
            Self::Session { to, id } => match answer {
                Ok(reply) => {
                    if matches!(reply, Reply::Published(_)) {
                        to.note_published();
                    }
                    if let Some(id) = id {
                        to.send_frame(&ServerFrame::Ok {
                            id,
                            answer: &reply.into_answer(),
                        });
                    }
                }
                Err(refusal) => refuse(&to, id, &refusal),
            },
        }
    }
}

impl Reply {
    fn into_answer(self) -> Answer {
        match self {
            Self::Published(receipt) => Answer::Published(receipt.position),
            Self::Subscribed(ok) => Answer::Subscribed(ok),
            Self::Unsubscribed(filter) => Answer::Unsubscribed(filter),
            // No frame asks for it, so this is never seen: an answer without fields.
            Self::Cleared(_) => Answer::Pong,
            Self::Presence(members) => Answer::Presence(members),
            Self::History(page) => Answer::History {
                epoch: page.position.epoch,
                offset: page.position.offset,
                messages: page
                    .messages
                    .into_iter()
                    .map(|message| Arc::new(Published::new(Event::Message(message))))
                    .collect(),
            },
        }
    }
}

/// Tells a session that something it asked for was not done: by an error frame, or by closing where
/// its format has none (protocol section 6).
pub fn refuse(session: &Rc<Subscriber>, id: Option<u64>, refusal: &Refusal) {
    if session.format() != WireFormat::Raw {
        return session.send_frame(&ServerFrame::Error { id, refusal });
    }
    session.close(&close_for(refusal), Ending::Orderly, Instant::now());
}

/// Says that a subscription has ended whose right was lost. A raw session has no frame for it, so it
/// ends itself.
fn tell_lost(session: &Rc<Subscriber>, filter: &Filter) {
    if session.format() == WireFormat::Raw {
        let close = Close::new(
            CloseCode::POLICY,
            "the topic is not for this session any more",
        );
        return session.close(&close, Ending::Orderly, Instant::now());
    }
    let refusal = Refusal::new(
        ErrorCode::Forbidden,
        format!(
            "this session may not subscribe to '{filter}' any more: what is granted, or the topic's rule, has changed"
        ),
    );
    session.send_frame(&ServerFrame::Unsubscribed {
        topic: filter,
        refusal: &refusal,
    });
}

/// The close of a session that cannot go on without what was refused.
pub(super) fn close_for(refusal: &Refusal) -> Close {
    let code = match refusal.code {
        ErrorCode::TooLarge => CloseCode::TOO_LARGE,
        ErrorCode::RateLimited => CloseCode::RATE,
        ErrorCode::Unavailable => CloseCode::OVERLOADED,
        ErrorCode::Internal => CloseCode::INTERNAL,
        _ => CloseCode::POLICY,
    };
    Close {
        code,
        reason: refusal.message.clone(),
        after: refusal.retry_after,
    }
}
