//! The end: the wish to stop is waited for, then the sessions, and the server is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_server::ServerHandle;
use tokio::sync::watch;

use crate::broker::Broker;
use crate::gateway::drain_lead;
use crate::shutdown::{Phase, Shutdown};

/// How often the drain looks whether all sessions are gone.
const DRAIN_CHECK: Duration = Duration::from_millis(20);

/// Answers that are on their way when the sessions are gone have so long at least.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// What the workers' connections know of the end, and tell of themselves.
#[derive(Clone)]
pub struct Answers {
    /// How many requests are being answered.
    pub busy: Arc<AtomicUsize>,
    closed: watch::Receiver<()>,
}

/// What makes connections end with the answer they are at.
pub struct LastAnswers {
    busy: Arc<AtomicUsize>,
    /// Once it is gone.
    closing: watch::Sender<()>,
}

/// Both sides of the end of what is being answered.
pub fn answers() -> (LastAnswers, Answers) {
    let busy = Arc::<AtomicUsize>::default();
    let (closing, closed) = watch::channel(());
    let last = LastAnswers {
        busy: Arc::clone(&busy),
        closing,
    };
    (last, Answers { busy, closed })
}

impl Answers {
    /// Waits for the moment from which on no further request of a connection is answered.
    pub fn last(&self) -> impl Future<Output = ()> + use<> {
        let mut closed = self.closed.clone();
        async move {
            // Nothing is ever sent: the sender goes.
            let _gone = closed.changed().await;
        }
    }
}

/// Waits for the wish to stop, then for the sessions to go and for what is being answered, then stops the
/// server.
pub async fn wind_up(
    server: ServerHandle,
    broker: Broker,
    answers: LastAnswers,
    drain: Duration,
    shutdown: Shutdown,
) {
    shutdown.reached(Phase::Draining).await;
    let started = Instant::now();
    let drained = async {
        // The listener stays open: readiness probes and publishers get an answer.
        let lead = drain_lead(drain);
        while started.elapsed() < lead || (broker.session_count() > 0 && started.elapsed() < drain)
        {
            actix_rt::time::sleep(DRAIN_CHECK).await;
        }
        drop(answers.closing);
        let last = drain.max(LAST_ANSWERS);
        while answers.busy.load(Ordering::Relaxed) > 0 && started.elapsed() < last {
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
