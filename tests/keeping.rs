//! What topics keep outlives the process: bounds, retained messages, what was cleared, epochs.

use serde_json::{Value, json};

use crate::support::{Client, Dice, Disk, Http, Mortal, Process, eventually, held};

const CONFIG: &str = r#"
server.workers = 2
topic = [
    { filter = "few/#", history = { messages = 50 }, durability = "written" },
    { filter = "short/#", history = { messages = 100000, bytes = "256KiB" }, durability = "written" },
    { filter = "keeps/#", history = { messages = 10 }, retain = true, durability = "synced" },
    { filter = "only/#", retain = true, durability = "written" },
    { filter = "memory/#", history = { messages = 10 }, durability = "memory" },
]
"#;

fn publish(broker: &Process, topic: &str, data: &Value) -> Value {
    let path = format!("/v1/topics/{topic}/messages");
    let answer = Http::new(broker.address, "POST", &path).json(data).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn retain(broker: &Process, topic: &str, data: &Value) {
    let path = format!("/v1/topics/{topic}/messages?retain=true");
    let answer = Http::new(broker.address, "POST", &path).json(data).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn offsets(broker: &Process, topic: &str) -> Vec<u64> {
    held(broker.address, topic, 0)
        .iter()
        .map(|held| held.offset)
        .collect()
}

#[test]
fn what_is_retained_outlives_the_process_and_what_was_cleared_stays_away() {
    let disk = Disk::new(CONFIG);
    let broker = disk.start();
    for topic in ["keeps/a", "keeps/b", "only/a", "only/b"] {
        retain(&broker, topic, &json!("old"));
        retain(&broker, topic, &json!({"kept": topic}));
    }
    for topic in ["keeps/b", "only/b"] {
        retain(&broker, topic, &Value::Null);
    }
    broker.crash();
    let broker = disk.start();
    let mut client = Client::open(broker.address, "/ws");
    for topic in ["keeps/a", "only/a"] {
        client.subscribe(topic).await_ok();
        let message = client.expect_message(topic);
        assert_eq!(message["data"], json!({"kept": topic}));
        assert_eq!(message["retain"], true, "{message}");
    }
    for topic in ["keeps/b", "only/b"] {
        client.subscribe(topic).await_ok();
    }
    client.expect_nothing();
    // And by a filter, of topics that nobody has touched since the start.
    broker.stop();
    let broker = disk.start();
    let mut client = Client::open(broker.address, "/ws");
    client.subscribe("#").await_ok();
    let mut topics: Vec<_> = [(); 2].map(|()| client.frame()["topic"].clone()).into();
    topics.sort_by_key(ToString::to_string);
    assert_eq!(topics, ["keeps/a", "only/a"]);
    client.expect_nothing();
}

/// From where to where they go without a hole.
fn runs(offsets: &[u64]) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for offset in offsets {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *offset => *last = *offset,
            _ => runs.push((*offset, *offset)),
        }
    }
    runs
}

#[test]
fn what_a_topic_holds_is_told_before_anybody_asks_for_it() {
    let disk = Disk::new(CONFIG);
    let broker = disk.start();
    for number in 1..=60 {
        publish(&broker, "few/a", &json!(number));
    }
    broker.crash();
    let broker = disk.start();
    let figures = || {
        let shown = Http::new(broker.address, "GET", "/v1/topics/few/a")
            .send()
            .json();
        let listed = Http::new(broker.address, "GET", "/v1/topics?filter=few/%23")
            .send()
            .json();
        let listed = listed["topics"][0].clone();
        [shown, listed].map(|of| (of["messages"].as_u64(), of["offset"].as_u64()))
    };
    assert_eq!(figures(), [(Some(50), Some(60)); 2]);
    assert_eq!(offsets(&broker, "few/a").len(), 50);
    assert_eq!(figures(), [(Some(50), Some(60)); 2]);
}

