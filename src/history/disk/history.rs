//! One topic's history on the disk: numbered here, written by the store's thread.

mod trim;

use std::collections::VecDeque;
use std::sync::Arc;

use super::Shared;
use super::catalog::Entry;
use super::lookup::{Ask, Question};
use super::queue::{ITEM, Item, What};
use super::recent::{Recent, cutoff};
use super::state::State;
use crate::history::slot::Room;
use crate::history::{
    Answer, Appended, Beside, Bounds, Completion, Finding, History, HistoryError, Limit, Lookup,
    News, Retain, Retained, Terms, Ticket,
};
use crate::model::{Durability, Epoch, Message, Position, Timestamp};

/// Numbers at once; what it says of messages is of those that the disk has.
#[derive(Debug)]
pub(super) struct DiskHistory {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    news: Arc<News>,
    bounds: Bounds,
    durability: Durability,
    /// With all that was appended.
    state: State,
    /// The life, and its newest message, of which the home knows that the disk has it.
    settled: (i64, u64),
    pending: VecDeque<Pending>,
    recent: Recent,
    /// Where the history begins by its bounds was asked of the disk.
    seeks_edge: bool,
    /// It is to be asked again, once more is settled.
    wants_edge: bool,
    /// Answers to [`History::first_since`] of the life that is named, the latest last.
    since: VecDeque<(i64, Timestamp, u64)>,
}

/// A change that the disk does not have yet.
#[derive(Debug)]
struct Pending {
    ticket: Ticket,
    /// The life, and its newest message, after the change.
    settles: (i64, u64),
    retained: Change,
}

/// What becomes of the retained message.
#[derive(Debug)]
enum Change {
    Leave,
    Set(Arc<Message>, Room),
    Clear,
}

/// Answers about times that are remembered until they are asked for again.
const ANSWERS: usize = 64;

impl DiskHistory {
    pub(super) fn new(
        shared: &Arc<Shared>,
        entry: Arc<Entry>,
        terms: Terms,
        news: &Arc<News>,
    ) -> Self {
        let state = entry.lock().committed;
        let mut history = Self {
            shared: Arc::clone(shared),
            entry,
            news: Arc::clone(news),
            bounds: terms.bounds,
            durability: terms.durability,
            state,
            settled: (state.id, state.newest),
            pending: VecDeque::new(),
            recent: Recent::new(&shared.ceiling),
            seeks_edge: false,
            wants_edge: false,
            since: VecDeque::new(),
        };
        // Where it begins is written now and then: a process that was killed may have dropped more.
        if history.drop_excess(Timestamp(0)) {
            history.write_start();
        }
        history
    }

    fn item(&self, what: What) -> Item {
        Item::new(&self.entry, &self.news, self.durability, self.state, what)
    }

    /// Gives the disk a change that is to be settled.
    fn push(&mut self, mut item: Item, retained: Change) -> Completion {
        let ticket = self.news.ticket(self.durability);
        item.ticket = Some(ticket);
        self.pending.push_back(Pending {
            ticket,
            settles: (self.state.id, self.state.newest),
            retained,
        });
        self.shared.queue.push_from(&self.news, item);
        Completion::Later(ticket)
    }

    fn settled_to(&mut self, pending: Pending) {
        self.settled = pending.settles;
        match pending.retained {
            Change::Leave => {}
            Change::Set(message, room) => self.entry.lock().slot.put(message, room),
            Change::Clear => self.entry.lock().slot.clear(),
        }
    }

    fn ask(&self, first: u64, last: u64, what: Question) -> Lookup {
        let lookup = Lookup::unique();
        self.shared.lookups.ask(Ask {
            lookup,
            news: Arc::clone(&self.news),
            entry: Arc::clone(&self.entry),
            id: self.state.id,
            epoch: self.state.epoch,
            first,
            last,
            what,
        });
        lookup
    }

    /// The offset of the oldest message that is not too old, as far as it is known.
    fn oldest_at(&self, now: Timestamp) -> u64 {
        let from = cutoff(self.bounds.age, now);
        let (offset, _) = self.recent.search(&self.state, |mark| mark.time >= from);
        offset.max(self.first_counted())
    }

    /// The oldest offset that the bound on messages allows. Where it lies on the disk, what is before it
    /// goes once it is known what that weighs.
    fn first_counted(&self) -> u64 {
        (self.state.newest + 1).saturating_sub(self.bounds.messages as u64)
    }
}

impl History for DiskHistory {
    fn append(
        &mut self,
        mut message: Message,
        Beside { retain, once }: Beside,
        now: Timestamp,
    ) -> Result<Appended, HistoryError> {
        self.shared.fault.check()?;
        let weight = message.weight();
        let retained = match retain {
            Retain::Set => Some(self.entry.lock().slot.make_room(weight)?),
            Retain::Leave | Retain::Clear => None,
        };
        self.shared.queue.reserve(ITEM + weight)?;
        let time = now.max(self.state.time);
        self.drop_excess(time);
        let mark = self.state.take(weight, time);
        message.time = time;
        message.position = Some(Position {
            epoch: self.state.epoch,
            offset: mark.offset,
        });
        let message = Arc::new(message);
        self.recent.push(mark, Arc::clone(&message));
        self.drop_excess(time);
        self.recent.give_way(&self.state, 1);
        let change = match retained {
            Some(room) => Change::Set(Arc::clone(&message), room),
            None if retain == Retain::Clear => Change::Clear,
            None => Change::Leave,
        };
        let item = self.item(What::Message {
            message: Arc::clone(&message),
            mark,
            retain,
            once,
        });
        Ok(Appended {
            message,
            completion: self.push(item, change),
        })
    }

