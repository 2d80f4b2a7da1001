//! Connections that are in no request: how long one may take to ask for something, and which go first
//! when descriptors are short.
//!
//! actix-http holds only the first request of a connection to a time, and lets whatever comes after an
//! answer take for ever: the head of a second request, or a body that nobody wants.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::limits::Source;
use crate::metrics::{Metrics, Refusal as Reason};

use super::wheel::{Slot, Timed, Wheel};

/// From its first byte on, a request's head is to arrive within this.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The connections of one worker that are in no request, the oldest first.
pub struct Lobby {
    waiting: RefCell<BTreeMap<u64, Weak<Guest>>>,
    next: Cell<u64>,
    /// The connections of all workers that are being answered.
    busy: Arc<AtomicUsize>,
    wheel: Rc<Wheel>,
    metrics: Metrics,
}

/// A connection that speaks HTTP.
pub struct Guest {
    end: Box<dyn Fn()>,
    source: Source,
    came: Instant,
    /// Whether it has ever asked for something.
    asked: Cell<bool>,
    state: Cell<State>,
    /// When the first byte of what it has not finished saying came.
    heard: Cell<Option<Instant>>,
    /// Since when it takes nothing of what is written.
    stalled: Cell<Option<Instant>>,
    patience: Duration,
    /// Whether it is among the busy ones.
    busy: Cell<bool>,
    slot: Slot,
    this: Weak<Self>,
    lobby: Rc<Lobby>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is being answered; its place in the lobby.
    Waiting(u64),
    /// A request is.
    Served,
    /// A request is, by something that watches over the connection itself.
    Streamed,
    /// Somebody else watches over it: a session.
    Taken,
}

impl Lobby {
    /// An empty one.
    pub fn new(wheel: Rc<Wheel>, busy: Arc<AtomicUsize>, metrics: Metrics) -> Rc<Self> {
        Rc::new(Self {
            waiting: RefCell::default(),
            next: Cell::new(0),
            busy,
            wheel,
            metrics,
        })
    }

    /// Takes in a connection, which `end` ends. It is to take what is written to it within
    /// `patience`.
    pub fn take_in(
        self: &Rc<Self>,
        end: Box<dyn Fn()>,
        peer: Option<IpAddr>,
        patience: Duration,
    ) -> Rc<Guest> {
        let guest = Rc::new_cyclic(|this| Guest {
            end,
            source: Source::of(peer),
            came: Instant::now(),
            asked: Cell::new(false),
            state: Cell::new(State::Served),
            heard: Cell::new(None),
            stalled: Cell::new(None),
            patience,
            busy: Cell::new(false),
            slot: Slot::default(),
            this: this.clone(),
            lobby: Rc::clone(self),
        });
        guest.wait();
        guest
    }

    /// Drops a connection that waits, so that one from `peer` has room: the oldest from there, so that a
    /// flood drives out itself, else the oldest at all. Whether there was one.
    pub fn make_room(&self, peer: Option<IpAddr>) -> bool {
        let source = Source::of(peer);
        let victim = {
            let waiting = self.waiting.borrow();
            let mut guests = waiting.values().filter_map(Weak::upgrade);
            let oldest = guests.next();
            match &oldest {
                Some(guest) if guest.source == source => oldest,
                _ => guests.find(|guest| guest.source == source).or(oldest),
            }
        };
        let Some(victim) = victim else { return false };
        self.metrics.handshake_refused(Reason::Full);
        victim.leave();
        (victim.end)();
        true
    }
}

impl Guest {
    /// A request is being answered until [`Guest::wait`].
    pub fn serve(&self) {
        self.turn(State::Served);
    }

    /// The answer is given while it is made, until [`Guest::wait`]: whoever makes it ends the connection
    /// of a peer that does not take it.
    pub fn stream(&self) {
        self.turn(State::Streamed);
    }

    /// The answer is on its way; the next request may come.
    pub fn wait(&self) {
        if !matches!(self.state.get(), State::Served | State::Streamed) {
            return;
        }
        let place = self.lobby.next.get();
        self.lobby.next.set(place + 1);
        self.state.set(State::Waiting(place));
        let this = self.this.clone();
        self.lobby.waiting.borrow_mut().insert(place, this);
        self.count();
    }

