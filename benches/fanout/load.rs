//! The load: subscribers that check what they get, and publishers that keep a fixed number of publishes
//! outstanding. One thread, one epoll, no parsing beyond what tells one message from another: it must
//! never be what the server waits for.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::net::sockopt::set_tcp_quickack;

use crate::checker::{Checker, Faults, Verdict};
use crate::connect;
use crate::events;
use crate::frames;
use crate::histogram::Histogram;
use crate::message;
use crate::poll::{Poll, Ready};
use crate::scenario::Transport;

/// How long a duplicate may take to show behind the last message.
const TAIL: Duration = Duration::from_millis(30);

/// With fewer sockets ready than this, the load naps before it reads them. A load that waits at all times
/// is woken by every single write, at the server's cost; clients elsewhere are woken by their own machine.
const FEW: usize = 64;
const NAP: Duration = Duration::from_micros(30);

/// What the load shall do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the server listens.
    pub address: SocketAddr,
    /// The path of its WebSocket endpoint.
    pub path: String,
    /// What the subscribers speak.
    pub transport: Transport,
    /// The number of topics.
    pub topics: usize,
    /// The subscribers of each topic.
    pub subscribers: usize,
    /// The sessions that publish, in turn.
    pub publishers: usize,
    /// The size of a message's data in bytes.
    pub payload: usize,
    /// How many publishes are outstanding at a time, over all topics.
    pub outstanding: usize,
    /// Without a delivery for so long, what is outstanding counts as lost.
    pub patience: Duration,
}

/// What was counted over a stretch of time.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Messages that came, those of faults aside.
    pub deliveries: u64,
    /// How long it took.
    pub time: Duration,
    /// From handing a publish to the kernel to having read the message, in nanoseconds.
    pub latency: Histogram,
}

struct Session {
    stream: TcpStream,
    /// The topic it subscribed to; a publisher has none.
    topic: Option<usize>,
    checker: Checker,
    /// Where the data began in the last message.
    data_at: usize,
    /// The beginning of a frame whose end is yet to come.
    partial: Vec<u8>,
    /// What is yet to be written.
    out: Vec<u8>,
    /// Whether the poll waits for room to write.
    writing: bool,
}

struct Topic {
    name: String,
    published: u32,
    /// All publishes below are done: every subscriber has them.
    done: u32,
    /// The outstanding publishes, by their count modulo the number of places.
    flights: Vec<Flight>,
}

#[derive(Clone, Copy, Default)]
struct Flight {
    sent: u64,
    remaining: u32,
}

/// Sessions at a server, and what goes on between them.
pub struct Load {
    plan: Plan,
    run: [u8; 8],
    start: Instant,
    poll: Poll,
    ready: Vec<Ready>,
    /// The subscribers, then the publishers.
    sessions: Vec<Session>,
    topics: Vec<Topic>,
    next_topic: usize,
    next_publisher: usize,
    in_flight: usize,
    data: Vec<u8>,
    buffer: Vec<u8>,
    tally: Tally,
    faults: Faults,
    envelope: Option<usize>,
    complaint: Option<String>,
}

impl Load {
    /// Opens all sessions.
    pub fn open(plan: Plan) -> io::Result<Self> {
        let names: Vec<String> = (0..plan.topics).map(message::topic).collect();
        let subscribing = match plan.transport {
            Transport::WebSocket => plan.path.as_str(),
            Transport::Events => events::PATH,
        };
        // Neighbours in time are of different topics, as it would be.
        let mut paths: Vec<String> = (0..plan.topics * plan.subscribers)
            .map(|number| format!("{subscribing}?topic={}", names[number % plan.topics]))
            .collect();
        paths.resize(paths.len() + plan.publishers, plan.path.clone());
        let time = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let run = std::process::id().rotate_right(8) ^ time.subsec_nanos();
        let data = message::data(run, plan.payload);
        let places = plan.outstanding.next_power_of_two();
        let mut load = Self {
            run: *data.first_chunk().unwrap(),
            start: Instant::now(),
            poll: Poll::new()?,
            ready: Vec::new(),
            sessions: Vec::with_capacity(paths.len()),
            topics: names
                .into_iter()
                .map(|name| Topic {
                    name,
                    published: 0,
                    done: 0,
                    flights: vec![Flight::default(); places],
                })
                .collect(),
            next_topic: 0,
            next_publisher: 0,
            in_flight: 0,
            data,
            buffer: vec![0; 256 * 1024],
            tally: Tally::default(),
            faults: Faults::default(),
            envelope: None,
            complaint: None,
            plan,
        };
        let subscribers = load.plan.topics * load.plan.subscribers;
        for (number, (stream, partial)) in connect::open(load.plan.address, &paths)?
            .into_iter()
            .enumerate()
        {
            stream.set_nonblocking(true)?;
            // Otherwise every read sends an acknowledgement, which costs the load more than the reading,
            // and the server's core a part of it.
            set_tcp_quickack(&stream, false)?;
            load.poll.add(&stream, number)?;
            load.sessions.push(Session {
                stream,
                topic: (number < subscribers).then_some(number % load.plan.topics),
                checker: Checker::default(),
                data_at: 0,
                partial,
                out: Vec::new(),
                writing: false,
            });
        }
        Ok(load)
    }

