//! Where a history begins by its bounds: known in memory, or asked of the disk.

use super::super::lookup::{Edge, Question};
use super::super::queue::{ITEM, What};
use super::super::recent::cutoff;
use super::DiskHistory;
use crate::model::Timestamp;

impl DiskHistory {
    /// Drops what the bounds do not allow, as far as it is known where that stands. Whether anything was
    /// dropped.
    pub(super) fn drop_excess(&mut self, now: Timestamp) -> bool {
        let from = cutoff(self.bounds.age, now);
        let mut dropped = self.state.drop_aside(self.first_counted(), from);
        while self.state.len() > 0 && self.is_excess(from) {
            let Some(next) = self.recent.mark(&self.state, self.state.start.offset + 1) else {
                self.seek_edge(from);
                break;
            };
            self.state.drop_oldest(next);
            self.recent.begin_at(next.offset);
            dropped = true;
        }
        dropped
    }

    /// Whether the oldest message is one too many.
    fn is_excess(&self, from: Timestamp) -> bool {
        if self.state.start.time < from {
            return true;
        }
        let (len, bytes) = (self.state.len(), self.state.bytes());
        len > 1 && (len > self.bounds.messages as u64 || bytes > self.bounds.bytes as u64)
    }

    /// Asks the disk where the history begins by its bounds.
    fn seek_edge(&mut self, from: Timestamp) {
        let (id, settled) = self.settled;
        if self.seeks_edge || id != self.state.id {
            return;
        }
        let bytes = self.state.weight.saturating_sub(self.bounds.bytes as u64);
        let first = (self.state.newest + 1).saturating_sub(self.bounds.messages as u64);
        let before = bytes.max(self.state.start.before);
        // The newest stays whatever it weighs: looking ends with the settled one.
        let question = Question::Edge { from, before };
        self.ask(
            first.max(self.state.start.offset).min(settled),
            settled,
            question,
        );
        self.seeks_edge = true;
    }

    /// Begins where the disk says.
    pub(super) fn begin_at(&mut self, edge: &Edge, now: Timestamp) {
        self.seeks_edge = false;
        if edge.id != self.state.id {
            return;
        }
        let next = edge.upto + 1;
        let start = edge.marks.first().copied().or_else(|| {
            // What came after it was asked.
            self.recent
                .mark(&self.state, next.min(self.state.newest + 1))
        });
        let Some(start) = start else {
            self.wants_edge = self.settled.1 <= edge.upto;
            if !self.wants_edge && self.drop_excess(now) {
                self.write_start();
            }
            return;
        };
        if start.offset <= self.state.start.offset {
            self.recent.learn(
                edge.marks
                    .iter()
                    .copied()
                    .skip_while(|mark| mark.offset <= self.state.start.offset),
            );
            self.wants_edge = self.settled.1 <= edge.upto;
            if !self.wants_edge && self.drop_excess(now) {
                self.write_start();
            }
            return;
        }
        let last = edge.last.unwrap_or(start.time);
        if start.offset.checked_sub(1) == edge.damaged {
            self.state.set_aside(start, last);
        } else {
            self.state.begin_at(start, last);
        }
        self.recent.begin_at(start.offset);
        self.recent.learn(edge.marks.iter().copied().skip(1));
        // More may have come since it was asked.
        self.drop_excess(now);
        self.write_start();
    }

    /// Has the disk drop what is before the oldest message.
    pub(super) fn write_start(&self) {
        if self.shared.fault.is_on() || self.shared.queue.reserve(ITEM).is_err() {
            // The next append says it too.
            return;
        }
        self.shared
            .queue
            .push_from(&self.news, self.item(What::Trim));
    }
}
