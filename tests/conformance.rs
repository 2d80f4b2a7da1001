//! `docs/conformance.md` names the tests that hold what the other documents promise: each must be there.

use std::fs;
use std::path::Path;

/// A test, by the file that it stands in and what it is called there.
#[derive(Debug, PartialEq, Eq)]
struct Named<'a> {
    file: &'a str,
    test: &'a str,
}

/// The tests that a text names: `` `src/a.rs::a_test` ``, `` `tests/a.mjs` "a test" ``, or a script,
/// which is a test as a whole.
fn named(text: &str) -> Vec<Named<'_>> {
    let mut found = Vec::new();
    let mut pieces = text.split('`').skip(1);
    while let (Some(code), behind) = (pieces.next(), pieces.next().unwrap_or_default()) {
        let is_path = ["src/", "tests/", "benches/"]
            .iter()
            .any(|root| code.starts_with(root));
        let title = || behind.strip_prefix(" \"")?.split('"').next();
        match code.split_once("::") {
            Some((file, test)) if is_path => found.push(Named { file, test }),
            None if is_path => found.push(Named {
                file: code,
                test: title().unwrap_or_default(),
            }),
            _ => {}
        }
    }
    found
}

/// Whether a file has that test.
fn has(file: &str, text: &str, test: &str) -> bool {
    match Path::new(file).extension().and_then(|e| e.to_str()) {
        Some("rs") => has_function(text, test),
        Some("mjs") => {
            !test.is_empty()
                && ['"', '`']
                    .iter()
                    .any(|quote| text.contains(&format!("test({quote}{test}{quote},")))
        }
        Some("py") => test.is_empty(),
        _ => false,
    }
}

/// A function is a test by its attribute, or by standing in the list of a macro that makes tests.
fn has_function(text: &str, test: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_listed = || !test.is_empty() && text.contains("macro_rules!") && lines.contains(&test);
    let has_attribute = |place: usize| {
        let above = lines.iter().take(place).rev();
        above
            .take_while(|line| !line.is_empty() && !line.starts_with('}'))
            .any(|line| line.starts_with("#[") && line.ends_with("test]"))
    };
    let is_function = |line: &str| {
        let parts = line.split_once(test);
        parts.is_some_and(|(before, behind)| before.ends_with("fn ") && behind.starts_with('('))
    };
    let mut places = lines.iter().enumerate();
    places.any(|(place, line)| is_function(line) && has_attribute(place)) || is_listed()
}

/// The lines of the tables, without their heads: the statement, and what holds it.
fn rows(document: &str) -> Vec<(&str, &str)> {
    let lines: Vec<&str> = document.lines().collect();
    let is_head = |place: usize| lines.get(place + 1).is_some_and(|l| l.starts_with("| ---"));
    let rows = lines.iter().enumerate().filter(|(place, line)| {
        line.starts_with('|') && !line.starts_with("| ---") && !is_head(*place)
    });
    rows.map(|(_, line)| line.trim_end_matches([' ', '|']).rsplit_once(" | "))
        .map(|row| row.expect("a row has two cells"))
        .collect()
}

fn read(path: &str) -> std::io::Result<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
}

#[test]
fn every_test_that_the_table_names_is_there() {
    let document = read("docs/conformance.md").unwrap();
    let missing: Vec<_> = named(&document)
        .into_iter()
        .filter(|named| !read(named.file).is_ok_and(|text| has(named.file, &text, named.test)))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_statement_of_the_table_has_a_test() {
    let document = read("docs/conformance.md").unwrap();
    let rows = rows(&document);
    assert!(rows.len() > 100, "{}", rows.len());
    for (statement, held) in &rows {
        assert!(!named(held).is_empty(), "nothing holds: {statement}");
        assert!(named(statement).is_empty(), "{statement}");
    }
    // What is named stands in a table.
    let in_rows: usize = rows.iter().map(|(_, held)| named(held).len()).sum();
    assert_eq!(in_rows, named(&document).len());
}

#[test]
fn a_test_that_is_not_there_is_told() {
    let rust = "#[test]\nfn one() {\n    two();\n}\n\nfn two() {}\n\n#[test]\nfn one_more() {}\n";
    for (test, is_there) in [
        ("one", true),
        ("two", false),
        ("one_more", true),
        ("on", false),
        ("", false),
    ] {
        assert_eq!(has("src/a.rs", rust, test), is_there, "{test}");
    }
    let node = "test(\"it is so\", async () => {});\n// test is not so\n";
    for (test, is_there) in [
        ("it is so", true),
        ("it is", false),
        ("is not so", false),
        ("", false),
    ] {
        assert_eq!(has("tests/a.mjs", node, test), is_there, "{test}");
    }
    let text =
        "| a | b |\n| --- | --- |\n| it `is` | `src/a.rs::one`, `tests/a.mjs` \"it is so\" |\n";
    assert_eq!(rows(text).len(), 1);
    let expected = [
        Named {
            file: "src/a.rs",
            test: "one",
        },
        Named {
            file: "tests/a.mjs",
            test: "it is so",
        },
    ];
    assert_eq!(named(text), expected);
}