    /// Keeps publishes outstanding for this long, and tells what was delivered in this time. May be
    /// called again and again: what is outstanding at the end stays so.
    pub fn run_for(&mut self, time: Duration) -> io::Result<Tally> {
        self.tally = Tally::default();
        let start = Instant::now();
        let (mut progress, mut seen) = (start, 0);
        let mut now = start;
        while now - start < time && now - progress < self.plan.patience {
            self.publish()?;
            self.turn(time.min(self.plan.patience))?;
            now = Instant::now();
            if self.tally.deliveries > seen {
                (progress, seen) = (now, self.tally.deliveries);
            }
        }
        self.tally.time = now - start;
        Ok(std::mem::take(&mut self.tally))
    }

    /// Reads what comes for this long, without publishing.
    pub fn listen_for(&mut self, time: Duration) -> io::Result<()> {
        let start = Instant::now();
        while start.elapsed() < time {
            self.turn(time.saturating_sub(start.elapsed()))?;
        }
        Ok(())
    }

    /// Waits for all that is outstanding, and tells everything that went wrong since the beginning.
    pub fn finish(mut self) -> io::Result<Outcome> {
        let mut last = Instant::now();
        while self.in_flight > 0 && last.elapsed() < self.plan.patience {
            let before = self.tally.deliveries;
            self.turn(self.plan.patience)?;
            if self.tally.deliveries > before {
                last = Instant::now();
            }
        }
        self.listen_for(TAIL)?;
        for session in &self.sessions {
            if let Some(topic) = session.topic {
                self.faults.lost += session.checker.lost(self.topics[topic].published);
            }
        }
        let Self {
            faults,
            envelope,
            complaint,
            ..
        } = self;
        Ok(Outcome {
            faults,
            envelope,
            complaint,
        })
    }

    /// Fills up what may be outstanding. The publishes that became due together leave in one write.
    fn publish(&mut self) -> io::Result<()> {
        if self.in_flight == self.plan.outstanding {
            return Ok(());
        }
        let subscribers = self.sessions.len() - self.plan.publishers;
        let publisher = subscribers + self.next_publisher;
        self.next_publisher = (self.next_publisher + 1) % self.plan.publishers;
        let sent = self.start.elapsed().as_nanos() as u64;
        for _ in self.in_flight..self.plan.outstanding {
            let topic = &mut self.topics[self.next_topic];
            self.next_topic = (self.next_topic + 1) % self.plan.topics;
            message::set_stamp(&mut self.data, topic.published);
            message::put_publish(&mut self.sessions[publisher].out, &topic.name, &self.data);
            let place = topic.published as usize & (topic.flights.len() - 1);
            topic.flights[place] = Flight {
                sent,
                remaining: self.plan.subscribers as u32,
            };
            topic.published += 1;
            self.in_flight += 1;
        }
        self.write(publisher)
    }

