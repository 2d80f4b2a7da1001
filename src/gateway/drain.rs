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

/// What a stock `EventSource` waits before it connects again, at least.
const RETRY: Duration = Duration::from_secs(2);

/// And up to so much more, so that those of one broker do not come back all at once.
const RETRY_SPREAD: Duration = Duration::from_secs(1);

/// A stream that was told to go has so long to take it: the listener is to be gone before the first of
/// the others comes back.
const STREAM_LINGER: Duration = Duration::from_millis(1500);

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
        send_away(&session, Duration::ZERO, time);
    }
    let last = time.mul_f64(CLOSING_PART);
    while !streams.is_empty() && started.elapsed() < last && gateway.entrance.broker.has_sockets() {
        actix_rt::time::sleep(STREAM_CHECK).await;
    }
    let told = Instant::now();
    // With others still there the listener stays until the time is over.
    let stays = if gateway.entrance.broker.has_sockets() {
        time.saturating_sub(started.elapsed())
    } else {
        Duration::ZERO
    };
    for stream in &streams {
        send_away(stream, RETRY + stays, time);
    }
    drop(streams);
    // Those whose handshake was under way when the wish came.
    while started.elapsed() < time {
        let late = sessions_of(&gateway);
        if late.is_empty() {
            return;
        }
        for session in &late {
            let is_stream = session.format() == WireFormat::Sse;
            let first = if is_stream { RETRY } else { Duration::ZERO };
            send_away(session, first, time);
            if is_stream && told.elapsed() > STREAM_LINGER + stays {
                session.kill();
            }
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

/// How long a stock `EventSource` is to wait before it connects again, in milliseconds.
pub fn retry_ms() -> u64 {
    (RETRY + part_of(RETRY_SPREAD)).as_millis() as u64
}

/// Tells a session to go, and to come back after `first` and a part of `time`: reconnecting is spread
/// over the drain time, lest all come back at once.
fn send_away(session: &Rc<Subscriber>, first: Duration, time: Duration) {
    let after = first + part_of(time);
    let close = Close::new(CloseCode::GOING_AWAY, "the server is going away").after(after);
    session.close(&close, Ending::Orderly, Instant::now());
}

fn part_of(time: Duration) -> Duration {
    time.mul_f64(random() as f64 / u64::MAX as f64)
}
