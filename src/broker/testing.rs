//! What the broker's tests share: a wire that takes as much as it is told, and what was written.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Broker, Opening, Publication, Rule, Rules, Settings, TopicRule, Wire};
use crate::auth::{Access, Caller, Rights};
use crate::config::Who;
use crate::history::{Bounds, MemoryStore};
use crate::metrics::Metrics;
use crate::model::{Filter, Member, Origin, Payload, SessionId, Timestamp, TopicName};
use crate::protocol::WireFormat;

/// A connection whose kernel takes `room` bytes.
pub struct FakeWire {
    pub room: Cell<usize>,
    pub taken: RefCell<Vec<u8>>,
    /// Calls that wrote something.
    pub writes: Cell<usize>,
    pub is_shut: Cell<bool>,
    pub is_killed: Cell<bool>,
    /// When it is to be looked at again.
    pub due: Cell<Option<Instant>>,
}

impl FakeWire {
    pub fn with_room(room: usize) -> Rc<Self> {
        Rc::new(Self {
            room: Cell::new(room),
            taken: RefCell::default(),
            writes: Cell::default(),
            is_shut: Cell::default(),
            is_killed: Cell::default(),
            due: Cell::default(),
        })
    }

    /// The payloads of the WebSocket frames that were taken whole.
    pub fn payloads(&self) -> Vec<String> {
        Self::payloads_of(&self.taken.borrow())
    }

    /// The payloads of the WebSocket frames that stand there whole.
    pub fn payloads_of(bytes: &[u8]) -> Vec<String> {
        frames(bytes)
            .into_iter()
            .map(|(_, payload)| String::from_utf8_lossy(payload).into_owned())
            .collect()
    }

    /// The JSON objects that were taken whole.
    pub fn objects(&self) -> Vec<Value> {
        let taken = self.taken.borrow();
        frames(&taken)
            .into_iter()
            .filter(|(opcode, _)| *opcode == 1)
            .map(|(_, payload)| serde_json::from_slice(payload).unwrap())
            .collect()
    }
}

/// The frames that a server's bytes hold whole: opcode and payload.
fn frames(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while bytes.len() >= 2 {
        assert_eq!(bytes[0] & 0xf0, 0x80, "no frame begins here");
        let (head, len) = match bytes[1] {
            126 if bytes.len() >= 4 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            127 if bytes.len() >= 10 => {
                let len: [u8; 8] = bytes[2..10].try_into().unwrap();
                (10, u64::from_be_bytes(len) as usize)
            }
            126 | 127 => break,
            len => (2, usize::from(len)),
        };
        if bytes.len() < head + len {
            break;
        }
        found.push((bytes[0] & 15, &bytes[head..head + len]));
        bytes = &bytes[head + len..];
    }
    found
}

impl Wire for FakeWire {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write_vectored(&[IoSlice::new(bytes)])
    }

    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.is_killed.get() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut written = 0;
        for piece in pieces {
            let take = piece.len().min(self.room.get());
            self.taken.borrow_mut().extend_from_slice(&piece[..take]);
            if self.room.get() != usize::MAX {
                self.room.set(self.room.get() - take);
            }
            written += take;
        }
        if written == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.writes.set(self.writes.get() + 1);
        Ok(written)
    }

    fn want_writable(&self) {}

    fn wake_at(&self, due: Instant) {
        self.due.set(Some(due));
    }

    fn shut_writing(&self) {
        self.is_shut.set(true);
    }

    fn kill(&self) {
        self.is_killed.set(true);
    }
}

pub fn topic(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

pub fn filter(text: &str) -> Filter {
    Filter::new(text).unwrap()
}

/// That user, who may do everything.
pub fn caller_of(user: &str) -> Caller {
    Caller {
        user: Some(user.into()),
        ..Caller::that_may(Access::everything())
    }
}

/// A session of nobody's.
pub fn opening(id: u64, format: WireFormat) -> Opening {
    Opening {
        id: SessionId(id),
        format,
        window: None,
        address: None,
        rights: everything(),
    }
}

pub fn member(session: SessionId) -> Member {
    Member {
        session,
        user: None,
        info: None,
        since: Timestamp::default(),
    }
}

pub fn publication(name: &TopicName, text: &str, publisher: Option<SessionId>) -> Publication {
    Publication {
        topic: name.clone(),
        payload: Payload::text(text),
        key: None,
        retain: false,
        user: None,
        publisher,
        origin: Origin::Internal,
        once: None,
    }
}

/// As [`publication`], to be retained.
pub fn retained(name: &TopicName, text: &str) -> Publication {
    Publication {
        retain: true,
        ..publication(name, text, None)
    }
}

pub fn store() -> Arc<MemoryStore> {
    let next = AtomicU64::new(1);
    Arc::new(MemoryStore::new(
        usize::MAX,
        move || next.fetch_add(1, Ordering::Relaxed),
        Timestamp(0),
    ))
}

/// Rights to everything.
pub fn everything() -> Rc<Rights> {
    Rights::to(Access::everything())
}

/// `h/…` keeps history, `few/…` ten messages but for `few/long/…`, `aged/…` for a second, `p/…` tells who is there, `hp/…` both; `keys/…`
/// is for keys and keeps history and presence; `r/…` retains, `hr/…` and `fr/…` keep history and retain,
/// `kr/…` retains for keys; `named/…` tells who published; everything else is live only.
pub fn rules() -> Rules {
    let rule = |text: &str, messages, age: Option<u64>, presence| Rule {
        filter: filter(text),
        topic: TopicRule {
            history: (messages > 0).then(|| Bounds {
                messages,
                age: age.map(Duration::from_millis),
                bytes: usize::MAX,
            }),
            presence,
            join_leave: presence,
            ..TopicRule::default()
        },
    };
    let mut keys = rule("keys/#", 100, None, true);
    keys.topic.subscribe = Who::Api;
    let retaining = |rule: Rule| Rule {
        topic: TopicRule {
            retain: true,
            ..rule.topic
        },
        ..rule
    };
    let mut keys_retain = retaining(rule("kr/#", 0, None, false));
    keys_retain.topic.subscribe = Who::Api;
    let mut named = rule("named/#", 0, None, false);
    named.topic.expose_user = true;
    Rules::new(vec![
        keys,
        named,
        rule("h/#", 1_000_000, None, false),
        rule("few/long/#", 1_000_000, None, false),
        rule("few/#", 10, None, false),
        rule("aged/#", 100, Some(1_000), false),
        rule("p/#", 0, None, true),
        rule("hp/#", 100, None, true),
        retaining(rule("r/#", 0, None, false)),
        retaining(rule("hr/#", 1_000_000, None, false)),
        retaining(rule("fr/#", 10, None, false)),
        keys_retain,
    ])
}

/// The value of a count, summed over its labels.
pub fn metric(metrics: &Metrics, name: &str) -> i64 {
    let text = metrics.render().unwrap();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(series, _)| series.split('{').next() == Some(name))
        .map(|(_, value)| value.parse::<i64>().unwrap())
        .sum()
}

pub fn broker(workers: usize, queue: usize) -> Broker {
    let settings = Settings {
        workers,
        rules: rules(),
        store: store(),
        max_topics: 1000,
        max_replay: 1_000_000,
        max_subscriptions: 100,
        queue,
        flush_interval: Duration::ZERO,
        compression: crate::protocol::Effort::default(),
        idempotency_window: Duration::from_secs(60),
        max_answers: 1000,
    };
    Broker::new(settings, Metrics::new("0", "test").unwrap())
}