/// T08, and that a trim is no loss of anything else.
#[test]
fn brokers_that_are_killed_while_they_trim_leave_whole_histories() {
    const TOPICS: usize = 5;
    let disk = Disk::new(CONFIG);
    let mut dice = Dice::told();
    let mut acked = [0; TOPICS];
    let mut epochs = vec![Value::Null; TOPICS];
    for _ in 0..8 {
        let broker = disk.start();
        let address = broker.address;
        std::thread::scope(|scope| {
            let publisher = scope.spawn(move || {
                let mut last = [0; TOPICS];
                let mut publish = || -> Option<()> {
                    let mut lines = Mortal::lines(address)?;
                    let mut is_begun = false;
                    loop {
                        let line = |n| format!("{{\"topic\":\"few/{}\",\"data\":1}}\n", n % TOPICS);
                        lines.line(&(0..500).map(line).collect::<String>())?;
                        if !is_begun {
                            lines.head()?;
                            is_begun = true;
                        }
                        for n in 0..500 {
                            let answer = lines.answered_line()?;
                            last[n % TOPICS] = answer["offset"].as_u64().unwrap();
                        }
                    }
                };
                assert_eq!(publish(), None);
                last
            });
            std::thread::sleep(dice.millis(200, 600));
            broker.crash();
            for (acked, last) in acked.iter_mut().zip(publisher.join().unwrap()) {
                *acked = last.max(*acked);
            }
        });
        let broker = disk.start();
        for (number, acked) in acked.iter().enumerate() {
            let topic = format!("few/{number}");
            let offsets = offsets(&broker, &topic);
            let newest = *offsets.last().expect("messages");
            assert!(
                newest >= *acked,
                "{topic}: {acked} acknowledged, {newest} there"
            );
            let runs = runs(&offsets);
            assert_eq!(runs.len(), 1, "{topic}: {runs:?}");
            assert_eq!(offsets.len() as u64, newest.min(50), "{topic}: {runs:?}");
            let path = format!("/v1/topics/{topic}");
            let shown = Http::new(broker.address, "GET", &path).send().json();
            if !epochs[number].is_null() {
                assert_eq!(shown["epoch"], epochs[number], "{topic}");
            }
            epochs[number] = shown["epoch"].clone();
        }
        broker.crash();
    }
    println!("{acked:?} acknowledged");
    assert!(
        acked.iter().all(|acked| *acked > 100),
        "it never trimmed: {acked:?}"
    );
}

