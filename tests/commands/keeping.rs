//! `fanfare store`: from a broker's directory to another's, and what a client finds there.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Client, Http, Process, command, eventually_some, ran, ran_in};

/// A broker that keeps everything in that directory.
fn broker(directory: &Path) -> Process {
    let path = directory.to_str().unwrap();
    let toml = format!(
        "[store]\nkind = \"disk\"\npath = {path:?}\n\
         [[topic]]\nfilter = \"synced/#\"\nhistory = {{ messages = 1000 }}\ndurability = \"synced\"\n\
         [[topic]]\nfilter = \"#\"\nhistory = {{ messages = 1000 }}\nretain = true\n"
    );
    Process::start(&toml, &[])
}

fn stop(broker: Process) {
    broker.signal(Signal::TERM);
    let (status, log) = broker.await_end();
    assert!(status.success(), "{log}");
}

fn publish(broker: &Process, topic: &str, data: &Value) -> Value {
    let path = format!("/v1/topics/{topic}/messages");
    let answer = Http::new(broker.address, "POST", &path).json(data).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The topic's history, and what else is told of the topic.
fn kept(broker: &Process, topic: &str) -> (Value, Value) {
    let get = |what: &str| {
        let path = format!("/v1/topics/{topic}{what}");
        // The home that opens the topic may not have heard from the disk yet.
        eventually_some(what, || {
            let answer = Http::new(broker.address, "GET", &path).send();
            (answer.status == 200).then(|| answer.json())
        })
    };
    let mut shown = get("");
    shown.as_object_mut().unwrap().remove("rates");
    (get("/messages?limit=1000"), shown)
}

/// The message that the topic retains, as whoever subscribes gets it.
fn retained(broker: &Process, topic: &str) -> Value {
    let mut client = Client::open(broker.address, "/ws");
    client.subscribe(topic).await_ok();
    client.expect_message(topic)
}

/// A store of two topics, and what its broker told of them.
fn filled(directory: &Path) -> ([(Value, Value); 2], Value) {
    let broker = broker(directory);
    for n in 0..50 {
        publish(&broker, "chat/lobby", &json!({"n": n}));
        publish(&broker, "synced/orders", &json!(n));
    }
    let path = "/v1/topics/chat/lobby/messages?retain=true";
    let answer = Http::new(broker.address, "POST", path)
        .header("Content-Type", "text/plain")
        .body("stays")
        .send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let kept = ["chat/lobby", "synced/orders"].map(|topic| kept(&broker, topic));
    assert_eq!(kept[0].0["messages"].as_array().unwrap().len(), 51);
    let retained = retained(&broker, "chat/lobby");
    assert_eq!(retained["data"], "stays");
    stop(broker);
    (kept, retained)
}

#[test]
fn what_is_exported_and_imported_answers_as_before() {
    let home = tempfile::tempdir().unwrap();
    let from = home.path().join("from");
    let before = filled(&from);
    let exported = ran_in(home.path(), &["store", "export", "--path", "from"]);
    assert_eq!(
        (exported.code, exported.stderr.as_str()),
        (Some(0), ""),
        "{exported:?}"
    );
    let first: Value = serde_json::from_str(&exported.stdout[0]).unwrap();
    assert_eq!(
        (&first["fanfare"], &first["epochs"]),
        (&json!("export"), &json!("all"))
    );
    fs::write(home.path().join("all.ndjson"), exported.stdout.join("\n")).unwrap();

    let imported = ran_in(
        home.path(),
        &["--set", "store.path=to", "store", "import", "all.ndjson"],
    );
    assert_eq!(imported.code, Some(0), "{}", imported.stderr);
    assert_eq!(imported.stderr, "");
    assert!(
        imported.stdout[0].contains("2 topics, 101 messages, 1 retained"),
        "{imported:?}"
    );
    let again = ran_in(
        home.path(),
        &["store", "import", "--path", "to", "all.ndjson"],
    );
    assert_eq!(again.code, Some(1));
    assert!(
        again.stderr.contains("is there already"),
        "{}",
        again.stderr
    );

    let broker = broker(&home.path().join("to"));
    let after = ["chat/lobby", "synced/orders"].map(|topic| kept(&broker, topic));
    assert_eq!((after, retained(&broker, "chat/lobby")), before);
    assert_eq!(publish(&broker, "synced/orders", &json!(1))["offset"], 51);
    stop(broker);
}

#[test]
fn a_backup_of_a_broker_that_runs_is_whole_and_begins_other_epochs() {
    let home = tempfile::tempdir().unwrap();
    let from = home.path().join("data");
    let running = broker(&from);
    for n in 0..30 {
        publish(&running, "a", &json!(n));
    }
    let store = |arguments: &[&str]| ran_in(home.path(), &[&["store"], arguments].concat());
    let backed_up = store(&["backup", "copy"]);
    assert_eq!(backed_up.code, Some(0), "{}", backed_up.stderr);
    assert!(
        backed_up.stderr.contains("begin other epochs"),
        "{}",
        backed_up.stderr
    );
    let refused = store(&["backup", "copy"]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("is there already"),
        "{}",
        refused.stderr
    );
    let compacted = store(&["compact"]);
    assert_eq!(compacted.code, Some(1));
    assert!(
        compacted.stderr.contains("in use by process"),
        "{}",
        compacted.stderr
    );
    let checked = store(&["check"]);
    assert_eq!(
        (checked.code, checked.stdout[1].as_str()),
        (Some(0), "sound")
    );
    assert!(
        checked.stdout[0].contains("1 topic, 30 messages"),
        "{checked:?}"
    );
    let exported = store(&["export", "--topic", "b/#"]);
    assert_eq!((exported.code, exported.stdout.len()), (Some(0), 2));
    publish(&running, "a", &json!(30));
    let (original, _) = kept(&running, "a");
    stop(running);
    // What is there goes on in its epoch.
    let again = broker(&from);
    assert_eq!(kept(&again, "a").0["epoch"], original["epoch"]);
    stop(again);
    let copy = broker(&home.path().join("copy"));
    let (copied, _) = kept(&copy, "a");
    assert_ne!(copied["epoch"], original["epoch"]);
    let messages = |page: &Value, count: usize| -> Vec<Value> {
        let messages = page["messages"].as_array().unwrap();
        assert_eq!(messages.len(), count);
        messages
            .iter()
            .map(|message| json!([message["offset"], message["data"], message["time"]]))
            .collect()
    };
    assert_eq!(messages(&copied, 30)[..], messages(&original, 31)[..30]);
    stop(copy);
}

#[test]
fn damage_is_told_and_the_store_is_made_small_where_no_broker_runs() {
    let home = tempfile::tempdir().unwrap();
    filled(&home.path().join("data"));
    let store = |arguments: &[&str]| ran_in(home.path(), &[&["store"], arguments].concat());
    let compacted = store(&["compact"]);
    assert_eq!(compacted.code, Some(0), "{}", compacted.stderr);
    assert!(compacted.stdout[0].contains("before, "), "{compacted:?}");
    assert_eq!(store(&["check"]).code, Some(0));

    let file = home.path().join("data/store.db");
    let mut bytes = fs::read(&file).unwrap();
    let data = br#"{"n":17}"#;
    let at = bytes.windows(data.len()).position(|part| part == data);
    bytes[at.unwrap() + 5] = b'8';
    fs::write(&file, bytes).unwrap();
    let checked = store(&["check"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert_eq!(
        checked.stdout[0],
        "damaged: \"chat/lobby\", offset 18: what is there does not fit its checksum"
    );
    assert_eq!(checked.stderr, "fanfare: the store has 1 damage");
    let exported = store(&["export"]);
    assert_eq!(exported.code, Some(1));
    assert!(exported.stderr.contains("offset 18"), "{}", exported.stderr);
    let last = exported.stdout.last().unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["messages"], 50 + 51 - 18);

    for arguments in [
        &["check", "--path", "nowhere"][..],
        &["compact", "--path", "nowhere"],
        &["backup", "copy", "--path", "nowhere"],
        &["backup"],
        &["export", "--topic", "a/#/b"],
        &["import", "--epochs", "some"],
    ] {
        assert_eq!(store(arguments).code, Some(2), "{arguments:?}");
    }
    assert!(!home.path().join("nowhere").exists() && !home.path().join("copy").exists());
}

#[test]
fn a_pipe_that_closes_ends_an_export_and_a_pipe_feeds_an_import() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    filled(&data);
    let program = command(&[]).get_program().to_owned();
    let program = program.to_str().unwrap();
    let piped = std::process::Command::new("sh")
        .args(["-c", r#""$0" store export | head -n 1"#, program])
        .current_dir(home.path())
        .output()
        .unwrap();
    assert!(
        piped.status.success() && piped.stderr.is_empty(),
        "{piped:?}"
    );
    let piped = std::process::Command::new("sh")
        .args([
            "-c",
            r#""$0" store export | "$0" store import --path copy -"#,
            program,
        ])
        .current_dir(home.path())
        .output()
        .unwrap();
    assert!(piped.status.success(), "{piped:?}");
    let export = |path: &str| {
        let exported = ran(&["store", "export", "--path", path]).stdout;
        exported[1..].to_vec()
    };
    let copy = home.path().join("copy");
    assert_eq!(
        export(copy.to_str().unwrap()),
        export(data.to_str().unwrap())
    );
    let cut = std::process::Command::new("sh")
        .args([
            "-c",
            r#""$0" store export | head -n 9 | "$0" store import --path cut"#,
            program,
        ])
        .current_dir(home.path())
        .output()
        .unwrap();
    assert_eq!(cut.status.code(), Some(1));
    let told = String::from_utf8(cut.stderr).unwrap();
    assert!(told.contains("line 10: the export has no end"), "{told}");
    assert!(!home.path().join("cut/store.db").exists());
}
