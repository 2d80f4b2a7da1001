//! What is on its way in a topic.

use super::Plan;
use crate::model::{Epoch, Position};

pub(super) struct Topic {
    pub(super) name: String,
    pub(super) published: u32,
    /// All publishes below are done: every subscriber has them.
    pub(super) done: u32,
    /// The outstanding publishes, by their count modulo the number of places, which is a power of two.
    flights: Vec<Flight>,
    /// How many have to hear of a publish until it is done.
    pub(super) hearers: u32,
    /// How many publishes were answered.
    pub(super) accepted: u32,
    /// The epoch and offset before the first publish, where the topic keeps a history.
    pub(super) base: Option<Position>,
}

#[derive(Clone, Copy, Default)]
struct Flight {
    sent: u64,
    remaining: u32,
}

impl Topic {
    pub(super) fn new(name: String, places: usize, plan: &Plan) -> Self {
        Self {
            name,
            published: 0,
            done: 0,
            flights: vec![Flight::default(); places],
            hearers: plan.subscribers as u32 + u32::from(plan.is_answered),
            accepted: 0,
            base: None,
        }
    }

    /// Whether there is a place for one more.
    pub(super) fn has_room(&self) -> bool {
        ((self.published - self.done) as usize) < self.flights.len()
    }

    /// Takes off at this moment, in nanoseconds of the load's clock. True where nobody hears of it: it is done.
    pub(super) fn take_off(&mut self, sent: u64) -> bool {
        let remaining = self.hearers;
        if let Some(flight) = self.flight(self.published) {
            *flight = Flight { sent, remaining };
        }
        self.published += 1;
        if remaining == 0 {
            self.done = self.published;
        }
        remaining == 0
    }

    #[inline]
    fn flight(&mut self, count: u32) -> Option<&mut Flight> {
        let places = self.flights.len().wrapping_sub(1);
        self.flights.get_mut(count as usize & places)
    }

    /// When this one was sent, while it is outstanding.
    #[inline]
    pub(super) fn sent(&mut self, count: u32) -> u64 {
        self.flight(count).map_or(0, |flight| flight.sent)
    }

    /// One more has this one; returns how many publishes are done by it, in their order: behind a
    /// lost message nothing is done, and the load comes to a stand.
    #[inline]
    pub(super) fn land(&mut self, count: u32) -> usize {
        if count >= self.done
            && let Some(flight) = self.flight(count)
        {
            flight.remaining = flight.remaining.saturating_sub(1);
        }
        self.finish_done()
    }

    #[inline]
    fn finish_done(&mut self) -> usize {
        let mut landed = 0;
        while self.done < self.published
            && self
                .flight(self.done)
                .is_some_and(|flight| flight.remaining == 0)
        {
            self.done += 1;
            landed += 1;
        }
        landed
    }

    /// The count of the message at this offset of the history, if it is one of this run's.
    pub(super) fn count_at(&self, offset: u64) -> Option<u32> {
        let count = offset.checked_sub(self.base?.offset)?.checked_sub(1)?;
        u32::try_from(count)
            .ok()
            .filter(|count| *count < self.published)
    }

    /// The position before the message of this count.
    pub(super) fn position_before(&self, count: u32) -> Option<Position> {
        let Position { epoch, offset } = self.base?;
        Some(Position {
            epoch,
            offset: offset + u64::from(count),
        })
    }

    /// Whether this is the life of the history in which the run began.
    pub(super) fn lives(&self, epoch: Epoch) -> bool {
        self.base.is_none_or(|base| base.epoch == epoch)
    }
}
