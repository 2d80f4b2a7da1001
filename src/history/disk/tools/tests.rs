//! What goes out comes in again, and what is damaged is named.

mod copies;
mod damage;

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
fn a_line_that_is_wrong_is_named_and_nothing_is_left() {
    let first = r#"{"fanfare":"export","format":1,"time":1,"known_from":1,"epochs":"all"}"#;
    let a = r#"{"topic":"a","epoch":"e","newest":2,"oldest":1,"time":9,"lost_before":0,"durability":"written"}"#;
    let one = r#"{"topic":"a","offset":1,"time":5,"data":1}"#;
    let two = r#"{"topic":"a","offset":2,"time":9,"data":null}"#;
    let kept = r#"{"retained":true,"topic":"a","time":5,"data":1}"#;
    let end = r#"{"end":true,"topics":1,"messages":2,"retained":0,"once":0}"#;
    let good = [first, "", a, one, two, end];
    let to = tempfile::tempdir().unwrap();
    imported(&good.join("\n"), to.path()).unwrap();

    for (number, line, part) in [
        (1, "{}", "it is not the first line of an export"),
        (1, a, "it is not the first line of an export"),
        (1, &first.replace("t\":1", "t\":2"), "format 2"),
        (3, "{", "at column"),
        (3, "[1]", "column"),
        (3, "{\"topic\":\"a\"}", "it is none of"),
        (3, one, "after its topic"),
        (3, &a.replace("\"a\"", "\"a/#\""), "plain topic name"),
        (3, &a.replace("\"e\"", "\"\""), "epoch"),
        (3, &a.replace("written", "memory"), "durability"),
        (3, &a.replace("\"oldest\":1", "\"oldest\":4"), "oldest"),
        (3, &a.replace("\"oldest\":1", "\"oldest\":0"), "oldest"),
        (
            3,
            &a.replace("\"newest\":2", "\"newest\":9223372036854775807"),
            "oldest",
        ),
        (3, &a.replace("\"newest\":2", "\"newest\":-2"), "column"),
        (
            3,
            &a.replace("\"time\"", "\"tiem\""),
            "unknown field `tiem`",
        ),
        (4, two, "the offset is 2, and 1 is expected"),
        (4, &one.replace("\"a\"", "\"b\""), "after its topic"),
        (
            4,
            &one.replace("1}", "\"x\",\"encoding\":\"base64\"}"),
            "base64",
        ),
        (4, &one.replace("1}", "1,\"encoding\":\"text\"}"), "no text"),
        (4, &one.replace("1}", "1,\"encoding\":\"hex\"}"), "\"hex\""),
        (4, &one.replace("1}", "1,\"bytes_at\":[7]}"), "bytes_at"),
        (4, &one.replace("1}", "1,\"epoch\":\"e\"}"), "epoch"),
        (4, &one.replace("\"offset\":1,", ""), "has an offset"),
        (4, &kept.replace("true", "false"), "retained is true"),
        (
            4,
            &kept.replace("\"time\"", "\"offset\":1,\"time\""),
            "go together",
        ),
        (5, &two.replace('9', "4"), "the time"),
        (5, &two.replace('9', "10"), "the time"),
        (5, kept, "ends with offset 1, and should with 2"),
        (5, end, "ends with offset 1, and should with 2"),
        (6, a, "begun before"),
        (
            6,
            &two.replace("\"offset\":2", "\"offset\":3"),
            "2 is its newest",
        ),
        (
            6,
            &end.replace("\"messages\":2", "\"messages\":3"),
            "2 messages",
        ),
        (
            6,
            r#"{"once":"AA","body":"AA","topic":"a","time":1}"#,
            "32 bytes",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut lines = good;
        lines[number - 1] = line;
        let error = imported(&lines.join("\n"), directory.path()).unwrap_err();
        let told = error.to_string();
        // What a missing message makes wrong is told where that shows.
        let place = if line == kept { 6 } else { number };
        assert!(
            told.starts_with(&format!("line {place}: ")),
            "{line}: {told}"
        );
        assert!(told.contains(part), "{line}: {told}");
        assert_eq!(
            files(directory.path()),
            [""; 0].map(PathBuf::from),
            "{line}"
        );
    }
    for lines in [&good[..5], &good[..1], &[]] {
        let directory = tempfile::tempdir().unwrap();
        let error = imported(&lines.join("\n"), directory.path()).unwrap_err();
        assert!(error.to_string().contains("cut off"), "{error}");
        assert_eq!(files(directory.path()), [""; 0].map(PathBuf::from));
    }
    let after = [&good[..], &[end]].concat().join("\n");
    let directory = tempfile::tempdir().unwrap();
    let error = imported(&after, directory.path()).unwrap_err();
    assert!(error.to_string().starts_with("line 7: "), "{error}");
}

#[test]
fn nothing_is_imported_over_a_store() {
    let from = all_kinds();
    let (text, _) = exported(from.path(), None);
    let error = imported(&text, from.path()).unwrap_err();
    assert!(matches!(error, ToolError::Taken { .. }), "{error}");
    assert_eq!(exported(from.path(), None).0, text);
    // Nor beside the log of one.
    let to = tempfile::tempdir().unwrap();
    std::fs::write(schema::log(&schema::file(to.path())), "").unwrap();
    let error = imported(&text, to.path()).unwrap_err();
    assert!(matches!(error, ToolError::Taken { .. }), "{error}");
    // What an import left that was killed is no store.
    let to = tempfile::tempdir().unwrap();
    std::fs::write(to.path().join("store.db.partial"), "half").unwrap();
    imported(&text, to.path()).unwrap();
    assert_eq!(files(to.path()).len(), 1);
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
