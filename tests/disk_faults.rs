//! Disks that fail, are full or slow, while a broker runs on them: what asks nothing of the disk goes
//! on, what does is refused and told why, and all is well once the disk is.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    Answer, Client, Cut, Dice, Disk, Http, Mortal, Mount, PATIENCE, Process, eventually, held,
};

const CONFIG: &str = r#"
server.workers = 2
topic = [
    { filter = "synced/#", history = { messages = 1000000, bytes = "1GiB" }, durability = "synced" },
    { filter = "written/#", history = { messages = 1000000, bytes = "1GiB" }, durability = "written" },
    { filter = "memory/#", history = { messages = 1000 }, durability = "memory" },
]
"#;

fn post(address: SocketAddr, topic: &str, data: &Value) -> Answer {
    let path = format!("/v1/topics/{topic}/messages");
    Http::new(address, "POST", &path).json(data).send()
}

/// Publishes, and expects it to be done; gives the offset.
#[track_caller]
fn publish(broker: &Process, topic: &str, data: &Value) -> u64 {
    let answer = post(broker.address, topic, data);
    assert_eq!(answer.status, 200, "{topic}: {}", answer.text());
    answer.json()["offset"].as_u64().unwrap()
}

/// It is refused as something that may go later.
#[track_caller]
fn expect_refused(broker: &Process, topic: &str) {
    let answer = post(broker.address, topic, &json!("refused"));
    assert_eq!(
        answer.expect_problem(503),
        "unavailable",
        "{}",
        answer.text()
    );
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
}

fn ready(broker: &Process) -> (u16, String) {
    let answer = Http::new(broker.address, "GET", "/readyz").send();
    (answer.status, answer.text().to_lowercase())
}

fn data(broker: &Process, topic: &str) -> Vec<Value> {
    held(broker.address, topic, 0)
        .into_iter()
        .map(|held| held.data)
        .collect()
}

/// Somebody who watches while the disk is in trouble.
struct Watch {
    client: Client,
    lives: u64,
}

impl Watch {
    fn of(broker: &Process) -> Self {
        let mut client = Client::open(broker.address, "/ws");
        for topic in ["synced/#", "memory/#", "live"] {
            client.subscribe(topic).await_ok();
        }
        Self { client, lives: 0 }
    }

    /// What asks nothing of the disk goes on, and nothing else comes.
    #[track_caller]
    fn expect_life(&mut self, broker: &Process) {
        self.lives += 1;
        assert_eq!(publish(broker, "memory/a", &json!(self.lives)), self.lives);
        assert_eq!(self.client.expect_message("memory/a")["data"], self.lives);
        assert_eq!(post(broker.address, "live", &json!(self.lives)).status, 200);
        assert_eq!(self.client.expect_message("live")["data"], self.lives);
        self.client.expect_nothing();
        let healthy = Http::new(broker.address, "GET", "/healthz").send();
        assert_eq!(healthy.status, 200);
    }

    #[track_caller]
    fn expect(&mut self, topic: &str, data: &Value) {
        assert_eq!(&self.client.expect_message(topic)["data"], data);
    }
}

