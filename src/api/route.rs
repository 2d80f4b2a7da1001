//! What a path means.

use std::path::Path;

use super::ApiState;
use super::openapi;
use super::page::File;
use super::query::decode;
use super::sessions::SessionRoute;

/// One of the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// `/v1/topics/{topic}/messages`: the topic, still percent-encoded.
    Messages(&'a str),
    /// `/v1/topics/{topic}/presence`.
    Presence(&'a str),
    /// `/v1/topics/{topic}`.
    Topic(&'a str),
    /// `/v1/topics`.
    Topics,
    /// `/v1/publish`.
    Publish,
    /// One of those of sessions and users.
    Sessions(SessionRoute<'a>),
    /// `/v1/stats`.
    Stats,
    /// `/openapi.json`.
    OpenApi,
    /// The path of the metrics.
    Metrics,
    /// `/healthz`.
    Health,
    /// `/readyz`.
    Ready,
    /// The demo.
    Page(&'a File),
    /// A file of this directory, or nothing.
    Public(&'a Path),
    /// A path that only speaks WebSocket.
    WebSocket,
    /// `/sse`, which the gateway answers where it is asked for as it should be.
    Events,
    /// Nothing.
    Unknown,
}

/// The address that a request came to: operators and backend services may have one of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Address {
    /// There is only one, for all.
    #[default]
    Only,
    /// That of sessions and the page.
    Server,
    /// That of the HTTP API and the metrics.
    Admin,
}

impl Address {
    /// Whether there is such a path at that address. What is elsewhere is not told from what is
    /// nowhere.
    fn has(self, route: Route<'_>) -> bool {
        match route {
            Route::Health | Route::Ready | Route::Unknown => true,
            Route::Page(_) | Route::Public(_) | Route::WebSocket | Route::Events => {
                self != Self::Admin
            }
            Route::Messages(_)
            | Route::Presence(_)
            | Route::Topic(_)
            | Route::Topics
            | Route::Publish
            | Route::Sessions(_)
            | Route::Stats
            | Route::OpenApi
            | Route::Metrics => self != Self::Server,
        }
    }
}

impl<'a> Route<'a> {
    /// What that path, as it stands in the request, means at the address that it came to.
    pub fn of(path: &'a str, state: &'a ApiState) -> Self {
        let route = Self::anywhere(path, state);
        if state.address.has(route) {
            route
        } else {
            Self::Unknown
        }
    }

    fn anywhere(path: &'a str, state: &'a ApiState) -> Self {
        let config = &state.fixed;
        match path {
            "/v1/publish" => Self::Publish,
            "/v1/topics" => Self::Topics,
            "/v1/stats" => Self::Stats,
            "/openapi.json" => Self::OpenApi,
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/sse" => Self::Events,
            _ if path == config.metrics.path => Self::Metrics,
            _ if path == config.websocket.path => Self::WebSocket,
            _ if config.endpoints.iter().any(|bound| bound.path == path) => Self::WebSocket,
            _ => match path.strip_prefix("/v1/topics/") {
                Some(rest) => Self::below_topics(rest),
                None => SessionRoute::of(path)
                    .map(Self::Sessions)
                    .or(state.page.find(path).map(Self::Page))
                    .or(config.server.public.as_deref().map(Self::Public))
                    .unwrap_or(Self::Unknown),
            },
        }
    }

    /// A topic, or a topic and a verb: the last segment is the verb wherever it is one, since a
    /// topic's slashes may stand as they are.
    fn below_topics(rest: &'a str) -> Self {
        let (topic, last) = rest.rsplit_once('/').unwrap_or(("", rest));
        match decode(last).as_deref() {
            Some("messages") => Self::Messages(topic),
            Some("presence") => Self::Presence(topic),
            _ => Self::Topic(rest),
        }
    }

    /// The pattern of the path, for the metrics.
    pub fn pattern(self) -> &'static str {
        match self {
            Self::Messages(_) => "/v1/topics/{topic}/messages",
            Self::Presence(_) => "/v1/topics/{topic}/presence",
            Self::Topic(_) => "/v1/topics/{topic}",
            Self::Topics => "/v1/topics",
            Self::Publish => "/v1/publish",
            Self::Sessions(route) => route.pattern(),
            Self::Stats => "/v1/stats",
            Self::OpenApi => "/openapi.json",
            Self::Metrics => "/metrics",
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
            Self::Page(_) => "page",
            Self::Public(_) => "public",
            Self::WebSocket => "websocket",
            Self::Events => "/sse",
            Self::Unknown => "unknown",
        }
    }

    /// The methods that the path takes; none where there is no such path.
    pub fn allow(self) -> Option<&'static str> {
        match self {
            Self::Events => Some("GET"),
            Self::Page(_) | Self::Public(_) | Self::WebSocket => Some("GET, HEAD"),
            Self::Unknown => None,
            // A call that is not described is not there.
            call => openapi::allow(call.pattern()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_segment_is_the_verb_wherever_it_is_one() {
        for (rest, route) in [
            ("a", Route::Topic("a")),
            ("a/b", Route::Topic("a/b")),
            ("a/messages", Route::Messages("a")),
            ("a/b/messages", Route::Messages("a/b")),
            ("a%2Fb/presence", Route::Presence("a%2Fb")),
            ("a/%6Dessages", Route::Messages("a")),
            ("/a//messages", Route::Messages("/a/")),
            ("messages/messages", Route::Messages("messages")),
            ("a/presence/messages", Route::Messages("a/presence")),
            ("messages/a", Route::Topic("messages/a")),
            // A topic that ends like that is asked for with the slash encoded.
            ("a%2Fmessages", Route::Topic("a%2Fmessages")),
            ("a%2Fmessages/messages", Route::Messages("a%2Fmessages")),
            ("messages", Route::Messages("")),
            ("", Route::Topic("")),
            ("a/messages/", Route::Topic("a/messages/")),
            ("a/Messages", Route::Topic("a/Messages")),
            ("a/%zz", Route::Topic("a/%zz")),
        ] {
            assert_eq!(Route::below_topics(rest), route, "{rest}");
        }
    }
}
