//! What is published, and when.

use std::io;
use std::time::{Duration, Instant};

use super::Load;
use crate::bench::dialect::Dialect;
use crate::bench::message;

impl<D: Dialect> Load<D> {
    /// Has the rate count from the next publish on: what was not published meanwhile is not owed.
    pub fn rest(&mut self) {
        self.paced = None;
    }

    /// Has so many be sent in a second from now on, or as many as may be outstanding.
    pub fn set_rate(&mut self, rate: Option<f64>) {
        self.plan.rate = rate;
        self.rest();
    }

    /// Publishes so many at once, whatever the rate is.
    ///
    /// # Errors
    /// The kernel does not wait for a socket.
    pub fn publish_now(&mut self, count: usize) -> io::Result<()> {
        let sent = self.start.elapsed().as_nanos() as u64;
        let room = self.plan.outstanding.saturating_sub(self.ledger.in_flight);
        self.send(count.min(room), |_| sent)
    }

    /// Fills up what may be outstanding, or sends what is due. Returns how long it is until the next is due,
    /// where that is known. What became due together leaves in one write of each publisher.
    pub(super) fn publish(&mut self, now: Instant) -> io::Result<Option<Duration>> {
        let room = self.plan.outstanding.saturating_sub(self.ledger.in_flight);
        let Some(rate) = self.plan.rate else {
            let sent = self.start.elapsed().as_nanos() as u64;
            self.send(room, |_| sent)?;
            return Ok(None);
        };
        let interval = Duration::from_secs_f64(1.0 / rate).as_nanos().max(1) as u64;
        let (from, sent) = *self.paced.get_or_insert((now, 0));
        let elapsed = (now - from).as_nanos() as u64;
        let due = elapsed / interval + 1;
        let count = due.saturating_sub(sent).min(room as u64);
        // Who is late did not begin later: what a stall held up counts from when it was due.
        let begin = (from - self.start).as_nanos() as u64;
        self.send(count as usize, |nth| begin + (sent + nth as u64) * interval)?;
        let sent = sent + count;
        self.paced = Some((from, sent));
        // Without room, what arrives tells when to go on.
        let next = Duration::from_nanos((sent * interval).saturating_sub(elapsed));
        Ok((sent >= due).then_some(next))
    }

    fn send(&mut self, count: usize, moment: impl Fn(usize) -> u64) -> io::Result<()> {
        if count == 0 || self.plan.publishers == 0 {
            return Ok(());
        }
        let subscribers = self.subscribers();
        for nth in 0..count {
            let Some(index) = self.pick() else { break };
            let publisher = subscribers + index % self.plan.publishers;
            let (Some(topic), Some(session)) =
                (self.topics.get_mut(index), self.sessions.get_mut(publisher))
            else {
                break;
            };
            message::set_stamp(&mut self.data, topic.published);
            if session.out.is_empty() {
                self.touched.push(publisher);
            }
            self.dialect
                .put_publish(&mut session.out, &topic.name, &self.data);
            if !topic.take_off(moment(nth)) {
                self.ledger.in_flight += 1;
            }
            self.ledger.tally.published += 1;
        }
        while let Some(publisher) = self.touched.pop() {
            self.write(publisher)?;
        }
        Ok(())
    }

    /// The topic whose turn it is.
    fn pick(&mut self) -> Option<usize> {
        for _ in 0..self.plan.topics {
            let index = self.next_topic;
            self.next_topic = (self.next_topic + 1) % self.plan.topics;
            let topic = self.topics.get(index)?;
            let is_free = if self.plan.is_answered {
                topic.done == topic.published
            } else {
                topic.has_room()
            };
            if is_free {
                return Some(index);
            }
        }
        None
    }
}
