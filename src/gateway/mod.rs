//! Where clients come in: WebSocket sessions that own their sockets, and server-sent events.

mod compression;
mod connection;
mod drain;
mod handshake;
mod heartbeat;
mod inbound;
mod io;
mod lobby;
mod measure;
mod moment;
mod parser_answer;
mod reception;
mod refusal;
mod renewal;
mod resume;
mod socket;
mod sse;
mod subprotocol;
mod unread;
mod upgrade;
mod wanted;
mod watch;
mod wheel;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::auth::{Caller, LiveDoor};
use crate::broker::{Broker, Subscriber, SysTopic, Worker, WorkerError, spoken};
use crate::config::LiveConfig;
use crate::limits::{Entry, Pressure, Throttle};
use crate::metrics::{Held, Label, Metrics, Refusal as Reason};
use crate::protocol::{ErrorCode, Refusal};
use crate::session::Limits;
use crate::shutdown::Shutdown;

pub use drain::lead as drain_lead;
pub use io::{Io, TakeOver};
pub use lobby::{Guest, REQUEST_TIMEOUT};
pub use reception::{Reception, attended};
pub use sse::event_stream;
pub use unread::Unread;
pub use upgrade::upgrade;

use handshake::{Entrances, Refused};
use watch::{Timing, Watch};

/// What all workers' gateways share.
#[derive(Clone)]
pub struct Entrance {
    /// The broker.
    pub broker: Broker,
    /// Who may come in.
    pub door: Arc<LiveDoor>,
    /// Who comes or does too much.
    pub throttle: Arc<Throttle>,
    /// The configuration.
    pub config: LiveConfig,
    /// Says when to wind up.
    pub shutdown: Shutdown,
    /// Sessions there may be.
    pub max_connections: usize,
}

/// One worker's gateway.
pub struct Gateway {
    entrance: Entrance,
    worker: Rc<Worker>,
    metrics: Metrics,
    watch: Rc<Watch>,
}

impl Gateway {
    /// The gateway of this thread, which becomes a worker of the broker.
    ///
    /// # Errors
    /// See [`Broker::enter`].
    pub fn start(entrance: Entrance) -> Result<Rc<Self>, WorkerError> {
        let worker = entrance.broker.enter()?;
        let config = entrance.config.now();
        let metrics = entrance.broker.metrics().clone();
        let watch = Watch {
            wheel: wheel::start(),
            timing: Timing {
                heartbeat: config.heartbeat.interval,
                timeout: config.heartbeat.timeout,
                write: config.session.write_timeout,
            },
            door: Arc::clone(&entrance.door),
            worker: Rc::clone(&worker),
            metrics: metrics.clone(),
        };
        let gateway = Rc::new(Self {
            worker,
            metrics,
            watch: Rc::new(watch),
            entrance,
        });
        actix_rt::spawn(drain::run(Rc::downgrade(&gateway)));
        actix_rt::spawn(renewal::run(Rc::downgrade(&gateway)));
        Ok(gateway)
    }

    /// What a session that opens now is held to, until it ends: it is told so in its welcome.
    fn limits(&self) -> Limits {
        let limits = &self.entrance.config.now().limits;
        Limits {
            message_bytes: limits.message_bytes,
            protocol_errors: limits.protocol_errors,
        }
    }

    /// Whether a new session may come in at all.
    fn admit(&self) -> Result<(), Refused> {
        if self.entrance.shutdown.is_draining() {
            let wait = self
                .entrance
                .config
                .now()
                .server
                .drain
                .max(Duration::from_secs(1));
            let refusal = Refusal::new(
                ErrorCode::Unavailable,
                "the server is going away; connect again after a moment",
            );
            return Err(Refused::new(Reason::Draining, refusal.retry_after(wait)));
        }
        if self.entrance.throttle.memory.pressure() > Pressure::None {
            let refusal = Refusal::new(
                ErrorCode::Unavailable,
                "the broker is short of memory: it takes no more sessions for now",
            );
            let refusal = refusal.retry_after(Duration::from_secs(5));
            return Err(Refused::new(Reason::Memory, refusal));
        }
        if self.entrance.broker.session_count() >= self.entrance.max_connections {
            let refusal = Refusal::new(
                ErrorCode::Unavailable,
                "there are as many sessions as server.max_connections allows; try again later",
            );
            return Err(Refused::new(
                Reason::Full,
                refusal.retry_after(Duration::from_secs(5)),
            ));
        }
        Ok(())
    }

    /// What a handshake is held against.
    fn entrances(&self) -> Entrances<'_> {
        Entrances {
            door: self.entrance.door.now(),
            throttle: &self.entrance.throttle,
        }
    }

    /// Counts a session with its address and user, for as long as what is returned is held.
    fn enter(&self, client: Option<IpAddr>, caller: &Caller) -> Result<Entry, Refused> {
        Ok(self.entrance.throttle.enter(client, caller.user.as_ref())?)
    }

    /// Counts a session as connected for as long as what is returned is held.
    fn count(&self, subscriber: &Subscriber) -> Held {
        self.entrance.broker.tell(SysTopic::Sessions, || {
            json!({
                "event": "opened",
                "session": subscriber.id().to_string(),
                "user": subscriber.rights().user().as_deref(),
                "transport": spoken(subscriber.format()).transport().as_str(),
                "protocol": subscriber.format().subprotocol(),
            })
        });
        self.metrics.connected(spoken(subscriber.format()))
    }

    /// Counts the end of a session that was connected.
    fn ended(&self, subscriber: &Subscriber, code: u16) {
        self.metrics.disconnected(code);
        self.entrance.broker.tell(SysTopic::Sessions, || {
            json!({
                "event": "closed",
                "session": subscriber.id().to_string(),
                "user": subscriber.rights().user().as_deref(),
                "code": code,
            })
        });
    }

    fn refused(&self, refused: &Refused) {
        tracing::debug!(status = refused.status, reason = ?refused.reason, "handshake refused");
        self.metrics.handshake_refused(refused.reason);
        if let Some(failure) = refused.auth_failure {
            self.metrics.auth_failed(failure);
        }
    }
}

/// A random number for names and for spreading.
pub fn random() -> u64 {
    // Without a source of randomness the process could not name sessions apart.
    getrandom::u64().unwrap_or_else(|_| {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(std::time::Instant::now())
    })
}
