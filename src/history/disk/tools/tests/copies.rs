//! Copies of stores that brokers go on with, or not, and stores made small.

use super::*;
use crate::model::Position;

fn backed_up(from: &Path, to: &Path, epochs: Option<Epochs>) -> Result<BackedUp, ToolError> {
    backup(&Source::open(from, "a test").unwrap(), to, epochs)
}

#[test]
fn a_copy_of_a_store_that_rests_goes_on_where_it_was() {
    let from = all_kinds();
    let to = tempfile::tempdir().unwrap();
    let to = to.path().join("copy");
    let done = backed_up(from.path(), &to, None).unwrap();
    assert!(!done.is_renewed && done.bytes > 4096);
    assert_eq!(files(&to), [schema::file(&to)]);
    assert_eq!(exported(&to, None).0, exported(from.path(), None).0);
    assert_eq!(checked(&to).1, [""; 0]);
    let mut old = Kept::begin(from.path(), T);
    let mut new = Kept::begin(&to, T);
    assert_eq!(new.epoch("chat/lobby"), old.epoch("chat/lobby"));
    assert_eq!(new.store.topics().len(), old.store.topics().len());

    drop(new);
    let error = backed_up(from.path(), &to, None).unwrap_err();
    assert!(matches!(error, ToolError::Taken { .. }), "{error}");
    assert_eq!(checked(&to).1, [""; 0]);
}

#[test]
fn a_copy_of_a_store_that_went_on_begins_other_epochs() {
    let from = tempfile::tempdir().unwrap();
    let mut kept = Kept::begin(from.path(), T);
    kept.open("s", WIDE, Durability::Synced);
    for name in ["s", "w"] {
        for n in 0..10 {
            kept.append(message(name, n), Retain::Leave, T);
        }
    }
    let to = tempfile::tempdir().unwrap();
    let copy = to.path().join("copy");
    let source = Source::open(from.path(), "a test").unwrap();
    assert!(source.is_live());
    // One moment, whatever comes after it.
    kept.append(message("w", 1), Retain::Leave, T);
    assert!(backup(&source, &copy, None).unwrap().is_renewed);
    drop(source);
    let (text, _) = exported(from.path(), None);
    assert!(text.contains(r#""epochs":"none""#));
    let import_dir = to.path().join("import");
    assert!(imported(&text, &import_dir).unwrap().is_renewed);
    let keep_dir = to.path().join("keep");
    let stands = backed_up(from.path(), &keep_dir, Some(Epochs::Keep)).unwrap();
    assert!(!stands.is_renewed);

    let later = Timestamp(T.0 + 9000);
    for (directory, newest, is_same) in [
        (&copy, 10, false),
        (&import_dir, 11, false),
        (&keep_dir, 11, true),
    ] {
        assert_eq!(checked(directory).1, [""; 0]);
        let mut other = Kept::begin(directory, later);
        for name in ["s", "w"] {
            let epoch = kept.epoch(name);
            let history = other.open(name, WIDE, Durability::Written);
            let expected = if name == "s" { 10 } else { newest };
            assert_eq!((history.oldest(), history.newest()), (1, expected));
            assert_eq!(history.epoch() == epoch, is_same, "{directory:?} {name}");
            let cursor = Position { epoch, offset: 3 };
            assert_eq!(history.recovers(cursor, later), is_same);
            assert_eq!(history.holds_since(T, later), is_same);
        }
        let all = Filter::new("#").unwrap();
        let remembers = other.store.remembers(&all, T, Durability::Written);
        assert_eq!(remembers, is_same);
        // Once.
        let epoch = other.epoch("w");
        drop(other);
        assert_eq!(Kept::begin(directory, later).epoch("w"), epoch);
    }
}

#[test]
fn a_store_is_looked_at_while_a_broker_writes_it_and_nothing_is_changed() {
    let from = tempfile::tempdir().unwrap();
    let mut kept = Kept::begin(from.path(), T);
    for n in 0..200 {
        kept.append(message("t", 100), Retain::Leave, Timestamp(T.0 + n));
        if n % 50 == 0 {
            let (found, damages) = checked(from.path());
            assert_eq!(damages, [""; 0]);
            assert_eq!(found.messages, n + 1);
        }
    }
    drop(kept);
    let before = std::fs::read(schema::file(from.path())).unwrap();
    checked(from.path());
    assert_eq!(std::fs::read(schema::file(from.path())).unwrap(), before);
    // A second look goes on beside the first, which is no broker.
    let first = Source::open(from.path(), "the first").unwrap();
    let second = Source::open(from.path(), "the second").unwrap();
    assert!(!first.is_live() && !second.is_live());
    let error = compact(from.path()).unwrap_err();
    assert!(error.to_string().contains("(the first)"), "{error}");
}

#[test]
fn a_store_that_is_made_small_has_no_free_room_and_says_the_same() {
    let from = all_kinds();
    let path = from.path();
    let mut kept = Kept::begin(path, T);
    for n in 0..400 {
        kept.append(message("big", 4000), Retain::Leave, Timestamp(T.0 + n));
    }
    let error = compact(path).unwrap_err();
    assert!(error.to_string().contains("in use by process"), "{error}");
    kept.open("big", WIDE, Durability::Written).clear().unwrap();
    kept.settle();
    drop(kept);
    let (text, _) = exported(path, None);
    let done = compact(path).unwrap();
    assert!(done.before > 1_000_000 && done.after < 200_000, "{done:?}");
    assert_eq!(files(path), [schema::file(path)]);
    assert_eq!(exported(path, None).0, text);
    let (found, damages) = checked(path);
    assert_eq!(damages, [""; 0]);
    assert_eq!((found.free, found.file), (0, done.after));
    let mut kept = Kept::begin(path, T);
    kept.append(message("big", 1), Retain::Leave, T);
    assert_eq!(
        kept.open("chat/lobby", WIDE, Durability::Written).newest(),
        7
    );
    drop(kept);
    // It still gives room back by itself.
    let conn = Connection::open(schema::file(path)).unwrap();
    let vacuum: i64 = conn
        .pragma_query_value(None, "auto_vacuum", |row| row.get(0))
        .unwrap();
    assert_eq!(vacuum, 2);
}

#[test]
fn a_store_that_cannot_be_made_small_stays_as_it_was() {
    let from = all_kinds();
    let path = from.path();
    let (text, _) = exported(path, None);
    let reader = Connection::open(schema::file(path)).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let count = "SELECT count(*) FROM message";
    let _many: i64 = reader.query_row(count, [], |row| row.get(0)).unwrap();
    let error = compact(path).unwrap_err();
    assert!(error.to_string().contains("locked"), "{error}");
    drop(reader);
    assert!(!path.join("store.db.partial").exists());
    assert_eq!(exported(path, None).0, text);
}
