//! Sessions come and go.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::session::State;
use super::{Load, WAIT};
use crate::bench::connect;
use crate::bench::dialect::{Dialect, Opening, Role};
use crate::bench::histogram::Histogram;

/// How long a server may open no session while it is asked for some.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long after a refusal one is asked for again.
const AGAIN: Duration = Duration::from_millis(100);

/// Who is to be opened.
#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<usize>,
    under_way: usize,
    /// Who was refused, and when it asks again.
    again: Vec<(Instant, usize)>,
    /// Whether a refusal is not for good.
    is_patient: bool,
    failure: Option<String>,
}

impl Queue {
    fn left(&self) -> usize {
        self.waiting.len() + self.under_way + self.again.len()
    }
}

impl<D: Dialect> Load<D> {
    /// How many subscribers there are; the first ones are of the first topics.
    pub fn subscribers(&self) -> usize {
        self.plan.topics * self.plan.subscribers
    }

    /// How many sessions are being opened or will be.
    pub fn coming(&self) -> usize {
        self.queue.left()
    }

    /// Has so many sessions be opened at a time at most from now on.
    pub fn set_at_once(&mut self, at_once: usize) {
        self.plan.at_once = at_once;
    }

    /// No publish waits for this subscriber. To be said before the first publish.
    pub fn loosen(&mut self, number: usize) {
        let Some(session) = self.sessions.get_mut(number) else {
            return;
        };
        if std::mem::take(&mut session.seen.is_steady)
            && let Some(topic) = session.topic.and_then(|topic| self.topics.get_mut(topic))
        {
            topic.hearers -= 1;
        }
    }

    /// Ends a session as a lost network does: without a word.
    pub fn cut(&mut self, number: usize) {
        self.queue.is_patient = true;
        self.leave(number);
    }

    /// Has one that was cut come back, to go on where it was.
    pub fn come_back(&mut self, number: usize) {
        if let Some(session) = self.sessions.get_mut(number) {
            session.seen.is_back = true;
        }
        self.enter_all(number..number + 1);
    }

    /// Has one that was cut come as somebody new, who is owed what comes from then on. What it missed in the
    /// middle of what it had is lost.
    pub fn come_anew(&mut self, number: usize) {
        if let Some(session) = self.sessions.get_mut(number) {
            self.ledger.faults.lost += session.seen.checker.skipped();
            session.seen.enter(0);
            session.seen.is_back = false;
        }
        self.enter_all(number..number + 1);
    }

    /// Has it read nothing any more; the server may end it for that.
    ///
    /// # Errors
    /// The kernel does not let go of the socket.
    pub fn pause(&mut self, number: usize) -> io::Result<()> {
        let Some(session) = self.sessions.get_mut(number) else {
            return Ok(());
        };
        session.seen.may_end = true;
        match &session.stream {
            Some(stream) => self.poll.remove(stream),
            None => Ok(()),
        }
    }

    /// Has it read again.
    ///
    /// # Errors
    /// The kernel does not wait for the socket.
    pub fn resume(&mut self, number: usize) -> io::Result<()> {
        let stream = self.sessions.get(number).and_then(|s| s.stream.as_ref());
        stream.map_or(Ok(()), |stream| self.poll.add(stream, number))
    }

    /// Whether this subscriber is open.
    pub fn is_open(&self, number: usize) -> bool {
        let session = self.sessions.get(number);
        session.is_some_and(|session| session.state == State::Open)
    }

    /// Whether this subscriber is not open, or has all that was published.
    pub fn is_through(&self, number: usize) -> bool {
        self.sessions.get(number).is_none_or(|session| {
            let topic = session.topic.and_then(|topic| self.topics.get(topic));
            session.state != State::Open
                || topic.is_none_or(|topic| session.seen.checker.next() >= topic.published)
        })
    }

    /// Whether every topic was found to keep a history.
    pub fn keeps_history(&self) -> bool {
        self.topics.iter().all(|topic| topic.base.is_some())
    }

    /// How long opening a session took until it stood, in nanoseconds, of those since this was asked last.
    pub fn take_openings(&mut self) -> Histogram {
        std::mem::take(&mut self.ledger.openings)
    }

    pub(super) fn enter_all(&mut self, numbers: Range<usize>) {
        self.queue.waiting.extend(numbers);
    }

    /// Waits until all that are to be opened are.
    pub(super) fn await_all(&mut self) -> io::Result<()> {
        let (mut progress, mut left) = (Instant::now(), usize::MAX);
        while self.queue.left() > 0 {
            self.turn(WAIT)?;
            if let Some(failure) = self.queue.failure.take() {
                return Err(io::Error::other(failure));
            }
            if self.queue.left() < left {
                (progress, left) = (Instant::now(), self.queue.left());
            } else if progress.elapsed() > PATIENCE {
                return Err(io::Error::other(format!(
                    "the server does not answer: {left} sessions could not be opened"
                )));
            }
        }
        Ok(())
    }

