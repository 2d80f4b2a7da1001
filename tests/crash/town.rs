//! Publishers and subscribers of every kind, who outlive the brokers that they use.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;

use super::checker::{Fault, faults};
use super::publishing::{Publisher, Way};
use super::record::{Name, Place, Said, Stored};
use super::subscribing::{By, First, Newest, Subscriber};
use crate::support::{Dice, Disk, Http, PATIENCE, Process, command, held};

/// Where it all happens. Nothing is trimmed, so that everything can be looked at in the end; and whatever
/// matches the filter that is subscribed to outlives the process, else nothing could recover by time.
pub const CONFIG: &str = r#"
server.workers = 2
server.drain = "100ms"
api.idempotency_window = "30m"
limits.replay_messages = 10000000
topic = [
    { filter = "crash/written/#", history = { messages = 10000000, bytes = "4GiB" }, durability = "written" },
    { filter = "crash/#", history = { messages = 10000000, bytes = "4GiB" }, durability = "synced" },
]
"#;

pub const TOPICS: [&str; 4] = [
    "crash/synced/a",
    "crash/synced/b",
    "crash/written/a",
    "crash/written/b/c",
];

/// Who published the first message of each topic, which everybody has.
const FOUNDER: u32 = 1000;

pub struct Town {
    pub publishers: Vec<Publisher>,
    pub subscribers: Vec<Subscriber>,
    dice: Dice,
    founded: Said,
    /// Topics that may have forgotten what was answered in another epoch.
    forgetful: BTreeSet<&'static str>,
    /// How often brokers were killed.
    pub kills: usize,
}

