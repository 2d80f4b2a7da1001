//! What a WebSocket's client sends, held against the limits of one session.
//!
//! Nothing is dropped in silence: whatever is refused is answered with an error, and a client that goes
//! on and on is closed.

use std::time::{Duration, Instant};

use actix_http::ws::{Frame, Item};

use crate::broker::refuse;
use crate::limits::{Excess, Verdict};
use crate::protocol::{Close, CloseCode};
use crate::session::Step;

use super::connection::Connection;

/// Who is closed for exceeding a limit is asked to stay away for so long at least.
const AWAY: Duration = Duration::from_secs(5);

impl Connection {
    /// The time to measure by, where anything is measured.
    pub(super) fn is_measured(&mut self) -> Option<Instant> {
        self.meter
            .is_on(&self.gateway.entrance.throttle)
            .then(Instant::now)
    }

    /// Measures a frame, then handles it.
    pub(super) fn on_measured_frame(&mut self, frame: Frame, now: Instant) {
        // A close ends all this, and what follows one is not minded.
        let Some(bytes) = length(&frame).filter(|_| !self.subscriber.is_ending()) else {
            return self.on_frame(frame);
        };
        let verdict = self.meter.frame(bytes, now);
        let (Verdict::Refused(excess) | Verdict::TooLong(excess)) = verdict else {
            return self.on_frame(frame);
        };
        self.gateway.entrance.throttle.count(&excess);
        if let Frame::Ping(_) | Frame::Pong(_) = frame {
            refuse(&self.subscriber, None, &excess.refusal());
            if let Frame::Pong(_) = frame {
                // An answer to a ping of ours is a sign of life at any rate.
                self.on_frame(frame);
            }
        } else {
            // The message is read to its end: its `id` may ask for an answer.
            self.meter.hold(excess);
            self.on_frame(frame);
        }
        if let Verdict::TooLong(excess) = verdict {
            self.close(&too_much(&excess));
        }
    }

    /// Carries out a step, unless a frame of it was refused, or it is a publish too many.
    pub(super) fn carry_out_if_admitted(&mut self, step: Step) {
        if let Some(excess) = self.meter.release() {
            return self.carry_out(step.refused(excess.refusal()));
        }
        if !matches!(step, Step::Publish(..)) || self.is_measured().is_none() {
            return self.carry_out(step);
        }
        let verdict = self.meter.publish(Instant::now());
        let (Verdict::Refused(excess) | Verdict::TooLong(excess)) = verdict else {
            return self.carry_out(step);
        };
        self.gateway.entrance.throttle.count(&excess);
        self.carry_out(step.refused(excess.refusal()));
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

/// The bytes that a frame carries; `None` for a close.
fn length(frame: &Frame) -> Option<usize> {
    match frame {
        Frame::Text(bytes)
        | Frame::Binary(bytes)
        | Frame::Ping(bytes)
        | Frame::Pong(bytes)
        | Frame::Continuation(
            Item::FirstText(bytes)
            | Item::FirstBinary(bytes)
            | Item::Continue(bytes)
            | Item::Last(bytes),
        ) => Some(bytes.len()),
        Frame::Close(_) => None,
    }
}
