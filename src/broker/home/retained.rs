//! The retained messages of the topics at home here: which there are, and what is read of them.

use std::ops::Bound;

use super::Home;
use crate::broker::message::{Retained, RetainedAsk, RetainedPiece, Span};
use crate::history::History;
use crate::model::{Epoch, Filter, Message, TopicName};

/// Names that one piece looks at, so that a filter that few of them match does not hold the home up.
const SCAN: usize = 1024;

impl Home {
    /// Whether any topic here may have a retained message now or a little later.
    pub(super) fn may_retain(&self) -> bool {
        !self.retained.is_empty() || self.common.rules.now().any_retains()
    }

    /// Notes whether a topic has a retained message.
    pub(super) fn note_retained(&mut self, topic: &TopicName) {
        let Some(entry) = self.topics.get(topic) else {
            self.retained.remove(topic);
            return;
        };
        let has_one = entry.kept.retained().is_some();
        entry.card.set_retained(has_one);
        if !has_one {
            self.retained.remove(topic);
        } else if !self.retained.contains(topic) {
            self.retained.insert(topic.clone());
        }
    }

    /// One piece of the retained messages that a filter matches, in the order of the topics' names.
    pub fn read_retained(&self, ask: &RetainedAsk) -> RetainedPiece {
        if let Some(topic) = ask.filter.as_name() {
            return RetainedPiece {
                messages: self.retained_of(&topic, ask).into_iter().collect(),
                reached: None,
            };
        }
        let stem = stem(&ask.filter);
        let from = match &ask.after {
            Some(after) => Bound::Excluded(after.as_str()),
            None => Bound::Included(stem),
        };
        let names = self.retained.range::<str, _>((from, Bound::Unbounded));
        let mut piece = RetainedPiece::default();
        let mut bytes = 0;
        for (looked_at, name) in names.enumerate() {
            if !name.as_str().starts_with(stem) {
                break;
            }
            if looked_at == SCAN || piece.messages.len() >= ask.limit.messages {
                return piece;
            }
            if ask.filter.matches(name)
                && let Some(retained) = self.retained_of(name, ask)
            {
                bytes += retained.message.weight();
                if bytes > ask.limit.bytes && !piece.messages.is_empty() {
                    return piece;
                }
                piece.messages.push(retained);
            }
            piece.reached = Some(name.clone());
        }
        piece.reached = None;
        piece
    }

    fn retained_of(&self, topic: &TopicName, ask: &RetainedAsk) -> Option<Retained> {
        let entry = self.topics.get(topic)?;
        if !self.common.rules.now().may_read(&ask.access, topic) {
            return None;
        }
        Some(Retained {
            message: entry.kept.retained()?,
            epoch: entry.kept.history().map(History::epoch),
        })
    }
}

/// Whether a replay of that span brings the message.
pub(super) fn is_in(message: &Message, span: Span) -> bool {
    is_after(message, Some(span.epoch), span.after)
}

/// Whether the message has its place in that life of the history, after that offset.
pub(super) fn is_after(message: &Message, epoch: Option<Epoch>, after: u64) -> bool {
    message
        .position
        .is_some_and(|at| Some(at.epoch) == epoch && at.offset > after)
}

/// What all names that the filter matches begin with.
pub(super) fn stem(filter: &Filter) -> &str {
    let text = filter.as_str();
    let literal = text.find(['+', '#']).and_then(|end| text.get(..end));
    // 'a/#' matches 'a' too.
    literal.map_or(text, |literal| literal.strip_suffix('/').unwrap_or(literal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_filter_matches_begin_with_its_stem() {
        for (filter, expected) in [
            ("#", ""),
            ("+/a", ""),
            ("a/#", "a"),
            ("a/b/+/c", "a/b"),
            ("/#", ""),
            ("a//#", "a/"),
        ] {
            assert_eq!(stem(&Filter::new(filter).unwrap()), expected, "{filter}");
        }
    }
}
