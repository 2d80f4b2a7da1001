//! Where a topic's history on the disk begins and ends.

use crate::model::{Epoch, Timestamp};

/// A message's place, time, and what went before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) offset: u64,
    pub(super) time: Timestamp,
    /// What all messages before it weigh together, those that were dropped included.
    pub(super) before: u64,
}

/// What is known of a topic beside its messages: a row of the table of topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// Names the topic's row and its messages. Another life has another.
    pub(super) id: i64,
    pub(super) epoch: Epoch,
    /// The offset of the newest message ever; 0 for none.
    pub(super) newest: u64,
    /// The newest message's time, of any life.
    pub(super) time: Timestamp,
    /// What all messages of this life weigh together, those that were dropped included.
    pub(super) weight: u64,
    /// The oldest message that is held, or the one that will be if none is.
    pub(super) start: Mark,
    /// Every message that was dropped, or that went with a life of the topic before this, is older.
    pub(super) lost_before: Timestamp,
    /// From here to the oldest message, messages are set aside: they stood before one that is damaged, so
    /// that they are not of the history any more, and stay on the disk.
    pub(super) aside: Option<u64>,
}

impl State {
    /// A life that has had no message.
    pub(super) fn new(id: i64, epoch: Epoch, time: Timestamp, lost_before: Timestamp) -> Self {
        Self {
            id,
            epoch,
            newest: 0,
            time,
            weight: 0,
            start: Mark {
                offset: 1,
                time,
                before: 0,
            },
            lost_before,
            aside: None,
        }
    }

    /// How many messages are held.
    pub(super) fn len(&self) -> u64 {
        (self.newest + 1).saturating_sub(self.start.offset)
    }

    /// What they weigh.
    pub(super) fn bytes(&self) -> u64 {
        self.weight.saturating_sub(self.start.before)
    }

    /// Takes a message, and says where it is.
    pub(super) fn take(&mut self, weight: usize, time: Timestamp) -> Mark {
        self.newest += 1;
        let mark = Mark {
            offset: self.newest,
            time,
            before: self.weight,
        };
        self.time = time;
        self.weight = self.weight.saturating_add(weight as u64);
        if self.len() == 1 {
            self.start = mark;
        }
        mark
    }

    /// The place after the newest message.
    pub(super) fn end(&self) -> Mark {
        Mark {
            offset: self.newest + 1,
            time: self.time,
            before: self.weight,
        }
    }

    /// Drops the oldest message; `next` is the mark of the one after it.
    pub(super) fn drop_oldest(&mut self, next: Mark) {
        self.begin_at(next, self.start.time);
    }

    /// Drops what is before `start`; the last of that is of the time `last`.
    pub(super) fn begin_at(&mut self, start: Mark, last: Timestamp) {
        self.lost_before = self.lost_before.max(after(last));
        self.start = start;
        // They are older: what does not allow the one does not allow the others.
        self.aside = None;
    }

    /// Begins after what is damaged, likewise, and sets aside what is before it.
    pub(super) fn set_aside(&mut self, start: Mark, last: Timestamp) {
        let first = self.floor();
        self.begin_at(start, last);
        self.aside = Some(first).filter(|first| *first < start.offset);
    }

    /// Drops of what is set aside what would be gone without the damage too: what is before `first`, and
    /// all of it where that is from before `from`. Whether there was any.
    pub(super) fn drop_aside(&mut self, first: u64, from: Timestamp) -> bool {
        let Some(aside) = self.aside else {
            return false;
        };
        if self.lost_before <= from || first >= self.start.offset {
            self.aside = None;
        } else if first > aside {
            self.aside = Some(first);
        }
        self.aside != Some(aside)
    }

    /// The offset from which on messages stay on the disk, held or set aside.
    pub(super) fn floor(&self) -> u64 {
        let start = self.start.offset;
        self.aside.map_or(start, |aside| aside.min(start))
    }

    /// What is set aside, as if it were a history that ends before `start`.
    pub(super) fn before(&self, start: u64) -> Option<Self> {
        let first = self.floor();
        (first < start).then(|| Self {
            newest: start - 1,
            start: Mark {
                offset: first,
                ..self.start
            },
            aside: None,
            ..*self
        })
    }

    /// The life after this, which has had nothing.
    pub(super) fn next_life(&self, id: i64, epoch: Epoch) -> Self {
        let lost_before = if self.len() == 0 {
            self.lost_before
        } else {
            self.lost_before.max(after(self.time))
        };
        Self::new(id, epoch, self.time, lost_before)
    }
}

/// The first moment after that.
pub(super) fn after(time: Timestamp) -> Timestamp {
    Timestamp(time.0.saturating_add(1))
}
