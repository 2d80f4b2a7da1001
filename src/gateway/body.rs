//! The wire of an event stream: what is written waits here until the body is polled.

use std::cell::{Cell, OnceCell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;

use crate::broker::{Ending, Subscriber, Wire};
use crate::protocol::{Close, CloseCode};

use super::io::KillSwitch;
use super::watch::{BLOCKED_CHECK, LINGER, Watch};
use super::wheel::{Slot, Timed};

/// What the body holds ahead of the connection. Beyond it the session's outbox waits.
const AHEAD: usize = 32 * 1024;

/// A comment line: ignored by every `EventSource`, and a sign that the stream lives.
const BEAT: &[u8] = b":\n\n";

/// The wire of an event stream.
pub struct BodyWire {
    ready: RefCell<BytesMut>,
    wants_room: Cell<bool>,
    ended: Cell<bool>,
    /// All of the body is the connection's, which ends by itself.
    handed_over: Cell<bool>,
    dead: Cell<bool>,
    body: RefCell<Option<Waker>>,
    /// Ends the connection: the body alone could not, since it is not polled while the peer does
    /// not read.
    switch: Option<Rc<KillSwitch>>,
    last_sent: Cell<Instant>,
    /// Since when what is ready has not been taken.
    untaken_since: Cell<Option<Instant>>,
    slot: Slot,
    this: Weak<Self>,
    subscriber: OnceCell<Weak<Subscriber>>,
    watch: Rc<Watch>,
}

/// The chunks of the body: everything that is ready, as one.
pub struct Chunks(Rc<BodyWire>);

impl BodyWire {
    /// A wire whose connection `switch` ends.
    pub fn new(watch: Rc<Watch>, switch: Option<Rc<KillSwitch>>) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            ready: RefCell::default(),
            wants_room: Cell::new(false),
            ended: Cell::new(false),
            handed_over: Cell::new(false),
            dead: Cell::new(false),
            body: RefCell::default(),
            switch,
            last_sent: Cell::new(Instant::now()),
            untaken_since: Cell::new(None),
            slot: Slot::default(),
            this: this.clone(),
            subscriber: OnceCell::new(),
            watch,
        })
    }

    /// Says whose wire it is, and starts the timer.
    pub fn serve(&self, subscriber: &Rc<Subscriber>) {
        if self.subscriber.set(Rc::downgrade(subscriber)).is_ok() {
            self.schedule(Instant::now() + self.pause());
        }
    }

    /// The body has ended: what its connection holds of it is still to be sent, and the connection
    /// ends then. If the peer does not take it in time, it is ended.
    pub fn hand_over(&self) {
        self.handed_over.set(true);
        if let Some(switch) = self.switch.clone() {
            actix_rt::spawn(async move {
                actix_rt::time::sleep(LINGER).await;
                switch.kill();
            });
        }
    }

    /// The connection is another answer's: what ends the stream does not end it.
    pub fn let_go(&self) {
        self.handed_over.set(true);
    }

    /// How long the stream may be silent before a comment is sent.
    fn pause(&self) -> Duration {
        let heartbeat = self.watch.timing.heartbeat;
        if heartbeat.is_zero() {
            Duration::from_secs(3600)
        } else {
            heartbeat
        }
    }

    fn schedule(&self, due: Instant) {
        let timed: Weak<dyn Timed> = self.this.clone();
        self.watch.wheel.schedule(&timed, due);
    }

    fn wake_body(&self) {
        let waker = self.body.borrow().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn room(&self) -> usize {
        AHEAD.saturating_sub(self.ready.borrow().len())
    }

    fn put(&self, bytes: &[u8]) {
        self.ready.borrow_mut().extend_from_slice(bytes);
        let now = Instant::now();
        self.last_sent.set(now);
        if self.untaken_since.get().is_none() {
            self.untaken_since.set(Some(now));
        }
        self.wake_body();
    }
}

impl Wire for BodyWire {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        if self.dead.get() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let taken = bytes.len().min(self.room());
        match bytes.get(..taken) {
            Some(part) if taken > 0 => {
                self.put(part);
                Ok(taken)
            }
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut written = 0;
        for piece in pieces {
            match self.try_write(piece) {
                Ok(n) => written += n,
                Err(error) if written == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(written)
    }

    fn want_writable(&self) {
        self.wants_room.set(true);
        self.schedule(Instant::now() + BLOCKED_CHECK);
    }

    fn shut_writing(&self) {
        self.ended.set(true);
        self.wake_body();
        self.schedule(Instant::now() + LINGER);
    }

    fn kill(&self) {
        self.dead.set(true);
        self.ended.set(true);
        if let Some(switch) = &self.switch
            && !self.handed_over.get()
        {
            switch.kill();
        }
        self.wake_body();
    }
}

impl Timed for BodyWire {
    fn check(&self, now: Instant) -> Option<Instant> {
        let subscriber = self.subscriber.get().and_then(Weak::upgrade)?;
        if self.dead.get() {
            return None;
        }
        if let Some((_, closed)) = subscriber.closed_with() {
            let deadline = closed + LINGER;
            if now >= deadline {
                self.kill();
                return None;
            }
            return Some(deadline);
        }
        let write = self.watch.timing.write;
        let is_overdue = |since: Option<Instant>| {
            since.is_some_and(|since| !write.is_zero() && now >= since + write)
        };
        if is_overdue(subscriber.waiting_since()) || is_overdue(self.untaken_since.get()) {
            let close = Close::new(
                CloseCode::SLOW,
                "what was sent was not taken within session.write_timeout",
            );
            subscriber.close(&close, Ending::Abrupt, now);
            return Some(now + LINGER);
        }
        let waits = self.untaken_since.get().is_some() || subscriber.waiting_since().is_some();
        if waits {
            // Nor is there a need for a sign of life: what waits is one.
            return Some(now + BLOCKED_CHECK);
        }
        if self.watch.timing.heartbeat.is_zero() {
            return Some(now + self.pause());
        }
        let beat = self.last_sent.get() + self.pause();
        if now < beat {
            return Some(beat);
        }
        subscriber.send(Bytes::from_static(BEAT));
        Some(now + self.pause().min(write.max(BLOCKED_CHECK)))
    }

    fn slot(&self) -> &Slot {
        &self.slot
    }
}

impl Chunks {
    /// What that wire is given to write.
    pub fn new(wire: Rc<BodyWire>) -> Self {
        Self(wire)
    }
}

impl Stream for Chunks {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let wire = &self.0;
        let ready = std::mem::take(&mut *wire.ready.borrow_mut()).freeze();
        if !ready.is_empty() {
            wire.untaken_since.set(None);
            if wire.wants_room.replace(false)
                && let Some(subscriber) = wire.subscriber.get().and_then(Weak::upgrade)
            {
                subscriber.writable();
            }
            return Poll::Ready(Some(ready));
        }
        if wire.ended.get() {
            return Poll::Ready(None);
        }
        *wire.body.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}
