//! Directories that a broker does not start on, and damaged ones that it does.

use std::path::Path;

use serde_json::json;

use crate::support::{Dice, Disk, Http, Mount, Process, Ran, held};

const CONFIG: &str = r#"
server.workers = 2
topic = [{ filter = "kept/#", history = { messages = 100000, bytes = "1GiB" }, durability = "synced" }]
"#;

/// It ends with 1, and names the place and what is wrong with it.
#[track_caller]
fn expect_refused(ran: &Ran, place: &Path, says: &[&str]) {
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let told = ran.stderr.to_lowercase();
    let place = place.to_str().unwrap().to_lowercase();
    assert!(told.contains(&place), "it names {place}: {told}");
    assert!(
        says.iter().any(|part| told.contains(part)),
        "any of {says:?}: {told}"
    );
    assert!(!told.contains("panicked"), "{told}");
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    // To the superuser everything is writable but what nobody may write.
    let mount = Mount::with("ro");
    let disk = match &mount {
        Some(mount) => Disk::at(mount.path(), CONFIG),
        None => Disk::new(CONFIG),
    };
    let mut rights = std::fs::metadata(disk.data()).unwrap().permissions();
    rights.set_readonly(true);
    if mount.is_none() {
        std::fs::set_permissions(disk.data(), rights).unwrap();
    }
    let says = ["read-only", "permission", "write"];
    expect_refused(&disk.start_in_vain(), &disk.data(), &says);
}

#[test]
fn a_directory_that_cannot_be_made_is_refused() {
    for place in ["/dev/null/data", "/proc/data"] {
        let disk = Disk::at(Path::new(place), CONFIG);
        expect_refused(
            &disk.start_in_vain(),
            Path::new(place),
            &["director", "create", "make"],
        );
    }
}

#[test]
fn a_directory_that_is_not_there_is_made() {
    let home = tempfile::tempdir().unwrap();
    let disk = Disk::at(&home.path().join("some/where"), CONFIG);
    let broker = disk.start();
    publish(&broker, "kept/a", 1);
    broker.crash();
    assert_eq!(held(disk.start().address, "kept/a", 0).len(), 1);
}

#[test]
fn of_two_brokers_on_one_directory_the_second_is_refused_and_the_first_unharmed() {
    let disk = Disk::new(CONFIG);
    let first = disk.start();
    publish(&first, "kept/a", 1);
    for _ in 0..2 {
        expect_refused(
            &disk.start_in_vain(),
            &disk.data(),
            &["use", "lock", "another"],
        );
        publish(&first, "kept/a", 1);
    }
    // It is the process that has it, not what it left behind.
    first.crash();
    let second = disk.start();
    publish(&second, "kept/a", 1);
    assert_eq!(held(second.address, "kept/a", 0).len(), 4);
}

/// Writes there in the header of the store's file, which is `SQLite`'s (<https://sqlite.org/fileformat.html>,
/// 1.3), at rest.
fn rewrite_header(disk: &Disk, at: usize, number: u32) {
    let file = disk.data().join("store.db");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
    std::fs::write(file, bytes).unwrap();
}

/// What stands in all files, without the one that says who was here.
fn contents(disk: &Disk) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let files = disk.files().into_iter();
    let files = files.filter(|(path, size)| *size > 0 && !path.ends_with("lock"));
    let mut contents: Vec<_> = files
        .map(|(path, _)| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    contents.sort();
    contents
}

#[test]
fn a_store_of_a_newer_format_and_a_file_of_somebody_elses_are_refused_and_left_as_they_are() {
    const USER_VERSION: usize = 60;
    const APPLICATION: usize = 68;
    for (at, number, says) in [
        (USER_VERSION, 1000, "format 1000"),
        (APPLICATION, 7, "no store"),
    ] {
        let disk = Disk::new(CONFIG);
        let broker = disk.start();
        publish(&broker, "kept/a", 3);
        broker.stop();
        let before = std::fs::read(disk.data().join("store.db")).unwrap();
        rewrite_header(&disk, at, number);
        let spoilt = contents(&disk);
        for _ in 0..2 {
            expect_refused(&disk.start_in_vain(), &disk.data(), &[says]);
        }
        assert_eq!(contents(&disk), spoilt, "nothing of it was changed");
        // Who knows that format finds all of it.
        std::fs::write(disk.data().join("store.db"), before).unwrap();
        assert_eq!(held(disk.start().address, "kept/a", 0).len(), 3);
    }
}

