//! What is done between groups, a little at a time: writing where messages stand, deleting what was
//! dropped, giving room back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use super::catalog::Entry;
use super::place::{Places, delete_dead, delete_dropped, delete_life};
use super::queue::{Item, What};
use crate::model::Timestamp;

/// As many pages are given back at once.
const PAGES: i64 = 64;

/// As many free pages are kept while messages come: those of the next rounds of [placing](Places) go there,
/// and a file that is cut off and grows again with each round is written the more for it.
const SPARE: i64 = if cfg!(test) { PAGES } else { 8 * 1024 };

/// No messages come, if none came for so long.
const REST: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 2 });

/// As many records of what is published once only are deleted at once.
const ONCE: i64 = 256;

/// What is not much is placed after so long.
const LONG: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });

/// What there is to do.
#[derive(Debug)]
pub(super) struct Tidy {
    places: Places,
    placed: Instant,
    /// How often in a row a step of placing came upon a damaged page that no topic alone came upon.
    stumbles: u32,
    /// Topics that have messages on the disk from before their oldest, as far as is known.
    behind: VecDeque<Arc<Entry>>,
    /// Whether lives of topics wait to be deleted.
    has_dropped: bool,
    /// Whether messages wait to be deleted.
    has_dead: bool,
    /// Whether there may be pages to give back.
    room: Room,
    /// When a message came last.
    came: Instant,
    /// What was published once only before this is forgotten.
    once_until: Timestamp,
    has_old_once: bool,
    doing: Doing,
}

/// Whether there are pages to give back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    None,
    /// There may be.
    Some,
    /// Some were, and there may be more.
    Given,
    /// There are as many as are kept while messages come.
    Spare,
    /// The list of those that are free is damaged.
    Damaged,
}

impl Room {
    fn may_be(self) -> bool {
        matches!(self, Self::Some | Self::Given)
    }

    fn grows(&mut self) {
        if matches!(self, Self::None | Self::Spare) {
            *self = Self::Some;
        }
    }
}

/// What is done at the moment.
#[derive(Debug, Default)]
enum Doing {
    #[default]
    Placing,
    Deleting(Arc<Entry>),
    DeletingLife(i64),
    DeletingDead,
    ForgettingOnce,
    GivingBack,
}

impl Tidy {
    /// After a start all topics may be behind, and those with a tail are to be placed. `dead` are messages
    /// of no topic.
    pub(super) fn new(topics: Vec<Arc<Entry>>, dead: Vec<i64>) -> Self {
        let mut places = Places::default();
        for entry in &topics {
            let tail = entry.lock().tail.len();
            if tail > 0 {
                places.changed(entry, tail, 0);
            }
        }
        places.bury(dead.into_iter().map(|seq| (0, seq)));
        Self {
            places,
            placed: Instant::now(),
            stumbles: 0,
            behind: topics.into(),
            has_dropped: true,
            has_dead: true,
            room: Room::Some,
            came: Instant::now(),
            once_until: Timestamp(0),
            has_old_once: false,
            doing: Doing::Placing,
        }
    }

    /// That was committed; messages with that number.
    pub(super) fn committed(&mut self, item: &Item, seq: i64, window: Duration) {
        let mut kept = item.entry.lock();
        let mut once = None;
        match &item.what {
            What::Message {
                mark,
                message,
                once: this,
                ..
            } => {
                kept.tail.push_back((mark.offset, seq));
                once = this.map(|_| message.time);
            }
            What::Clear { .. } | What::Forget => {
                self.places.bury(kept.tail.drain(..));
                kept.first_there = None;
                self.has_dropped = true;
            }
            What::Retained {
                message: Some(message),
                once: Some(_),
            } => once = Some(message.time),
            What::Retained { .. } | What::Trim => {}
        }
        drop(kept);
        let messages = usize::from(item.is_message());
        if item.is_message() {
            self.came = Instant::now();
        }
        let bytes = if item.is_message() { item.weight } else { 0 };
        self.places.changed(&item.entry, messages, bytes);
        if let Some(now) = once {
            let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
            let until = now.0.saturating_sub(window);
            // Not for every message.
            if until > self.once_until.0.saturating_add(1000) {
                self.once_until = Timestamp(until);
                self.has_old_once = true;
            }
        }
    }

    /// Whether there is something to do now.
    pub(super) fn has_work(&self) -> bool {
        self.places.is_due()
            || (self.places.has_work() && self.placed.elapsed() >= LONG)
            || !self.behind.is_empty()
            || self.has_dropped
            || self.has_dead
            || self.has_room()
            || self.has_old_once
    }

    fn has_room(&self) -> bool {
        self.room.may_be() || (self.room == Room::Spare && self.rests())
    }

    /// Whether no messages come.
    fn rests(&self) -> bool {
        self.came.elapsed() >= REST
    }

