//! What a store finds of the one that it goes on from, and whether that can be relied on.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::apply::{delete_kept, write_row};
use super::catalog::{Catalog, Entry, Kept};
use super::figures::Figures;
use super::record::{read_message, read_once, read_retained, read_topic};
use super::state::{Mark, State};
use super::watermark::Watermark;
use super::{Settings, schema, standing};
use crate::history::Remembered;
use crate::history::ceiling::Ceiling;
use crate::history::memory::Random;
use crate::history::slot::Slot;
use crate::metrics::StoreMetrics;
use crate::model::{Durability, Epoch, Message, Timestamp, TopicName};

/// What was found.
pub(super) struct Found {
    pub(super) catalog: Catalog,
    /// Of what went with a whole topic before this time, nothing is known.
    pub(super) known_from: Timestamp,
    /// The same of topics that were only written.
    pub(super) written_from: Timestamp,
    pub(super) once: Vec<Remembered>,
    pub(super) figures: Figures,
    /// The number that the next message gets.
    pub(super) next: i64,
    /// Messages of no topic.
    pub(super) dead: Vec<i64>,
}

/// What it takes to look.
pub(super) struct Load<'a> {
    pub(super) random: &'a Random,
    pub(super) ceiling: &'a Arc<Ceiling>,
    pub(super) now: Timestamp,
    pub(super) metrics: Option<StoreMetrics>,
}

/// A topic as it was left.
struct Topic {
    name: TopicName,
    durability: Durability,
    state: State,
    tail: Vec<(u64, i64)>,
}

/// What was lost since the store was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lost {
    Nothing,
    /// What had not reached the disk may be.
    Unsynced,
    /// Anything may be.
    Anything,
}

impl Load<'_> {
    /// Looks, and says on the disk that from now on it may be changed.
    pub(super) fn run(
        &self,
        conn: &Connection,
        settings: &Settings,
        watermark: &mut Watermark,
    ) -> rusqlite::Result<Found> {
        Looking { load: self, conn }.run(settings, watermark)
    }
}

/// The same with a connection.
struct Looking<'a> {
    load: &'a Load<'a>,
    conn: &'a Connection,
}