/// A disk goes wrong and is well again, twice, under a broker that stays: what is acknowledged is
/// there in the end, whatever end that is.
fn goes_wrong(disk: &Disk, broker: &Process, goes: &dyn Fn(bool), names: &[&str]) -> Vec<Value> {
    let mut acked = vec![json!("first")];
    let mut watch = Watch::of(broker);
    assert_eq!(publish(broker, "synced/a", &acked[0]), 1);
    watch.expect("synced/a", &acked[0]);
    for round in 0..2 {
        goes(true);
        eventually("publishing is refused", || {
            let big = json!({"round": round, "big": "x".repeat(60_000)});
            let answer = post(broker.address, "synced/a", &big);
            if answer.status == 200 {
                watch.expect("synced/a", &big);
                acked.push(big);
            }
            answer.status == 503
        });
        expect_refused(broker, "synced/a");
        expect_refused(broker, "synced/new");
        let mut client = Client::open(broker.address, "/ws");
        client
            .publish("synced/a", "refused")
            .await_error("unavailable");
        let (status, why) = ready(broker);
        assert_eq!(status, 503, "{why}");
        assert!(
            names.iter().any(|name| why.contains(name)),
            "it says why: {why}"
        );
        assert!(broker.metric("fanfare_store_errors_total") >= 1);
        // What is there can be read, and by those who come now.
        assert_eq!(data(broker, "synced/a"), acked);
        client
            .subscribe_with("synced/a", json!({"last": 1}))
            .await_ok();
        assert_eq!(
            &client.expect_message("synced/a")["data"],
            acked.last().unwrap()
        );
        watch.expect_life(broker);
        goes(false);
        eventually("it is ready again", || ready(broker).0 == 200);
        let next = json!({"after": round});
        assert_eq!(publish(broker, "synced/a", &next), acked.len() as u64 + 1);
        watch.expect("synced/a", &next);
        acked.push(next);
        watch.expect_life(broker);
    }
    assert!(!disk.files().is_empty());
    acked
}

#[test]
fn while_syncs_fail_nothing_durable_is_acknowledged_and_everything_else_goes_on() {
    let mut disk = Disk::forgetful(CONFIG);
    let broker = disk.start();
    let fails = |is_bad| {
        let orders = if is_bad { "sync=eio" } else { "" };
        disk.forgetful.as_ref().unwrap().orders(orders);
    };
    let acked = goes_wrong(&disk, &broker, &fails, &["store", "disk"]);
    // A later sync that succeeds says nothing of what an earlier one did not keep.
    let log = broker.crash();
    assert!(log.to_lowercase().contains("error"), "it is told: {log}");
    disk.lose_power(Cut::Forget, &mut Dice::told());
    let broker = disk.start();
    assert_eq!(data(&broker, "synced/a"), acked);
}

#[test]
fn while_the_disk_has_no_room_nothing_durable_is_acknowledged_and_everything_else_goes_on() {
    let mut disk = Disk::forgetful(CONFIG);
    let broker = disk.start();
    let fills = |is_bad| {
        let orders = if is_bad { "write=enospc" } else { "" };
        disk.forgetful.as_ref().unwrap().orders(orders);
    };
    let acked = goes_wrong(&disk, &broker, &fills, &["store", "disk", "space", "room"]);
    broker.crash();
    disk.lose_power(Cut::Tear, &mut Dice::told());
    let broker = disk.start();
    assert_eq!(data(&broker, "synced/a"), acked);
}

/// The same with a file system that really is full; where this user may not make one there is the test
/// before this.
#[test]
fn on_a_file_system_that_is_full_all_is_well_once_there_is_room() {
    let Some(mount) = Mount::with("size=8m") else {
        println!("NOT RUN: this user may not mount");
        return;
    };
    std::fs::create_dir(mount.path().join("data")).unwrap();
    let disk = Disk::at(&mount.path().join("data"), CONFIG);
    let broker = disk.start();
    let ballast = mount.path().join("ballast");
    let fills = |is_bad| {
        if is_bad {
            // As much as there is room for, to the last byte.
            let _ = std::fs::write(&ballast, vec![1; 8 << 20]);
        } else {
            std::fs::remove_file(&ballast).unwrap();
        }
    };
    let acked = goes_wrong(&disk, &broker, &fills, &["store", "disk", "space", "room"]);
    broker.crash();
    let broker = disk.start();
    assert_eq!(data(&broker, "synced/a"), acked);
    publish(&broker, "synced/a", &json!("again"));
}