    /// One wait, and all that came of it.
    fn turn(&mut self, time: Duration) -> io::Result<()> {
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
        let session = &mut self.sessions[number];
        if !session.out.is_empty() {
            match session.stream.write(&session.out) {
                Ok(count) => drop(session.out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Reading tells that the session is over.
                Err(_) => session.out.clear(),
            }
        }
        let writing = !session.out.is_empty();
        if writing != session.writing {
            session.writing = writing;
            self.poll.set_writing(&session.stream, number, writing)?;
        }
        Ok(())
    }

    /// Reads once from a session and walks the frames.
    fn read(&mut self, number: usize) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let session = &mut self.sessions[number];
        let held = session.partial.len();
        if buffer.len() < held + 65536 {
            buffer.resize(held + 65536, 0);
        }
        match session.stream.read(&mut buffer[held..]) {
            Ok(count) if count > 0 => {
                buffer[..held].copy_from_slice(&session.partial);
                session.partial.clear();
                let bytes = &buffer[..held + count];
                match self.walk(number, bytes) {
                    Ok(used) => self.sessions[number]
                        .partial
                        .extend_from_slice(&bytes[used..]),
                    Err(reason) => {
                        self.faults.damaged += 1;
                        self.complain(reason.as_bytes());
                        self.poll.remove(&self.sessions[number].stream)?;
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => {
                self.faults.closed += 1;
                self.poll.remove(&session.stream)?;
            }
        }
        self.buffer = buffer;
        Ok(())
    }

    /// Goes through the whole frames, and returns where they end.
    fn walk(&mut self, number: usize, bytes: &[u8]) -> Result<usize, &'static str> {
        let now = self.start.elapsed().as_nanos() as u64;
        // Messages of one burst were sent at one moment: they are recorded together.
        let (mut latency, mut times) = (0, 0);
        let mut at = 0;
        let is_events =
            self.plan.transport == Transport::Events && self.sessions[number].topic.is_some();
        let next = |at| {
            if is_events {
                Ok(events::next(bytes, at))
            } else {
                frames::next(bytes, at)
            }
        };
        while let Some(frame) = next(at)? {
            let payload = &bytes[frame.start..frame.end];
            at = frame.end;
            if frame.opcode != frames::TEXT {
                self.control(number, frame.opcode, payload);
            } else if let Some(sent) = self.message(number, payload) {
                let took = now - sent;
                if took != latency {
                    self.tally.latency.record(latency, times);
                    (latency, times) = (took, 0);
                }
                times += 1;
                self.tally.deliveries += 1;
            }
        }
        self.tally.latency.record(latency, times);
        Ok(at)
    }

    /// Checks a text frame; returns when it was published, if it is a message as it should be.
    #[inline]
    fn message(&mut self, number: usize, payload: &[u8]) -> Option<u64> {
        let session = &mut self.sessions[number];
        if !message::is_data(payload, session.data_at) {
            let Some(at) = message::find_data(payload) else {
                self.other_text(payload);
                return None;
            };
            session.data_at = at;
        }
        let data = &payload[session.data_at..];
        let Some(count) = message::read_stamp(data, self.run) else {
            self.faults.damaged += 1;
            self.complain(payload);
            return None;
        };
        let Some(index) = session.topic else {
            self.faults.unexpected += 1;
            return None;
        };
        let topic = &mut self.topics[index];
        // The closing quote stands where it must: nothing was cut or added.
        if data.get(self.plan.payload) != Some(&b'"') || count >= topic.published {
            self.faults.damaged += 1;
            return None;
        }
        if self.envelope.is_none() {
            self.envelope = Some(payload.len() - topic.name.len() - self.plan.payload);
        }
        match session.checker.see(count) {
            Verdict::Next | Verdict::Ahead => {}
            Verdict::Late => self.faults.disordered += 1,
            Verdict::Duplicate => {
                self.faults.duplicated += 1;
                return None;
            }
        }
        let places = topic.flights.len() - 1;
        let flight = &mut topic.flights[count as usize & places];
        flight.remaining -= 1;
        let sent = flight.sent;
        // Done in order: behind a lost message nothing is done, and the load comes to a stand.
        while topic.done < topic.published
            && topic.flights[topic.done as usize & places].remaining == 0
        {
            topic.done += 1;
            self.in_flight -= 1;
        }
        Some(sent)
    }

    #[cold]
    fn control(&mut self, number: usize, opcode: u8, payload: &[u8]) {
        if opcode == frames::PING {
            let session = &mut self.sessions[number];
            frames::put_masked(&mut session.out, frames::PONG, &[payload]);
            // A failure shows when the session is read.
            let _ = self.write(number);
        } else if opcode == frames::CLOSE {
            self.complain(payload);
        }
    }

    /// A text frame without data: a welcome is as it should be, anything else is not.
    #[cold]
    fn other_text(&mut self, payload: &[u8]) {
        if !payload.starts_with(br#"{"type":"welcome""#) {
            self.faults.unexpected += 1;
            self.complain(payload);
        }
    }

    /// Keeps the first thing that went wrong, to show it.
    #[cold]
    fn complain(&mut self, bytes: &[u8]) {
        self.complaint
            .get_or_insert_with(|| String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into());
    }
}

/// How it ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What went wrong.
    pub faults: Faults,
    /// How many bytes a message's frame has beside topic and data.
    pub envelope: Option<usize>,
    /// The first frame or reason behind a fault, where there is one.
    pub complaint: Option<String>,
}
