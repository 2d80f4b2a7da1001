//! The one thread that writes: it takes what waits, commits it as one, and tells the homes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::queue::{Item, What};
use super::reader::is_corrupt;
use super::start::marker;
use super::tidy::Tidy;
use super::watermark::Watermark;
use super::{Shared, apply, fault, schema};
use crate::history::{HistoryError, Retain, Retained as _};
use crate::model::Durability;

/// As many changes are committed at once.
const GROUP: usize = 8192;

/// As many bytes of messages are committed at once, or one change.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// Between groups, one thing is done for as many changes.
const TIDIED: usize = 512;

/// How often it is tried whether a fault is over.
const PROBE: Duration = Duration::from_millis(500);

/// How long it sleeps where there is nothing to do.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    shared: Arc<Shared>,
    /// Stays open after a fault: what it knows of the log leaves out what was refused. Another would take
    /// that for committed where it reached the operating system.
    conn: Connection,
    is_synced: bool,
    /// The number that the next message gets.
    next: i64,
    watermark: Watermark,
    tidy: Tidy,
    probed: Instant,
    /// Until the next start.
    is_beyond_repair: bool,
    out: Vec<u8>,
}

impl Writer {
    /// `next` is the number that the next message gets, `dead` are messages of no topic.
    pub(super) fn new(
        shared: &Arc<Shared>,
        conn: Connection,
        watermark: Watermark,
        (next, dead): (i64, Vec<i64>),
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            conn,
            is_synced: false,
            next,
            watermark,
            tidy: Tidy::new(shared.catalog.all(), dead),
            probed: Instant::now(),
            is_beyond_repair: false,
            out: Vec::new(),
        }
    }

    /// Writes until the store is closed and nothing waits.
    pub(super) fn run(mut self) {
        loop {
            let patience = if self.shared.fault.is_on() {
                PROBE
            } else if self.tidy.has_work() {
                Duration::ZERO
            } else {
                PATIENCE
            };
            let (items, is_closed) = self.shared.queue.take(patience);
            let is_idle = items.is_empty();
            // As much as comes is placed and deleted, or it would be more and more.
            let mut steps = items.len().div_ceil(TIDIED).max(1);
            self.write(items);
            if is_idle && is_closed {
                break;
            }
            while steps > 0 && self.tidy.has_work() && !self.shared.fault.is_on() {
                self.tidy();
                steps -= 1;
            }
            if self.shared.fault.is_on() {
                self.probe();
            }
        }
        self.finish();
    }

    fn write(&mut self, items: Vec<Item>) {
        let mut waiting = items.into_iter().peekable();
        while waiting.peek().is_some() {
            let (mut written, mut synced) = (Vec::new(), Vec::new());
            let mut topics = HashSet::new();
            let mut bytes = 0_usize;
            while let Some(item) = waiting.next_if(|item| {
                // What was written after the topic was synced does not overtake that.
                let overtakes = item.durability < Durability::Synced
                    && topics.contains(&Arc::as_ptr(&item.entry));
                bytes = bytes.saturating_add(item.weight);
                let fits = written.len() + synced.len() < GROUP && bytes <= GROUP_BYTES;
                !overtakes && (fits || written.len() + synced.len() == 0)
            }) {
                if item.durability == Durability::Synced {
                    topics.insert(Arc::as_ptr(&item.entry));
                    synced.push(item);
                } else {
                    written.push(item);
                }
            }
            self.group(written, false);
            self.group(synced, true);
        }
    }

    /// Commits what still stands of these, as one.
    fn group(&mut self, items: Vec<Item>, synced: bool) {
        let homes = &self.shared.homes;
        let (items, fallen): (Vec<_>, Vec<_>) = items.into_iter().partition(|i| homes.stands(i));
        for item in fallen {
            item.entry.lock().in_flight -= 1;
            self.shared.queue.release(item.weight);
        }
        if items.is_empty() {
            return;
        }
        let begun = Instant::now();
        match self.commit(&items, synced) {
            Ok(()) => {
                self.shared.figures.committed(synced, begun.elapsed());
                for item in &items {
                    self.stands(item);
                    self.next += i64::from(item.is_message());
                }
                self.watermark.rise(self.next - 1, synced);
                self.shared.homes.settled(items.iter());
            }
            Err(error) => {
                for item in &items {
                    item.entry.lock().in_flight -= 1;
                }
                self.fail(&error);
            }
        }
        for item in &items {
            self.shared.queue.release(item.weight);
        }
    }

    fn commit(&mut self, items: &[Item], synced: bool) -> rusqlite::Result<()> {
        #[cfg(test)]
        self.shared.trouble.befall(&self.conn)?;
        self.set_synced(synced)?;
        apply::commit(&self.conn, items, self.next, &mut self.out)
    }

    fn set_synced(&mut self, synced: bool) -> rusqlite::Result<()> {
        if synced != self.is_synced {
            schema::set_synced(&self.conn, synced)?;
            self.is_synced = synced;
        }
        Ok(())
    }

    /// Takes note of what is on the disk now.
    fn stands(&mut self, item: &Item) {
        let mut kept = item.entry.lock();
        kept.in_flight -= 1;
        kept.committed = item.state;
        kept.durability = item.durability;
        kept.has_row = !matches!(item.what, What::Forget);
        if !kept.is_open {
            // Who set it is gone: nobody else will.
            let retained = match &item.what {
                What::Message {
                    message, retain, ..
                } => match retain {
                    Retain::Leave => None,
                    Retain::Set => Some(Some(message)),
                    Retain::Clear => Some(None),
                },
                What::Retained { message, .. } => Some(message.as_ref()),
                What::Clear { .. } | What::Forget => Some(None),
                What::Trim => None,
            };
            match retained {
                Some(Some(message)) => {
                    let room = kept.slot.room_at_any_rate(message.weight());
                    kept.slot.put(Arc::clone(message), room);
                }
                Some(None) => kept.slot.clear(),
                None => {}
            }
        }
        drop(kept);
        self.tidy.committed(item, self.next, self.shared.window);
    }

    /// Nothing that is not settled is kept.
    fn fail(&mut self, error: &rusqlite::Error) {
        let why = fault::words(error);
        if self.shared.fault.begin(&why) {
            tracing::error!(%error, "the store can keep nothing: {why}");
        }
        self.shared.figures.failed();
        if is_corrupt(error) && std::fs::write(marker(&self.shared.file), why.as_bytes()).is_ok() {
            tracing::error!("start the broker again: it copies what is whole of the store");
            self.is_beyond_repair = true;
        }
        self.shared.homes.failed(&HistoryError::Unavailable(why));
        self.probed = Instant::now();
    }

    fn probe(&mut self) {
        if self.is_beyond_repair || self.probed.elapsed() < PROBE {
            return;
        }
        self.probed = Instant::now();
        match self.try_again() {
            Ok(()) => {
                tracing::info!("the store can keep messages again");
                self.shared.fault.end();
            }
            Err(error) => {
                self.shared.fault.begin(&fault::words(&error));
            }
        }
    }

    /// Writes something for good, and with it all that is in the log: what was in it when a sync failed
    /// may not be on the disk though the system counts it as written.
    fn try_again(&mut self) -> rusqlite::Result<()> {
        #[cfg(test)]
        self.shared.trouble.befall(&self.conn)?;
        self.set_synced(true)?;
        schema::set_meta(&self.conn, "probe", &"0".repeat(64 * 1024))?;
        schema::set_meta(&self.conn, "probe", "")?;
        schema::carry_over(&self.conn)
    }

    fn tidy(&mut self) {
        let tidied = self
            .set_synced(false)
            .and_then(|()| self.tidy.step(&self.conn, self.next - 1, &mut self.out));
        match tidied {
            Ok(()) => {}
            Err(error) if is_corrupt(&error) => {
                if self.set_aside().is_err() {
                    self.fail(&error);
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Goes on without the topics whose pages are damaged: they begin another life, elsewhere.
    fn set_aside(&mut self) -> rusqlite::Result<()> {
        let damaged = self.tidy.give_up(&self.conn, &mut self.out)?;
        let damaged = damaged.ok_or(rusqlite::Error::InvalidQuery)?;
        for entry in &damaged {
            let mut kept = entry.lock();
            let old = kept.committed;
            let (id, epoch) = (self.shared.catalog.number(), self.shared.new_epoch());
            let new = old.next_life(id, epoch);
            let retained = kept.slot.message();
            let retained = retained.as_deref();
            let topic = (&entry.topic, kept.durability);
            apply::renew(&self.conn, topic, old.id, &new, retained, &mut self.out)?;
            kept.committed = new;
            kept.tail.clear();
            kept.first_there = None;
            kept.is_in_line = false;
            drop(kept);
            let what = "its pages are";
            self.shared
                .damage(&entry.topic, old.start.offset, old.newest, what);
        }
        if !damaged.is_empty() {
            // What they have numbered since stands on what is gone.
            let why = "part of the store was damaged".to_owned();
            self.shared.homes.failed(&HistoryError::Unavailable(why));
        }
        Ok(())
    }

    /// Says that everything was written, for the next start.
    fn finish(&mut self) {
        if self.shared.fault.is_on() {
            return;
        }
        let written = self
            .set_synced(true)
            .and_then(|()| {
                self.tidy
                    .place_all(&self.conn, self.next - 1, &mut self.out)
            })
            .and_then(|()| schema::carry_over(&self.conn))
            .and_then(|()| schema::set_meta(&self.conn, "clean", "1"));
        if let Err(error) = written {
            tracing::warn!(%error, "the store was not closed as it should be");
        }
    }
}
