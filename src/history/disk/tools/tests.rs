//! What goes out comes in again, and what is damaged is named.

mod copies;
mod damage;
mod refused;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::history::contract::{WIDE, message, topic};
use crate::history::disk::{DiskStore, Settings, schema};
use crate::history::{Beside, Bounds, History, HistoryStore, News, Once, Retain, Terms, Told};
use crate::model::{Durability, Epoch, Filter, Message, Payload, Timestamp};

const T: Timestamp = Timestamp(1_000_000);

/// A store in a directory, and the topics of it that are open.
struct Kept {
    open: HashMap<String, Box<dyn History>>,
    news: Arc<News>,
    store: DiskStore,
}

impl Kept {
    fn begin(directory: &Path, now: Timestamp) -> Self {
        let settings = Settings {
            directory: directory.to_owned(),
            memory: usize::MAX,
            queue: usize::MAX / 2,
            window: Duration::from_secs(60),
            most_once: 1000,
            metrics: None,
        };
        let random = || getrandom::u64().unwrap();
        Self {
            open: HashMap::new(),
            news: News::new(),
            store: DiskStore::begin(&settings, random, now).unwrap(),
        }
    }

    fn open(&mut self, name: &str, bounds: Bounds, durability: Durability) -> &mut dyn History {
        let (store, news) = (&self.store, &self.news);
        let terms = Terms { bounds, durability };
        let open = || store.open(&topic(name), terms, news).unwrap();
        &mut **self.open.entry(name.to_owned()).or_insert_with(open)
    }

    fn append(&mut self, message: Message, beside: impl Into<Beside>, now: Timestamp) {
        let name = message.topic.as_str().to_owned();
        let history = self.open(&name, WIDE, Durability::Written);
        history.append(message, beside.into(), now).unwrap();
        self.settle();
    }

    /// Waits until the disk has everything.
    fn settle(&mut self) {
        let begun = Instant::now();
        while self.store.shared.queue.bytes() > 0 {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "the disk is slow"
            );
            std::thread::yield_now();
        }
        for told in self.news.take() {
            if let Told::Settled(ticket) = told {
                for history in self.open.values_mut() {
                    history.settle(ticket);
                }
            }
        }
    }

    fn epoch(&mut self, name: &str) -> Epoch {
        self.open(name, WIDE, Durability::Written).epoch()
    }
}

/// A directory with a store of every kind of record.
fn all_kinds() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut kept = Kept::begin(directory.path(), T);
    let of = |payload: Payload| Message {
        payload,
        user: Some("Zoë \"z\"".into()),
        key: Some("k\n".into()),
        ..message("chat/lobby", 0)
    };
    let json = r#"{"a":[1.50,"\n","AAE="],"b":12345678901234567890123}"#.to_owned();
    let place = u32::try_from(json.find("\"AAE").unwrap()).unwrap();
    for payload in [
        Payload::json_with_bytes(json, vec![place]),
        Payload::json(b"null").unwrap(),
        Payload::text("line\u{2028}\u{0}\"\\\n"),
        Payload::text(""),
        Payload::binary(Bytes::from_static(b"\x00\xff\n")),
        Payload::binary(Bytes::new()),
    ] {
        kept.append(of(payload), Retain::Leave, T);
    }
    let once = Once {
        name: [1; 32],
        body: [2; 32],
    };
    let beside = Beside {
        retain: Retain::Set,
        once: Some(once),
    };
    kept.append(message("chat/lobby", 3), beside, Timestamp(T.0 + 5));

    let few = Bounds {
        messages: 2,
        ..WIDE
    };
    kept.open("trimmed", few, Durability::Synced);
    for n in 0..5 {
        kept.append(message("trimmed", n), Retain::Leave, Timestamp(T.0 + 10));
    }
    kept.append(message("cleared", 9), Retain::Set, T);
    kept.open("cleared", WIDE, Durability::Written)
        .clear()
        .unwrap();
    kept.settle();
    kept.append(message("cleared", 1), Retain::Leave, T);
    kept.append(message("emptied", 1), Retain::Leave, T);
    let old = Bounds {
        age: Some(Duration::from_millis(5)),
        ..WIDE
    };
    let terms = Terms {
        bounds: old,
        durability: Durability::Written,
    };
    let emptied = kept.open("emptied", WIDE, Durability::Written);
    emptied.rebound(terms, Timestamp(T.0 + 100));
    emptied.trim(Timestamp(T.0 + 100));
    kept.settle();

    let news = Arc::clone(&kept.news);
    let mut live = kept
        .store
        .open_retained(&topic("live"), Durability::Written, &news)
        .unwrap();
    let given = Arc::new(message("live", 4));
    live.set(
        Some(given),
        Some(Once {
            body: [9; 32],
            ..once
        }),
    )
    .unwrap();
    kept.settle();
    drop(live);
    directory
}

fn exported(directory: &Path, filter: Option<&str>) -> (String, Vec<Damage>) {
    let source = Source::open(directory, "a test").unwrap();
    let filter = filter.map(|filter| Filter::new(filter).unwrap());
    let (mut out, mut damages) = (Vec::new(), Vec::new());
    let mut tell = |damage: &Damage| damages.push(damage.clone());
    let now = Timestamp(T.0 + 1000);
    let done = export(&source, filter.as_ref(), now, &mut out, &mut tell).unwrap();
    assert_eq!(done.damages, damages.len() as u64);
    (String::from_utf8(out).unwrap(), damages)
}

fn checked(directory: &Path) -> (Checked, Vec<String>) {
    let source = Source::open(directory, "a test").unwrap();
    let mut damages = Vec::new();
    let found = check(&source, &mut |damage| damages.push(damage.to_string())).unwrap();
    assert_eq!(found.damages, damages.len() as u64);
    (found, damages)
}

