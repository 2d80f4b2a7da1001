//! What the heartbeats of many idle sessions cost, beside a bare loop that sends the same pings and reads the same
//! pongs; and what each of these sessions takes of the broker's memory.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use fanfare::bench::dialect::{Dialect, Message, Notice, Opening, Role, Sink};
use fanfare::bench::fanfare::Fanfare;
use fanfare::bench::load::{Load, Outcome, Plan};

use super::show::{Show, Target as Wanted};
use super::{cpu, each, memory, plan, ratios, rounds};
use crate::options::Options;
use crate::round;
use crate::scenario::{IDLE_TARGET, ONE_TOPIC, Scenario};
use crate::target::{Kind, Target};

/// How many intervals the sessions are there before anything counts, and while it does.
const BEFORE: f64 = 1.0;
const COUNTED: f64 = 4.0;

/// Fanfare, with its pings counted.
struct Pinged {
    inner: Fanfare,
    pings: Rc<Cell<u64>>,
}

/// What one round showed.
struct Beats {
    /// The server's CPU time for each ping and its pong, in microseconds.
    cost: f64,
    pings: f64,
    /// Bytes of the server for each session.
    memory: f64,
}

/// Measures the bare loop and the broker in turn.
pub fn measure(options: &Options) -> io::Result<Show> {
    let interval = Duration::from_secs_f64(options.heartbeat);
    let scenario = Scenario {
        name: "heartbeat",
        subscribers: options.sessions(),
        ..ONE_TOPIC
    };
    let millis = interval.as_millis();
    let bare = Kind::Own(vec!["pinging".into(), millis.to_string()]);
    // As the defaults have it, an answer may take two fifths of the interval.
    let broker = Kind::Set(vec![
        format!("heartbeat.interval={millis}ms"),
        format!("heartbeat.timeout={}ms", millis * 2 / 5),
    ]);
    let mut show = Show::new(scenario.name);
    let both = rounds(options, 2, |which| {
        let kind = if which == 0 { &bare } else { &broker };
        let (beats, outcome) = round(kind, &scenario, interval)?;
        show.outcome(&outcome);
        Ok(beats)
    })?;
    for (which, what) in [(0, "bare loop"), (1, "broker")] {
        let pings = each(&both[which], |beats| beats.pings);
        show.figure(format!("{what}: pings that were answered"), &pings, "");
        let cost = each(&both[which], |beats| beats.cost);
        show.figure(format!("{what}: CPU for a ping and its pong"), &cost, "µs");
    }
    let costs = [1, 0].map(|which| each(&both[which], |beats| beats.cost));
    show.promise(
        "CPU for a ping and its pong, broker to bare loop",
        &ratios(&costs[0], &costs[1]),
        "",
        Wanted::AtMost(1.5),
    );
    let memory = each(&both[1], |beats| beats.memory / 1024.0);
    show.promise(
        format!(
            "broker: memory of each of {} sessions",
            scenario.subscribers
        ),
        &memory,
        "KB",
        Wanted::AtMost(IDLE_TARGET / 1024.0),
    );
    Ok(show)
}

fn round(kind: &Kind, scenario: &Scenario, interval: Duration) -> io::Result<(Beats, Outcome)> {
    let target = Target::start(kind, scenario.subscribers)?;
    let before = memory(&target)?;
    let pings = Rc::new(Cell::new(0));
    let dialect = Pinged {
        inner: round::dialect(&target, scenario),
        pings: Rc::clone(&pings),
    };
    let plan = Plan {
        publishers: 0,
        ..plan(&target, scenario)
    };
    let mut load = Load::open(dialect, plan)?;
    load.listen_for(interval.mul_f64(BEFORE))?;
    let (cpu_before, pings_before) = (cpu(&target)?, pings.get());
    load.listen_for(interval.mul_f64(COUNTED))?;
    let took = cpu(&target)? - cpu_before;
    let answered = (pings.get() - pings_before) as f64;
    // Each is pinged once in three quarters to a whole of the interval.
    if answered < scenario.subscribers as f64 * (COUNTED - 1.0) {
        return Err(io::Error::other(format!("only {answered} pings came")));
    }
    let grown = memory(&target)? - before;
    let beats = Beats {
        cost: took * 1e6 / answered,
        pings: answered,
        memory: grown / scenario.subscribers as f64,
    };
    Ok((beats, load.finish()?))
}

/// Passes everything on, and counts what is to be answered.
struct Counting<'a, S> {
    sink: &'a mut S,
    pings: &'a Cell<u64>,
}

impl<S: Sink> Sink for Counting<'_, S> {
    fn message(&mut self, message: Message<'_>) {
        self.sink.message(message);
    }

    fn notice(&mut self, notice: Notice<'_>) {
        if matches!(notice, Notice::Answer(_)) {
            self.pings.set(self.pings.get() + 1);
        }
        self.sink.notice(notice);
    }
}

impl Dialect for Pinged {
    type Carry = usize;

    fn request(&self, opening: Opening<'_>) -> Vec<u8> {
        self.inner.request(opening)
    }

    fn is_open(&self, role: Role, head: &str) -> bool {
        self.inner.is_open(role, head)
    }

    fn begin(&self, opening: Opening<'_>, out: &mut Vec<u8>) -> bool {
        self.inner.begin(opening, out)
    }

    fn put_publish(&self, out: &mut Vec<u8>, topic: &str, data: &[u8]) {
        self.inner.put_publish(out, topic, data);
    }

    fn read(
        &self,
        hint: &mut usize,
        role: Role,
        bytes: &[u8],
        sink: &mut impl Sink,
    ) -> Result<usize, &'static str> {
        let mut counting = Counting {
            sink,
            pings: &self.pings,
        };
        self.inner.read(hint, role, bytes, &mut counting)
    }
}
