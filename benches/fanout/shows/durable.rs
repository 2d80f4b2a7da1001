//! What it costs that messages outlive the process and the machine: beside topics in memory, and beside the library
//! under the store, which does nothing but append groups of the same size and sync them.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use fanfare::bench::load::{Load, Outcome};
use rusqlite::Connection;
use tempfile::TempDir;

use super::asking::Asking;
use super::http::{self, CONNECTIONS};
use super::show::{Show, Target as Wanted};
use super::{Stretch, WARM_UP, each, metric, plan, ratios, rounds};
use crate::cores::{Core, on_core};
use crate::options::Options;
use crate::round;
use crate::scenario::ONE_TOPIC;
use crate::target::{Kind, Target};

/// The bytes of a message in the library alone: about what a record of the store has.
const RECORD: usize = 256;

/// By which door is published.
#[derive(Clone, Copy)]
enum Door {
    Http,
    WebSocket,
}

impl Door {
    fn publishing(
        self,
        options: &Options,
        target: &Target,
        name: &'static str,
    ) -> io::Result<(Stretch, Outcome)> {
        match self {
            Self::Http => http::publishing(options, target, name, "kept"),
            Self::WebSocket => http::publishing_by(options, target, (name, "kept"), Asking),
        }
    }
}

/// Publishes over HTTP to topics of durability `written`, beside the same in memory.
pub fn written(options: &Options) -> io::Result<Show> {
    let promise = Wanted::AtLeast(0.6);
    beside_memory(options, Door::Http, "written", Some(promise))
}

/// The same by frames that ask for an answer: less is done for each but what the store does.
pub fn written_by_frames(options: &Options) -> io::Result<Show> {
    beside_memory(options, Door::WebSocket, "written-frames", None)
}

/// Publishes over HTTP to topics of durability `synced`, beside the library alone.
pub fn synced(options: &Options) -> io::Result<Show> {
    beside_library(options, (Door::Http, Core::Server), "synced", None)
}

/// The same by frames that ask for an answer.
pub fn synced_by_frames(options: &Options) -> io::Result<Show> {
    let by = (Door::WebSocket, Core::Server);
    beside_library(options, by, "synced-frames", None)
}

/// The same, and the store's thread need not wait for the worker's core.
pub fn synced_on_both_cores(options: &Options) -> io::Result<Show> {
    let promise = Wanted::AtLeast(0.5);
    let by = (Door::WebSocket, Core::Both);
    beside_library(options, by, "synced-spread", Some(promise))
}

fn beside_memory(
    options: &Options,
    door: Door,
    name: &'static str,
    promise: Option<Wanted>,
) -> io::Result<Show> {
    let mut show = Show::new(name);
    let both = rounds(options, 2, |which| {
        let durability = ["memory", "written"][which];
        let directory = directory()?;
        let target = Target::start(&disk(&directory, durability, Core::Server), CONNECTIONS)?;
        let (stretch, outcome) = door.publishing(options, &target, name)?;
        show.outcome(&outcome);
        Ok(stretch)
    })?;
    let [memory, written] = [0, 1].map(|which| each(&both[which], answers));
    show.figure("memory: acknowledged a second", &memory, "");
    show.figure("written: acknowledged a second", &written, "");
    let what = "acknowledged a second, written to memory";
    show.ratio(what, &ratios(&written, &memory), promise);
    Ok(show)
}

