//! Checks of what checks: made-up profiles, and figures that differ. A bench has no test harness, so this is a command of its own, and
//! runs before each check.

use std::io;

use crate::callgrind::{Counts, read};
use crate::cases::{CASES, Case};
use crate::figures::{Figure, Figures};
use crate::report::Report;

/// As callgrind writes it: names once and then by their numbers, costs by lines, and what was spent below a call.
const PROFILE: &str = "\
version: 1
cmd: /program count x
positions: line
events: Ir

ob=(1) /program
fl=(1) main.rs
fn=(1) fanfare::encode
16 400
+3 5
cob=(2) /lib/libc.so.6
cfi=(2) malloc.c
cfn=(2) malloc
calls=3 12
* 90
cfn=(3) fanfare::other
calls=1 12
* 1000

fn=(3)
7 1000

ob=(2)
fl=(2)
fn=(2)
12 60
cfn=(4) realloc
calls=2 1
12 30

fn=(4)
+1 30

totals: 1495
";

pub fn run() -> io::Result<()> {
    assert_eq!(
        read(PROFILE, "/program"),
        Counts {
            program: 1405,
            library: 90,
            allocations: 3
        },
        "a profile's own costs are summed by where they were spent"
    );
    let figure = usual();
    let mut known = Figures::default();
    for case in CASES {
        known.set(case.name, figure);
    }
    let read_again = Figures::parse(&known.text()).map_err(io::Error::other)?;
    assert_eq!(read_again, known, "figures are read as they were written");
    assert!(Figures::parse("a 1 2").is_err(), "half a line is no figure");

    let (first, rest) = CASES.split_first().unwrap();
    let report_of = |figure: Option<Figure>| -> (bool, String) {
        let first = figure.map(|figure| (first, figure));
        let rest = rest.iter().map(|case: &Case| (case, usual()));
        let counted: Vec<(&Case, Figure)> = first.into_iter().chain(rest).collect();
        let report = Report::new(&known, &counted, true);
        (report.is_unchanged(), report.to_string())
    };
    for (instructions, allocations, library, is_unchanged) in [
        (1000.0, 2.0, 400.0, true),
        (1029.0, 2.05, 490.0, true),
        (971.0, 2.0, 310.0, true),
        (1031.0, 2.0, 400.0, false),
        (969.0, 2.0, 400.0, false),
        (1000.0, 3.0, 400.0, false),
        (1000.0, 2.0, 510.0, false),
    ] {
        let (told, text) = report_of(Some(Figure {
            instructions,
            allocations,
            library,
        }));
        assert_eq!(told, is_unchanged, "{text}");
        assert_eq!(text.contains("scripts/instructions accept"), !is_unchanged);
        let named = text
            .lines()
            .any(|line| line.starts_with(&format!("{}: ", first.name)));
        assert_eq!(named, !is_unchanged, "{text}");
    }
    assert!(!report_of(None).0, "a case that is gone is told");
    let none = Figures::default();
    let report = Report::new(&none, &[(first, figure)], true);
    assert!(!report.is_unchanged(), "a case without a figure is told");
    Ok(())
}

fn usual() -> Figure {
    Figure {
        instructions: 1000.0,
        allocations: 2.0,
        library: 400.0,
    }
}
