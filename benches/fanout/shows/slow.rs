//! One reader of a thousand that reads nothing: what the others get meanwhile, what it takes of memory, and whether it
//! is told what it missed once it reads again.

use std::io;
use std::time::{Duration, Instant};

use fanfare::bench::dialect::{Dialect, Gap, Message, Notice, Opening, Role, Sink};
use fanfare::bench::fanfare::Fanfare;
use fanfare::bench::load::{Load, Outcome};

use super::show::{Show, Target as Wanted};
use super::{Stretch, WARM_UP, each, memory, metric, plan, ratios, rounds};
use crate::cores::Core;
use crate::options::Options;
use crate::round;
use crate::scenario::{ONE_TOPIC, Scenario};
use crate::target::{Kind, Target};

/// What the rule of the topics says, beside that of a round in which all read.
const POLICIES: [&str; 3] = ["disconnect", "drop_oldest", "conflate"];
/// `session.queue`, in bytes.
const QUEUE: f64 = 1_048_576.0;
/// How long it takes at most until the kernel's buffers and the queue are full.
const FILL: Duration = Duration::from_secs(20);
/// How long the reader may take to get what is there for it.
const CATCH_UP: Duration = Duration::from_secs(15);
/// The reader that stops.
const READER: usize = 0;

/// What one round showed.
struct Held {
    stretch: Stretch,
    /// The bytes in all queues, at the end of the stretch.
    queued: f64,
    /// By how many bytes the server had grown then since all was read.
    grown: f64,
    outcome: Outcome,
}

/// Measures a round in which all read, and one for each policy, in turn.
pub fn measure(options: &Options) -> io::Result<Show> {
    let scenario = Scenario {
        name: "slow-reader",
        payload: 16 * 1024,
        outstanding: 4,
        ..ONE_TOPIC
    };
    let mut show = Show::new(scenario.name);
    let all = rounds(options, 1 + POLICIES.len(), |which| {
        let policy = which.checked_sub(1).map(|which| POLICIES[which]);
        let held = round(options, &scenario, policy)?;
        show.outcome(&held.outcome);
        Ok(held)
    })?;
    let others = (scenario.subscribers - 1) as f64 / scenario.subscribers as f64;
    // What the same sessions got where all read.
    let without = each(&all[0], |held| held.stretch.rate() * others);
    let plain = each(&all[0], |held| held.stretch.cost());
    show.figure("all read: deliveries a second to the others", &without, "");
    for (policy, rounds) in POLICIES.iter().zip(&all[1..]) {
        let with = each(rounds, |held| held.stretch.rate());
        show.promise(
            format!("{policy}: deliveries to the others that are kept"),
            &ratios(&with, &without),
            "",
            Wanted::AtLeast(0.98),
        );
        let cost = each(rounds, |held| held.stretch.cost());
        show.figure(
            format!("{policy}: deliveries for a second of CPU that are kept"),
            &ratios(&plain, &cost),
            "",
        );
        let queued = each(rounds, |held| held.queued / QUEUE);
        show.promise(
            format!("{policy}: what is queued, to session.queue"),
            &queued,
            "",
            Wanted::AtMost(1.0),
        );
        let grown = each(rounds, |held| held.grown / 1024.0);
        show.figure(
            format!("{policy}: growth of the broker's memory"),
            &grown,
            "KB",
        );
        let told = each(rounds, |held| held.outcome.told.missing as f64);
        show.figure(
            format!("{policy}: messages it missed and was told of"),
            &told,
            "",
        );
    }
    let grown = each(&all[0], |held| held.grown / 1024.0);
    show.figure("all read: growth of the broker's memory", &grown, "KB");
    Ok(show)
}

