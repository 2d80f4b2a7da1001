//! Winding up: a worker's sessions are closed one after the other, spread over the drain time;
//! event streams come last. A stock `EventSource` that comes back while the listener still answers
//! 503 gives up for good, and one that finds nothing listening tries again.

use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use crate::broker::{Ending, Subscriber};
use crate::protocol::{Close, CloseCode, WireFormat};
use crate::shutdown::Phase;

use super::{Gateway, random};

/// Sessions are told to go in steps of this length.
const STEP: Duration = Duration::from_millis(10);

/// The lead is this part of the drain time.
const LEAD_PART: u32 = 10;

/// The lead is no longer than this.
const MAX_LEAD: Duration = Duration::from_millis(500);

/// How often event streams look whether they are the last.
const STREAM_CHECK: Duration = Duration::from_millis(50);

/// Closing takes this part of the drain time; the rest is for what is queued to be written.
const CLOSING_PART: f64 = 0.8;

/// Waits for the wish to stop, then closes every session of this worker.
pub async fn run(gateway: Weak<Gateway>) {
    let Some(shutdown) = gateway.upgrade().map(|g| g.entrance.shutdown.clone()) else {
        return;
    };
    shutdown.reached(Phase::Draining).await;
    let Some(gateway) = gateway.upgrade() else {
        return;
    };
    let time = gateway.entrance.config.now().server.drain;
    let started = Instant::now();
    actix_rt::time::sleep(lead(time)).await;
    let (streams, sessions): (Vec<_>, Vec<_>) = sessions_of(&gateway)
        .into_iter()
        .partition(|session| session.format() == WireFormat::Sse);
    tracing::info!(
        sessions = sessions.len(),
        streams = streams.len(),
        ?time,
        "closing"
    );
    let total = sessions.len();
    for (index, session) in sessions.into_iter().enumerate() {
        let due = time.mul_f64(CLOSING_PART * index as f64 / total.max(1) as f64);
        if due > started.elapsed() + STEP {
            actix_rt::time::sleep_until((started + due).into()).await;
        }
        send_away(&session, time);
    }
    let last = time.mul_f64(CLOSING_PART);
    while !streams.is_empty() && started.elapsed() < last && gateway.entrance.broker.has_sockets() {
        actix_rt::time::sleep(STREAM_CHECK).await;
    }
    for stream in &streams {
        send_away(stream, time);
    }
    // Those whose handshake was under way when the wish came.
    while started.elapsed() < time {
        let late = sessions_of(&gateway);
        if late.is_empty() {
            return;
        }
        for session in &late {
            send_away(session, time);
        }
        actix_rt::time::sleep(STEP).await;
    }
}

fn sessions_of(gateway: &Gateway) -> Vec<Rc<Subscriber>> {
    gateway.worker.sessions()
}

/// How long readiness fails before the first session is told to go, so that a load balancer sees
/// it first.
pub fn lead(drain: Duration) -> Duration {
    (drain / LEAD_PART).min(MAX_LEAD)
}

fn send_away(session: &Rc<Subscriber>, time: Duration) {
    // Reconnecting is spread over the drain time, lest all come back at once.
    let after = time.mul_f64(random() as f64 / u64::MAX as f64);
    let close = Close::new(CloseCode::GOING_AWAY, "the server is going away").after(after);
    session.close(&close, Ending::Orderly, Instant::now());
}
