//! What a WebSocket's client sends, held against the limits of one session.
//!
//! Nothing is dropped in silence: whatever is refused is answered with an error, and a client that goes
//! on and on is closed.

use std::time::{Duration, Instant};

use crate::broker::refuse;
use crate::limits::{Excess, Verdict};
use crate::protocol::{Close, CloseCode};
use crate::session::Step;
use crate::websocket::Event;

use super::connection::Connection;

/// Who is closed for exceeding a limit is asked to stay away for so long at least.
const AWAY: Duration = Duration::from_secs(5);

impl Connection {
    /// Whether anything is measured.
    pub(super) fn is_measured(&mut self) -> bool {
        self.meter.is_on(&self.gateway.entrance.throttle)
    }

    /// Measures a frame, then handles it.
    pub(super) fn on_measured_event(&mut self, event: Event, now: Instant) {
        // A close ends all this, and what follows one is not minded.
        let Some(bytes) = length(&event).filter(|_| !self.subscriber.is_ending()) else {
            return self.on_event(event, now);
        };
        let verdict = self.meter.frame(bytes, now);
        let (Verdict::Refused(excess) | Verdict::TooLong(excess)) = verdict else {
            return self.on_event(event, now);
        };
        self.gateway.entrance.throttle.count(&excess);
        if let Event::Ping(_) | Event::Pong(_) = event {
            refuse(&self.subscriber, None, &excess.refusal());
            if let Event::Pong(_) = event {
                // An answer to a ping of ours is a sign of life at any rate.
                self.on_event(event, now);
            }
        } else {
            // The message is read to its end: its `id` may ask for an answer.
            self.meter.hold(excess);
            self.on_event(event, now);
        }
        if let Verdict::TooLong(excess) = verdict {
            self.close(&too_much(&excess));
        }
    }

    /// Carries out a step, unless a frame of it was refused, or it is a publish too many.
    pub(super) fn carry_out_if_admitted(&mut self, step: Step, came: Instant) {
        if let Some(excess) = self.meter.release() {
            return self.carry_out(step.refused(excess.refusal()), came);
        }
        if !matches!(step, Step::Publish(..)) || !self.is_measured() {
            return self.carry_out(step, came);
        }
        let verdict = self.meter.publish(came);
        let (Verdict::Refused(excess) | Verdict::TooLong(excess)) = verdict else {
            return self.carry_out(step, came);
        };
        self.gateway.entrance.throttle.count(&excess);
        self.carry_out(step.refused(excess.refusal()), came);
        if let Verdict::TooLong(excess) = verdict {
            self.close(&too_much(&excess));
        }
    }
}

/// The end of a session that exceeds a limit.
pub(super) fn too_much(excess: &Excess) -> Close {
    let reason = "a limit was exceeded for too long";
    Close::new(CloseCode::RATE, reason).after(excess.wait.max(AWAY))
}

/// The bytes that a frame carried; `None` for a close.
fn length(event: &Event) -> Option<usize> {
    match event {
        Event::Message(_, carried) | Event::Fragment(carried) => Some(*carried),
        Event::Ping(payload) | Event::Pong(payload) => Some(payload.len()),
        Event::Close(_) => None,
    }
}
