//! Damage of every kind, and what is told of it.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;

use super::*;
use crate::history::contract::ALL;

/// A store of two topics of a hundred messages each, on many pages.
fn two_topics() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut kept = Kept::begin(directory.path(), T);
    for n in 0..100 {
        for name in ["a", "b"] {
            let beside = if n == 50 { Retain::Set } else { Retain::Leave };
            let now = Timestamp(T.0 + n);
            kept.append(message(name, 300), beside, now);
        }
    }
    directory
}

fn change(directory: &Path, sql: &str) {
    let conn = Connection::open(schema::file(directory)).unwrap();
    let changed = conn.execute(sql, []).unwrap();
    assert!(changed > 0, "{sql}");
}

/// One byte of what that query finds is another.
fn flip(directory: &Path, table: &str, condition: &str) {
    let conn = Connection::open(schema::file(directory)).unwrap();
    let select = format!("SELECT body FROM {table} WHERE {condition}");
    let mut body: Vec<u8> = conn.query_row(&select, [], |row| row.get(0)).unwrap();
    let last = body.len() - 1;
    body[last] ^= 1;
    let update = format!("UPDATE {table} SET body = ?1 WHERE {condition}");
    assert_eq!(conn.execute(&update, [body]).unwrap(), 1);
}

fn topic_lines(text: &str) -> Vec<(String, u64, u64)> {
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let topics = lines.filter(|line: &serde_json::Value| line.get("newest").is_some());
    let number = |line: &serde_json::Value, name: &str| line[name].as_u64().unwrap();
    topics
        .map(|line| {
            let name = line["topic"].as_str().unwrap().to_owned();
            (name, number(&line, "oldest"), number(&line, "newest"))
        })
        .collect()
}

#[test]
fn a_flipped_byte_of_a_message_is_named_and_what_is_after_it_is_exported() {
    let directory = two_topics();
    let path = directory.path();
    assert_eq!(checked(path).1, [""; 0]);
    for offset in [7, 8, 40] {
        flip(path, "message", &format!("topic = 1 AND offset = {offset}"));
    }
    let (found, damages) = checked(path);
    let what = "what is there does not fit its checksum";
    assert_eq!(
        damages,
        [
            format!("\"a\", offsets 7 to 8: {what}"),
            format!("\"a\", offset 40: {what}"),
        ]
    );
    assert_eq!((found.topics, found.messages), (2, 197));
    let (text, told) = exported(path, None);
    assert_eq!(told.len(), 2);
    assert_eq!(
        topic_lines(&text),
        [("a".to_owned(), 41, 100), ("b".to_owned(), 1, 100)]
    );
    let to = tempfile::tempdir().unwrap();
    imported(&text, to.path()).unwrap();
    assert_eq!(checked(to.path()).1, [""; 0]);
    let mut kept = Kept::begin(to.path(), Timestamp(T.0 + 200));
    let a = kept.open("a", WIDE, Durability::Written);
    let now = Timestamp(T.0 + 200);
    assert_eq!((a.oldest(), a.newest()), (41, 100));
    assert!(!a.holds_since(Timestamp(T.0 + 39), now) && a.holds_since(Timestamp(T.0 + 41), now));
}

#[test]
fn a_history_whose_newest_message_is_damaged_is_exported_empty_and_does_not_give_its_offset_again()
{
    let directory = two_topics();
    flip(directory.path(), "message", "topic = 2 AND offset = 100");
    let (text, _) = exported(directory.path(), Some("b"));
    assert_eq!(topic_lines(&text), [("b".to_owned(), 101, 100)]);
    let to = tempfile::tempdir().unwrap();
    imported(&text, to.path()).unwrap();
    let mut kept = Kept::begin(to.path(), Timestamp(T.0 + 200));
    let b = kept.open("b", WIDE, Durability::Written);
    assert_eq!((b.newest(), b.len()), (100, 0));
    assert!(!b.holds_since(Timestamp(T.0 + 99), Timestamp(T.0 + 200)));
}

