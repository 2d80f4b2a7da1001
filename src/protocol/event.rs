//! What a topic tells its subscribers, encoded once for all of them.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::server_frame::ServerFrame;
use super::wire::{WireFormat, control_bytes, message_bytes};
use crate::model::{Member, Message, SessionId, TopicName};

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
}

/// An event with its frames: each is made when the first subscriber needs it, and then shared.
#[derive(Debug)]
pub struct Published {
    event: Event,
    /// By [`WireFormat::index`]; empty bytes where the format has no such frame.
    frames: [OnceLock<Bytes>; WireFormat::COUNT],
}

impl Published {
    /// An event of which no frame is made yet.
    pub fn new(event: Event) -> Self {
        Self {
            event,
            frames: [const { OnceLock::new() }; WireFormat::COUNT],
        }
    }

    /// The event.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The message, where the event is one.
    pub fn message(&self) -> Option<&Message> {
        match &self.event {
            Event::Message(message) => Some(message),
            Event::Join { .. } | Event::Leave { .. } => None,
        }
    }

    /// The topic that tells it.
    pub fn topic(&self) -> &TopicName {
        match &self.event {
            Event::Message(message) => &message.topic,
            Event::Join { topic, .. } | Event::Leave { topic, .. } => topic,
        }
    }

    /// The complete bytes for a socket that speaks this format; `None` where the format has no
    /// frame for such an event.
    pub fn frame(&self, format: WireFormat) -> Option<&Bytes> {
        let slot = self.frames.get(format.index())?;
        let frame = slot.get_or_init(|| encode(format, &self.event).unwrap_or_default());
        (!frame.is_empty()).then_some(frame)
    }

    /// The session that published the message, where one did: what `echo: false` withholds it from.
    pub fn publisher(&self) -> Option<SessionId> {
        self.message().and_then(|message| message.publisher)
    }

    /// The session that came or went: it is not told of its own coming and going.
    pub fn subject(&self) -> Option<SessionId> {
        match &self.event {
            Event::Message(_) => None,
            Event::Join { member, .. } | Event::Leave { member, .. } => Some(member.session),
        }
    }
}

fn encode(format: WireFormat, event: &Event) -> Option<Bytes> {
    match event {
        Event::Message(message) => Some(message_bytes(format, message, false)),
        Event::Join { topic, member } => {
            control_bytes(format, &ServerFrame::Join { topic, member })
        }
        Event::Leave { topic, member } => {
            control_bytes(format, &ServerFrame::Leave { topic, member })
        }
    }
}