    /// It has become something that is watched over elsewhere.
    pub fn leave(&self) {
        self.turn(State::Taken);
    }

    /// Whether it is in no request.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state.get(), State::Waiting(_))
    }

    /// What it sent is no request. Counted where it has never asked for anything before; that it took
    /// too long is counted at its end.
    pub fn refused(&self, reason: Reason) {
        if reason != Reason::Timeout && !self.asked.replace(true) {
            self.lobby.metrics.handshake_refused(reason);
        }
    }

    /// Bytes came.
    pub fn heard(&self) {
        if self.is_waiting() && self.heard.get().is_none() {
            let now = Instant::now();
            self.heard.set(Some(now));
            // The first request is timed by actix-http, and an entry of the wheel would keep the memory of
            // every connection that becomes a session for as long.
            if self.asked.get() {
                self.schedule(now + REQUEST_TIMEOUT);
            }
        }
    }

    /// Bytes were written, or none could be.
    pub fn wrote(&self, any: bool) {
        if matches!(self.state.get(), State::Taken | State::Streamed) {
            return;
        }
        if any {
            // Of an answer: what was heard meanwhile may wait for its end.
            self.stalled.set(None);
            self.heard.set(None);
        } else if self.stalled.get().is_none() {
            let now = Instant::now();
            self.stalled.set(Some(now));
            self.schedule(now + self.patience);
        }
        self.count();
    }

    /// Counts it among the busy ones while it is being answered, or its answer is on its way.
    fn count(&self) {
        let is_busy = match self.state.get() {
            State::Served | State::Streamed => true,
            State::Waiting(_) => self.stalled.get().is_some(),
            State::Taken => false,
        };
        if self.busy.replace(is_busy) != is_busy {
            let change = if is_busy {
                AtomicUsize::fetch_add
            } else {
                AtomicUsize::fetch_sub
            };
            change(&self.lobby.busy, 1, Ordering::Relaxed);
        }
    }

    fn turn(&self, state: State) {
        if self.state.get() != State::Taken {
            self.asked.set(true);
            self.heard.set(None);
            self.stalled.set(None);
            self.stop_waiting(state);
            self.count();
        }
    }

    fn stop_waiting(&self, state: State) {
        if let State::Waiting(place) = self.state.replace(state) {
            self.lobby.waiting.borrow_mut().remove(&place);
        }
    }

    fn schedule(&self, due: Instant) {
        let timed: Weak<dyn Timed> = self.this.clone();
        self.lobby.wheel.schedule(&timed, due);
    }
}

impl Timed for Guest {
    fn check(&self, now: Instant) -> Option<Instant> {
        if self.state.get() == State::Taken {
            return None;
        }
        let heard = self.heard.get().filter(|_| self.is_waiting());
        // actix-http answers the first of these with a 408 itself, a moment earlier.
        let asked = heard.map(|heard| heard + REQUEST_TIMEOUT);
        let taken = self.stalled.get().map(|stalled| stalled + self.patience);
        let due = asked.into_iter().chain(taken).min()?;
        if now < due {
            return Some(due);
        }
        (self.end)();
        None
    }

