//! A WebSocket's socket: what its session reads and its outbox writes, and the deadlines it is held
//! to.

use std::cell::{Cell, OnceCell, RefCell};
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::broker::{Ending, Subscriber, Wire};
use crate::protocol::{Close, CloseCode, ping_bytes};

use super::inbound::Arrivals;
use super::io::Io;
use super::watch::{BLOCKED_CHECK, LINGER, Timing, Watch};
use super::wheel::{Slot, Timed};

/// A peer that is taken for dead is given so long to be told: one turn.
const ATTEMPT: Duration = Duration::from_millis(20);

/// The socket of one WebSocket session.
pub struct Socket {
    io: Io,
    dead: Cell<bool>,
    blocked: Cell<bool>,
    /// The task that reads: it also watches for room to write, and ends the session.
    reader: RefCell<Option<Waker>>,
    last_heard: Cell<Instant>,
    ping_sent: Cell<Option<Instant>>,
    shut_at: Cell<Option<Instant>>,
    /// The peer has been given `session.write_timeout` already.
    overdue: Cell<bool>,
    peer_closed: Cell<bool>,
    awaits_auth: Cell<bool>,
    opened: Instant,
    /// Brings each session's pings forward by its own part of the interval, so that they do not
    /// fall together.
    phase: Duration,
    slot: Slot,
    this: Weak<Self>,
    subscriber: OnceCell<Weak<Subscriber>>,
    /// What was read and is not to be carried out before the outbox has room.
    put_back: Cell<Option<Box<Arrivals>>>,
    watch: Rc<Watch>,
}

/// What a look at the socket's reading side found.
pub enum Inbound {
    /// Bytes, now in the buffer.
    Some,
    /// The peer has ended its side, or the connection is gone.
    End,
}

impl Socket {
    /// A socket whose deadlines run from now on; `random` spreads its pings.
    pub fn new(io: Io, watch: Rc<Watch>, random: u64) -> Rc<Self> {
        let now = Instant::now();
        let quarter = watch.timing.heartbeat / 4;
        let phase = quarter.mul_f64(random as f64 / u64::MAX as f64);
        Rc::new_cyclic(|this| Self {
            io,
            dead: Cell::new(false),
            blocked: Cell::new(false),
            reader: RefCell::default(),
            last_heard: Cell::new(now),
            ping_sent: Cell::new(None),
            shut_at: Cell::new(None),
            overdue: Cell::new(false),
            peer_closed: Cell::new(false),
            awaits_auth: Cell::new(false),
            opened: now,
            phase,
            slot: Slot::default(),
            this: this.clone(),
            subscriber: OnceCell::new(),
            put_back: Cell::new(None),
            watch,
        })
    }

    /// Says whose socket it is, and starts the timer.
    pub fn serve(&self, subscriber: &Rc<Subscriber>, awaits_auth: bool) {
        self.awaits_auth.set(awaits_auth);
        if self.subscriber.set(Rc::downgrade(subscriber)).is_ok() {
            let now = Instant::now();
            self.last_heard.set(now);
            if let Some(due) = self.next_deadline(subscriber, now) {
                self.schedule(due);
            }
        }
    }

    /// Credentials have come.
    pub fn authenticated(&self) {
        self.awaits_auth.set(false);
    }

    /// A pong came: counts the round trip of the ping that waits for it.
    pub fn pong(&self) {
        if let Some(sent) = self.ping_sent.take() {
            let (turn, took) = (self.watch.worker.turn(), sent.elapsed());
            turn.metrics.heartbeat_rtt(took);
            if let Some(subscriber) = self.subscriber() {
                subscriber.note_round_trip(took);
            }
            turn.wake();
        }
    }

    /// The peer's close frame came: once ours is written the connection is dropped.
    pub fn peer_closed(&self) {
        self.peer_closed.set(true);
        if self.shut_at.get().is_some() {
            self.kill();
        }
    }

    /// Keeps what cannot be carried out now.
    pub fn put_back(&self, arrivals: Arrivals) {
        self.put_back.set(Some(Box::new(arrivals)));
    }

    /// What was put back.
    pub fn take_back(&self) -> Option<Arrivals> {
        self.put_back.take().map(|arrivals| *arrivals)
    }

    /// Reads what there is into `buf`; pending where there is nothing. Watches for room to write
    /// too, while the outbox waits for it.
    pub fn poll_read(
        &self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        buf: &mut bytes::BytesMut,
    ) -> Poll<Inbound> {
        self.remember(cx);
        if self.dead.get() {
            return Poll::Ready(Inbound::End);
        }
        self.poll_writable(cx);
        let stream = self.io.stream();
        loop {
            match stream.poll_read_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(Inbound::End),
                Poll::Ready(Ok(())) => {}
            }
            match stream.try_read(scratch) {
                Ok(0) => return Poll::Ready(Inbound::End),
                Ok(n) => {
                    self.last_heard.set(Instant::now());
                    buf.extend_from_slice(scratch.get(..n).unwrap_or_default());
                    return Poll::Ready(Inbound::Some);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Poll::Ready(Inbound::End),
            }
        }
    }

    /// Waits without reading: for room to write, for the end, or for being woken.
    pub fn poll_hold(&self, cx: &mut Context<'_>) -> Poll<Inbound> {
        self.remember(cx);
        if self.dead.get() {
            return Poll::Ready(Inbound::End);
        }
        self.poll_writable(cx);
        Poll::Pending
    }