#[test]
fn what_is_trimmed_gives_its_room_on_the_disk_back() {
    let disk = Disk::new(CONFIG);
    let broker = disk.start();
    let data = json!("x".repeat(10_000));
    for batch in 0..80 {
        let batch: Vec<_> = (0..100)
            .map(|n| json!({"topic": format!("short/{}", (batch + n) % 4), "data": data}))
            .collect();
        for batch in batch.chunks(4) {
            let answer = Http::new(broker.address, "POST", "/v1/publish")
                .json(&json!(batch))
                .send();
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    // 80 MB went through it, 1 MiB is held. The log beside the file may keep its own.
    broker.stop();
    let broker = disk.start();
    let mut size = 0;
    eventually("the room is given back", || {
        size = disk.size();
        size < 24 << 20
    });
    println!("{size} bytes");
    assert!(offsets(&broker, "short/0").len() < 30);
}

#[test]
fn bounds_hold_across_restarts_and_narrower_ones_count_at_the_next() {
    let disk = Disk::new(CONFIG);
    let broker = disk.start();
    for number in 1..=120 {
        publish(&broker, "few/a", &json!(number));
    }
    broker.crash();
    let broker = disk.start();
    assert_eq!(offsets(&broker, "few/a"), (71..=120).collect::<Vec<_>>());
    assert_eq!(publish(&broker, "few/a", &json!(121))["offset"], 121);
    assert_eq!(offsets(&broker, "few/a"), (72..=121).collect::<Vec<_>>());
    broker.stop();
    let disk = disk.with(&CONFIG.replace("messages = 50", "messages = 7"));
    let broker = disk.start();
    eventually("the narrower bound counts", || {
        offsets(&broker, "few/a").len() == 7
    });
    assert_eq!(offsets(&broker, "few/a"), (115..=121).collect::<Vec<_>>());
    assert_eq!(publish(&broker, "few/a", &json!(122))["offset"], 122);
}

#[test]
fn what_was_cleared_stays_away_and_its_epoch_with_it() {
    let disk = Disk::new(CONFIG);
    let broker = disk.start();
    let first = publish(&broker, "few/a", &json!(1));
    publish(&broker, "few/a", &json!(2));
    let cleared = Http::new(broker.address, "DELETE", "/v1/topics/few/a/messages").send();
    assert_eq!(cleared.status, 200, "{}", cleared.text());
    broker.crash();
    let broker = disk.start();
    assert_eq!(offsets(&broker, "few/a"), [0; 0]);
    let next = publish(&broker, "few/a", &json!(3));
    assert_eq!(next["offset"], 1);
    assert_ne!(next["epoch"], first["epoch"]);
    let mut client = Client::open(broker.address, "/ws");
    let since = json!({"since": {"epoch": first["epoch"], "offset": 1}});
    let ok = client.subscribe_with("few/a", since).await_ok();
    assert_eq!(ok["recovered"], false, "{ok}");
    broker.crash();
    let broker = disk.start();
    let held = held(broker.address, "few/a", 0);
    assert_eq!(
        (held.len(), held[0].epoch.as_str()),
        (1, next["epoch"].as_str().unwrap())
    );
}

#[test]
fn topics_in_memory_go_with_the_process_and_say_so() {
    let disk = Disk::new(CONFIG);
    let broker = disk.start();
    let first = publish(&broker, "memory/a", &json!(1));
    let mut client = Client::open(broker.address, "/ws");
    let from = client.subscribe("#").await_ok()["time"].clone();
    broker.stop();
    let broker = disk.start();
    assert_eq!(offsets(&broker, "memory/a"), [0; 0]);
    let next = publish(&broker, "memory/a", &json!(2));
    assert_eq!(next["offset"], 1);
    assert_ne!(next["epoch"], first["epoch"]);
    let mut client = Client::open(broker.address, "/ws");
    let since = json!({"since": {"epoch": first["epoch"], "offset": 1}});
    let ok = client.subscribe_with("memory/a", since).await_ok();
    assert_eq!(ok["recovered"], false, "{ok}");
    // By time too: what went with the process nobody can bring.
    let since = json!({"since": {"positions": {}, "from": from}});
    let ok = client.subscribe_with("memory/#", since).await_ok();
    assert_eq!(ok["recovered"], false, "{ok}");
}

/// Born, published to and left while a client was away, and the broker with it.
#[test]
fn a_filter_recovers_topics_that_were_born_before_a_kill() {
    let disk = Disk::new(CONFIG);
    let broker = disk.start();
    let mut client = Client::open(broker.address, "/ws");
    let from = client.subscribe("keeps/#").await_ok()["time"].clone();
    for number in 1..=3 {
        publish(&broker, &format!("keeps/{number}"), &json!(number));
    }
    broker.crash();
    let broker = disk.start();
    let mut client = Client::open(broker.address, "/ws");
    let since = json!({"since": {"positions": {}, "from": from}});
    let ok = client.subscribe_with("keeps/#", since).await_ok();
    assert_eq!(
        (&ok["recovered"], &ok["replayed"]),
        (&json!(true), &json!(3)),
        "{ok}"
    );
    let mut topics: Vec<_> = [(); 3].map(|()| client.frame()["topic"].clone()).into();
    topics.sort_by_key(ToString::to_string);
    assert_eq!(topics, ["keeps/1", "keeps/2", "keeps/3"]);
    let listed = Http::new(broker.address, "GET", "/v1/topics?filter=keeps/%23")
        .send()
        .json();
    assert_eq!(listed["topics"].as_array().unwrap().len(), 3, "{listed}");
}
