//! A session of the load.

use std::net::TcpStream;
use std::time::Instant;

use crate::bench::checker::Checker;

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has no connection.
    Away,
    /// Its socket is being connected.
    Connecting,
    /// The answer to its request is yet to come.
    Asking,
    /// Its subscription is yet to stand.
    Settling,
    /// It is what it should be.
    Open,
}

pub(super) struct Session<Carry> {
    pub(super) stream: Option<TcpStream>,
    pub(super) state: State,
    /// The topic it subscribed to; a publisher has none.
    pub(super) topic: Option<usize>,
    pub(super) seen: Seen,
    pub(super) carry: Carry,
    /// The beginning of a frame whose end is yet to come.
    pub(super) partial: Vec<u8>,
    /// What is yet to be written.
    pub(super) out: Vec<u8>,
    /// Whether the poll waits for room to write.
    pub(super) writing: bool,
    /// When it was last begun to be opened, while it is.
    pub(super) begun: Option<Instant>,
}

/// What a subscriber saw, and what it may.
pub(super) struct Seen {
    pub(super) checker: Checker,
    /// Whether a publish is done only when this session has it.
    pub(super) is_steady: bool,
    /// Whether the server may end it, since it did not read.
    pub(super) may_end: bool,
    /// Whether it is back: what it is owed begins where it ended.
    pub(super) is_back: bool,
    /// Messages below this count are replayed to it: they say nothing of latency.
    pub(super) live_from: u32,
    /// The count from which on it is owed messages, where it came in the middle: one that was published just before its
    /// subscription was seen to stand may be its first.
    pub(super) came_at: Option<u32>,
}

impl Seen {
    /// It comes while so many were published, and knows no position: it is owed what comes from here on.
    pub(super) fn enter(&mut self, published: u32) {
        self.checker = Checker::from(published);
        self.came_at = Some(published);
    }

    /// Whether it came in the middle, and has nothing yet.
    pub(super) fn is_first(&self) -> bool {
        self.came_at == Some(self.checker.next())
    }
}

impl<Carry: Default> Session<Carry> {
    pub(super) fn new(topic: Option<usize>) -> Self {
        Self {
            stream: None,
            state: State::Away,
            topic,
            seen: Seen {
                checker: Checker::default(),
                is_steady: true,
                may_end: false,
                is_back: false,
                live_from: 0,
                came_at: None,
            },
            carry: Carry::default(),
            partial: Vec::new(),
            out: Vec::new(),
            writing: false,
            begun: None,
        }
    }
}
