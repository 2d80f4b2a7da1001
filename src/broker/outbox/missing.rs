//! Messages that were dropped from an outbox, until their session has been told.

use bytes::Bytes;

use crate::model::{Epoch, Position, TopicName};
use crate::protocol::{GapReason, ServerFrame, WireFormat, control_bytes};

/// Messages of one topic that were dropped one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The topic.
    pub topic: TopicName,
    /// How many.
    count: u64,
    /// The first and the last of them, where the topic has history.
    span: Option<(Epoch, u64, u64)>,
}

impl Missing {
    /// One message.
    pub fn new(topic: TopicName, position: Option<Position>) -> Self {
        Self {
            topic,
            count: 1,
            span: position.map(|at| (at.epoch, at.offset, at.offset)),
        }
    }

    /// Adds those that came later; false where one frame cannot tell of both.
    pub fn join(&mut self, later: &Self) -> bool {
        self.span = match (self.span, later.span) {
            (None, None) => None,
            (Some((epoch, from, _)), Some((other, _, to))) if epoch == other => {
                Some((epoch, from, to))
            }
            _ => return false,
        };
        self.count += later.count;
        true
    }

    /// The `gap` that tells of them; empty in a format that has none.
    pub fn told(&self, format: WireFormat) -> Bytes {
        let (from, to) = self.span.map_or((0, 0), |(_, from, to)| (from, to));
        let gap = ServerFrame::Gap {
            topic: self.topic.as_str(),
            reason: GapReason::Slow,
            count: self.count,
            epoch: self.span.map(|(epoch, ..)| epoch),
            from,
            to,
        };
        control_bytes(format, &gap).unwrap_or_default()
    }
}