/// How many of `publishers`, each with one message at a time, are acknowledged in that time.
fn acknowledged(broker: &Process, publishers: usize, time: Duration) -> usize {
    let (address, until) = (broker.address, Instant::now() + time);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..publishers)
            .map(|publisher| {
                scope.spawn(move || {
                    let mut asks = Mortal::connect(address).unwrap();
                    let path = format!("/v1/topics/synced/{publisher}/messages");
                    let more = "Content-Type: application/json\r\n";
                    let mut count = 0;
                    while Instant::now() < until {
                        let answer = asks.ask("POST", &path, more, "1").unwrap();
                        assert_eq!(answer.status, 200, "{}", answer.text());
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    })
}

#[test]
fn on_a_slow_disk_publishers_share_its_syncs_and_other_topics_do_not_wait() {
    const DELAY: Duration = Duration::from_millis(200);
    let disk = Disk::forgetful(CONFIG);
    let broker = disk.start();
    publish(&broker, "synced/0", &json!(0));
    disk.forgetful.as_ref().unwrap().orders("delay=200");
    let time = Duration::from_secs(2);
    let begun = Instant::now();
    publish(&broker, "synced/0", &json!(0));
    assert!(
        begun.elapsed() >= DELAY,
        "acknowledged before it was synced"
    );
    let alone = acknowledged(&broker, 1, time);
    let (together, [median, slowest]) = std::thread::scope(|scope| {
        let many = scope.spawn(|| acknowledged(&broker, 64, time));
        let mut client = Client::open(broker.address, "/ws");
        for topic in ["live", "memory/#"] {
            client.subscribe(topic).await_ok();
        }
        let mut took: Vec<Duration> = Vec::new();
        while !many.is_finished() {
            for topic in ["live", "memory/a"] {
                let begun = Instant::now();
                client.publish(topic, 1).await_ok();
                client.expect_message(topic);
                took.push(begun.elapsed());
            }
        }
        took.sort();
        (
            many.join().unwrap(),
            [50, 99].map(|percent| took[took.len() * percent / 100]),
        )
    });
    println!("{alone} alone, {together} together, others' p99 {slowest:?}");
    assert!(
        alone <= 11,
        "{alone} acknowledged by {time:?} of syncs of {DELAY:?}"
    );
    assert!(together >= alone * 16, "{together} of 64, {alone} of one");
    assert!(
        median < DELAY / 4 && slowest < DELAY,
        "{median:?}, {slowest:?}"
    );
    // Nobody is thrown out for it, and it is as ready as it was.
    assert_eq!(ready(&broker).0, 200);
}

#[test]
fn what_waits_for_a_slow_disk_is_seen_by_nobody_before_it_is_synced() {
    let disk = Disk::forgetful(CONFIG);
    let broker = disk.start();
    publish(&broker, "synced/a", &json!(0));
    disk.forgetful.as_ref().unwrap().orders("delay=500");
    let mut early = Client::open(broker.address, "/ws");
    early.subscribe("synced/a").await_ok();
    let mut publisher = Mortal::session(broker.address).unwrap();
    let begun = Instant::now();
    let ask = json!({"type": "publish", "topic": "synced/a", "data": 1, "id": 1});
    publisher.tell(&ask).unwrap();
    // While it waits: nothing of it by any door.
    while begun.elapsed() < Duration::from_millis(400) {
        let shown = data(&broker, "synced/a");
        let mut late = Client::open(broker.address, "/ws");
        let ok = late
            .subscribe_with("synced/a", json!({"last": 5}))
            .await_ok();
        if begun.elapsed() < Duration::from_millis(400) {
            assert_eq!(shown, [json!(0)]);
            assert_eq!(
                (&ok["offset"], &ok["replayed"]),
                (&json!(1), &json!(1)),
                "{ok}"
            );
        }
    }
    let ok = publisher.answer(1, |_| {}).unwrap();
    assert_eq!(ok["offset"], 2, "{ok}");
    assert!(begun.elapsed() >= Duration::from_millis(500) && begun.elapsed() < PATIENCE);
    assert_eq!(early.expect_message("synced/a")["offset"], 2);
}
