//! The figures in the repository.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

/// What one of a case costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figure {
    /// Instructions of the program itself.
    pub instructions: f64,
    /// How often it asks for memory.
    pub allocations: f64,
    /// Instructions of the C library, which gives the memory and copies.
    pub library: f64,
}

/// The figures of all cases, by their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures(BTreeMap<String, Figure>);

/// Where they are, from the root of the repository.
const PLACE: &str = "benches/instructions/figures.txt";

const HEAD: &str = "\
# Written by `scripts/instructions accept`: what each case of benches/instructions costs, one of it.
#
# instructions: of the program itself, by callgrind. allocations: how often it asks for memory.
# C library: instructions there, which are another number with another C library.
";

impl Figures {
    /// Those in the repository.
    pub fn read() -> io::Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PLACE);
        let text = fs::read_to_string(&path)
            .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
        Self::parse(&text).map_err(|line| io::Error::other(format!("{PLACE}: not read: {line}")))
    }

    /// Puts these in their place; returns where that is.
    pub fn write(&self) -> io::Result<&'static str> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PLACE);
        fs::write(path, self.text())?;
        Ok(PLACE)
    }

    /// Reads them; the line that is not one is the error.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut all = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let cells: Vec<&str> = line.split_whitespace().collect();
            let number = |cell: &str| cell.parse::<f64>().map_err(|_| line.to_owned());
            let &[case, instructions, allocations, library] = cells.as_slice() else {
                return Err(line.to_owned());
            };
            let figure = Figure {
                instructions: number(instructions)?,
                allocations: number(allocations)?,
                library: number(library)?,
            };
            all.set(case, figure);
        }
        Ok(all)
    }

    /// As they stand in the file.
    pub fn text(&self) -> String {
        let mut text = String::from(HEAD);
        let _ = writeln!(
            text,
            "#\n# {:<22} {:>14} {:>12} {:>12}",
            "case", "instructions", "allocations", "C library"
        );
        for (case, figure) in &self.0 {
            let Figure {
                instructions,
                allocations,
                library,
            } = figure;
            let _ = writeln!(
                text,
                "{case:<24} {instructions:>14.1} {allocations:>12.2} {library:>12.1}"
            );
        }
        text
    }

    /// That of a case.
    pub fn get(&self, case: &str) -> Option<Figure> {
        self.0.get(case).copied()
    }

    /// Puts that of a case in the place of the one before.
    pub fn set(&mut self, case: &str, figure: Figure) {
        self.0.insert(case.to_owned(), figure);
    }

    /// The cases that there are figures of.
    pub fn cases(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
