//! Brokers are killed at random moments, and nothing that was acknowledged, and nothing that anybody
//! saw, is lost, doubled or moved. It takes 50 rounds, or as many as `FANFARE_CRASH_ROUNDS` says.

mod checker;
mod publishing;
mod record;
mod subscribing;
mod town;

use serde_json::{Value, json};

use crate::support::{Cut, Dice, Disk, Http, Mortal, Process};
use town::{CONFIG, TOPICS, Town};

fn rounds(unless_said: usize) -> usize {
    let rounds = std::env::var("FANFARE_CRASH_ROUNDS");
    rounds.map_or(unless_said, |rounds| rounds.parse().expect("a number"))
}

/// How many rounds go by between two looks at everything.
const LOOK: usize = 25;

#[test]
fn what_was_acknowledged_or_seen_outlives_brokers_that_are_killed_at_random_moments() {
    let disk = Disk::new(CONFIG);
    let mut town = Town::found(&disk, Dice::told(), &[]);
    for round in 1..=rounds(50) {
        town.round(&disk);
        if round % LOOK == 0 {
            town.settle(&disk);
        }
    }
    let stored = town.settle(&disk);
    let comings: usize = town.subscribers.iter().map(|s| s.comings).sum();
    println!(
        "{} kills, {stored} stored, {} acknowledged, {comings} comings",
        town.kills,
        town.acked()
    );
    assert!(
        town.acked() > 50 * TOPICS.len(),
        "hardly anything was published"
    );
}

#[test]
fn what_was_synced_outlives_power_cuts_and_what_was_written_is_lost_in_another_epoch_only() {
    let mut disk = Disk::forgetful(CONFIG);
    let mut dice = Dice::told();
    let may_forget = &TOPICS[2..];
    let mut town = Town::found(&disk, dice.clone(), may_forget);
    for round in 1..=rounds(50).div_ceil(2) {
        town.round(&disk);
        // Processes die as well, without the machine.
        if !dice.one_in(3) {
            let cut = *dice.pick(&Cut::ALL);
            println!("round {round}: {cut:?}");
            disk.lose_power(cut, &mut dice);
        }
        if round % (LOOK / 5) == 0 {
            town.settle(&disk);
        }
    }
    let stored = town.settle(&disk);
    println!(
        "{} kills, {stored} stored, {} acknowledged",
        town.kills,
        town.acked()
    );
}

/// Nobody is told that something was stored which a disk that failed did not keep, and what was refused
/// comes to nothing or to one message: whatever fails, and however often it works again in between.
#[test]
fn what_is_acknowledged_between_failures_of_the_disk_outlives_a_power_cut() {
    let mut disk = Disk::forgetful(CONFIG);
    let mut dice = Dice::told();
    let town = Town::found(&disk, dice.clone(), &TOPICS[2..]);
    let mut town = town.without_those_who_mix_up_their_own();
    for _ in 0..rounds(50).div_ceil(10) {
        let orders = ["sync=eio", "write=enospc", "sync=eio delay=20", "delay=20"];
        let mut chance = dice.for_the(1);
        town.round_with(&disk, || {
            let forgetful = disk.forgetful.as_ref().unwrap();
            for _ in 0..4 {
                std::thread::sleep(chance.millis(50, 200));
                forgetful.orders(chance.pick::<&str>(&orders));
                std::thread::sleep(chance.millis(20, 100));
                forgetful.orders("");
            }
            std::thread::sleep(chance.millis(50, 500));
        });
        // What failed to sync is lost over restarts too: they change nothing on the disk.
        if dice.one_in(2) {
            town.round(&disk);
        }
        disk.lose_power(Cut::Forget, &mut dice);
        town.settle(&disk);
    }
}

/// Publishes with a key, and gives the answer.
fn post(broker: &Process, topic: &str, key: &str, data: &Value) -> (u16, Value) {
    let path = format!("/v1/topics/{topic}/messages");
    let request = Http::new(broker.address, "POST", &path).header("Idempotency-Key", key);
    let answer = request.json(data).send();
    (answer.status, answer.json())
}

#[test]
fn what_comes_again_with_its_key_after_a_kill_is_answered_as_it_was_and_stored_once() {
    let disk = Disk::new(CONFIG);
    for topic in TOPICS {
        let broker = disk.start();
        let (status, first) = post(&broker, topic, "k", &json!(1));
        assert_eq!(status, 200, "{first}");
        post(&broker, topic, "l", &json!(2));
        broker.crash();
        for _ in 0..2 {
            let broker = disk.start();
            let (status, again) = post(&broker, topic, "k", &json!(1));
            assert_eq!(
                (status, &again["offset"]),
                (200, &first["offset"]),
                "{again}"
            );
            assert_eq!(again["epoch"], first["epoch"]);
            let (status, other) = post(&broker, topic, "k", &json!(3));
            assert_eq!(
                (status, &other["code"]),
                (409, &json!("conflict")),
                "{other}"
            );
            // The same key is another's in another topic.
            let elsewhere = format!("{topic}/other");
            assert_eq!(post(&broker, &elsewhere, "k", &json!(3)).0, 200);
            let path = format!("/v1/topics/{topic}/messages");
            let held = Http::new(broker.address, "GET", &path).send().json();
            assert_eq!(held["messages"].as_array().unwrap().len(), 2, "{held}");
            broker.crash();
        }
    }
}

/// Asked once more and more often while nobody knows whether it was done: at the end it was done once.
#[test]
fn a_publisher_that_never_hears_the_answer_is_stored_once() {
    let disk = Disk::new(CONFIG);
    let path = "/v1/topics/crash/synced/once/messages";
    let more = "Content-Type: application/json\r\nIdempotency-Key: k\r\n";
    for _ in 0..3 {
        let broker = disk.start();
        for _ in 0..4 {
            let mut asks = Mortal::connect(broker.address).unwrap();
            asks.send_request("POST", path, more, "1").unwrap();
        }
        broker.crash();
    }
    let broker = disk.start();
    let (status, answer) = post(&broker, "crash/synced/once", "k", &json!(1));
    assert_eq!((status, &answer["offset"]), (200, &json!(1)), "{answer}");
}