    /// Does a little of it. `last` is the last message that is committed.
    pub(super) fn step(
        &mut self,
        conn: &Connection,
        last: i64,
        out: &mut Vec<u8>,
    ) -> rusqlite::Result<()> {
        if self.places.is_due() || (self.places.has_work() && self.placed.elapsed() >= LONG) {
            return self.place(conn, last, out);
        }
        if let Some(entry) = self.behind.pop_front() {
            self.doing = Doing::Deleting(Arc::clone(&entry));
            return self.delete(conn, entry, out);
        }
        if self.has_dropped {
            return self.delete_dropped(conn);
        }
        if self.has_dead {
            self.doing = Doing::DeletingDead;
            self.has_dead = delete_dead(conn)?;
            self.room.grows();
            return Ok(());
        }
        if self.has_old_once {
            self.doing = Doing::ForgettingOnce;
            return self.delete_once(conn);
        }
        if self.has_room() {
            self.doing = Doing::GivingBack;
            return self.give_back(conn);
        }
        Ok(())
    }

    /// What was done last came upon a damaged page: leaves it at that, and says which topics are
    /// touched. `None` where it cannot be told.
    pub(super) fn give_up(
        &mut self,
        conn: &Connection,
        out: &mut Vec<u8>,
    ) -> rusqlite::Result<Option<Vec<Arc<Entry>>>> {
        Ok(match std::mem::take(&mut self.doing) {
            Doing::Placing => {
                let damaged = self.places.damaged(conn, out)?;
                // Each alone may go where all together came upon the page: they are placed now, and again
                // in the next step, which changes no page's size.
                self.stumbles += u32::from(damaged.is_empty());
                (!damaged.is_empty() || self.stumbles == 1).then_some(damaged)
            }
            Doing::Deleting(entry) => Some(vec![entry]),
            Doing::DeletingLife(id) => {
                conn.prepare_cached("DELETE FROM dropped WHERE topic = ?1")?
                    .execute([id])?;
                Some(Vec::new())
            }
            Doing::DeletingDead => {
                self.has_dead = false;
                Some(Vec::new())
            }
            Doing::ForgettingOnce => {
                self.has_old_once = false;
                Some(Vec::new())
            }
            Doing::GivingBack => {
                self.room = Room::Damaged;
                Some(Vec::new())
            }
        })
    }

    /// Places all there is.
    pub(super) fn place_all(
        &mut self,
        conn: &Connection,
        last: i64,
        out: &mut Vec<u8>,
    ) -> rusqlite::Result<()> {
        while self.places.has_work() {
            self.place(conn, last, out)?;
        }
        Ok(())
    }

    fn place(&mut self, conn: &Connection, last: i64, out: &mut Vec<u8>) -> rusqlite::Result<()> {
        self.doing = Doing::Placing;
        let behind = self.places.step(conn, last, out)?;
        self.stumbles = 0;
        self.behind.extend(behind);
        self.has_dead = true;
        if !self.places.has_work() {
            self.placed = Instant::now();
        }
        Ok(())
    }

    fn delete(
        &mut self,
        conn: &Connection,
        entry: Arc<Entry>,
        out: &mut Vec<u8>,
    ) -> rusqlite::Result<()> {
        if delete_dropped(conn, &entry, out)? {
            self.has_dead = true;
            self.behind.push_back(entry);
        } else {
            let mut kept = entry.lock();
            let state = kept.committed;
            kept.first_there = Some((state.id, state.floor()));
        }
        Ok(())
    }

    fn delete_dropped(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let id: Option<i64> = conn
            .prepare_cached("SELECT min(topic) FROM dropped")?
            .query_row([], |row| row.get(0))?;
        let Some(id) = id else {
            self.has_dropped = false;
            return Ok(());
        };
        self.doing = Doing::DeletingLife(id);
        if delete_life(conn, id)? {
            self.has_dead = true;
            return Ok(());
        }
        conn.prepare_cached("DELETE FROM dropped WHERE topic = ?1")?
            .execute([id])
            .map(|_| ())
    }

    fn delete_once(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        // They stand in the order in which they came; times go back by little, if at all.
        let deleted = conn
            .prepare_cached(
                "DELETE FROM once
                 WHERE seq IN (SELECT seq FROM once ORDER BY seq LIMIT ?2) AND time < ?1",
            )?
            .execute(params![self.once_until.0.cast_signed(), ONCE])?;
        self.has_old_once = deleted as i64 == ONCE;
        Ok(())
    }

    /// Gives pages back to the file system once a good part of the file is free.
    fn give_back(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let count = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let (free, all) = (count("freelist_count")?, count("page_count")?);
        let rests = self.rests();
        let kept = if rests { PAGES } else { SPARE };
        if free <= kept.max(all / 8) {
            // The file is cut only where the log is carried over.
            if self.room == Room::Given {
                conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
            }
            self.room = if rests { Room::None } else { Room::Spare };
        } else {
            self.room = Room::Given;
            let mut vacuum = conn.prepare_cached(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
            let mut rows = vacuum.query([])?;
            while rows.next()?.is_some() {}
        }
        Ok(())
    }
}
