//! What a topic tells its subscribers, encoded once for all of them.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::encoding::{Deflaters, Encoding};
use super::server_frame::{GapReason, ServerFrame};
use super::wire::{Sent, WireFormat, control_bytes, message_bytes};
use crate::model::{Epoch, Member, Message, SessionId, TopicName};

/// What a topic tells its subscribers.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message was published.
    Message(Arc<Message>),
    /// A session came.
    Join {
        /// Where.
        topic: TopicName,
        /// Who.
        member: Member,
    },
    /// A session went.
    Leave {
        /// Where.
        topic: TopicName,
        /// Who.
        member: Member,
    },
    /// What the topic kept was removed.
    Cleared {
        /// Where.
        topic: TopicName,
        /// How much.
        removed: Removed,
    },
}

/// What was removed from a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// How many messages.
    pub count: u64,
    /// The life of the history that has ended, and the newest offset in it; none where the topic
    /// keeps no history.
    pub end: Option<(Epoch, u64)>,
}

/// An event with its frames: each is made when the first subscriber needs it, and then shared.
#[derive(Debug)]
pub struct Published {
    event: Event,
    /// The topic's retained message as it stood before the event.
    retained: Option<Arc<Message>>,
    /// By [`WireFormat::index`]; empty bytes where the format has no such frame.
    plain: [OnceLock<Bytes>; WireFormat::COUNT],
    /// Those that are compressed, where anybody agreed on that.
    deflated: OnceLock<Box<Deflated>>,
}

/// By [`Encoding::index`], from the first that is compressed on.
type Deflated = [OnceLock<Bytes>; Encoding::COUNT - WireFormat::COUNT];

impl Published {
    /// An event of which no frame is made yet.
    pub fn new(event: Event) -> Self {
        Self {
            event,
            retained: None,
            plain: [const { OnceLock::new() }; WireFormat::COUNT],
            deflated: OnceLock::new(),
        }
    }

    /// The same, of a topic that had this retained message before.
    #[must_use]
    pub fn after(mut self, retained: Option<Arc<Message>>) -> Self {
        self.retained = retained;
        self
    }

    /// The topic's retained message as it stood before the event: what someone has to have who has
    /// subscribed before it.
    pub fn retained(&self) -> Option<&Arc<Message>> {
        self.retained.as_ref()
    }

    /// The event.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The message, where the event is one.
    pub fn message(&self) -> Option<&Message> {
        match &self.event {
            Event::Message(message) => Some(message),
            Event::Join { .. } | Event::Leave { .. } | Event::Cleared { .. } => None,
        }
    }

    /// The topic that tells it.
    pub fn topic(&self) -> &TopicName {
        match &self.event {
            Event::Message(message) => &message.topic,
            Event::Join { topic, .. }
            | Event::Leave { topic, .. }
            | Event::Cleared { topic, .. } => topic,
        }
    }

    /// The complete bytes for a socket that speaks this format; `None` where the format has no
    /// frame for such an event.
    pub fn frame(&self, format: WireFormat) -> Option<&Bytes> {
        let slot = self.plain.get(format.index())?;
        let frame = slot.get_or_init(|| encode(format, &self.event).unwrap_or_default());
        (!frame.is_empty()).then_some(frame)
    }

    /// The same in that encoding. What is not worth being compressed is as it is in the format.
    pub fn encoded(&self, encoding: Encoding, deflaters: &mut Deflaters) -> Option<&Bytes> {
        let plain = self.frame(encoding.format)?;
        let Some(window) = encoding.window else {
            return Some(plain);
        };
        let deflated = self.deflated.get_or_init(Box::default);
        let slot = deflated.get(encoding.index() - WireFormat::COUNT)?;
        Some(slot.get_or_init(|| {
            let deflated = deflaters.deflate(plain, window);
            deflated.unwrap_or_else(|| plain.clone())
        }))
    }

    /// The session that published the message, where one did: what `echo: false` withholds it from.
    pub fn publisher(&self) -> Option<SessionId> {
        self.message().and_then(|message| message.publisher)
    }

    /// The session that came or went: it is not told of its own coming and going.
    pub fn subject(&self) -> Option<SessionId> {
        match &self.event {
            Event::Message(_) | Event::Cleared { .. } => None,
            Event::Join { member, .. } | Event::Leave { member, .. } => Some(member.session),
        }
    }
}

fn encode(format: WireFormat, event: &Event) -> Option<Bytes> {
    match event {
        Event::Message(message) => Some(message_bytes(format, message, Sent::Live)),
        Event::Join { topic, member } => {
            control_bytes(format, &ServerFrame::Join { topic, member })
        }
        Event::Leave { topic, member } => {
            control_bytes(format, &ServerFrame::Leave { topic, member })
        }
        Event::Cleared { topic, removed } => {
            let to = removed.end.map_or(0, |(_, newest)| newest);
            let gap = ServerFrame::Gap {
                topic: topic.as_str(),
                reason: GapReason::Cleared,
                count: removed.count,
                epoch: removed.end.map(|(epoch, _)| epoch),
                from: (to + 1).saturating_sub(removed.count),
                to,
            };
            control_bytes(format, &gap)
        }
    }
}
