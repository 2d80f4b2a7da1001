//! The load: subscribers that check what they get, and publishers that keep a fixed number of publishes
//! outstanding, or send so many a second. One thread, one epoll, no parsing beyond what tells one message from another: it must
//! never be what the server waits for.

mod intake;
mod opening;
mod publishing;
mod session;
mod tally;
mod topic;

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::dialect::{Dialect, Role};
use super::message;
use super::poll::{Poll, Ready};
use intake::Intake;
use opening::Queue;
use session::{Session, State};
use tally::Ledger;
pub use tally::{Outcome, Tally, Told};
use topic::Topic;

/// How long a duplicate may take to show behind the last message.
const TAIL: Duration = Duration::from_millis(30);

/// How long one wait lasts at most where something else is looked at between them.
const WAIT: Duration = Duration::from_millis(100);

/// With fewer sockets ready than this, the load naps before it reads them. A load that waits at all times
/// is woken by every single write, at the server's cost; clients elsewhere are woken by their own machine.
const FEW: usize = 64;
const NAP: Duration = Duration::from_micros(30);

/// What the load shall do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the server listens.
    pub address: SocketAddr,
    /// Where it takes what is published, if that is elsewhere.
    pub publish_at: Option<SocketAddr>,
    /// The topics are called by this, a slash and a number.
    pub prefix: String,
    /// The number of topics.
    pub topics: usize,
    /// The subscribers of each topic.
    pub subscribers: usize,
    /// The sessions that publish; each topic is one's.
    pub publishers: usize,
    /// The size of a message's data in bytes, 16 at least.
    pub payload: usize,
    /// How many publishes are outstanding at a time at most, over all topics.
    pub outstanding: usize,
    /// How many are sent in a second; without it, as many as may be outstanding.
    pub rate: Option<f64>,
    /// Whether a publish is done only when its publisher heard so too, and each has one at a time.
    pub is_answered: bool,
    /// How many sessions are being opened at a time at most.
    pub at_once: usize,
    /// Without a delivery for so long, what is outstanding counts as lost.
    pub patience: Duration,
}

/// Sessions at a server, and what goes on between them.
pub struct Load<D: Dialect> {
    dialect: D,
    plan: Plan,
    run: [u8; 8],
    start: Instant,
    poll: Poll,
    ready: Vec<Ready>,
    /// The subscribers, then the publishers.
    sessions: Vec<Session<D::Carry>>,
    topics: Vec<Topic>,
    next_topic: usize,
    queue: Queue,
    /// The moment from which the rate counts, and how many publishes there were since.
    paced: Option<(Instant, u64)>,
    /// The publishers that have something to write.
    touched: Vec<usize>,
    data: Vec<u8>,
    buffer: Vec<u8>,
    ledger: Ledger,
}

impl<D: Dialect> Load<D> {
    /// Opens all sessions, and waits until they stand.
    ///
    /// # Errors
    /// The server cannot be reached, refuses a session, or does not answer.
    pub fn open(dialect: D, plan: Plan) -> io::Result<Self> {
        let time = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let run = std::process::id().rotate_right(8) ^ time.subsec_nanos();
        let data = message::data(run, plan.payload);
        let places = plan.outstanding.next_power_of_two();
        let subscribers = plan.topics * plan.subscribers;
        let mut load = Self {
            run: data.first_chunk().copied().unwrap_or_default(),
            start: Instant::now(),
            poll: Poll::new()?,
            ready: Vec::new(),
            // Neighbours in time are of different topics, as it would be.
            sessions: (0..subscribers)
                .map(|number| Session::new(Some(number % plan.topics)))
                .chain((0..plan.publishers).map(|_| Session::new(None)))
                .collect(),
            topics: (0..plan.topics)
                .map(|number| Topic::new(message::topic(&plan.prefix, number), places, &plan))
                .collect(),
            next_topic: 0,
            queue: Queue::default(),
            paced: None,
            touched: Vec::new(),
            data,
            buffer: vec![0; 256 * 1024],
            ledger: Ledger::default(),
            dialect,
            plan,
        };
        load.enter_all(0..load.sessions.len());
        load.await_all()?;
        Ok(load)
    }

