//! One timer per worker, for the deadlines of all its sessions: heartbeat, slow writes, lingering
//! closes, credentials that do not come. What it ends, it ends from outside the session.

use std::cell::{Cell, RefCell};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::moment::Moment;

/// The wheel looks at the same thing no sooner than this again: a deadline that stays in the past
/// must not keep the worker from everything else.
const STEP: Duration = Duration::from_millis(10);

/// Something with deadlines.
pub trait Timed {
    /// Does what is due at `now`; returns when to look again, or `None` for never.
    fn check(&self, now: Instant) -> Option<Instant>;

    /// The slot in which the wheel keeps when it looks next.
    fn slot(&self) -> &Slot;
}

/// When the wheel looks next; one per timed thing.
#[derive(Default)]
pub struct Slot(Cell<Option<Moment>>);

/// The timer of one worker.
#[derive(Default)]
pub struct Wheel {
    entries: RefCell<BinaryHeap<Reverse<Entry>>>,
    earlier: Notify,
}

struct Entry {
    due: Moment,
    timed: Weak<dyn Timed>,
}

impl Wheel {
    /// Looks at `timed` at `due`, unless it looks earlier anyway.
    pub fn schedule(&self, timed: &Weak<dyn Timed>, due: Instant) {
        let Some(strong) = timed.upgrade() else {
            return;
        };
        let due = Moment::from(due);
        let slot = &strong.slot().0;
        if slot.get().is_some_and(|next| next <= due) {
            return;
        }
        slot.set(Some(due));
        let mut entries = self.entries.borrow_mut();
        let is_first = entries.peek().is_none_or(|Reverse(first)| due < first.due);
        entries.push(Reverse(Entry {
            due,
            timed: timed.clone(),
        }));
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// Runs the timer. Ends with the worker.
    pub async fn run(wheel: Weak<Self>) {
        while let Some(this) = wheel.upgrade() {
            this.turn(Instant::now());
            let next = this
                .entries
                .borrow()
                .peek()
                .map(|Reverse(entry)| entry.due.instant());
            let earlier = this.earlier.notified();
            match next {
                None => earlier.await,
                Some(due) => {
                    tokio::select! {
                        () = actix_rt::time::sleep_until(due.into()) => {}
                        () = earlier => {}
                    }
                }
            }
        }
    }

    fn turn(&self, now: Instant) {
        loop {
            let entry = {
                let mut entries = self.entries.borrow_mut();
                match entries.peek() {
                    Some(Reverse(first)) if first.due <= now.into() => entries.pop(),
                    _ => None,
                }
            };
            let Some(Reverse(entry)) = entry else { return };
            let Some(timed) = entry.timed.upgrade() else {
                continue;
            };
            // An entry that was overtaken by an earlier one is stale.
            if timed.slot().0.get() != Some(entry.due) {
                continue;
            }
            timed.slot().0.set(None);
            if let Some(next) = timed.check(now) {
                self.schedule(&entry.timed, next.max(now + STEP));
            }
        }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.due.cmp(&other.due)
    }
}

/// A wheel that turns on this thread.
pub fn start() -> Rc<Wheel> {
    let wheel = Rc::new(Wheel::default());
    actix_rt::spawn(Wheel::run(Rc::downgrade(&wheel)));
    wheel
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Beat {
        slot: Slot,
        beats: RefCell<Vec<Instant>>,
        every: Duration,
    }

    impl Timed for Beat {
        fn check(&self, now: Instant) -> Option<Instant> {
            self.beats.borrow_mut().push(now);
            Some(now + self.every)
        }

        fn slot(&self) -> &Slot {
            &self.slot
        }
    }

    #[test]
    fn an_earlier_deadline_overtakes_and_the_later_one_is_forgotten() {
        let beat = Rc::new(Beat {
            slot: Slot::default(),
            beats: RefCell::default(),
            every: Duration::from_secs(10),
        });
        let strong: Rc<dyn Timed> = beat.clone();
        let timed = Rc::downgrade(&strong);
        let wheel = Wheel::default();
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        wheel.schedule(&timed, at(5));
        wheel.schedule(&timed, at(2));
        wheel.schedule(&timed, at(7));
        wheel.turn(at(1));
        assert!(beat.beats.borrow().is_empty());
        wheel.turn(at(2));
        wheel.turn(at(6));
        assert_eq!(*beat.beats.borrow(), [at(2)]);
        wheel.turn(at(12));
        assert_eq!(*beat.beats.borrow(), [at(2), at(12)]);
    }

    #[test]
    fn a_deadline_that_stays_in_the_past_does_not_hold_the_wheel() {
        let beat = Rc::new(Beat {
            slot: Slot::default(),
            beats: RefCell::default(),
            every: Duration::ZERO,
        });
        let strong: Rc<dyn Timed> = beat.clone();
        let wheel = Wheel::default();
        let now = Instant::now();
        wheel.schedule(&Rc::downgrade(&strong), now);
        wheel.turn(now);
        assert_eq!(*beat.beats.borrow(), [now]);
    }

    #[test]
    fn what_is_gone_is_not_looked_at() {
        let strong: Rc<dyn Timed> = Rc::new(Beat {
            slot: Slot::default(),
            beats: RefCell::default(),
            every: Duration::from_secs(1),
        });
        let timed = Rc::downgrade(&strong);
        let wheel = Wheel::default();
        wheel.schedule(&timed, Instant::now());
        drop(strong);
        wheel.turn(Instant::now() + Duration::from_secs(60));
        assert!(wheel.entries.borrow().is_empty());
    }
}