    /// Begins to open as many as may be opened at a time; returns how long one may wait, this at most.
    pub(super) fn open_more(&mut self, time: Duration) -> io::Result<Duration> {
        if self.queue.left() == 0 {
            return Ok(time);
        }
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.queue.again)
            .into_iter()
            .partition(|(when, _)| *when <= now);
        self.queue.again = later;
        let due: Vec<(Instant, usize)> = due;
        self.queue
            .waiting
            .extend(due.iter().map(|(_, number)| number));
        while self.queue.under_way < self.plan.at_once
            && let Some(number) = self.queue.waiting.pop_front()
        {
            self.begin(number)?;
        }
        let next = self.queue.again.iter().map(|(when, _)| *when).min();
        Ok(next.map_or(time, |next| time.min(next.saturating_duration_since(now))))
    }

    fn begin(&mut self, number: usize) -> io::Result<()> {
        let subscribers = self.subscribers();
        let Some(session) = self.sessions.get_mut(number) else {
            return Ok(());
        };
        if session.stream.is_some() {
            return Ok(());
        }
        let now = Instant::now();
        session.begun.get_or_insert(now);
        let publish_at = self.plan.publish_at.filter(|_| session.topic.is_none());
        let address = publish_at.unwrap_or(self.plan.address);
        let stream = match connect::begin(address, number) {
            Ok(stream) => stream,
            Err(error) => {
                self.failed(number, &error.to_string());
                return Ok(());
            }
        };
        (session.carry, session.out) = opening(
            (number, subscribers),
            &self.topics,
            session.seen.is_back.then(|| session.seen.checker.next()),
            |opening| (self.dialect.carry(opening), self.dialect.request(opening)),
        );
        session.partial.clear();
        session.state = State::Connecting;
        session.writing = true;
        self.poll.add(&stream, number)?;
        self.poll.set_writing(&stream, number, true)?;
        session.stream = Some(stream);
        self.queue.under_way += 1;
        Ok(())
    }

    /// Looks for the answer to the request, if it is awaited. Returns where what the session gets begins.
    pub(super) fn shake_hands(&mut self, number: usize, bytes: &[u8]) -> io::Result<Option<usize>> {
        let subscribers = self.subscribers();
        let Some(session) = self.sessions.get_mut(number) else {
            return Ok(None);
        };
        if session.state != State::Asking {
            return Ok(Some(0));
        }
        let Some(end) = connect::head_end(bytes) else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default());
        let role = session.topic.map_or(Role::Publisher, |_| Role::Subscriber);
        if !self.dialect.is_open(role, &head) {
            let body = String::from_utf8_lossy(bytes.get(end..).unwrap_or_default());
            let told = format!("the server refused a session: {head}{body}");
            self.leave(number);
            self.failed(number, told.trim());
            return Ok(None);
        }
        if let Some(stream) = &session.stream {
            connect::acknowledge_late(stream)?;
        }
        let out = &mut session.out;
        let is_awaited = opening(
            (number, subscribers),
            &self.topics,
            session.seen.is_back.then(|| session.seen.checker.next()),
            |opening| self.dialect.begin(opening, out),
        );
        if is_awaited {
            session.state = State::Settling;
        } else {
            let topic = session.topic.and_then(|topic| self.topics.get(topic));
            session.seen.enter(topic.map_or(0, |topic| topic.published));
            self.stands(number);
        }
        self.write(number)?;
        Ok(Some(end))
    }

    /// The session is what it should be.
    pub(super) fn stands(&mut self, number: usize) {
        let Some(session) = self.sessions.get_mut(number) else {
            return;
        };
        session.state = State::Open;
        self.queue.under_way = self.queue.under_way.saturating_sub(1);
        if let Some(begun) = session.begun.take() {
            let took = begun.elapsed().as_nanos() as u64;
            self.ledger.openings.record(took, 1);
        }
    }

    /// The server ended the connection.
    pub(super) fn over(&mut self, number: usize, error: Option<&io::Error>) {
        let Some(session) = self.sessions.get(number) else {
            return;
        };
        let (state, may_end) = (session.state, session.seen.may_end);
        self.leave(number);
        if state == State::Open {
            if may_end {
                self.ledger.told.ended += 1;
            } else {
                self.ledger.faults.closed += 1;
            }
        } else {
            let why = error.map_or("the server closed before it had answered".into(), |error| {
                format!("the server cannot be reached: {error}")
            });
            self.failed(number, &why);
        }
    }

    /// A session did not come about.
    fn failed(&mut self, number: usize, why: &str) {
        if self.queue.is_patient {
            self.ledger.told.refused += 1;
            self.queue.again.push((Instant::now() + AGAIN, number));
        } else {
            self.queue.failure.get_or_insert_with(|| why.to_owned());
        }
    }

    /// Gives up the session's connection.
    pub(super) fn leave(&mut self, number: usize) {
        let Some(session) = self.sessions.get_mut(number) else {
            return;
        };
        let Some(stream) = session.stream.take() else {
            return;
        };
        if session.state != State::Open {
            self.queue.under_way = self.queue.under_way.saturating_sub(1);
        }
        session.state = State::Away;
        session.partial.clear();
        session.out.clear();
        // One that is paused is not waited for; the kernel forgets it with its descriptor in any case.
        let _ = self.poll.remove(&stream);
    }
}

/// What a dialect is asked about a session: a subscriber, back at the count that is its next or new, or a publisher of these topics,
/// the first of which is this.
fn opening<T>(
    (number, subscribers): (usize, usize),
    topics: &[super::Topic],
    back_at: Option<u32>,
    ask: impl FnOnce(Opening<'_>) -> T,
) -> T {
    let (role, topic) = if number < subscribers {
        (Role::Subscriber, topics.get(number % topics.len().max(1)))
    } else {
        (Role::Publisher, topics.get(number - subscribers))
    };
    let since = topic
        .zip(back_at)
        .and_then(|(topic, next)| topic.position_before(next));
    ask(Opening {
        role,
        topic: topic.map_or("", |topic| topic.name.as_str()),
        since: since.as_ref(),
    })
}
