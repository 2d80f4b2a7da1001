//! What many threads read of sessions: who they are, whose, and which worker has them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;

use dashmap::DashMap;

use crate::model::{SessionId, Timestamp};
use crate::protocol::WireFormat;

/// All sessions of the node.
#[derive(Default)]
pub struct SessionDirectory {
    kept: DashMap<SessionId, Kept>,
    /// The sessions of each user that has any.
    users: DashMap<Arc<str>, BTreeSet<SessionId>>,
}

/// What is known of a session outside its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionCard {
    /// The session.
    pub session: SessionId,
    /// What it speaks.
    pub format: WireFormat,
    /// Where its connection comes from.
    pub address: Option<IpAddr>,
    /// When it opened.
    pub since: Timestamp,
    /// The worker that has it.
    pub(super) worker: usize,
}

/// A card as it is kept: less its key, and small, since there are as many as sessions.
struct Kept {
    address: Option<IpAddr>,
    since: Timestamp,
    format: WireFormat,
    worker: u16,
}

impl SessionDirectory {
    /// How many sessions there are.
    pub fn count(&self) -> usize {
        self.kept.len()
    }

    /// Enters a session, of that user where its credentials name one.
    pub fn insert(&self, card: SessionCard, user: Option<Arc<str>>) {
        self.join(user, card.session);
        let kept = Kept {
            address: card.address,
            since: card.since,
            format: card.format,
            worker: u16::try_from(card.worker).unwrap_or(u16::MAX),
        };
        self.kept.insert(card.session, kept);
    }

    /// Strikes a session of that user out.
    pub fn remove(&self, session: SessionId, user: Option<&str>) {
        self.kept.remove(&session);
        self.leave(user, session);
    }

    /// Says whose a session is that was `before`'s.
    pub fn identify(&self, session: SessionId, before: Option<&str>, user: Option<Arc<str>>) {
        if before != user.as_deref() {
            self.leave(before, session);
            self.join(user, session);
        }
    }

    /// Whether any session speaks what is so.
    pub fn any(&self, so: impl Fn(WireFormat) -> bool) -> bool {
        self.kept.iter().any(|kept| so(kept.format))
    }

    /// One session.
    pub fn get(&self, session: SessionId) -> Option<SessionCard> {
        self.kept.get(&session).map(|kept| SessionCard {
            session,
            format: kept.format,
            address: kept.address,
            since: kept.since,
            worker: kept.worker.into(),
        })
    }

    /// The sessions of a user that come after `after`, in the order of their names.
    pub fn of_user(&self, user: &str, after: Option<SessionId>) -> Vec<SessionId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.users.get(user).map_or_else(Vec::new, |sessions| {
            sessions.range((from, Bound::Unbounded)).copied().collect()
        })
    }

    fn join(&self, user: Option<Arc<str>>, session: SessionId) {
        if let Some(user) = user {
            self.users.entry(user).or_default().insert(session);
        }
    }

    fn leave(&self, user: Option<&str>, session: SessionId) {
        if let Some(user) = user {
            self.users.remove_if_mut(user, |_, sessions| {
                sessions.remove(&session);
                sessions.is_empty()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(session: u64) -> SessionCard {
        SessionCard {
            session: SessionId(session),
            format: WireFormat::Json,
            address: None,
            since: Timestamp(0),
            worker: 0,
        }
    }

    fn of(directory: &SessionDirectory, user: &str) -> Vec<u64> {
        let sessions = directory.of_user(user, None);
        sessions.into_iter().map(|session| session.0).collect()
    }

    #[test]
    fn a_users_sessions_are_known_until_the_last_of_them_goes() {
        let directory = SessionDirectory::default();
        for (session, user) in [
            (3, Some("anna")),
            (1, Some("anna")),
            (2, Some("bert")),
            (4, None),
        ] {
            directory.insert(card(session), user.map(Arc::from));
        }
        assert_eq!(of(&directory, "anna"), [1, 3]);
        assert_eq!(
            directory.of_user("anna", Some(SessionId(1))),
            [SessionId(3)]
        );
        directory.remove(SessionId(1), Some("anna"));
        directory.remove(SessionId(1), Some("anna"));
        assert_eq!(of(&directory, "anna"), [3]);
        directory.remove(SessionId(3), Some("anna"));
        assert_eq!(of(&directory, "anna"), [0; 0]);
        directory.remove(SessionId(2), Some("bert"));
        directory.remove(SessionId(4), None);
        assert!(directory.kept.is_empty() && directory.users.is_empty());
    }

    #[test]
    fn a_session_changes_its_user_when_other_credentials_come() {
        let directory = SessionDirectory::default();
        directory.insert(card(1), None);
        let mut before = None;
        for (user, annas, berts) in [
            (Some("anna"), &[1][..], &[][..]),
            (Some("anna"), &[1], &[]),
            (Some("bert"), &[], &[1]),
            (None, &[], &[]),
        ] {
            directory.identify(SessionId(1), before, user.map(Arc::from));
            assert_eq!(of(&directory, "anna"), annas, "{user:?}");
            assert_eq!(of(&directory, "bert"), berts, "{user:?}");
            before = user;
        }
        assert!(directory.users.is_empty());
    }
}
