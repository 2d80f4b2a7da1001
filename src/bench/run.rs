//! A scenario, run against a broker that is there.

mod churn;
mod idle;
mod reconnect;
mod slow;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::connect;
use super::fanfare::{Fanfare, Publishing, Speech};
use super::load::{Load, Plan, Tally};
use super::measured::{Latency, Measured, Point};
use super::process;
use super::scenario::{Asked, Scenario, Shape};
use crate::auth::Secret;

/// The load runs for so long before anything counts.
const WARM_UP: Duration = Duration::from_millis(300);
/// Something is told this often.
const SLICE: Duration = Duration::from_millis(100);
/// How long a broker may keep still while it owes messages, before they count as lost.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where the broker is, and what is asked of it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where its WebSocket is.
    pub address: SocketAddr,
    /// Where its HTTP API is.
    pub api: SocketAddr,
    /// Host and port, as in a header.
    pub host: String,
    /// The path of the WebSocket, with its query if it has one.
    pub path: String,
    /// What goes before the paths of the HTTP API and of event streams.
    pub base: String,
    /// The credentials, if it needs any.
    pub token: Option<Secret>,
    /// What subscribers speak.
    pub speech: Speech,
    /// What of the scenarios' shapes was asked for.
    pub asked: Asked,
    /// How long each scenario is measured.
    pub time: Duration,
    /// What the topics' names begin with, if not with the scenario's own.
    pub prefix: Option<String>,
    /// How many sessions are being opened at a time at most.
    pub at_once: usize,
    /// The broker's process, where it runs on this machine and is known.
    pub pid: Option<u32>,
}

/// Who is told how far it is.
pub trait Watch {
    /// The sessions are being opened.
    fn is_opening(&mut self, sessions: usize);
    /// It has run for so long of the time that was asked for, and delivers so many messages a second.
    fn is_at(&mut self, run: Duration, deliveries_per_second: f64);
}

/// Runs a scenario.
///
/// # Errors
/// The broker cannot be reached, refuses what is needed, or the system lacks descriptors.
pub fn run(scenario: Scenario, settings: &Settings, watch: &mut dyn Watch) -> io::Result<Measured> {
    let shape = scenario.shape(settings.asked);
    watch.is_opening(shape.topics * shape.subscribers);
    let memory = (scenario == Scenario::Idle).then(|| settings.memory());
    let load = Load::open(
        settings.dialect(scenario, &shape),
        settings.plan(scenario, &shape),
    )?;
    let mut course = Course {
        settings,
        shape,
        watch,
        load,
        run: Duration::ZERO,
        total: Tally::default(),
        measured: Measured::new(scenario.name(), &shape),
    };
    course.measured.opening_us = Latency::of(&course.load.take_openings());
    match scenario {
        Scenario::FanOut | Scenario::ManyTopics | Scenario::PointToPoint | Scenario::Http => {
            course.load.run_for(WARM_UP)?;
            course.count(|course| course.run_for(course.settings.time))?;
        }
        Scenario::Idle => idle::run(&mut course, memory.flatten())?,
        Scenario::Churn => churn::run(&mut course)?,
        Scenario::SlowReaders => slow::run(&mut course)?,
        Scenario::Reconnect => reconnect::run(&mut course)?,
    }
    course.finish()
}

impl Settings {
    fn dialect(&self, scenario: Scenario, shape: &Shape) -> Fanfare {
        Fanfare {
            speech: self.speech,
            publishing: if scenario == Scenario::Http {
                Publishing::Http
            } else {
                Publishing::Frames
            },
            base: self.base.clone(),
            token: self.token.clone(),
            recovers: scenario.needs_history(),
            ..Fanfare::new(self.host.clone(), self.path.clone(), shape.size)
        }
    }

    fn plan(&self, scenario: Scenario, shape: &Shape) -> Plan {
        let is_http = scenario == Scenario::Http;
        Plan {
            address: self.address,
            publish_at: is_http.then_some(self.api),
            prefix: format!("{}/{}", self.prefix(scenario), scenario.name()),
            topics: shape.topics,
            subscribers: shape.subscribers,
            publishers: shape.publishers,
            payload: shape.size,
            outstanding: shape.outstanding,
            rate: shape.rate,
            is_answered: is_http,
            at_once: self.at_once,
            patience: PATIENCE,
        }
    }

