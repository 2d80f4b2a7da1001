//! How the server ends: sessions, then requests, then the listener and the workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_server::ServerHandle;
use tokio::sync::watch;

use crate::broker::Broker;
use crate::gateway::drain_lead;
use crate::shutdown::{Phase, Shutdown};

/// Answers that are on their way when the sessions are gone have so long at least.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How often the drain looks whether all sessions are gone.
const DRAIN_CHECK: Duration = Duration::from_millis(20);

/// What ends in its order when the server stops.
pub(super) struct Ending {
    /// The server.
    pub server: ServerHandle,
    /// Whose sessions go first.
    pub broker: Broker,
    /// How many requests are being answered.
    pub busy: Arc<AtomicUsize>,
    /// Once it is gone, connections end with the answer they are at.
    pub closing: watch::Sender<()>,
    /// How long the sessions have.
    pub drain: Duration,
}

/// Waits for the wish to stop, then for the sessions to go and the requests to be answered, then stops
/// the server.
pub(super) async fn wind_up(ending: Ending, shutdown: Shutdown) {
    let Ending {
        server,
        broker,
        busy,
        closing,
        drain,
    } = ending;
    shutdown.reached(Phase::Draining).await;
    let started = Instant::now();
    let drained = async {
        // The listener stays open: readiness probes and publishers get an answer.
        let lead = drain_lead(drain);
        while started.elapsed() < lead || (broker.session_count() > 0 && started.elapsed() < drain)
        {
            actix_rt::time::sleep(DRAIN_CHECK).await;
        }
        drop(closing);
        let last = drain.max(LAST_ANSWERS);
        while busy.load(Ordering::Relaxed) > 0 && started.elapsed() < last {
            actix_rt::time::sleep(DRAIN_CHECK).await;
        }
    };
    tokio::select! {
        () = drained => {
            let left = broker.session_count();
            tracing::info!(took = ?started.elapsed(), left, "drained");
            server.stop(true).await;
        }
        () = shutdown.reached(Phase::Stopping) => {
            tracing::warn!("asked to stop at once");
            server.stop(false).await;
        }
    }
}
