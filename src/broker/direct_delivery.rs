//! What a worker is to hand to sessions themselves, outside any topic: so many sessions a turn.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::model::SessionId;
use crate::protocol::{Published, WireFormat};

use super::Worker;
use super::outbox::{FrameEnd, Segment};
use super::roster::Roster;
use super::subscriber::Subscriber;

/// A message for sessions of one worker, from any thread.
pub struct DirectDelivery {
    /// The message.
    pub published: Arc<Published>,
    /// Whom it is for.
    pub to: Recipients,
    /// Is told how many sessions were reached.
    pub done: oneshot::Sender<usize>,
    /// The room it takes among all that is under way in the node.
    pub room: Arc<OwnedSemaphorePermit>,
}

/// Which of a worker's sessions are meant.
pub enum Recipients {
    /// All of them, after this one.
    All(Option<SessionId>),
    /// These.
    These(std::vec::IntoIter<SessionId>),
}

/// What a worker has under way, one message after the other. It is bounded by the room that each of
/// them takes.
#[derive(Default)]
pub struct DirectQueue(RefCell<VecDeque<UnderWay>>);

struct UnderWay {
    delivery: DirectDelivery,
    /// Where the frame ends, in each format: what all sessions of the worker share.
    ends: [Option<Rc<[FrameEnd]>>; WireFormat::COUNT],
    reached: usize,
}

impl Worker {
    /// Takes a message for sessions themselves.
    pub(super) fn deliver_direct(&self, delivery: DirectDelivery) {
        self.direct.push(delivery);
        self.turn.wake();
    }
}

impl DirectQueue {
    /// Takes a message.
    pub fn push(&self, delivery: DirectDelivery) {
        self.0.borrow_mut().push_back(UnderWay {
            delivery,
            ends: Default::default(),
            reached: 0,
        });
    }

    /// Hands out what is under way, visiting at most `budget` sessions; true where something is left.
    pub fn run(&self, roster: &Roster, mut budget: usize, now: Instant) -> bool {
        // Out of the queue meanwhile, so that a fault ends this message and none that follow.
        while let Some(mut first) = self.take() {
            if !first.go_on(roster, &mut budget, now) {
                self.0.borrow_mut().push_front(first);
                return true;
            }
            drop(first.delivery.room);
            // Nobody waits for the number any more where the caller went away.
            let _gone = first.delivery.done.send(first.reached);
        }
        false
    }

    fn take(&self) -> Option<UnderWay> {
        self.0.borrow_mut().pop_front()
    }
}

impl UnderWay {
    /// Goes on; true once every session that is meant has been visited.
    fn go_on(&mut self, roster: &Roster, budget: &mut usize, now: Instant) -> bool {
        loop {
            let next = match &mut self.delivery.to {
                Recipients::All(_) if *budget == 0 => return false,
                Recipients::These(sessions) if *budget == 0 => return sessions.len() == 0,
                Recipients::All(after) => {
                    let next = roster.after(*after, *budget);
                    match next.last() {
                        Some(last) => *after = Some(last.id()),
                        None => return true,
                    }
                    *budget -= next.len();
                    next
                }
                Recipients::These(sessions) => {
                    let names: Vec<_> = sessions.take(*budget).collect();
                    if names.is_empty() {
                        return true;
                    }
                    *budget -= names.len();
                    names
                        .into_iter()
                        .filter_map(|name| roster.open(name))
                        .collect()
                }
            };
            for subscriber in next.iter().filter(|subscriber| subscriber.is_open()) {
                self.hand_to(subscriber, now);
            }
        }
    }

    fn hand_to(&mut self, subscriber: &Rc<Subscriber>, now: Instant) {
        let format = subscriber.format();
        let Some(frame) = self.delivery.published.frame(format) else {
            return;
        };
        let Some(ends) = self.ends.get_mut(format.index()) else {
            return;
        };
        let ends = ends.get_or_insert_with(|| Rc::new([FrameEnd(frame.len() as u32)]));
        subscriber.push(Segment::messages(frame, ends, 0, frame.len()), now);
        // One whose queue is full was closed instead.
        self.reached += usize::from(subscriber.is_open());
    }
}
