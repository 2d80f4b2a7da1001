//! What cannot be imported, and where.

use super::*;

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