fn beside_library(
    options: &Options,
    (door, core): (Door, Core),
    name: &'static str,
    promise: Option<Wanted>,
) -> io::Result<Show> {
    let mut show = Show::new(name);
    // Of the last round of the broker.
    let group = Cell::new(16.0_f64);
    let both = rounds(options, 2, |which| {
        if which == 1 {
            let alone = || library(group.get(), options.time());
            return Ok((on_core(Core::Server, alone)?, group.get()));
        }
        let directory = directory()?;
        let target = Target::start(&disk(&directory, "synced", core), CONNECTIONS)?;
        let (stretch, outcome) = door.publishing(options, &target, name)?;
        let syncs = metric(&target, "fanfare_store_sync_seconds_count")?;
        let published = metric(&target, "fanfare_messages_published_total")?;
        show.outcome(&outcome);
        group.set((published / syncs.max(1.0)).max(1.0));
        Ok((answers(&stretch), group.get()))
    })?;
    let [broker, library] = [0, 1].map(|which| each(&both[which], |(rate, _)| *rate));
    show.figure("acknowledged a second", &broker, "");
    let groups = each(&both[0], |(_, group)| *group);
    show.figure("messages in a group", &groups, "");
    show.figure("the library alone: messages a second", &library, "");
    let what = "messages a second, broker to library";
    show.ratio(what, &ratios(&broker, &library), promise);
    Ok(show)
}

/// Fan-out of topics that keep nothing, of a broker with a store on disk beside one without.
pub fn live(options: &Options) -> io::Result<Show> {
    let mut show = Show::new("live-beside-disk");
    let both = rounds(options, 2, |which| {
        let directory = directory()?;
        let kind = if which == 0 {
            Kind::Broker
        } else {
            disk(&directory, "written", Core::Server)
        };
        let sessions = ONE_TOPIC.topics * ONE_TOPIC.subscribers + 1;
        let target = Target::start(&kind, sessions)?;
        let mut load = Load::open(
            round::dialect(&target, &ONE_TOPIC),
            plan(&target, &ONE_TOPIC),
        )?;
        load.run_for(WARM_UP)?;
        let stretch = Stretch::of(&target, &mut load, options.time())?;
        show.outcome(&load.finish()?);
        Ok(stretch)
    })?;
    let [without, with] = [0, 1].map(|which| each(&both[which], Stretch::rate));
    show.promise(
        "deliveries a second, with a store on disk to without",
        &ratios(&with, &without),
        "",
        Wanted::AtLeast(0.98),
    );
    let [without, with] = [0, 1].map(|which| each(&both[which], Stretch::cost));
    show.figure(
        "deliveries for a second of CPU, likewise",
        &ratios(&without, &with),
        "",
    );
    Ok(show)
}

fn answers(stretch: &Stretch) -> f64 {
    stretch.tally.answers.total() as f64 / stretch.seconds()
}

/// A place for a store, which goes with it: after the broker, which is killed at the end of its round.
fn directory() -> io::Result<TempDir> {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
}

/// A broker whose topics below `kept` are that durable, in that directory.
fn disk(directory: &TempDir, durability: &str, core: Core) -> Kind {
    let text = format!(
        r#"
store = {{ kind = "disk", path = "{}" }}
[[topic]]
filter = "kept/#"
history = {{ messages = 1000 }}
durability = "{durability}"
"#,
        directory.path().display()
    );
    Kind::Configured { text, core }
}

/// Messages a second that the library appends and syncs, in groups of that size.
fn library(group: f64, time: Duration) -> io::Result<f64> {
    let directory = directory()?;
    let run = || -> rusqlite::Result<f64> {
        let conn = Connection::open(directory.path().join("alone.db"))?;
        conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.execute_batch(
            "CREATE TABLE message(seq INTEGER PRIMARY KEY, topic INTEGER, offset INTEGER, body BLOB)",
        )?;
        let body = vec![7_u8; RECORD];
        let (start, mut messages, mut owed) = (Instant::now(), 0_u64, 0.0);
        while start.elapsed() < time {
            owed += group;
            conn.execute_batch("BEGIN IMMEDIATE")?;
            let mut insert = conn
                .prepare_cached("INSERT INTO message(topic, offset, body) VALUES (?1, ?2, ?3)")?;
            while owed >= 1.0 {
                owed -= 1.0;
                messages += 1;
                let number = messages.cast_signed();
                insert.execute(rusqlite::params![number % 64, number / 64, body])?;
            }
            drop(insert);
            conn.execute_batch("COMMIT")?;
        }
        Ok(messages as f64 / start.elapsed().as_secs_f64())
    };
    run().map_err(io::Error::other)
}