    fn settle(&mut self, ticket: Ticket) {
        while let Some(pending) = self
            .pending
            .pop_front_if(|pending| pending.ticket <= ticket)
        {
            self.settled_to(pending);
        }
        if std::mem::take(&mut self.wants_edge) && self.drop_excess(self.state.time) {
            self.write_start();
        }
    }

    fn take_back(&mut self) {
        self.pending.clear();
        let committed = self.entry.lock().committed;
        if committed.id == self.state.id {
            self.recent.end_at(committed.newest);
        } else {
            self.recent.clear();
        }
        self.state = committed;
        self.settled = (committed.id, committed.newest);
        self.seeks_edge = false;
    }

    fn found(&mut self, finding: Finding, now: Timestamp) -> Vec<Arc<Message>> {
        match finding {
            Finding::Messages(mut messages) => {
                messages.retain(|message| {
                    let position = message.position;
                    position.is_some_and(|position| position.epoch == self.state.epoch)
                });
                messages
            }
            Finding::Since(since) => {
                if self.since.len() >= ANSWERS {
                    self.since.pop_front();
                }
                self.since
                    .push_back((since.id, since.from, since.offset.saturating_sub(1)));
                Vec::new()
            }
            Finding::Edge(edge) => {
                self.begin_at(&edge, now);
                Vec::new()
            }
        }
    }

    fn retained(&self) -> Option<Arc<Message>> {
        self.entry.lock().slot.message()
    }

    fn epoch(&self) -> Epoch {
        self.state.epoch
    }

    fn newest(&self) -> u64 {
        self.state.newest
    }

    fn settled(&self) -> u64 {
        let (id, newest) = self.settled;
        if id == self.state.id { newest } else { 0 }
    }

    fn oldest(&self) -> u64 {
        self.state.start.offset.max(self.first_counted())
    }

    fn oldest_time(&self, now: Timestamp) -> Option<Timestamp> {
        let oldest = self.oldest_at(now);
        if oldest > self.state.newest {
            return None;
        }
        let mark = self.recent.mark(&self.state, oldest);
        Some(mark.unwrap_or(self.state.start).time)
    }

    fn read(&mut self, after: u64, limit: Limit, now: Timestamp) -> Answer<Vec<Arc<Message>>> {
        let first = after.saturating_add(1).max(self.oldest_at(now));
        let last = self.settled();
        if first > last || limit.messages == 0 {
            return Answer::Now(Vec::new());
        }
        if self.recent.first().is_some_and(|held| held <= first) {
            return Answer::Now(self.recent.read(first, last, limit));
        }
        let from = cutoff(self.bounds.age, now);
        Answer::Later(self.ask(first, last, Question::Read { limit, from }))
    }

    fn rebound(&mut self, terms: Terms, now: Timestamp) {
        self.bounds = terms.bounds;
        // What is on the disk stays there.
        self.durability = terms.durability.max(Durability::Written);
        self.trim(now);
    }

    fn trim(&mut self, now: Timestamp) {
        if self.drop_excess(now) {
            self.write_start();
        }
        self.recent.shrink();
    }

    fn give_way(&mut self) {
        let keep = self.recent.len().div_ceil(2);
        self.recent.give_way(&self.state, keep);
    }

    fn clear(&mut self) -> Result<Completion, HistoryError> {
        self.shared.fault.check()?;
        self.shared.queue.reserve(ITEM)?;
        let old = self.state.id;
        self.state = self
            .state
            .next_life(self.shared.catalog.number(), self.shared.new_epoch());
        self.recent.clear();
        self.seeks_edge = false;
        let item = self.item(What::Clear { old });
        Ok(self.push(item, Change::Clear))
    }

    fn first_since(&mut self, from: Timestamp) -> Answer<u64> {
        let (offset, is_known) = self.recent.search(&self.state, |mark| mark.time >= from);
        if is_known {
            return Answer::Now(offset.max(self.oldest()) - 1);
        }
        let id = self.state.id;
        let found = self
            .since
            .iter()
            .rposition(|(life, time, _)| *life == id && *time == from);
        if let Some((_, _, after)) = found.and_then(|index| self.since.get(index)) {
            return Answer::Now((*after).max(self.oldest() - 1));
        }
        // What is not known lies before what is in memory, and that before what is not settled.
        Answer::Later(self.ask(offset, self.settled(), Question::Since(from)))
    }

    fn holds_since(&self, from: Timestamp, now: Timestamp) -> bool {
        let is_behind = self.first_counted() > self.state.start.offset;
        if from < self.state.lost_before || (is_behind && from <= self.state.time) {
            return false;
        }
        let kept = cutoff(self.bounds.age, now);
        if self.state.len() == 0 || self.state.start.time >= kept || from >= kept {
            return true;
        }
        // Whether a message since `from` is too old. Where it is not known, one may be.
        let (first, is_known) = self.recent.search(&self.state, |mark| mark.time >= from);
        let (oldest, _) = self.recent.search(&self.state, |mark| mark.time >= kept);
        is_known && first >= oldest
    }

    fn recovers(&self, cursor: Position, now: Timestamp) -> bool {
        cursor.epoch == self.state.epoch
            && cursor.offset <= self.settled()
            && cursor.offset + 1 >= self.oldest_at(now)
    }

    fn len(&self) -> usize {
        usize::try_from(self.state.newest + 1 - self.oldest()).unwrap_or(usize::MAX)
    }

    fn bytes(&self) -> usize {
        usize::try_from(self.state.bytes()).unwrap_or(usize::MAX)
    }
}

impl Drop for DiskHistory {
    fn drop(&mut self) {
        self.shared.close(&self.entry);
    }
}