#[test]
fn holes_moved_messages_and_ends_that_do_not_fit_are_named() {
    let directory = two_topics();
    let path = directory.path();
    change(
        path,
        "DELETE FROM message WHERE topic = 1 AND offset BETWEEN 20 AND 24",
    );
    change(path, "DELETE FROM message WHERE topic = 1 AND offset > 98");
    change(
        path,
        "UPDATE message SET time = time + 1 WHERE topic = 2 AND offset = 5",
    );
    let (_, damages) = checked(path);
    assert_eq!(
        damages,
        [
            "\"a\", offsets 20 to 24: missing",
            "\"a\", offsets 99 to 100: missing",
            "\"b\", offset 5: what is there does not fit its checksum",
        ]
    );
    // A record of an earlier moment.
    let directory = two_topics();
    let path = directory.path();
    let conn = Connection::open(schema::file(path)).unwrap();
    let row: Vec<u8> = conn
        .query_row("SELECT body FROM topic WHERE id = 1", [], |row| row.get(0))
        .unwrap();
    drop(conn);
    let mut kept = Kept::begin(path, T);
    kept.append(message("a", 1), Retain::Leave, Timestamp(T.0 + 200));
    drop(kept);
    let conn = Connection::open(schema::file(path)).unwrap();
    conn.execute("UPDATE topic SET body = ?1 WHERE id = 1", [row])
        .unwrap();
    assert_eq!(
        checked(path).1,
        ["\"a\", offset 101: the topic's record ends before them"]
    );
}

#[test]
fn damaged_records_of_topics_retained_messages_and_keys_are_named() {
    let directory = two_topics();
    let path = directory.path();
    let mut kept = Kept::begin(path, T);
    let once = Once {
        name: [1; 32],
        body: [2; 32],
    };
    let beside = Beside {
        once: Some(once),
        ..Beside::default()
    };
    kept.append(message("b", 1), beside, Timestamp(T.0 + 200));
    drop(kept);
    flip(path, "topic", "id = 1");
    flip(path, "retained", "topic = 2");
    flip(path, "once", "seq = 1");
    let (found, damages) = checked(path);
    let what = "what is there does not fit its checksum";
    assert_eq!(
        damages,
        [
            format!("the topic 1: {what}; with it go its messages, offsets 1 to 100"),
            format!("\"b\", the retained message: {what}"),
            format!("the idempotency key 1: {what}"),
        ]
    );
    assert_eq!(
        (found.topics, found.messages, found.retained, found.once),
        (1, 101, 0, 0)
    );
    let (text, told) = exported(path, None);
    assert_eq!(told.len(), 3);
    assert_eq!(topic_lines(&text), [("b".to_owned(), 1, 101)]);

    change(path, "DELETE FROM topic WHERE id = 1");
    let (_, damages) = checked(path);
    assert_eq!(
        damages.last().unwrap(),
        "the idempotency key 1: what is there does not fit its checksum"
    );
    assert!(
        damages.contains(
            &"the topic 1: its record is missing; with it go its messages, offsets 1 to 100"
                .to_owned()
        ),
        "{damages:?}"
    );
}

