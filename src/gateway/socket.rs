//! A session's socket: what is read of it, and what its outbox writes.

mod deadlines;

use std::cell::{Cell, OnceCell, RefCell};
use std::hint::black_box;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::broker::{Subscriber, Wire};

use super::heartbeat::{Heartbeat, Signs};
use super::inbound::Arrivals;
use super::io::{TakeOver, Tcp};
use super::moment::Moment;
use super::watch::{BLOCKED_CHECK, LINGER, Watch};
use super::wheel::Slot;

/// The socket of one session.
///
/// What a write touches stands first: of many sessions none is in the processor's cache.
#[repr(C)]
pub struct Socket {
    /// Not there before the connection is the session's.
    stream: OnceCell<Tcp>,
    /// What still has the connection until then.
    before: Cell<Option<TakeOver>>,
    dead: Cell<bool>,
    blocked: Cell<bool>,
    /// The task that reads: it also watches for room to write, and ends the session.
    reader: RefCell<Option<Waker>>,
    heartbeat: Heartbeat,
    shut_at: Cell<Option<Moment>>,
    /// The peer has been given `session.write_timeout` already.
    overdue: Cell<bool>,
    peer_closed: Cell<bool>,
    awaits_auth: Cell<bool>,
    opened: Moment,
    slot: Slot,
    this: Weak<Self>,
    subscriber: OnceCell<Weak<Subscriber>>,
    /// What was read and is not to be carried out before the outbox has room.
    put_back: Cell<Option<Box<Arrivals>>>,
    watch: Rc<Watch>,
}

impl Socket {
    /// A socket whose deadlines run from now on and whose connection is still to come; `random`
    /// spreads its heartbeat.
    pub fn new(signs: Signs, watch: Rc<Watch>, random: u64) -> Rc<Self> {
        let now = Instant::now();
        let times = (watch.timing.heartbeat, watch.timing.timeout);
        Rc::new_cyclic(|this| Self {
            stream: OnceCell::new(),
            before: Cell::default(),
            dead: Cell::new(false),
            blocked: Cell::new(false),
            reader: RefCell::default(),
            heartbeat: Heartbeat::new(signs, times, random, now),
            shut_at: Cell::new(None),
            overdue: Cell::new(false),
            peer_closed: Cell::new(false),
            awaits_auth: Cell::new(false),
            opened: now.into(),
            slot: Slot::default(),
            this: this.clone(),
            subscriber: OnceCell::new(),
            put_back: Cell::new(None),
            watch,
        })
    }

    /// The connection is the session's from now on.
    pub fn connect(&self, stream: impl Into<Option<Tcp>>) {
        self.before.take();
        match stream.into() {
            // Once only, so that nothing is there already.
            Some(stream) => drop(self.stream.set(stream)),
            None => self.kill(),
        }
    }

    /// The connection is another's until [`Socket::connect`]; if the session is killed before, it
    /// ends all the same.
    pub fn await_connection(&self, before: TakeOver) {
        self.before.set(Some(before));
    }

    /// The connection stays another's.
    pub fn forget_connection(&self) {
        self.before.take();
    }

    /// Says whose socket it is, and starts the timer.
    pub fn serve(&self, subscriber: &Rc<Subscriber>, awaits_auth: bool) {
        self.awaits_auth.set(awaits_auth);
        if self.subscriber.set(Rc::downgrade(subscriber)).is_ok() {
            let now = Instant::now();
            self.heartbeat.heard(now);
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
        if let Some(sent) = self.heartbeat.answered() {
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

    /// Reads what there is into `scratch`, and says how much; pending where there is nothing, `None`
    /// at the end. Watches for room to write too, while the outbox waits for it.
    pub fn poll_scratch(&self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<Option<usize>> {
        self.remember(cx);
        let stream = match self.stream.get() {
            Some(stream) if !self.dead.get() => stream,
            _ => return Poll::Ready(None),
        };
        self.poll_writable(cx);
        loop {
            match stream.poll_read_ready(cx) {
                Poll::Pending => {
                    self.heartbeat.release(Instant::now);
                    return Poll::Pending;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(None),
                Poll::Ready(Ok(())) => {}
            }
            match stream.read_all(scratch) {
                Ok(0) => return Poll::Ready(None),
                Ok(n) => {
                    self.heartbeat.release(Instant::now);
                    self.heartbeat.heard(Instant::now());
                    return Poll::Ready(Some(n));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Poll::Ready(None),
            }
        }
    }

    /// Waits without reading: for room to write, for being woken, or for the end, which it gives.
    pub fn poll_hold(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.remember(cx);
        if self.dead.get() {
            return Poll::Ready(());
        }
        // Who takes nothing is held back by its own fault: where no write timeout ends it, the
        // heartbeat does.
        let takes_nothing = || {
            self.subscriber()
                .is_some_and(|s| s.waiting_since().is_some())
        };
        if !self.watch.timing.write.is_zero() || !takes_nothing() {
            self.heartbeat.hold();
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
        let is_writable = |stream: &Tcp| stream.poll_write_ready(cx).is_ready();
        if !self.blocked.get() || !self.stream.get().is_some_and(is_writable) {
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
}

impl Wire for Socket {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.get().ok_or_else(not_connected)?.send(bytes)
    }

    fn fetch(&self) {
        black_box(self.stream.get().is_some());
    }

    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let stream = self.stream.get().ok_or_else(not_connected)?;
        stream.try_write_vectored(pieces)
    }

    fn want_writable(&self) {
        self.blocked.set(true);
        self.wake_reader();
        self.schedule(Instant::now() + BLOCKED_CHECK);
    }

    fn wake_at(&self, due: Instant) {
        self.schedule(due);
    }

    fn drained(&self) {
        self.wake_reader();
    }

    fn shut_writing(&self) {
        if self.shut_at.get().is_some() {
            return;
        }
        self.shut_at.set(Some(Instant::now().into()));
        self.wake_reader();
        if self.peer_closed.get() {
            // Both close frames are done: nothing is left to wait for.
            self.kill();
            return;
        }
        // Closing with input unread would reset the connection and destroy the reason.
        let is_shut = self.stream.get().is_some_and(|stream| {
            socket2::SockRef::from(&**stream)
                .shutdown(Shutdown::Write)
                .is_ok()
        });
        if !is_shut {
            self.kill();
            return;
        }
        self.schedule(Instant::now() + LINGER);
    }

    fn kill(&self) {
        self.dead.set(true);
        if let Some(before) = self.before.take() {
            before.end();
        }
        self.wake_reader();
    }
}

/// The outbox is corked until there is a connection, so that nothing is written before.
fn not_connected() -> io::Error {
    io::ErrorKind::NotConnected.into()
}
