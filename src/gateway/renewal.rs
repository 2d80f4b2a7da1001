//! Looking again at who is here, once who may come in has changed.

use std::rc::{Rc, Weak};
use std::time::Instant;

use crate::auth::Door;
use crate::broker::{Ending, Subscriber};
use crate::protocol::{Close, CloseCode};

use super::Gateway;

/// Sessions that are looked at before other tasks have their turn.
const SLICE: usize = 256;

/// Gives this worker's sessions the rights that they have by every new door, and ends those that it
/// would not let in.
pub async fn run(gateway: Weak<Gateway>) {
    let Some(mut changes) = gateway.upgrade().map(|g| g.entrance.door.changes()) else {
        return;
    };
    while changes.changed().await.is_ok() {
        let Some(gateway) = gateway.upgrade() else {
            return;
        };
        let door = gateway.entrance.door.now();
        let sessions = gateway.worker.sessions();
        for slice in sessions.chunks(SLICE) {
            for session in slice {
                renew(&gateway, &door, session);
            }
            tokio::task::yield_now().await;
        }
    }
}

fn renew(gateway: &Gateway, door: &Door, session: &Rc<Subscriber>) {
    if let Some(access) = door.renewed(session.rights().identity()) {
        session.rights().replace(access);
        gateway.worker.recheck(session);
        return;
    }
    let close = Close::new(
        CloseCode::CREDENTIALS_EXPIRED,
        "what this session came in by is not accepted any more; connect again with other credentials",
    );
    session.close(&close, Ending::Orderly, Instant::now());
}
