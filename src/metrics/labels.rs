//! The values that labels may have. They are fixed lists, so that nothing a client sends can make
//! a new series.

use std::marker::PhantomData;

/// A label whose values are a fixed list.
pub trait Label: Copy + 'static {
    /// All of them.
    const ALL: &'static [Self];

    /// The value as it stands in the exposition.
    fn as_str(self) -> &'static str;

    /// Its place in [`Label::ALL`].
    fn index(self) -> usize;
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$value_doc])* $value,)+
        }

        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$value,)+];

            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// How a session is connected.
    Transport {
        /// `/ws` and the configured endpoints.
        WebSocket = "websocket",
        /// `/sse`.
        Sse = "sse",
    }
}

label! {
    /// What a session speaks.
    Protocol {
        /// `fanfare.v1.json`.
        Json = "json",
        /// `fanfare.v1.msgpack`.
        Msgpack = "msgpack",
        /// `fanfare.v1.raw`.
        Raw = "raw",
        /// Server-sent events.
        Sse = "sse",
    }
}

impl Protocol {
    /// How sessions that speak it are connected.
    pub fn transport(self) -> Transport {
        match self {
            Self::Json | Self::Msgpack | Self::Raw => Transport::WebSocket,
            Self::Sse => Transport::Sse,
        }
    }
}

label! {
    /// By which door a message came in.
    Source {
        /// A session that speaks `fanfare.v1.json`.
        Json = "json",
        /// A session that speaks `fanfare.v1.msgpack`.
        Msgpack = "msgpack",
        /// A session that speaks `fanfare.v1.raw`.
        Raw = "raw",
        /// The HTTP API.
        Http = "http",
        /// The broker itself: texts of endpoints, publishes in-process.
        Internal = "internal",
    }
}

label! {
    /// What a subscription names.
    SubscriptionKind {
        /// One topic.
        Exact = "exact",
        /// A filter with a wildcard.
        Filter = "filter",
    }
}

label! {
    /// Why a message that was queued for a session was not delivered.
    DropReason {
        /// The session's queue was full.
        Slow = "slow",
        /// A newer message of the same key took its place before it left.
        Conflated = "conflated",
        /// The session ended with the message in its queue.
        Closed = "closed",
    }
}

label! {
    /// How asking for what was missed came out.
    Recovery {
        /// Every missed message was there.
        Recovered = "recovered",
        /// Some were not: the client must reload its state.
        Gap = "gap",
    }
}

label! {
    /// Why a connection was refused before it was a session.
    Refusal {
        /// 400, 431: a request that is none, or makes no sense, or no known subprotocol.
        Malformed = "malformed",
        /// 400: a topic or filter that is none.
        InvalidTopic = "invalid_topic",
        /// 401: credentials that nothing knows, or none where some are needed.
        Credentials = "credentials",
        /// 403: a foreign origin.
        Origin = "origin",
        /// 403: without keys and `[auth]` only local clients are served.
        NotLocal = "not_local",
        /// 403: a topic asked for in the handshake is not granted.
        Forbidden = "forbidden",
        /// 404: no such path.
        NotFound = "not_found",
        /// 400, 405, 426: the request does not ask for an upgrade, or for an event stream, as it should.
        NotUpgrade = "not_upgrade",
        /// 429: too many in too short a time.
        Rate = "rate",
        /// 429: too many at once from there.
        Connections = "connections",
        /// 503: the broker is stopping.
        Draining = "draining",
        /// 503: the broker has all the connections it can hold.
        Full = "full",
        /// 503: memory is short.
        Memory = "memory",
        /// No whole request in time.
        Timeout = "timeout",
        /// 500: a fault of the broker's.
        Internal = "internal",
    }
}

label! {
    /// Why credentials were not accepted.
    AuthFailure {
        /// None were there.
        Missing = "missing",
        /// They cannot be read.
        Malformed = "malformed",
        /// Nothing knows them.
        Unknown = "unknown",
        /// They are known, but not for this.
        Scope = "scope",
    }
}

label! {
    /// Which limit was exceeded.
    RateLimit {
        /// `publishes_per_second`, or over HTTP `api_publishes_per_second`.
        Publishes = "publishes",
        /// `frames_per_second`.
        Frames = "frames",
        /// `bytes_per_second`.
        Bytes = "bytes",
        /// `handshakes_per_second`.
        Handshakes = "handshakes",
        /// `auth_failures_per_second`.
        AuthFailures = "auth_failures",
        /// `connections_per_ip`.
        ConnectionsPerIp = "connections_per_ip",
        /// `connections_per_user`.
        ConnectionsPerUser = "connections_per_user",
    }
}

label! {
    /// How safe a message is before it is acknowledged.
    Durability {
        /// In memory.
        Memory = "memory",
        /// The operating system has it.
        Written = "written",
        /// It is on the disk.
        Synced = "synced",
    }
}

label! {
    /// Where a panic was caught.
    Place {
        /// A session, which it ended.
        Session = "session",
        /// A turn of a registry.
        Registry = "registry",
        /// The task that writes to the sockets.
        Flush = "flush",
        /// A request to the HTTP API.
        Http = "http",
    }
}

label! {
    /// The code of an error that answers a publish: the protocol's error codes.
    ErrorCode {
        /// A frame or request that is not of the form.
        BadRequest = "bad_request",
        /// Not a topic name.
        InvalidTopic = "invalid_topic",
        /// Credentials are needed.
        Unauthorized = "unauthorized",
        /// Not granted.
        Forbidden = "forbidden",
        /// Nothing there.
        NotFound = "not_found",
        /// The same key with another body, or the like.
        Conflict = "conflict",
        /// Larger than the limit.
        TooLarge = "too_large",
        /// Too many in too short a time.
        RateLimited = "rate_limited",
        /// Too many at all.
        LimitExceeded = "limit_exceeded",
        /// A fault of the broker's.
        Internal = "internal",
        /// Cannot be done now.
        Unavailable = "unavailable",
        /// Any other.
        Other = "other",
    }
}

impl ErrorCode {
    /// The code of that name; [`ErrorCode::Other`] where a publish never has it.
    pub fn named(name: &str) -> Self {
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == name)
            .unwrap_or(Self::Other)
    }
}

/// One thing for each value of a label.
#[derive(Clone)]
pub(super) struct Each<L, T> {
    things: Box<[T]>,
    label: PhantomData<fn(L)>,
}

impl<L: Label, T> Each<L, T> {
    /// Makes the thing for each value.
    pub(super) fn make(make: impl FnMut(L) -> T) -> Self {
        Self {
            things: L::ALL.iter().copied().map(make).collect(),
            label: PhantomData,
        }
    }

    /// The thing for that value: always there, which only the compiler cannot see.
    pub(super) fn get(&self, value: L) -> Option<&T> {
        self.things.get(value.index())
    }

    /// The same with another thing made of each.
    pub(super) fn map<U>(&self, make: impl FnMut(&T) -> U) -> Each<L, U> {
        Each {
            things: self.things.iter().map(make).collect(),
            label: PhantomData,
        }
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.things.iter()
    }
}