fn round(options: &Options, scenario: &Scenario, policy: Option<&str>) -> io::Result<Held> {
    let rule = format!(
        "[[topic]]\nfilter = \"bench/#\"\noverflow = [\"{}\"]\n",
        policy.unwrap_or("disconnect")
    );
    let kind = Kind::Configured {
        text: rule,
        core: Core::Server,
    };
    let target = Target::start(&kind, scenario.subscribers)?;
    let dialect = Told(round::dialect(&target, scenario));
    let mut load = Load::open(dialect, plan(&target, scenario))?;
    load.loosen(READER);
    load.run_for(WARM_UP)?;
    let before = memory(&target)?;
    if policy.is_some() {
        load.pause(READER)?;
        fill(&target, &mut load, scenario)?;
    } else {
        load.run_for(Duration::from_secs(2))?;
    }
    let stretch = Stretch::of(&target, &mut load, options.time())?;
    let (queued, grown) = (
        metric(&target, "fanfare_session_queued_bytes")?,
        memory(&target)? - before,
    );
    load.drain()?;
    if policy.is_some() {
        load.resume(READER)?;
        let end = Instant::now() + CATCH_UP;
        while !load.is_through(READER) && Instant::now() < end {
            load.listen_for(Duration::from_millis(50))?;
        }
    }
    let outcome = load.finish()?;
    let told = outcome.told;
    let is_as_asked = match policy {
        None => told.missing == 0 && told.ended == 0,
        Some("disconnect") => told.ended == 1,
        Some(_) => told.missing > 0 && told.ended == 0,
    };
    if !is_as_asked {
        let policy = policy.unwrap_or("all read");
        return Err(io::Error::other(format!(
            "{policy}: nothing was shown: {told:?}"
        )));
    }
    Ok(Held {
        stretch,
        queued,
        grown,
        outcome,
    })
}

/// Publishes until what is for the reader that stopped does not wait in the kernel alone, and does so for a while.
fn fill(target: &Target, load: &mut Load<Told>, scenario: &Scenario) -> io::Result<()> {
    let start = Instant::now();
    let dropped = || {
        let slow = r#"fanfare_messages_dropped_total{reason="slow"}"#;
        let conflated = r#"fanfare_messages_dropped_total{reason="conflated"}"#;
        Ok::<_, io::Error>(metric(target, slow)? + metric(target, conflated)?)
    };
    while dropped()? == 0.0 {
        if start.elapsed() > FILL {
            let why = "what the reader does not take found room for too long";
            return Err(io::Error::other(format!("{}: {why}", scenario.name)));
        }
        load.run_for(Duration::from_millis(200))?;
    }
    Ok(())
}

/// Fanfare, where a message may stand for others that were skipped.
struct Told(Fanfare);

struct Skips<'a, S> {
    sink: &'a mut S,
    payload: usize,
}

impl<S: Sink> Sink for Skips<'_, S> {
    fn message(&mut self, message: Message<'_>) {
        let rest = message.data.get(self.payload..).unwrap_or_default();
        if let Some(count) = skipped(rest) {
            // They are of one topic and without keys, so they are those right before it.
            self.sink.notice(Notice::Gap(Gap {
                count,
                offsets: None,
            }));
        }
        self.sink.message(message);
    }

    fn notice(&mut self, notice: Notice<'_>) {
        self.sink.notice(notice);
    }
}

/// The number of messages that one stands for beside itself, from what follows its data.
pub fn skipped(rest: &[u8]) -> Option<u64> {
    const SKIPPED: &[u8] = br#""skipped":"#;
    let at = rest.windows(SKIPPED.len()).position(|w| w == SKIPPED)? + SKIPPED.len();
    let digits = rest[at..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

impl Dialect for Told {
    type Carry = usize;

    fn request(&self, opening: Opening<'_>) -> Vec<u8> {
        self.0.request(opening)
    }

    fn is_open(&self, role: Role, head: &str) -> bool {
        self.0.is_open(role, head)
    }

    fn begin(&self, opening: Opening<'_>, out: &mut Vec<u8>) -> bool {
        self.0.begin(opening, out)
    }

    fn put_publish(&self, out: &mut Vec<u8>, topic: &str, data: &[u8]) {
        self.0.put_publish(out, topic, data);
    }

    fn read(
        &self,
        hint: &mut usize,
        role: Role,
        bytes: &[u8],
        sink: &mut impl Sink,
    ) -> Result<usize, &'static str> {
        let payload = self.0.payload;
        let mut skips = Skips { sink, payload };
        self.0.read(hint, role, bytes, &mut skips)
    }
}
