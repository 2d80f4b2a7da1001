//! What a session's socket is held to: its heartbeat, the time for taking what is sent, for sending
//! credentials, and for going once it was closed.

use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::broker::{Ending, Subscriber, Wire};
use crate::protocol::{Close, CloseCode};
use crate::websocket::ping_bytes;

use super::Socket;
use crate::gateway::heartbeat::Beat;
use crate::gateway::moment::Moment;
use crate::gateway::watch::LINGER;
use crate::gateway::wheel::{Slot, Timed};

/// A peer that is taken for dead is given so long to be told: one turn.
const ATTEMPT: Duration = Duration::from_millis(20);

/// A comment line: ignored by every `EventSource`, and a sign that the stream lives.
const COMMENT: &[u8] = b":\n\n";

impl Socket {
    pub(super) fn schedule(&self, due: Instant) {
        let timed: Weak<dyn Timed> = self.this.clone();
        self.watch.wheel.schedule(&timed, due);
    }

    pub(super) fn next_deadline(
        &self,
        subscriber: &Rc<Subscriber>,
        now: Instant,
    ) -> Option<Instant> {
        if let Some((code, closed)) = subscriber.closed_with() {
            return Some(self.close_deadline(code, closed).max(now));
        }
        if subscriber.is_ending() {
            return Some(self.ending_deadline(subscriber, now));
        }
        let write = self.watch.timing.write;
        let written = self
            .waiting_since(subscriber)
            .filter(|_| !write.is_zero())
            .map(|since| since + write);
        let authenticated = self.auth_deadline();
        let held_back = subscriber.next_release();
        [self.heartbeat.due(now), written, authenticated, held_back]
            .into_iter()
            .flatten()
            .min()
            .map(|due| due.max(now))
    }

    /// When a session ends whose credentials are still to come.
    fn auth_deadline(&self) -> Option<Instant> {
        let awaited = self.awaits_auth.get().then(|| self.watch.auth_timeout());
        awaited
            .filter(|time| !time.is_zero())
            .map(|time| self.opened.instant() + time)
    }

    /// Since when the peer has not taken what is for it: also what the HTTP service had for it
    /// before the connection was the session's.
    fn waiting_since(&self, subscriber: &Subscriber) -> Option<Instant> {
        if self.stream.get().is_none() {
            return Some(self.opened.instant());
        }
        subscriber.waiting_since()
    }

    /// When a connection that the server closes is dropped, whatever its peer does.
    fn close_deadline(&self, code: CloseCode, closed: Instant) -> Instant {
        match (code, self.shut_at.get().map(Moment::instant)) {
            // The peer is taken for dead: one attempt to tell it is enough.
            (CloseCode::HEARTBEAT, _) => closed + ATTEMPT,
            (_, Some(shut)) => shut + LINGER,
            (_, None) if self.overdue.get() => closed + LINGER,
            (_, None) => closed + self.watch.timing.write.max(LINGER),
        }
    }

    /// When a connection is dropped that ends without a close of the server's: its peer closed, or
    /// was refused. No other deadline is left to end it.
    fn ending_deadline(&self, subscriber: &Subscriber, now: Instant) -> Instant {
        match (
            self.shut_at.get().map(Moment::instant),
            subscriber.waiting_since(),
        ) {
            (Some(shut), _) => shut + LINGER,
            (None, Some(waiting)) => waiting + self.watch.timing.write.max(LINGER),
            // What is to be said last is written at the end of this turn.
            (None, None) => now + LINGER,
        }
    }

    fn beat(&self, subscriber: &Rc<Subscriber>, now: Instant) {
        match self.heartbeat.look(now) {
            Beat::None => {}
            Beat::Ping => subscriber.send_urgent(ping_bytes(b"")),
            // What waits already is a sign as well.
            Beat::Comment if subscriber.waiting_since().is_some() => {}
            Beat::Comment => subscriber.send(Bytes::from_static(COMMENT)),
            Beat::Dead => {
                self.watch.metrics.heartbeat_timed_out();
                let reason = "no sign of life within the heartbeat timeout";
                subscriber.close(
                    &Close::new(CloseCode::HEARTBEAT, reason),
                    Ending::Abrupt,
                    now,
                );
            }
        }
    }
}

impl Timed for Socket {
    fn check(&self, now: Instant) -> Option<Instant> {
        let subscriber = self.subscriber()?;
        if self.dead.get() {
            return None;
        }
        let last = match subscriber.closed_with() {
            Some((code, closed)) => Some(self.close_deadline(code, closed)),
            None => subscriber
                .is_ending()
                .then(|| self.ending_deadline(&subscriber, now)),
        };
        if let Some(deadline) = last {
            if now >= deadline {
                self.kill();
                return None;
            }
            return Some(deadline);
        }
        subscriber.release(now);
        let write = self.watch.timing.write;
        let is_slow = !write.is_zero()
            && self
                .waiting_since(&subscriber)
                .is_some_and(|since| now >= since + write);
        if is_slow {
            self.overdue.set(true);
            let reason = "what was sent was not taken within session.write_timeout";
            subscriber.close(&Close::new(CloseCode::SLOW, reason), Ending::Abrupt, now);
        } else if self.auth_deadline().is_some_and(|due| now >= due) {
            let reason = "no credentials came within auth.timeout";
            subscriber.close(
                &Close::new(CloseCode::CREDENTIALS_REFUSED, reason),
                Ending::Orderly,
                now,
            );
        } else {
            self.beat(&subscriber, now);
        }
        self.next_deadline(&subscriber, now)
    }

    fn slot(&self) -> &Slot {
        &self.slot
    }
}