    /// Keeps publishes outstanding for this long, and tells what was delivered in this time. May be
    /// called again and again: what is outstanding at the end stays so.
    ///
    /// # Errors
    /// The kernel does not wait for sockets or take a new one.
    pub fn run_for(&mut self, time: Duration) -> io::Result<Tally> {
        self.ledger.tally = Tally::default();
        let start = Instant::now();
        let (mut progress, mut seen) = (start, 0);
        let mut now = start;
        while now - start < time && now - progress < self.plan.patience {
            let due = self.publish(now)?;
            let most = time.saturating_sub(now - start).min(self.plan.patience);
            self.turn(due.map_or(most, |due| due.min(most)))?;
            now = Instant::now();
            if self.ledger.tally.deliveries > seen || self.ledger.in_flight == 0 {
                (progress, seen) = (now, self.ledger.tally.deliveries);
            }
        }
        self.ledger.tally.time = now - start;
        Ok(std::mem::take(&mut self.ledger.tally))
    }

    /// Reads what comes for this long, without publishing.
    ///
    /// # Errors
    /// The kernel does not wait for sockets.
    pub fn listen_for(&mut self, time: Duration) -> io::Result<()> {
        let start = Instant::now();
        while start.elapsed() < time {
            self.turn(time.saturating_sub(start.elapsed()))?;
        }
        Ok(())
    }

    /// Waits until nothing is outstanding; false where nothing came for as long as patience lasts.
    ///
    /// # Errors
    /// The kernel does not wait for sockets.
    pub fn drain(&mut self) -> io::Result<bool> {
        let mut last = Instant::now();
        while self.ledger.in_flight > 0 && last.elapsed() < self.plan.patience {
            let before = self.ledger.tally.deliveries;
            self.turn(WAIT)?;
            if self.ledger.tally.deliveries > before {
                last = Instant::now();
            }
        }
        Ok(self.ledger.in_flight == 0)
    }

    /// Waits for all that is outstanding, and tells everything that went wrong since the beginning.
    ///
    /// # Errors
    /// The kernel does not wait for sockets.
    pub fn finish(mut self) -> io::Result<Outcome> {
        // Behind a lost message nothing more is waited for.
        if self.drain()? {
            self.await_through()?;
        }
        self.listen_for(TAIL)?;
        for session in &self.sessions {
            let topic = session.topic.and_then(|topic| self.topics.get(topic));
            let Some(topic) = topic else { continue };
            // Who went before the newest could reach it is owed what lies before what it had.
            let is_owed_all = session.seen.is_steady || session.state == State::Open;
            self.ledger.faults.lost += if is_owed_all {
                session.seen.checker.lost(topic.published)
            } else {
                session.seen.checker.skipped()
            };
        }
        Ok(self.ledger.into_outcome())
    }

    /// Waits until every session that is open has all that was published, for as long as more of it comes.
    fn await_through(&mut self) -> io::Result<()> {
        let (mut last, mut seen) = (Instant::now(), self.ledger.tally.deliveries);
        while last.elapsed() < self.plan.patience
            && !(0..self.subscribers()).all(|number| self.is_through(number))
        {
            self.turn(WAIT)?;
            if self.ledger.tally.deliveries > seen {
                (last, seen) = (Instant::now(), self.ledger.tally.deliveries);
            }
        }
        Ok(())
    }

    /// One wait, and all that came of it.
    fn turn(&mut self, time: Duration) -> io::Result<()> {
        let time = self.open_more(time)?;
        let mut ready = std::mem::take(&mut self.ready);
        self.poll.wait(&mut ready, Some(time))?;
        if ready.len() < FEW {
            thread::sleep(NAP);
            self.poll.wait(&mut ready, Some(Duration::ZERO))?;
        }
        for event in &ready {
            if event.writable {
                self.write(event.token)?;
            }
            if event.readable {
                self.read(event.token)?;
            }
        }
        self.ready = ready;
        Ok(())
    }