    fn remember(&self, cx: &Context<'_>) {
        let mut reader = self.reader.borrow_mut();
        if !reader
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *reader = Some(cx.waker().clone());
        }
    }

    fn poll_writable(&self, cx: &mut Context<'_>) {
        if !self.blocked.get() || self.io.stream().poll_write_ready(cx).is_pending() {
            return;
        }
        self.blocked.set(false);
        if let Some(subscriber) = self.subscriber() {
            subscriber.writable();
        }
    }

    fn subscriber(&self) -> Option<Rc<Subscriber>> {
        self.subscriber.get().and_then(Weak::upgrade)
    }

    fn wake_reader(&self) {
        // Taken out first: waking may poll at once in a foreign executor.
        let waker = self.reader.borrow().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn schedule(&self, due: Instant) {
        let timed: Weak<dyn Timed> = self.this.clone();
        self.watch.wheel.schedule(&timed, due);
    }

    /// The heartbeat: pings what was silent, ends what stays so.
    fn beat(&self, subscriber: &Rc<Subscriber>, now: Instant) {
        let Timing {
            heartbeat, timeout, ..
        } = self.watch.timing;
        if heartbeat.is_zero() {
            return;
        }
        if self
            .ping_sent
            .get()
            .is_some_and(|sent| self.last_heard.get() > sent)
        {
            self.ping_sent.set(None);
        }
        match self.ping_sent.get() {
            Some(sent) if now >= sent + timeout => {
                self.watch.metrics.heartbeat_timed_out();
                let reason = "no sign of life within the heartbeat timeout";
                subscriber.close(
                    &Close::new(CloseCode::HEARTBEAT, reason),
                    Ending::Abrupt,
                    now,
                );
            }
            None if now >= self.ping_due() => {
                self.ping_sent.set(Some(now));
                subscriber.send_urgent(ping_bytes(b""));
            }
            Some(_) | None => {}
        }
    }

    fn ping_due(&self) -> Instant {
        self.last_heard.get() + self.watch.timing.heartbeat.saturating_sub(self.phase)
    }

    fn next_deadline(&self, subscriber: &Rc<Subscriber>, now: Instant) -> Option<Instant> {
        if let Some((code, closed)) = subscriber.closed_with() {
            return Some(self.close_deadline(code, closed).max(now));
        }
        if subscriber.is_ending() {
            return Some(self.ending_deadline(subscriber, now));
        }
        let Timing {
            heartbeat,
            timeout,
            write,
            auth,
        } = self.watch.timing;
        let beat = (!heartbeat.is_zero()).then(|| match self.ping_sent.get() {
            Some(sent) if self.last_heard.get() <= sent => sent + timeout,
            _ => self.ping_due(),
        });
        let written = subscriber
            .waiting_since()
            .filter(|_| !write.is_zero())
            .map(|since| since + write);
        let authenticated = (self.awaits_auth.get() && !auth.is_zero()).then(|| self.opened + auth);
        [beat, written, authenticated]
            .into_iter()
            .flatten()
            .min()
            .map(|due| due.max(now))
    }

    /// When a connection that the server closes is dropped, whatever its peer does.
    fn close_deadline(&self, code: CloseCode, closed: Instant) -> Instant {
        match (code, self.shut_at.get()) {
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
        match (self.shut_at.get(), subscriber.waiting_since()) {
            (Some(shut), _) => shut + LINGER,
            (None, Some(waiting)) => waiting + self.watch.timing.write.max(LINGER),
            // What is to be said last is written at the end of this turn.
            (None, None) => now + LINGER,
        }
    }
}

impl Timed for Socket {
    fn check(&self, now: Instant) -> Option<Instant> {
        let subscriber = self.subscriber()?;
        if self.dead.get() {
            return None;
        }
        if let Some((code, closed)) = subscriber.closed_with() {
            let deadline = self.close_deadline(code, closed);
            if now >= deadline {
                self.kill();
                return None;
            }
            return Some(deadline);
        }
        if subscriber.is_ending() {
            let deadline = self.ending_deadline(&subscriber, now);
            if now >= deadline {
                self.kill();
                return None;
            }
            return Some(deadline);
        }
        let Timing { write, auth, .. } = self.watch.timing;
        let is_slow = !write.is_zero()
            && subscriber
                .waiting_since()
                .is_some_and(|since| now >= since + write);
        if is_slow {
            self.overdue.set(true);
            let reason = "what was sent was not taken within session.write_timeout";
            subscriber.close(&Close::new(CloseCode::SLOW, reason), Ending::Abrupt, now);
        } else if self.awaits_auth.get() && !auth.is_zero() && now >= self.opened + auth {
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

impl Wire for Socket {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.io.stream().try_write(bytes)
    }

    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.io.stream().try_write_vectored(pieces)
    }

    fn want_writable(&self) {
        self.blocked.set(true);
        self.wake_reader();
        self.schedule(Instant::now() + BLOCKED_CHECK);
    }

    fn drained(&self) {
        self.wake_reader();
    }

    fn shut_writing(&self) {
        if self.shut_at.get().is_some() {
            return;
        }
        self.shut_at.set(Some(Instant::now()));
        self.wake_reader();
        if self.peer_closed.get() {
            // Both close frames are done: nothing is left to wait for.
            self.kill();
            return;
        }
        // Closing with input unread would reset the connection and destroy the reason.
        if socket2::SockRef::from(self.io.stream())
            .shutdown(Shutdown::Write)
            .is_err()
        {
            self.kill();
            return;
        }
        self.schedule(Instant::now() + LINGER);
    }

    fn kill(&self) {
        self.dead.set(true);
        self.wake_reader();
    }
}
