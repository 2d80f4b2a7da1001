//! What a path below `/v1/sessions`, `/v1/users` and `/v1/broadcast` means.

use super::super::query::decode;
use super::Problem;
use crate::broker::Whom;
use crate::model::SessionId;

/// One of the calls; names are still percent-encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionRoute<'a> {
    /// `/v1/sessions`.
    List,
    /// `/v1/sessions/{session}`.
    Session(&'a str),
    /// `/v1/sessions/{session}/messages`.
    SessionMessages(&'a str),
    /// `/v1/sessions/{session}/subscriptions`.
    SessionSubscriptions(&'a str),
    /// `/v1/users/{user}`.
    User(&'a str),
    /// `/v1/users/{user}/messages`.
    UserMessages(&'a str),
    /// `/v1/users/{user}/subscriptions`.
    UserSubscriptions(&'a str),
    /// `/v1/broadcast`.
    Broadcast,
}

impl<'a> SessionRoute<'a> {
    /// What that path, as it stands in the request, means; `None` where it is another's.
    pub fn of(path: &'a str) -> Option<Self> {
        let mut levels = path.strip_prefix("/v1/")?.split('/');
        let found = match (levels.next()?, levels.next(), levels.next()) {
            ("broadcast", None, _) => Self::Broadcast,
            ("sessions", None, _) => Self::List,
            ("sessions", Some(name), None) => Self::Session(name),
            ("sessions", Some(name), Some("messages")) => Self::SessionMessages(name),
            ("sessions", Some(name), Some("subscriptions")) => Self::SessionSubscriptions(name),
            ("users", Some(name), None) => Self::User(name),
            ("users", Some(name), Some("messages")) => Self::UserMessages(name),
            ("users", Some(name), Some("subscriptions")) => Self::UserSubscriptions(name),
            _ => return None,
        };
        levels.next().is_none().then_some(found)
    }

    /// The pattern of the path, for the metrics.
    pub fn pattern(self) -> &'static str {
        match self {
            Self::List => "/v1/sessions",
            Self::Session(_) => "/v1/sessions/{session}",
            Self::SessionMessages(_) => "/v1/sessions/{session}/messages",
            Self::SessionSubscriptions(_) => "/v1/sessions/{session}/subscriptions",
            Self::User(_) => "/v1/users/{user}",
            Self::UserMessages(_) => "/v1/users/{user}/messages",
            Self::UserSubscriptions(_) => "/v1/users/{user}/subscriptions",
            Self::Broadcast => "/v1/broadcast",
        }
    }
}

/// The name of the session in a path.
///
/// # Errors
/// 404 where the text is no session's name.
pub(super) fn id(name: &str) -> Result<SessionId, Problem> {
    decode(name)
        .and_then(|name| SessionId::parse(&name))
        .ok_or_else(|| Problem::not_found("there is no session of that name; it may have ended"))
}

/// The session in a path.
///
/// # Errors
/// As [`id`].
pub(super) fn session(name: &str) -> Result<Whom, Problem> {
    id(name).map(Whom::Session)
}

/// The user in a path.
///
/// # Errors
/// 400 where it is not percent-encoded as it should be.
pub(super) fn user(name: &str) -> Result<Whom, Problem> {
    decode(name)
        .map(|name| Whom::User((&*name).into()))
        .ok_or_else(|| {
            Problem::bad_request("the user in the path must be UTF-8 that is percent-encoded")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_name_and_at_most_one_verb() {
        for (path, route) in [
            ("/v1/sessions", Some(SessionRoute::List)),
            ("/v1/sessions/1f", Some(SessionRoute::Session("1f"))),
            (
                "/v1/sessions/1f/messages",
                Some(SessionRoute::SessionMessages("1f")),
            ),
            (
                "/v1/sessions/messages",
                Some(SessionRoute::Session("messages")),
            ),
            (
                "/v1/sessions/1f/subscriptions",
                Some(SessionRoute::SessionSubscriptions("1f")),
            ),
            ("/v1/users/a%2Fb", Some(SessionRoute::User("a%2Fb"))),
            (
                "/v1/users/a/messages",
                Some(SessionRoute::UserMessages("a")),
            ),
            (
                "/v1/users/a/subscriptions",
                Some(SessionRoute::UserSubscriptions("a")),
            ),
            ("/v1/broadcast", Some(SessionRoute::Broadcast)),
            ("/v1/users", None),
            ("/v1/users/a/b", None),
            ("/v1/users/a/b/messages", None),
            ("/v1/sessions/1f/messages/", None),
            ("/v1/broadcast/x", None),
            ("/v1/topics", None),
            ("/v2/sessions", None),
        ] {
            assert_eq!(SessionRoute::of(path), route, "{path}");
        }
    }

    #[test]
    fn names_are_decoded() {
        assert_eq!(
            session("00000000000000%32a").unwrap(),
            Whom::Session(SessionId(0x2a))
        );
        for none in ["", "2a", "000000000000002g", "%zz", "0000000000000002a"] {
            assert_eq!(id(none).unwrap_err().status(), 404, "{none}");
        }
        assert_eq!(user("a%2Fb%20c").unwrap(), Whom::User("a/b c".into()));
        assert!(user("%ff").is_err());
    }
}