    fn write(&mut self, number: usize) -> io::Result<()> {
        let Some(session) = self.sessions.get_mut(number) else {
            return Ok(());
        };
        let Some(mut stream) = session.stream.as_ref() else {
            return Ok(());
        };
        let is_new = session.state == State::Connecting;
        if is_new {
            session.state = State::Asking;
        }
        // Where nothing is asked, the connection is all.
        let is_open = is_new && session.out.is_empty() && stream.peer_addr().is_ok();
        if !session.out.is_empty() {
            match stream.write(&session.out) {
                Ok(count) => drop(session.out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Nobody takes the connection, which is told once only.
                Err(error) if is_new => {
                    self.over(number, Some(&error));
                    return Ok(());
                }
                // Reading tells that the session is over.
                Err(_) => session.out.clear(),
            }
        }
        let writing = !session.out.is_empty();
        if writing != session.writing {
            session.writing = writing;
            self.poll.set_writing(stream, number, writing)?;
        }
        if is_open {
            self.stands(number);
        }
        Ok(())
    }

    /// Reads once from a session and walks the frames.
    fn read(&mut self, number: usize) -> io::Result<()> {
        let Some(session) = self.sessions.get_mut(number) else {
            return Ok(());
        };
        let Some(mut stream) = session.stream.as_ref() else {
            return Ok(());
        };
        let held = session.partial.len();
        if self.buffer.len() < held + 65536 {
            self.buffer.resize(held + 65536, 0);
        }
        let Some((before, room)) = self.buffer.split_at_mut_checked(held) else {
            return Ok(());
        };
        match stream.read(room) {
            Ok(count) if count > 0 => {
                before.copy_from_slice(&session.partial);
                session.partial.clear();
                self.take(number, held + count)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Ok(_) => {
                self.over(number, None);
                Ok(())
            }
            Err(error) => {
                self.over(number, Some(&error));
                Ok(())
            }
        }
    }

    /// Goes through so many bytes of the buffer, which this session got.
    fn take(&mut self, number: usize, end: usize) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let bytes = buffer.get(..end).unwrap_or_default();
        let used = match self.shake_hands(number, bytes)? {
            Some(at) => self.walk(number, bytes, at),
            None => Ok(0),
        };
        let rest = used.map(|used| bytes.get(used..).unwrap_or_default());
        if let (Ok(rest), Some(session)) = (&rest, self.sessions.get_mut(number)) {
            // Where the session was given up meanwhile, nothing of it is kept.
            if session.stream.is_some() {
                session.partial.extend_from_slice(rest);
            }
        }
        let failed = rest.err();
        self.buffer = buffer;
        match failed {
            Some(reason) => {
                self.ledger.faults.damaged += 1;
                self.ledger.complain(reason.as_bytes());
                self.leave(number);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Goes through the whole frames from there on, and returns where they end.
    fn walk(&mut self, number: usize, bytes: &[u8], at: usize) -> Result<usize, &'static str> {
        let Some(session) = self.sessions.get_mut(number) else {
            return Ok(bytes.len());
        };
        let (role, topic) = match session.topic {
            Some(topic) => (Role::Subscriber, self.topics.get_mut(topic)),
            // The answers to what it publishes are those of its topic's.
            None => (
                Role::Publisher,
                self.topics
                    .get_mut(number.saturating_sub(self.plan.topics * self.plan.subscribers)),
            ),
        };
        let mut intake = Intake {
            now: self.start.elapsed().as_nanos() as u64,
            run: self.run,
            payload: self.plan.payload,
            role,
            topic,
            seen: &mut session.seen,
            ledger: &mut self.ledger,
            latency: 0,
            times: 0,
            answers: Vec::new(),
            stands: false,
        };
        let bytes = bytes.get(at..).unwrap_or_default();
        let used = self
            .dialect
            .read(&mut session.carry, role, bytes, &mut intake);
        let done = intake.end();
        if done.stands && session.state == State::Settling {
            self.stands(number);
        }
        if !done.answers.is_empty() {
            if let Some(session) = self.sessions.get_mut(number) {
                session.out.extend_from_slice(&done.answers);
            }
            // A failure shows when the session is read.
            let _ = self.write(number);
        }
        Ok(at + used?)
    }
}
