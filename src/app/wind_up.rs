//! The end: the wish to stop is waited for, then the sessions, and the server is stopped.

use std::time::{Duration, Instant};

use actix_server::ServerHandle;

use crate::broker::Broker;
use crate::gateway::drain_lead;
use crate::shutdown::{Phase, Shutdown};

/// How often the drain looks whether all sessions are gone.
const DRAIN_CHECK: Duration = Duration::from_millis(20);

/// Waits for the wish to stop, then for the sessions to go, then stops the server.
pub async fn wind_up(server: ServerHandle, broker: Broker, drain: Duration, shutdown: Shutdown) {
    shutdown.reached(Phase::Draining).await;
    let started = Instant::now();
    let drained = async {
        // The listener stays open: readiness probes and publishers get an answer.
        let lead = drain_lead(drain);
        while started.elapsed() < lead || (broker.session_count() > 0 && started.elapsed() < drain)
        {
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