fn publish(broker: &Process, topic: &str, count: usize) {
    for _ in 0..count {
        let path = format!("/v1/topics/{topic}/messages");
        let answer = Http::new(broker.address, "POST", &path)
            .json(&json!("x"))
            .send();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// Topics with messages, of which every one can be told from every other.
const TOPICS: usize = 20;
const EACH: usize = 50;

fn topic(number: usize) -> String {
    format!("kept/{number}")
}

fn message(topic: usize, number: usize) -> String {
    let letter = char::from(b'a' + (number % 26) as u8).to_string();
    format!(
        "message {topic}-{number}-{}",
        letter.repeat(100 + topic * 10)
    )
}

/// A disk with that many messages of that many topics, at rest.
fn filled() -> Disk {
    let disk = Disk::new(CONFIG);
    let broker = disk.start();
    for number in 0..EACH {
        let batch: Vec<_> = (0..TOPICS)
            .map(|t| json!({"topic": topic(t), "data": message(t, number)}))
            .collect();
        let answer = Http::new(broker.address, "POST", "/v1/publish")
            .json(&json!(batch))
            .send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()[0]["offset"], number + 1);
    }
    broker.stop();
    disk
}

/// A copy to be spoilt.
fn copy(disk: &Disk) -> Disk {
    let other = Disk::new(CONFIG);
    for (path, _) in disk.files() {
        let to = other.data().join(path.strip_prefix(disk.data()).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(path, to).unwrap();
    }
    other
}

/// What a broker makes of a damaged directory.
#[derive(Debug, Default)]
struct Made {
    refused: bool,
    whole: usize,
    told: String,
    errors: u64,
}

/// Starts on it: nothing that is shown is wrong, everything goes on, and what is missing is told. Where
/// nothing at all can be read it does not start, and says what to do.
#[track_caller]
fn make_of(disk: &Disk, what: &str) -> Made {
    let mut made = Made::default();
    let broker = match disk.try_start() {
        Ok(broker) => broker,
        Err(told) => {
            assert!(
                told.contains(disk.data().to_str().unwrap()),
                "{what}: {told}"
            );
            let says = ["fanfare store", "backup"]
                .iter()
                .any(|part| told.contains(part));
            assert!(says, "{what}: it says what to do: {told}");
            made.refused = true;
            return made;
        }
    };
    for t in 0..TOPICS {
        let found = held(broker.address, &topic(t), 0);
        for found in &found {
            let number = usize::try_from(found.offset).unwrap() - 1;
            assert_eq!(found.data, message(t, number), "{what}: {}", topic(t));
        }
        made.whole += usize::from(found.len() == EACH);
    }
    // Every topic goes on, damaged ones behind what anybody may have seen or in another epoch.
    for t in 0..TOPICS {
        publish(&broker, &topic(t), 1);
    }
    made.errors = broker.metric("fanfare_store_errors_total");
    made.told = broker.stop().to_lowercase();
    assert!(!made.told.contains("panicked"), "{what}: {}", made.told);
    if made.whole < TOPICS {
        let words = ["damage", "corrupt", "checksum", "malformed"];
        let is_told = words.iter().any(|word| made.told.contains(word));
        assert!(is_told, "{what}, not told: {}", made.told);
        assert!(made.errors >= 1, "{what}, not counted");
    }
    made
}

#[test]
fn a_byte_that_was_changed_is_never_shown_but_told_and_the_rest_serves() {
    let disk = filled();
    // In the middle of what a message says: it is certain that it is damaged.
    let marked = message(7, 23);
    let spoilt = copy(&disk);
    let mut hits = 0;
    for (path, _) in spoilt.files() {
        let mut bytes = std::fs::read(&path).unwrap();
        let pattern = &marked.as_bytes()[..40];
        let places: Vec<_> = (0..bytes.len().saturating_sub(40))
            .filter(|at| &bytes[*at..*at + 40] == pattern)
            .collect();
        hits += places.len();
        for at in places {
            bytes[at + 20] ^= 0x10;
        }
        std::fs::write(&path, bytes).unwrap();
    }
    assert!(hits >= 1, "messages are kept as they are");
    let made = make_of(&spoilt, "a message");
    assert_eq!(made.whole, TOPICS - 1, "{made:?}");
    assert!(made.told.contains(&topic(7)), "it is named: {}", made.told);
    // What was set aside is told, and serves, the next time too.
    let broker = spoilt.start();
    assert!(held(broker.address, &topic(8), 0).len() > EACH);
    // Anywhere.
    let mut dice = Dice::told();
    let (mut whole, mut refused) = (0, 0);
    let tries = 20;
    for _ in 0..tries {
        let spoilt = copy(&disk);
        let files: Vec<_> = spoilt
            .files()
            .into_iter()
            .filter(|(_, size)| *size > 0)
            .collect();
        let (path, size) = dice.pick(&files);
        let mut bytes = std::fs::read(path).unwrap();
        let at = dice.below(usize::try_from(*size).unwrap());
        bytes[at] ^= 1 << dice.below(8);
        std::fs::write(path, bytes).unwrap();
        let what = format!("byte {at} of {}", path.display());
        let made = make_of(&spoilt, &what);
        whole += made.whole;
        refused += usize::from(made.refused);
    }
    assert!(refused * 5 <= tries, "{refused} of {tries} refused");
    println!(
        "{refused} refused, {whole} of {} topics whole",
        tries * TOPICS
    );
    assert!(
        whole * 10 >= tries * TOPICS * 6,
        "{whole} of {}",
        tries * TOPICS
    );
}

#[test]
fn a_file_that_was_cut_off_is_told_and_what_is_left_is_right() {
    let disk = filled();
    let mut dice = Dice::told();
    for _ in 0..5 {
        let spoilt = copy(&disk);
        let (path, size) = spoilt.files()[0].clone();
        let length = dice.below(usize::try_from(size).unwrap());
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(length as u64).unwrap();
        make_of(
            &spoilt,
            &format!("{} cut off at {length} of {size}", path.display()),
        );
    }
}