impl Town {
    /// Founds it on an empty disk. After a power cut, the disk may have forgotten what these topics hold.
    pub fn found(disk: &Disk, dice: Dice, forgetful: &[&'static str]) -> Self {
        let broker = disk.start();
        let mut founded = Said::default();
        let mut first = Vec::new();
        for (number, topic) in (1..).zip(TOPICS) {
            let name = Name::new(FOUNDER, number);
            founded.send(topic, name);
            let path = format!("/v1/topics/{topic}/messages");
            let answer = Http::new(broker.address, "POST", &path)
                .json(&name.data())
                .send();
            assert_eq!(answer.status, 200, "{}", answer.text());
            founded.ack(topic, name, &answer.json());
            let time = held(broker.address, topic, 0)[0].time;
            first.push(First {
                topic,
                name,
                place: Place::of(&answer.json()),
                time,
            });
        }
        broker.stop();
        let ways = [
            (Way::Keyed, &TOPICS[..]),
            (Way::Keyed, &TOPICS[..1]),
            (Way::Once, &TOPICS[..]),
            (Way::Lines, &TOPICS[..]),
            (Way::KeyedLines, &TOPICS[..]),
            (Way::Frames, &TOPICS[..]),
            (Way::Frames, &TOPICS[1..3]),
        ];
        let publisher = |(number, (way, topics)): (u32, &(Way, &[&str]))| {
            let publisher = Publisher::new(number, *way, topics, &dice);
            match forgetful {
                [] => publisher,
                _ => publisher.on_a_forgetful_disk(),
            }
        };
        let publishers = (1..).zip(&ways).map(publisher).collect();
        let ways = [
            (By::Filter, &first[..]),
            (By::Filter, &first[..]),
            (By::Names, &first[..]),
            (By::Names, &first[..2]),
            (By::Stream, &first[..1]),
            (By::Stream, &first[2..3]),
            (By::Streams, &first[..]),
        ];
        let subscribers = (1..).zip(&ways);
        let subscribers = subscribers.map(|(n, (by, first))| Subscriber::new(n, *by, first, &dice));
        Self {
            publishers,
            subscribers: subscribers.collect(),
            founded,
            forgetful: forgetful.iter().copied().collect(),
            kills: 0,
            dice,
        }
    }

    /// Whoever sends many at a time, and those again that were refused, has no order to keep where some
    /// are refused and those behind them are not: it goes.
    pub fn without_those_who_mix_up_their_own(mut self) -> Self {
        self.publishers
            .retain(|publisher| publisher.way != Way::KeyedLines);
        self
    }

    /// A broker's life, from its start to its violent end.
    pub fn round(&mut self, disk: &Disk) {
        // Some do not even get to be ready.
        if self.dice.one_in(6) {
            self.kill_in_the_cradle(disk);
        }
        let life = self.dice.millis(100, 400);
        self.round_with(disk, || std::thread::sleep(life));
    }

    /// The same; it lives as long as `life` does.
    pub fn round_with(&mut self, disk: &Disk, life: impl FnOnce()) {
        let broker = disk.start();
        let address = broker.address;
        let says_when = self.dice.one_in(8);
        std::thread::scope(|scope| {
            for publisher in &mut self.publishers {
                scope.spawn(move || publisher.publish(address));
            }
            for subscriber in &mut self.subscribers {
                scope.spawn(move || subscriber.listen(address, None));
            }
            life();
            // Some are killed while they drain.
            if says_when {
                broker.signal(Signal::TERM);
                std::thread::sleep(Duration::from_millis(20));
            }
            self.kills += 1;
            let log = broker.crash();
            assert!(!log.contains("panicked"), "{log}");
        });
    }

    fn kill_in_the_cradle(&mut self, disk: &Disk) {
        let file = disk.home().join("cradle.toml");
        std::fs::write(&file, disk.toml()).unwrap();
        let file = file.to_str().unwrap();
        let mut program = command(&["serve", "--config", file, "--listen", "127.0.0.1:0"]);
        program.current_dir(disk.home());
        program.envs(disk.environment());
        program
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let mut child = program.spawn().unwrap();
        std::thread::sleep(self.dice.millis(0, 120));
        self.kills += 1;
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Everybody comes to a broker that stays, gets what is missing, and all is compared. Gives how many
    /// messages there are.
    #[track_caller]
    pub fn settle(&mut self, disk: &Disk) -> usize {
        let broker = disk.start();
        let stored = stored(&broker);
        let newest = stored.iter().map(|(topic, messages)| {
            let (place, _) = messages.last().expect("messages");
            (topic.clone(), place.clone())
        });
        let newest: Newest = newest.collect();
        let catches_up = |subscriber: &mut Subscriber, address: SocketAddr| {
            subscriber.listen(address, Some(&newest));
        };
        std::thread::scope(|scope| {
            for subscriber in &mut self.subscribers {
                let address = broker.address;
                scope.spawn(move || catches_up(subscriber, address));
            }
        });
        self.expect_no_faults(&stored);
        for (number, subscriber) in self.subscribers.iter().enumerate() {
            for (topic, had) in subscriber.had() {
                if had.is_none() && self.forgetful.contains(topic.as_str()) {
                    continue;
                }
                assert_eq!(
                    had.as_ref(),
                    Some(&newest[topic]),
                    "{number} not within {PATIENCE:?}: {topic}"
                );
            }
        }
        let log = broker.stop();
        assert!(!log.contains("panicked"), "{log}");
        stored.values().map(Vec::len).sum()
    }

    #[track_caller]
    fn expect_no_faults(&self, stored: &Stored) {
        let said = self.publishers.iter().map(|publisher| &publisher.said);
        let said: Vec<_> = said.chain([&self.founded]).collect();
        let heard: Vec<_> = self.subscribers.iter().map(|s| &s.heard[..]).collect();
        let may_forget = |topic: &str| self.forgetful.contains(topic);
        let found = faults(stored, &said, &heard, &may_forget);
        assert!(found.is_empty(), "{}", told(&found));
    }

    /// How many messages were acknowledged.
    pub fn acked(&self) -> usize {
        self.publishers
            .iter()
            .map(|publisher| publisher.said.acked.len())
            .sum()
    }
}

/// How many faults, and the first of them.
fn told(faults: &BTreeSet<Fault>) -> String {
    use std::fmt::Write as _;
    let mut text = format!("{} faults", faults.len());
    for fault in faults.iter().take(20) {
        write!(text, "\n  {fault:?}").unwrap();
    }
    text
}

fn stored(broker: &Process) -> Stored {
    let messages = |topic: &str| {
        let held = held(broker.address, topic, 0).into_iter();
        held.map(|held| (Place::new(&held.epoch, held.offset), Name::of(&held.data)))
            .collect()
    };
    TOPICS
        .iter()
        .map(|topic| ((*topic).to_owned(), messages(topic)))
        .collect()
}