fn imported(text: &str, directory: &Path) -> Result<Imported, ToolError> {
    import(directory, &mut text.as_bytes(), None, Timestamp(T.0 + 2000))
}

/// What of a directory's store is there, lock and watermark left out.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| !path.ends_with("lock") && !path.ends_with("watermark"))
        .collect()
}

#[test]
fn what_goes_out_comes_in_the_same() {
    let from = all_kinds();
    let (text, damages) = exported(from.path(), None);
    assert!(damages.is_empty());
    let (whole, _) = checked(from.path());
    assert_eq!(
        (whole.topics, whole.messages, whole.retained, whole.once),
        (5, 10, 2, 2)
    );

    let to = tempfile::tempdir().unwrap();
    let to = to.path().join("new/store");
    let done = imported(&text, &to).unwrap();
    assert_eq!(
        (done.topics, done.messages, done.retained, done.once),
        (5, 10, 2, 2)
    );
    assert!(!done.is_renewed);
    assert_eq!(files(&to), [schema::file(&to)]);
    assert_eq!(exported(&to, None).0, text);
    let (found, damages) = checked(&to);
    assert_eq!(damages, [""; 0]);
    assert_eq!((found.messages, found.bytes), (whole.messages, whole.bytes));

    // A broker goes on with it as with the first.
    let now = Timestamp(T.0 + 3000);
    let mut old = Kept::begin(from.path(), now);
    let mut new = Kept::begin(&to, now);
    for name in ["chat/lobby", "trimmed", "cleared", "emptied"] {
        let old = old.open(name, WIDE, Durability::Written);
        let new = new.open(name, WIDE, Durability::Written);
        assert_eq!(new.epoch(), old.epoch(), "{name}");
        assert_eq!(
            (new.newest(), new.oldest(), new.len(), new.bytes()),
            (old.newest(), old.oldest(), old.len(), old.bytes()),
            "{name}"
        );
        for from in [0, 5, 10, 11, 100, 101] {
            let from = Timestamp(T.0 + from);
            assert_eq!(
                new.holds_since(from, now),
                old.holds_since(from, now),
                "{name} {from:?}"
            );
        }
        let retained = |history: &dyn History| {
            let message = history.retained()?;
            Some((message.payload.clone(), message.position, message.time))
        };
        assert_eq!(retained(new), retained(old), "{name}");
    }
    assert_eq!(new.store.once(), old.store.once());
    new.append(message("trimmed", 1), Retain::Leave, T);
    let trimmed = new.open("trimmed", WIDE, Durability::Written);
    assert_eq!(trimmed.newest(), 6);
}

#[test]
fn lines_are_as_the_protocol_has_them() {
    let from = all_kinds();
    let (text, _) = exported(from.path(), Some("chat/#"));
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["fanfare"], "export");
    assert_eq!(lines[0]["epochs"], "all");
    assert_eq!(lines[0]["filter"], "chat/#");
    assert_eq!(lines[1]["topic"], "chat/lobby");
    assert_eq!(
        (&lines[1]["oldest"], &lines[1]["newest"]),
        (&1.into(), &7.into())
    );
    assert_eq!(lines[1]["durability"], "written");
    let first = text.lines().nth(2).unwrap();
    assert_eq!(
        first,
        r#"{"topic":"chat/lobby","offset":1,"time":1000000,"data":{"a":[1.50,"\n","AAE="],"b":12345678901234567890123},"bytes_at":[16],"user":"Zoë \"z\"","key":"k\n"}"#
    );
    assert_eq!(lines[3]["data"], serde_json::Value::Null);
    assert_eq!(lines[4]["encoding"], "text");
    assert_eq!(lines[6]["encoding"], "base64");
    assert_eq!(lines[6]["data"], "AP8K");
    assert_eq!(lines[9]["retained"], true);
    assert_eq!(lines[9]["epoch"], lines[1]["epoch"]);
    assert_eq!(lines[9]["offset"], 7);
    assert_eq!(lines[10]["topic"], "chat/lobby");
    assert_eq!(lines[11]["end"], true);
    assert_eq!(lines.len(), 12);
    // Of the other topics a store that is made of this knows nothing.
    let to = tempfile::tempdir().unwrap();
    imported(&text, to.path()).unwrap();
    let kept = Kept::begin(to.path(), Timestamp(T.0 + 5000));
    let all = Filter::new("#").unwrap();
    let remembers = |from| {
        kept.store
            .remembers(&all, Timestamp(from), Durability::Written)
    };
    assert!(!remembers(T.0 + 999) && remembers(T.0 + 1000));
}

#[test]
fn where_there_is_no_store_that_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let none = |result: Result<(), ToolError>| {
        assert!(
            matches!(result, Err(ToolError::NoStore { .. })),
            "{result:?}"
        );
    };
    none(Source::open(directory.path(), "a test").map(|_| ()));
    none(compact(directory.path()).map(|_| ()));
    none(Source::open(&directory.path().join("nowhere"), "a test").map(|_| ()));
    assert!(files(directory.path()).is_empty());
    let file = schema::file(directory.path());
    std::fs::write(&file, "").unwrap();
    none(Source::open(directory.path(), "a test").map(|_| ()));
    none(compact(directory.path()).map(|_| ()));
    Connection::open(&file)
        .unwrap()
        .execute_batch("CREATE TABLE x(y)")
        .unwrap();
    let error = Source::open(directory.path(), "a test").err().unwrap();
    assert!(
        error.to_string().contains("no store of fanfare's"),
        "{error}"
    );
    std::fs::write(&file, "x".repeat(5000)).unwrap();
    let error = Source::open(directory.path(), "a test").err().unwrap();
    assert!(error.to_string().contains("not a database"), "{error}");
}
