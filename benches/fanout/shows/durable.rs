//! What it costs that messages outlive the process and the machine: beside topics in memory, and beside the library
//! under the store, which does nothing but append groups of the same size and sync them.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use fanfare::bench::load::Load;
use rusqlite::Connection;
use tempfile::TempDir;

use super::http::{CONNECTIONS, publishing};
use super::show::{Show, Target as Wanted};
use super::{Stretch, WARM_UP, each, metric, plan, ratios, rounds};
use crate::cores::{Core, on_core};
use crate::options::Options;
use crate::round;
use crate::scenario::ONE_TOPIC;
use crate::target::{Kind, Target};

/// The bytes of a message in the library alone: about what a record of the store has.
const RECORD: usize = 256;

/// Publishes to topics of durability `written`, beside the same in memory.
pub fn written(options: &Options) -> io::Result<Show> {
    let mut show = Show::new("written");
    let both = rounds(options, 2, |which| {
        let durability = ["memory", "written"][which];
        let directory = directory()?;
        let target = Target::start(&disk(&directory, durability), CONNECTIONS)?;
        let (stretch, outcome) = publishing(options, &target, "written", "kept")?;
        show.outcome(&outcome);
        Ok(stretch)
    })?;
    let [memory, written] = [0, 1].map(|which| each(&both[which], answers));
    show.figure("memory: acknowledged a second", &memory, "");
    show.figure("written: acknowledged a second", &written, "");
    show.promise(
        "acknowledged a second, written to memory",
        &ratios(&written, &memory),
        "",
        Wanted::AtLeast(0.6),
    );
    Ok(show)
}

/// Publishes to topics of durability `synced`, beside the library alone.
pub fn synced(options: &Options) -> io::Result<Show> {
    let mut show = Show::new("synced");
    // Of the last round of the broker.
    let group = Cell::new(16.0_f64);
    let both = rounds(options, 2, |which| {
        if which == 1 {
            let alone = || library(group.get(), options.time());
            return Ok((on_core(Core::Server, alone)?, group.get()));
        }
        let directory = directory()?;
        let target = Target::start(&disk(&directory, "synced"), CONNECTIONS)?;
        let (stretch, outcome) = publishing(options, &target, "synced", "kept")?;
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
    show.promise(
        "messages a second, broker to library",
        &ratios(&broker, &library),
        "",
        Wanted::AtLeast(0.5),
    );
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
            disk(&directory, "written")
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
fn disk(directory: &TempDir, durability: &str) -> Kind {
    Kind::Configured(format!(
        r#"
store = {{ kind = "disk", path = "{}" }}
[[topic]]
filter = "kept/#"
history = {{ messages = 1000 }}
durability = "{durability}"
"#,
        directory.path().display()
    ))
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
