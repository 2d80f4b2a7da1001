//! One entry of a topic's presence.

use std::sync::Arc;

use super::{SessionId, Timestamp};

/// A session that is present in a topic: one per session and exact name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The session.
    pub session: SessionId,
    /// Its user, where its credentials name one.
    pub user: Option<Arc<str>>,
    /// What its credentials say of it to others: a JSON text.
    pub info: Option<Arc<str>>,
    /// When it came.
    pub since: Timestamp,
}
