//! How far a scenario is, for people who wait.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::bench::figures::grouped;
use crate::bench::run::Watch;

/// A bar on standard error, where that is a terminal.
pub(super) struct Progress {
    is_shown: bool,
    bar: ProgressBar,
}

impl Progress {
    pub(super) fn new(is_shown: bool) -> Self {
        Self {
            is_shown,
            bar: ProgressBar::hidden(),
        }
    }

    /// A scenario begins that takes about so long.
    pub(super) fn begin(&mut self, name: &str, time: Duration) {
        if !self.is_shown {
            return;
        }
        let style = ProgressStyle::with_template("{prefix:14} {wide_bar} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bar = ProgressBar::with_draw_target(
            Some(time.as_millis() as u64),
            ProgressDrawTarget::stderr(),
        );
        self.bar.set_style(style);
        self.bar.set_prefix(name.to_owned());
    }

    /// It is over, and the line is free for what it showed.
    pub(super) fn end(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for Progress {
    fn is_opening(&mut self, sessions: usize) {
        let sessions = grouped(sessions as f64);
        self.bar.set_message(format!("opens {sessions} sessions"));
    }

    fn is_at(&mut self, run: Duration, deliveries_per_second: f64) {
        if self.is_shown {
            let rate = grouped(deliveries_per_second);
            self.bar.set_message(format!("{rate} deliveries a second"));
            self.bar.set_position(run.as_millis() as u64);
        }
    }
}