    fn prefix(&self, scenario: Scenario) -> &str {
        // What a broker without a configuration keeps a history for.
        let own = if scenario.needs_history() {
            "demo/bench"
        } else {
            "bench"
        };
        self.prefix.as_deref().unwrap_or(own)
    }

    /// The memory in bytes that the broker has resident: by the kernel's word, or by its own.
    fn memory(&self) -> Option<f64> {
        if let Some(pid) = self.pid {
            return process::memory(pid);
        }
        let mut headers = String::new();
        if let Some(token) = &self.token {
            headers = format!("Authorization: Bearer {}\r\n", token.reveal());
        }
        let path = format!("{}/metrics", self.base);
        let (head, body) = connect::get(self.api, &path, &headers).ok()?;
        let body = String::from_utf8(body).ok()?;
        let line = body
            .lines()
            .find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
        line.filter(|_| connect::is_status(&head, "200"))?
            .trim()
            .parse()
            .ok()
    }
}

/// A scenario under way.
struct Course<'a> {
    settings: &'a Settings,
    shape: Shape,
    watch: &'a mut dyn Watch,
    load: Load<Fanfare>,
    /// How long it has run.
    run: Duration,
    total: Tally,
    measured: Measured,
}

impl Course<'_> {
    /// Does what is measured, and counts what it costs.
    fn count(&mut self, act: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        let server = |settings: &Settings| settings.pid.and_then(process::cpu);
        let (before, own_before) = (server(self.settings), process::own_cpu());
        let start = Instant::now();
        act(self)?;
        let seconds = start.elapsed().as_secs_f64();
        self.measured.load_cpu_share = (process::own_cpu() - own_before) / seconds;
        let took = server(self.settings).zip(before);
        let each = |(after, before): (f64, f64)| {
            (after - before) * 1e6 / self.total.deliveries.max(1) as f64
        };
        self.measured.server_cpu_us_per_delivery = took.map(each);
        Ok(())
    }

    /// Publishes and delivers for this long.
    fn run_for(&mut self, time: Duration) -> io::Result<()> {
        self.each_slice(time, |_| Ok(()))
    }

    /// The same, and does something before each of the slices of time that it takes.
    fn each_slice(
        &mut self,
        time: Duration,
        mut act: impl FnMut(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        let end = self.run + time;
        while self.run < end {
            act(self)?;
            self.slice(SLICE.min(end.saturating_sub(self.run)))?;
        }
        Ok(())
    }

    fn slice(&mut self, time: Duration) -> io::Result<Tally> {
        let tally = self.load.run_for(time)?;
        self.total.add(&tally);
        self.run += tally.time.max(Duration::from_micros(1));
        let rate = tally.deliveries as f64 / tally.time.as_secs_f64().max(1e-6);
        self.measured.timeline.push(Point {
            at: self.run.as_secs_f64(),
            deliveries_per_second: rate,
        });
        self.watch.is_at(self.run, rate);
        Ok(tally)
    }

    fn note(&mut self, note: String) {
        self.measured.notes.push(note);
    }

    fn finish(self) -> io::Result<Measured> {
        let Self {
            load,
            run,
            total,
            mut measured,
            ..
        } = self;
        let outcome = load.finish()?;
        measured.seconds = run.as_secs_f64();
        measured.published = total.published;
        measured.deliveries = total.deliveries;
        measured.deliveries_per_second = total.deliveries as f64 / measured.seconds.max(1e-6);
        measured.latency_us = Latency::of(&total.latency);
        measured.answer_us = Latency::of(&total.answers);
        measured.latencies = total
            .latency
            .filled()
            .map(|(nanos, count)| (nanos as f64 / 1e3, count))
            .collect();
        measured.faults = outcome.faults;
        measured.told = outcome.told;
        measured.complaint = outcome.complaint;
        Ok(measured)
    }
}