impl Looking<'_> {
    fn run(&self, settings: &Settings, watermark: &mut Watermark) -> rusqlite::Result<Found> {
        let conn = self.conn;
        let figures = Figures::new(self.load.metrics.clone());
        schema::set_synced(conn, true)?;
        // What a process left in the log that was killed while syncs failed may never reach the disk:
        // what is synced from now on does not stand on that.
        schema::carry_over(conn)?;
        let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
        let boot = boot();
        let is_new = schema::meta(conn, "created")?.is_none();
        let is_same_boot = boot.is_some() && schema::meta(conn, "boot")? == boot;
        let is_clean = schema::meta(conn, "clean")?.as_deref() == Some("1");
        let mut known_from = self.load.now;
        if is_new {
            schema::set_meta(conn, "created", &self.load.now.0.to_string())?;
        } else {
            known_from = Timestamp(self.number("known_from")?.unwrap_or(self.load.now.0));
        }
        let mut written_from = Timestamp(self.number("written_from")?.unwrap_or(0));
        let (mut topics, nameless) = self.topics(&figures)?;
        let is_topic_lost = figures.all_damaged() > 0;
        let (dead, is_tail_whole) = self.tails(&mut topics, &nameless)?;
        let last = last(conn)?;
        // The watermark itself is never synced: to another boot it tells of what it knew to be there for
        // good, an earlier one perhaps, and of no more.
        let reached = watermark.reached();
        let expected = if is_same_boot {
            reached.last
        } else {
            reached.synced
        };
        let mut lost = Lost::Nothing;
        if !is_new && !is_clean && !is_same_boot {
            lost = Lost::Unsynced;
            tracing::warn!("the machine stopped without notice: what was only written may be lost");
        }
        if standing::is_copy(conn)? {
            lost = Lost::Anything;
            standing::is_used(conn)?;
            tracing::warn!(
                "the store is a copy of one that went on: its topics begin other epochs"
            );
        }
        if last < expected {
            lost = Lost::Anything;
            let messages = expected.abs_diff(last);
            tracing::error!(messages, "the store is damaged: its last messages are lost");
            figures.damaged(messages);
        }
        if !is_tail_whole {
            lost = Lost::Anything;
            tracing::error!("the store is damaged: some of its last messages are lost");
            figures.damaged(1);
        }
        if lost > Lost::Unsynced || is_topic_lost {
            known_from = self.load.now;
        }
        if lost >= Lost::Unsynced {
            written_from = self.load.now;
        }
        schema::set_meta(conn, "known_from", &known_from.0.to_string())?;
        schema::set_meta(conn, "written_from", &written_from.0.to_string())?;
        schema::set_meta(conn, "clean", "0")?;
        schema::set_meta(conn, "boot", boot.as_deref().unwrap_or_default())?;
        let catalog = Catalog::new(self.first_free(topics.keys().copied().max())?);
        let mut out = Vec::new();
        for (_, mut topic) in topics {
            if lost == Lost::Anything
                || (lost == Lost::Unsynced && topic.durability < Durability::Synced)
            {
                topic.state.epoch = Epoch::from_random((self.load.random)());
                topic.state.lost_before = topic.state.lost_before.max(self.load.now);
                write_row(conn, &topic.name, topic.durability, &topic.state, &mut out)?;
            }
            let entry = catalog.insert(self.entry(topic, &figures)?);
            // What is too many goes when others come to it.
            let _ = catalog.closed(&entry);
        }
        let once = self.once(settings)?;
        // Before the store says that it is of this boot: what was lost with the one before is not to be
        // missed again by the next start, should this process end before anything is written.
        watermark.stand(last);
        transaction.commit()?;
        schema::set_synced(conn, false)?;
        Ok(Found {
            catalog,
            known_from,
            written_from,
            once,
            figures,
            next: last.max(expected) + 1,
            dead,
        })
    }

    fn number(&self, key: &str) -> rusqlite::Result<Option<u64>> {
        let text = schema::meta(self.conn, key)?;
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// All that is known of topics, by their number, and the numbers of those of which nothing is: what
    /// they kept stays on the disk, and nobody finds it.
    fn topics(&self, figures: &Figures) -> rusqlite::Result<(HashMap<i64, Topic>, HashSet<i64>)> {
        let mut select = self
            .conn
            .prepare("SELECT id, body FROM topic ORDER BY id")?;
        let mut rows = select.query([])?;
        let mut topics: HashMap<i64, Topic> = HashMap::new();
        let mut nameless = HashSet::new();
        while let Some(row) = rows.next()? {
            let id = row.get(0)?;
            let body = row.get_ref(1)?.as_blob().unwrap_or_default();
            if let Ok((name, durability, state)) = read_topic(id, body) {
                let tail = Vec::new();
                let topic = Topic {
                    name,
                    durability,
                    state,
                    tail,
                };
                topics.insert(id, topic);
            } else {
                tracing::error!(
                    id,
                    "the store is damaged: a topic's record is set aside; `fanfare store export --aside` \
                     writes out its messages"
                );
                figures.damaged(1);
                nameless.insert(id);
            }
        }
        for id in &nameless {
            self.conn
                .prepare_cached("DELETE FROM topic WHERE id = ?1")?
                .execute([id])?;
        }
        Ok((topics, nameless))
    }

    /// Adds to the topics the messages that have not been placed. Those of no topic, and whether all are
    /// whole.
    fn tails(
        &self,
        topics: &mut HashMap<i64, Topic>,
        nameless: &HashSet<i64>,
    ) -> rusqlite::Result<(Vec<i64>, bool)> {
        let placed = schema::meta(self.conn, "placed")?;
        let placed: i64 = placed.and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut select = self.conn.prepare(
            "SELECT seq, topic, offset, time, before, body FROM message WHERE seq > ?1 ORDER BY seq",
        )?;
        let mut rows = select.query([placed])?;
        let mut dead = Vec::new();
        let mut is_whole = true;
        while let Some(row) = rows.next()? {
            let seq: i64 = row.get(0)?;
            let number = |index: usize| row.get::<_, i64>(index).unwrap_or(0);
            let mark = Mark {
                offset: number(2).cast_unsigned(),
                time: Timestamp(number(3).cast_unsigned()),
                before: number(4).cast_unsigned(),
            };
            let id = number(1);
            let Some(topic) = topics.get_mut(&id) else {
                if nameless.contains(&id) {
                    // No round of placing comes to them.
                    self.conn
                        .prepare_cached(
                            "INSERT OR REPLACE INTO place(topic, offset, seq) VALUES (?1, ?2, ?3)",
                        )?
                        .execute(params![id, number(2), seq])?;
                } else {
                    dead.push(seq);
                }
                continue;
            };
            let state = &mut topic.state;
            let body = row.get_ref(5)?.as_blob().unwrap_or_default();
            let Ok(message) = read_message((state.id, state.epoch), mark, &topic.name, body) else {
                is_whole = false;
                dead.push(seq);
                continue;
            };
            // A round of placing may have come this far.
            if mark.offset > state.newest {
                if state.len() == 0 {
                    state.start = mark;
                }
                state.newest = mark.offset;
                state.time = mark.time;
                state.weight = mark.before + message.weight() as u64;
            }
            topic.tail.push((mark.offset, seq));
        }
        Ok((dead, is_whole))
    }

    /// The first number that no topic has had.
    fn first_free(&self, last: Option<i64>) -> rusqlite::Result<i64> {
        let mut last = last.unwrap_or(0);
        for select in [
            "SELECT max(id) FROM topic",
            "SELECT max(topic) FROM place",
            "SELECT max(topic) FROM dropped",
            "SELECT max(topic) FROM retained",
        ] {
            let most: Option<i64> = self.conn.query_row(select, [], |row| row.get(0))?;
            last = last.max(most.unwrap_or(0));
        }
        Ok(last + 1)
    }

    fn entry(&self, topic: Topic, figures: &Figures) -> rusqlite::Result<Entry> {
        let Topic {
            name,
            durability,
            state,
            tail,
        } = topic;
        let mut slot = Slot::new(self.load.ceiling);
        if let Some(message) = self.retained(&name, &state, figures)? {
            let room = slot.room_at_any_rate(message.weight());
            slot.put(Arc::new(message), room);
        }
        let mut kept = Kept::new(state, durability, slot);
        kept.tail = tail.into();
        kept.has_row = true;
        Ok(Entry::new(name, kept))
    }

    fn retained(
        &self,
        topic: &TopicName,
        state: &State,
        figures: &Figures,
    ) -> rusqlite::Result<Option<Message>> {
        let mut select = self
            .conn
            .prepare_cached("SELECT body FROM retained WHERE topic = ?1")?;
        let mut rows = select.query([state.id])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        let body = row.get_ref(0)?.as_blob().unwrap_or_default();
        let message = read_retained(state.id, topic, body);
        if message.is_err() {
            tracing::error!(%topic, "the store is damaged: the retained message is set aside");
            figures.damaged(1);
            delete_kept(self.conn, state.id)?;
        }
        Ok(message.ok())
    }

    fn once(&self, settings: &Settings) -> rusqlite::Result<Vec<Remembered>> {
        let window = u64::try_from(settings.window.as_millis()).unwrap_or(u64::MAX);
        let from = self.load.now.0.saturating_sub(window);
        let mut select = self
            .conn
            .prepare("SELECT time, body FROM once ORDER BY seq DESC LIMIT ?1")?;
        let most = i64::try_from(settings.most_once).unwrap_or(i64::MAX);
        let mut rows = select.query([most])?;
        let mut once = Vec::new();
        while let Some(row) = rows.next()? {
            let time = Timestamp(row.get::<_, i64>(0)?.cast_unsigned());
            if time.0 >= from {
                let body = row.get_ref(1)?.as_blob().unwrap_or_default();
                once.extend(read_once(time, body).ok());
            }
        }
        once.reverse();
        Ok(once)
    }
}

/// The number of the last message that was committed.
pub(super) fn last(conn: &Connection) -> rusqlite::Result<i64> {
    let most: Option<i64> = conn.query_row("SELECT max(seq) FROM message", [], |row| row.get(0))?;
    let said = schema::meta(conn, "last")?.and_then(|text| text.parse().ok());
    Ok(most.unwrap_or(0).max(said.unwrap_or(0)))
}

/// What tells one start of the machine from another, where the system says it.
pub(super) fn boot() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(boot.trim().to_owned())
}
