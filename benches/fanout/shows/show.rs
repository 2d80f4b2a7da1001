//! What a measurement showed: figures, of which some have a target.

use fanfare::bench::checker::Faults;
use fanfare::bench::load::Outcome;
use serde::Serialize;

use crate::report::{median, print_faults};

/// What one measurement showed.
#[derive(Clone, Debug, Serialize)]
pub struct Show {
    /// Its name.
    pub scenario: &'static str,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// What went wrong, over all rounds.
    pub faults: Faults,
    /// What stood behind the first fault.
    pub complaint: Option<String>,
}

/// A figure: the median of its rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    what: String,
    value: f64,
    unit: &'static str,
    lowest: f64,
    highest: f64,
    target: Option<Target>,
    pub is_met: Option<bool>,
}

/// What a figure shall be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// No less.
    AtLeast(f64),
    /// No more.
    AtMost(f64),
}

impl Target {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

impl Show {
    /// One that showed nothing yet.
    pub fn new(scenario: &'static str) -> Self {
        Self {
            scenario,
            figures: Vec::new(),
            faults: Faults::default(),
            complaint: None,
        }
    }

    /// Adds a figure of which each round had one. Ratios have no unit.
    pub fn figure(&mut self, what: impl Into<String>, rounds: &[f64], unit: &'static str) {
        self.add(what.into(), rounds, unit, None);
    }

    /// The same, which shall be so.
    pub fn promise(
        &mut self,
        what: impl Into<String>,
        rounds: &[f64],
        unit: &'static str,
        target: Target,
    ) {
        self.add(what.into(), rounds, unit, Some(target));
    }

    /// Adds a ratio, which shall be so if there is a promise.
    pub fn ratio(&mut self, what: &'static str, rounds: &[f64], promise: Option<Target>) {
        self.add(what.into(), rounds, "", promise);
    }

    fn add(&mut self, what: String, rounds: &[f64], unit: &'static str, target: Option<Target>) {
        let value = median(rounds.iter().copied());
        self.figures.push(Figure {
            what,
            value,
            unit,
            lowest: rounds.iter().copied().fold(f64::INFINITY, f64::min),
            highest: rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            target,
            is_met: target.map(|target| target.is_met(value)),
        });
    }

    /// Adds how a round ended.
    pub fn outcome(&mut self, outcome: &Outcome) {
        self.faults.add(&outcome.faults);
        if self.complaint.is_none() {
            self.complaint.clone_from(&outcome.complaint);
        }
    }

    /// Prints it, a line for each figure.
    pub fn print(&self) {
        println!("\n{}", self.scenario);
        for figure in &self.figures {
            println!("  {}", figure.line());
        }
        print_faults(&self.faults, self.complaint.as_deref());
    }
}

impl Figure {
    fn line(&self) -> String {
        let number = |value: f64| match value.abs() {
            100.0.. => format!("{value:.0}"),
            10.0..100.0 => format!("{value:.1}"),
            _ => format!("{value:.3}"),
        };
        let verdict = match (self.target, self.is_met) {
            (Some(target), Some(is_met)) => {
                let (word, bound) = match target {
                    Target::AtLeast(bound) => ("least", bound),
                    Target::AtMost(bound) => ("most", bound),
                };
                let met = if is_met { "met" } else { "MISSED" };
                format!("   at {word} {}: {met}", number(bound))
            }
            _ => String::new(),
        };
        let unit = if self.unit.is_empty() {
            String::new()
        } else {
            format!(" {}", self.unit)
        };
        format!(
            "{:<58} {:>9}{unit}   ({} to {}){verdict}",
            self.what,
            number(self.value),
            number(self.lowest),
            number(self.highest)
        )
    }
}
