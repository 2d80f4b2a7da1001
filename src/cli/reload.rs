//! Reading the configuration anew while the broker runs: on SIGHUP, and when a file has changed.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::configuration::Source;
use crate::config::LiveConfig;
use crate::telemetry::Level;

/// How often files are compared with what was read of them, with `watch`. They are compared whole: a
/// file that was swapped for another, as orchestrators do, has neither a new time nor a new name.
const LOOK: Duration = Duration::from_secs(1);

/// Reads the configuration again whenever it is to.
pub(super) struct Reloading {
    source: Source,
    config: LiveConfig,
    level: Level,
    hangup: Signal,
}

impl Reloading {
    /// Hears SIGHUP from now on.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn new(source: Source, config: LiveConfig, level: Level) -> io::Result<Self> {
        Ok(Self {
            source,
            config,
            level,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Goes on for as long as the broker does.
    pub(super) async fn run(mut self) {
        let is_watching = self.config.now().watch;
        let mut seen = self.source.contents();
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    seen = self.source.contents();
                    self.reload("SIGHUP");
                }
                () = actix::clock::sleep(LOOK), if is_watching => {
                    let now = self.source.contents();
                    if now != seen {
                        seen = now;
                        self.reload("a changed file");
                    }
                }
            }
        }
    }

    /// Takes over what can change while the broker runs. With a fault anywhere in it, nothing
    /// changes.
    fn reload(&self, cause: &str) {
        let loaded = match self.source.load() {
            Ok(loaded) => loaded,
            Err(error) => {
                self.config.refused();
                let faults = error.to_string();
                tracing::error!(
                    cause,
                    ?faults,
                    "the configuration stays as it was: the new one has faults"
                );
                return;
            }
        };
        for note in &loaded.notes {
            tracing::info!(?note, "configuration");
        }
        let change = self.config.replace(loaded.config);
        if let Err(error) = self.level.set(&self.config.now().log.level) {
            tracing::error!(%error, "the log goes on at its old level");
        }
        tracing::info!(cause, applied = ?change.applied, "configuration read again");
        if !change.needs_restart.is_empty() {
            tracing::warn!(
                keys = ?change.needs_restart,
                "changed in the configuration, but only a restart makes these hold"
            );
        }
    }
}
