//! The wall clock jumps, by hours ahead and a day back, under a broker and between brokers (T87).

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, Disk, Events, Http, Process, eventually, held};

const CONFIG: &str = r#"
server.workers = 2
heartbeat.interval = "1s"
heartbeat.timeout = "1s"
topic = [
    { filter = "kept/#", history = { messages = 1000 }, durability = "synced" },
    { filter = "aged/#", history = { messages = 1000, age = "1h" }, durability = "written" },
]
"#;

/// A broker whose wall clock the test sets. The monotonic one is the machine's.
struct Clock {
    file: PathBuf,
}

impl Clock {
    fn new(disk: &Disk) -> Self {
        let clock = Self {
            file: disk.home().join("clock"),
        };
        clock.jumps("+0");
        clock
    }

    fn jumps(&self, to: &str) {
        let next = self.file.with_extension("next");
        std::fs::write(&next, to).unwrap();
        std::fs::rename(next, &self.file).unwrap();
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let text = |text: &str| text.to_owned();
        vec![
            ("LD_PRELOAD", libfaketime()),
            ("FAKETIME_TIMESTAMP_FILE", text(self.file.to_str().unwrap())),
            ("FAKETIME_NO_CACHE", text("1")),
            ("FAKETIME_DONT_FAKE_MONOTONIC", text("1")),
            ("FAKETIME_DONT_RESET", text("1")),
        ]
    }
}

fn libfaketime() -> String {
    let places = std::fs::read_dir("/usr/lib").unwrap();
    let library = places
        .map(|place| place.unwrap().path().join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.exists());
    let library = library.expect("libfaketime, from Debian's package `faketime`");
    library.to_str().unwrap().to_owned()
}

fn publish(broker: &Process, topic: &str) -> Value {
    let path = format!("/v1/topics/{topic}/messages");
    let answer = Http::new(broker.address, "POST", &path)
        .json(&json!("x"))
        .send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn clocks_that_jump_neither_reorder_nor_disconnect_nor_forget_what_is_young() {
    let disk = Disk::new(CONFIG);
    let clock = Clock::new(&disk);
    let disk = disk.under(clock.environment());
    let broker = disk.start();
    let mut client = Client::open(broker.address, "/ws?topic=kept/a&topic=aged/a");
    let mut stream = Events::open(broker.address, "topic=kept/a", &[]);
    let mut idle: Vec<_> = (0..20)
        .map(|_| Client::open(broker.address, "/ws"))
        .collect();
    let mut times: Vec<u64> = Vec::new();
    let mut expect = |broker: &Process, client: &mut Client, offset: u64| {
        assert_eq!(publish(broker, "kept/a")["offset"], offset);
        assert_eq!(publish(broker, "aged/a")["offset"], offset);
        for topic in ["kept/a", "aged/a"] {
            let message = client.expect_message(topic);
            assert_eq!(message["offset"], offset);
            if topic == "kept/a" {
                times.push(message["time"].as_u64().unwrap());
            }
        }
        assert!(times.is_sorted(), "times go back: {times:?}");
        times[times.len() - 1]
    };
    let first = expect(&broker, &mut client, 1);
    clock.jumps("+3h");
    let ahead = expect(&broker, &mut client, 2);
    assert!(
        ahead >= first + 3 * 3_600_000,
        "the clock jumped: {first}, {ahead}"
    );
    // What has become too old is gone; what is young is not.
    let aged = |broker: &Process| -> Vec<u64> {
        held(broker.address, "aged/a", 0)
            .iter()
            .map(|held| held.offset)
            .collect()
    };
    eventually("the old one is gone", || aged(&broker) == [2]);
    clock.jumps("-1d");
    let back = expect(&broker, &mut client, 3);
    assert_eq!(back, ahead, "times of a topic never go back");
    assert_eq!(aged(&broker), [2, 3]);
    // Long enough for every heartbeat to have failed, if they went by the wall clock.
    for _ in 0..25 {
        std::thread::sleep(Duration::from_millis(100));
        for client in idle.iter_mut().chain([&mut client]) {
            client.expect_nothing();
        }
    }
    for offset in 1..=3 {
        assert_eq!(stream.expect("message").data["offset"], offset);
    }
    for code in ["4009", "4001", "4008", "1011"] {
        let ended = broker.metric(&format!("fanfare_disconnects_total{{code=\"{code}\"}}"));
        assert_eq!(ended, 0, "{code}");
    }
    // The clock is still a day behind when the next broker comes, and what it reads.
    let epoch = publish(&broker, "kept/a")["epoch"].clone();
    broker.crash();
    let broker = disk.start();
    let mut client = Client::open(broker.address, "/ws");
    let since = json!({"since": {"epoch": epoch, "offset": 3}});
    let ok = client.subscribe_with("kept/a", since).await_ok();
    assert_eq!(
        (&ok["recovered"], &ok["replayed"]),
        (&json!(true), &json!(1)),
        "{ok}"
    );
    assert_eq!(client.expect_message("kept/a")["offset"], 4);
    let next = publish(&broker, "kept/a");
    assert_eq!((&next["offset"], &next["epoch"]), (&json!(5), &epoch));
    assert!(client.expect_message("kept/a")["time"].as_u64().unwrap() >= ahead);
    // By this clock the first is young again; it may be there where it was not deleted yet.
    assert!([&[2, 3][..], &[1, 2, 3]].contains(&&aged(&broker)[..]));
    // And right again, between two others.
    broker.stop();
    clock.jumps("+0");
    let broker = disk.start();
    assert_eq!(publish(&broker, "kept/a")["offset"], 6);
    assert_eq!(publish(&broker, "aged/a")["offset"], 4);
    assert_eq!(held(broker.address, "kept/a", 0).len(), 6);
}

#[test]
fn a_recovery_by_time_over_a_jump_is_whole_or_says_that_it_is_not() {
    let disk = Disk::new(CONFIG);
    let clock = Clock::new(&disk);
    let disk = disk.under(clock.environment());
    let broker = disk.start();
    for (before, after) in [("+0", "+3h"), ("+3h", "-1d"), ("-1d", "+0")] {
        clock.jumps(before);
        let mut client = Client::open(broker.address, "/ws");
        let from = client.subscribe("kept/#").await_ok()["time"].clone();
        client.unsubscribe("kept/#").await_ok();
        let topic = format!("kept/{before}").replace('+', "p");
        publish(&broker, &topic);
        clock.jumps(after);
        publish(&broker, &topic);
        let since = json!({"since": {"positions": {}, "from": from}});
        let ok = client.subscribe_with("kept/#", since).await_ok();
        let mut offsets = Vec::new();
        for _ in 0..ok["replayed"].as_u64().unwrap() {
            let message = client.frame();
            if message["topic"] == topic.as_str() {
                offsets.push(message["offset"].as_u64().unwrap());
            }
        }
        let is_whole = offsets == [1, 2];
        assert!(
            is_whole || ok["recovered"] == false,
            "{before} {after}: {ok} {offsets:?}"
        );
    }
}
