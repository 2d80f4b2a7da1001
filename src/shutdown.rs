//! The wish to stop, told to everything that has to wind up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// How far a shutdown has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    #[default]
    Running,
    /// No new sessions; those that are there are closed, spread over the drain time.
    Draining,
    /// At once.
    Stopping,
}

/// Asks for a shutdown. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Trigger {
    phase: Arc<watch::Sender<Phase>>,
    draining: Arc<AtomicBool>,
}

/// Learns of a shutdown. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown {
    phase: watch::Receiver<Phase>,
    draining: Arc<AtomicBool>,
}

/// A shutdown that nobody has asked for yet.
pub fn pair() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(Phase::Running);
    let draining = Arc::new(AtomicBool::new(false));
    let trigger = Trigger {
        phase: Arc::new(sender),
        draining: Arc::clone(&draining),
    };
    let shutdown = Shutdown {
        phase: receiver,
        draining,
    };
    (trigger, shutdown)
}

impl Trigger {
    /// Asks for an orderly end; asked a second time, for the end at once.
    pub fn fire(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.phase.send_modify(|phase| {
            *phase = match phase {
                Phase::Running => Phase::Draining,
                Phase::Draining | Phase::Stopping => Phase::Stopping,
            };
        });
    }
}

impl Shutdown {
    /// Whether an end was asked for. Cheap: read at every handshake.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Returns once the phase is at least that far. A trigger that was dropped asks for an orderly
    /// end: nobody could ask any more.
    pub async fn reached(&self, phase: Phase) {
        let mut watched = self.phase.clone();
        let waited = watched.wait_for(|now| *now >= phase).await;
        if waited.is_err() && phase == Phase::Stopping {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_request_drains_and_the_second_stops() {
        let (trigger, shutdown) = pair();
        assert!(!shutdown.is_draining());
        trigger.fire();
        shutdown.reached(Phase::Draining).await;
        assert!(shutdown.is_draining());
        trigger.fire();
        shutdown.reached(Phase::Stopping).await;
    }
}
