//! What the connections of one worker are watched with: its timer, and the deadlines.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::auth::LiveDoor;
use crate::broker::Worker;
use crate::metrics::Metrics;

use super::wheel::Wheel;

/// After the last that the server says, a peer has this long to read it or to answer (protocol
/// section 5).
pub const LINGER: Duration = Duration::from_secs(1);

/// How often a session that does not take what is sent is looked at.
pub const BLOCKED_CHECK: Duration = Duration::from_millis(500);

/// What all sockets of a worker share.
pub struct Watch {
    /// The worker's timer.
    pub wheel: Rc<Wheel>,
    /// Says how long credentials may take.
    pub door: Arc<LiveDoor>,
    /// The deadlines.
    pub timing: Timing,
    /// The worker, with which round trips are counted.
    pub worker: Rc<Worker>,
    /// Where time-outs are counted.
    pub metrics: Metrics,
}

/// How long sessions may keep the server waiting. Zero turns a deadline off.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// A session that was silent for so long is pinged.
    pub heartbeat: Duration,
    /// A ping is to be followed by a sign of life within this.
    pub timeout: Duration,
    /// An outbox is to be emptied within this.
    pub write: Duration,
}

impl Watch {
    /// Credentials are to come within this, where they are still to come; zero if they may take as
    /// long as they like. Other than the rest it may change while the broker runs.
    pub fn auth_timeout(&self) -> Duration {
        self.door.now().auth_timeout()
    }
}
