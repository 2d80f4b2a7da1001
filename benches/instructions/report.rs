//! What changed, and what to do about it.

use std::fmt;

use crate::callgrind::profile_path;
use crate::cases::Case;
use crate::figures::{Figure, Figures};

/// By how much instructions and allocations may change, as a share.
const SAME: f64 = 0.03;

/// By how much the C library's instructions may: they are not the same with every C library. Memory that is copied once more for every
/// session shows all the same.
const SAME_LIBRARY: f64 = 0.25;

/// Fewer instructions of the C library than these are not worth a word.
const FEW: f64 = 64.0;

/// What was counted beside the figures in the repository.
pub struct Report<'a> {
    rows: Vec<Row<'a>>,
    /// Figures of cases that are not there.
    gone: Vec<&'a str>,
}

struct Row<'a> {
    case: &'a Case,
    was: Option<Figure>,
    is: Figure,
}

/// One count that differs.
struct Change {
    what: &'static str,
    was: f64,
    is: f64,
}

impl<'a> Report<'a> {
    /// Puts what was counted beside what is known. `is_all`: all cases were counted.
    pub fn new(known: &'a Figures, counted: &[(&'a Case, Figure)], is_all: bool) -> Self {
        let rows: Vec<Row> = counted
            .iter()
            .map(|&(case, is)| Row {
                case,
                was: known.get(case.name),
                is,
            })
            .collect();
        let is_there = |name: &str| rows.iter().any(|row| row.case.name == name);
        let gone = known.cases().filter(|name| is_all && !is_there(name));
        Self {
            gone: gone.collect(),
            rows,
        }
    }

    /// Whether nothing costs other than it did.
    pub fn is_unchanged(&self) -> bool {
        self.gone.is_empty()
            && self
                .rows
                .iter()
                .all(|row| row.was.is_some_and(|was| changes(was, row.is).is_empty()))
    }

    /// All that was counted.
    pub fn table(&self) -> String {
        let mut table = format!(
            "{:<24} {:>12} {:>9} {:>12} {:>12}\n",
            "case", "instructions", "change", "allocations", "C library"
        );
        for row in &self.rows {
            let change = row.was.map_or_else(
                || "new".into(),
                |was| percent(was.instructions, row.is.instructions),
            );
            table += &format!(
                "{:<24} {:>12} {:>9} {:>12.2} {:>12}\n",
                row.case.name,
                thousands(row.is.instructions),
                change,
                row.is.allocations,
                thousands(row.is.library),
            );
        }
        table
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.table())?;
        for row in &self.rows {
            let name = row.case.name;
            let Some(was) = row.was else {
                writeln!(f, "{name}: there is no figure of it yet")?;
                continue;
            };
            let changes = changes(was, row.is);
            for change in &changes {
                writeln!(
                    f,
                    "{name}: {} {} for {}, was {} ({})",
                    thousands(change.is),
                    change.what,
                    row.case.each,
                    thousands(change.was),
                    percent(change.was, change.is)
                )?;
            }
            if !changes.is_empty() {
                let path = profile_path(name);
                writeln!(f, "    where: callgrind_annotate {}", path.display())?;
            }
        }
        for name in &self.gone {
            writeln!(f, "{name}: there is a figure of it, and no such case")?;
        }
        if self.is_unchanged() {
            return writeln!(f, "Everything costs what it did, within 3 %.");
        }
        writeln!(
            f,
            "\nWhat costs more is to be mended, or worth it. What is to stay as it is now, better or worse, is written down by\n\
             \n    scripts/instructions accept\n\n\
             and the commit says why. CONTRIBUTING.md has more."
        )
    }
}

/// The counts that differ by more than they may.
fn changes(was: Figure, is: Figure) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut compare = |what, was: f64, is: f64, same: f64, least: f64| {
        if (is - was).abs() > same * was.max(least) {
            changes.push(Change { what, was, is });
        }
    };
    compare("instructions", was.instructions, is.instructions, SAME, 0.0);
    compare("allocations", was.allocations, is.allocations, SAME, 0.0);
    compare(
        "instructions of the C library",
        was.library,
        is.library,
        SAME_LIBRARY,
        FEW / SAME_LIBRARY,
    );
    changes
}

fn percent(was: f64, is: f64) -> String {
    if was == 0.0 {
        return "none before".into();
    }
    format!("{:+.1} %", (is / was - 1.0) * 100.0)
}

/// A number of at least three digits that say something.
fn thousands(number: f64) -> String {
    if number < 100.0 {
        return format!("{number:.2}");
    }
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