    fn slot(&self) -> &Slot {
        &self.slot
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.stop_waiting(State::Taken);
        self.count();
        // actix-http's own clock may be half a second ahead of ours.
        if !self.asked.get() && self.came.elapsed() >= REQUEST_TIMEOUT * 4 / 5 {
            self.lobby.metrics.handshake_refused(Reason::Timeout);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lobby() -> (Rc<Lobby>, Metrics) {
        let metrics = Metrics::new("0", "test").unwrap();
        (
            Lobby::new(Rc::default(), Arc::default(), metrics.clone()),
            metrics,
        )
    }

    /// A guest that knows whether it was ended.
    struct Watched(Rc<Guest>, Rc<Cell<bool>>);

    impl Watched {
        fn is_ended(&self) -> bool {
            self.1.get()
        }
    }

    impl std::ops::Deref for Watched {
        type Target = Guest;

        fn deref(&self) -> &Guest {
            &self.0
        }
    }

    fn guest(lobby: &Rc<Lobby>, peer: &str) -> Watched {
        let ended = Rc::<Cell<bool>>::default();
        let end = Rc::clone(&ended);
        let peer = Some(peer.parse().unwrap());
        let end = Box::new(move || end.set(true));
        Watched(lobby.take_in(end, peer, Duration::from_secs(10)), ended)
    }

    fn make_room(lobby: &Lobby, peer: &str) -> bool {
        lobby.make_room(Some(peer.parse().unwrap()))
    }

    #[test]
    fn a_flood_drives_out_itself_and_then_the_oldest_goes() {
        let (lobby, metrics) = lobby();
        let [a, flood1, b, flood2] =
            ["192.0.2.1", "192.0.2.9", "192.0.2.2", "192.0.2.9"].map(|peer| guest(&lobby, peer));
        let all = [&a, &flood1, &b, &flood2];
        let killed = || all.map(Watched::is_ended);
        assert!(make_room(&lobby, "192.0.2.9"));
        assert_eq!(killed(), [false, true, false, false]);
        assert!(make_room(&lobby, "192.0.2.9"));
        assert_eq!(killed(), [false, true, false, true]);
        assert!(make_room(&lobby, "192.0.2.9"));
        assert_eq!(killed(), [true, true, false, true]);
        // Who is being answered stays.
        b.serve();
        assert!(!make_room(&lobby, "192.0.2.9"));
        b.wait();
        assert!(make_room(&lobby, "192.0.2.9"));
        let text = metrics.render().unwrap();
        assert!(text.contains(r#"fanfare_handshakes_refused_total{reason="full"} 4"#));
    }

    #[test]
    fn who_has_turna_session_or_has_gone_is_not_in_the_lobby() {
        let (lobby, _) = lobby();
        let session = guest(&lobby, "192.0.2.1");
        session.serve();
        session.leave();
        session.wait();
        drop(guest(&lobby, "192.0.2.2"));
        assert!(!make_room(&lobby, "192.0.2.2"));
        assert!(lobby.waiting.borrow().is_empty());
        session.heard();
        session.wrote(false);
        let later = Instant::now() + Duration::from_secs(3600);
        assert_eq!(session.check(later), None);
        assert!(!session.is_ended());
    }

    #[test]
    fn whoever_begins_to_ask_and_does_not_end_is_dropped() {
        let (lobby, _) = lobby();
        let slow = guest(&lobby, "192.0.2.1");
        let silent = guest(&lobby, "192.0.2.1");
        let served = guest(&lobby, "192.0.2.1");
        for guest in [&slow, &served] {
            guest.heard();
        }
        served.serve();
        served.heard();
        let now = Instant::now();
        assert!(slow.check(now).is_some());
        for guest in [&slow, &silent, &served] {
            guest.check(now + REQUEST_TIMEOUT);
        }
        assert!(slow.is_ended());
        assert!(!silent.is_ended() && !served.is_ended());
        // After the answer the same holds for what comes next.
        served.wait();
        served.heard();
        served.check(Instant::now() + REQUEST_TIMEOUT);
        assert!(served.is_ended());
    }

    #[test]
    fn whoever_does_not_take_an_answer_is_dropped() {
        let (lobby, _) = lobby();
        let [taking, stuck] = [0; 2].map(|_| guest(&lobby, "192.0.2.1"));
        for guest in [&taking, &stuck] {
            guest.serve();
            guest.wrote(false);
        }
        assert_eq!(lobby.busy.load(Ordering::Relaxed), 2);
        // The rest of an answer may be on its way when its request is done.
        taking.wait();
        stuck.wait();
        assert_eq!(lobby.busy.load(Ordering::Relaxed), 2);
        taking.wrote(true);
        assert_eq!(lobby.busy.load(Ordering::Relaxed), 1);
        let later = Instant::now() + Duration::from_secs(10);
        taking.check(later);
        stuck.check(later);
        assert!(stuck.is_ended() && !taking.is_ended());
        drop((taking, stuck));
        assert_eq!(lobby.busy.load(Ordering::Relaxed), 0);
    }
}