#[test]
fn a_page_that_cannot_be_read_is_named_by_what_was_on_it() {
    let directory = two_topics();
    let path = directory.path();
    let file = schema::file(path);
    let mut pages = Vec::new();
    let bytes = std::fs::read(&file).unwrap();
    for (number, page) in bytes.chunks(4096).enumerate() {
        // A leaf of a table, with messages on it.
        if number > 0 && page[0] == 13 && page.windows(20).any(|part| part == [7; 20]) {
            pages.push(number);
        }
    }
    assert!(pages.len() > 10, "{}", pages.len());
    let opened = OpenOptions::new().write(true).open(&file).unwrap();
    let at = (pages[pages.len() / 2] * 4096) as u64;
    opened.write_all_at(&[0xff; 16], at).unwrap();
    drop(opened);
    let (found, damages) = checked(path);
    assert!(damages[0].starts_with("the file: "), "{damages:?}");
    // They were published in turns, so that a page has messages of both.
    for topic in ["\"a\"", "\"b\""] {
        let is_named = |damage: &&String| {
            damage.starts_with(topic) && damage.ends_with("a page of the file cannot be read")
        };
        assert_eq!(damages.iter().filter(is_named).count(), 1, "{damages:?}");
    }
    assert!(found.messages > 170 && found.messages < 200, "{found:?}");
    let (text, _) = exported(path, None);
    let to = tempfile::tempdir().unwrap();
    imported(&text, to.path()).unwrap();
    assert_eq!(checked(to.path()).1, [""; 0]);
}

/// What is set aside, as it is written out.
fn aside(directory: &Path) -> (String, Vec<String>) {
    let source = Source::open(directory, "a test").unwrap();
    let (mut out, mut damages) = (Vec::new(), Vec::new());
    let mut tell = |damage: &Damage| damages.push(damage.to_string());
    export_aside(&source, None, T, &mut out, &mut tell).unwrap();
    (String::from_utf8(out).unwrap(), damages)
}

fn messages_of(text: &str, name: &str) -> Vec<u64> {
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let messages = lines.filter(|line: &serde_json::Value| {
        line["topic"] == name && line.get("data").is_some() && line.get("retained").is_none()
    });
    messages
        .map(|line| line["offset"].as_u64().unwrap())
        .collect()
}

#[test]
fn what_an_export_leaves_out_though_it_is_whole_is_written_out_apart() {
    let directory = two_topics();
    let path = directory.path();
    flip(path, "message", "topic = 1 AND offset = 7");
    flip(path, "topic", "id = 2");
    let expected: Vec<u64> = (1..=6).collect();
    let all: Vec<u64> = (1..=100).collect();
    // Before a broker has found it, and after that.
    for round in 0..3 {
        let (text, _) = aside(path);
        assert!(text.starts_with(r#"{"fanfare":"aside""#), "{text}");
        assert_eq!(messages_of(&text, "a"), expected);
        assert_eq!(messages_of(&text, "unknown/2"), all);
        assert!(!text.contains(r#""retained":true"#), "{text}");
        let to = tempfile::tempdir().unwrap();
        let refused = imported(&text, to.path()).unwrap_err().to_string();
        assert!(refused.contains("line 1"), "{refused}");
        let (found, damages) = checked(path);
        assert_eq!(found.messages, if round == 0 { 99 } else { 93 });
        assert_eq!(found.aside, if round == 0 { 0 } else { 6 });
        assert!(!damages.is_empty());
        let mut kept = Kept::begin(path, T);
        let a = kept.open("a", WIDE, Durability::Written);
        if round == 0 {
            let _asked = a.read(0, ALL, T);
            find(&mut kept, "a");
        }
        assert_eq!(kept.open("a", WIDE, Durability::Written).oldest(), 8);
    }
    // Of a topic that has no name nothing is left then.
    compact(path).unwrap();
    assert_eq!(checked(path).1, [""; 0]);
    let (text, damages) = aside(path);
    assert_eq!(messages_of(&text, "a"), expected);
    assert!(!text.contains("unknown") && damages.is_empty(), "{text}");
}

/// Waits until the topic begins after what is damaged.
fn find(kept: &mut Kept, name: &str) {
    let begun = Instant::now();
    while kept.open[name].oldest() == 1 {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "nothing is found"
        );
        for told in kept.news.take() {
            let history = kept.open.get_mut(name).unwrap();
            crate::history::contract::heed(&mut **history, told, T);
        }
        std::thread::yield_now();
    }
    kept.settle();
}
