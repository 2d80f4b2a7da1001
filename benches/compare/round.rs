//! One round of one server: sessions, a stretch of load, and how many messages came.

use std::io;
use std::time::Duration;

use fanfare::bench::dialect::Dialect;
use fanfare::bench::fanfare::Fanfare;
use fanfare::bench::load::{Load, Outcome, Plan};
use fanfare::bench::message;

use crate::dialects::{Mqtt, Nats, Nchan, Pusher};
use crate::server::{Place, Running, Server};

/// The load runs for so long before anything counts.
const WARM_UP: Duration = Duration::from_millis(300);
/// How long a server may keep still while it owes messages, before they count as lost.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long it may take to come to rest once all sessions are there.
const SETTLE: Duration = Duration::from_secs(1);

/// A column of the table: sessions, topics and messages.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// How it is called on the command line.
    pub name: &'static str,
    /// What stands above it.
    pub title: &'static str,
    topics: usize,
    subscribers: usize,
    payload: usize,
    outstanding: usize,
}

/// What is measured, as the yardstick has it.
pub const COLUMNS: [Column; 5] = [
    Column {
        name: "1x1000-w1",
        title: "1 topic × 1000 sessions, W=1",
        topics: 1,
        subscribers: 1000,
        payload: 128,
        outstanding: 1,
    },
    Column {
        name: "1x1000-w16",
        title: "W=16",
        topics: 1,
        subscribers: 1000,
        payload: 128,
        outstanding: 16,
    },
    Column {
        name: "1x1000-w256",
        title: "W=256",
        topics: 1,
        subscribers: 1000,
        payload: 128,
        outstanding: 256,
    },
    Column {
        name: "1000x10",
        title: "1000 topics × 10",
        topics: 1000,
        subscribers: 10,
        payload: 128,
        outstanding: 64,
    },
    Column {
        name: "16k",
        title: "16 KiB",
        topics: 1,
        subscribers: 1000,
        payload: 16 * 1024,
        outstanding: 4,
    },
];

/// What a round showed.
pub struct Round {
    /// Deliveries in a second.
    pub rate: f64,
    /// How it ended.
    pub outcome: Outcome,
}

/// Measures one server once.
pub fn run(
    place: &Place,
    server: Server,
    column: &Column,
    envelope: usize,
    seconds: f64,
) -> io::Result<Round> {
    let running = place.start(server, envelope, column.topics * column.subscribers)?;
    let publishers = match server {
        // A WebSocket for each channel that is published to.
        Server::Nchan => column.topics,
        _ => 1,
    };
    let plan = plan(&running, column, publishers);
    let time = Duration::from_secs_f64(seconds);
    let payload = column.payload;
    match server {
        Server::Bare | Server::Fanfare | Server::Uws | Server::Ws => {
            let host = running.address.to_string();
            load(Fanfare::new(host, "/ws".into(), payload), plan, time)
        }
        Server::Nchan => load(Nchan { payload }, plan, time),
        Server::Nats => load(Nats { payload }, plan, time),
        Server::Mosquitto => load(Mqtt { payload }, plan, time),
        Server::Sockudo => load(pusher(&plan), plan, time),
    }
}

fn load<D: Dialect>(dialect: D, plan: Plan, time: Duration) -> io::Result<Round> {
    let mut load = Load::open(dialect, plan)?;
    load.run_for(WARM_UP)?;
    let tally = load.run_for(time)?;
    let outcome = load.finish()?;
    Ok(Round {
        rate: tally.deliveries as f64 / tally.time.as_secs_f64(),
        outcome,
    })
}

/// The memory in bytes that each of so many idle subscribed sessions takes of a server.
pub fn idle(place: &Place, server: Server, sessions: usize) -> io::Result<f64> {
    let column = Column {
        subscribers: sessions,
        ..COLUMNS[0]
    };
    let running = place.start(server, 0, sessions)?;
    let plan = plan(&running, &column, 0);
    let payload = column.payload;
    match server {
        Server::Bare | Server::Fanfare | Server::Uws | Server::Ws => {
            let host = running.address.to_string();
            rest(Fanfare::new(host, "/ws".into(), payload), plan, &running)
        }
        Server::Nchan => rest(Nchan { payload }, plan, &running),
        Server::Nats => rest(Nats { payload }, plan, &running),
        Server::Mosquitto => rest(Mqtt { payload }, plan, &running),
        Server::Sockudo => rest(pusher(&plan), plan, &running),
    }
}

fn rest<D: Dialect>(dialect: D, plan: Plan, running: &Running) -> io::Result<f64> {
    let sessions = plan.subscribers as f64;
    let before = running.memory();
    let mut load = Load::open(dialect, plan)?;
    load.listen_for(SETTLE)?;
    let grown = running.memory().zip(before);
    let (after, before) = grown.ok_or_else(|| io::Error::other("it has ended"))?;
    Ok((after - before) / sessions)
}

fn plan(running: &Running, column: &Column, publishers: usize) -> Plan {
    Plan {
        address: running.address,
        publish_at: None,
        prefix: "bench".into(),
        topics: column.topics,
        subscribers: column.subscribers,
        publishers,
        payload: column.payload,
        outstanding: column.outstanding,
        rate: None,
        is_answered: false,
        at_once: 128,
        patience: PATIENCE,
    }
}

fn pusher(plan: &Plan) -> Pusher {
    let topics = (0..plan.topics).map(|number| message::topic(&plan.prefix, number));
    Pusher {
        payload: plan.payload,
        topics: topics.collect(),
    }
}
