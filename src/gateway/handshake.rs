//! What a request for an upgrade asks, and whether it may have it: read before anything is done.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::auth::{Caller, Door, Facts};
use crate::broker::Rules;
use crate::config::{Config, Endpoint};
use crate::limits::{Excess, Throttle};
use crate::metrics::{AuthFailure, Refusal as Reason};
use crate::model::{Filter, TopicName};
use crate::protocol::{ErrorCode, Refusal, WireFormat};
use crate::websocket::Negotiated;

use super::subprotocol::choose;
use super::wanted::Wanted;

/// Everything a session is opened with.
pub struct Plan {
    /// What will be spoken.
    pub format: WireFormat,
    /// The subprotocol to name in the answer: one that was offered.
    pub subprotocol: Option<&'static str>,
    /// What to subscribe to before the answer.
    pub filters: Vec<Filter>,
    /// How much of it to replay.
    pub last: Option<u64>,
    /// Whether its own messages come back to it.
    pub echo: bool,
    /// Where a raw session publishes.
    pub publish_to: Option<TopicName>,
    /// Whether that is said, and does not only follow from what it subscribes to.
    pub asks_to_publish: bool,
    /// Who it is.
    pub caller: Caller,
    /// Where it comes from.
    pub client: Option<IpAddr>,
    /// The configured endpoint that it came by.
    pub endpoint: Option<Endpoint>,
    /// How messages are compressed.
    pub deflate: Option<Negotiated>,
}

/// A text that an endpoint publishes of its own, and where.
type Greeting = Option<(TopicName, String)>;

impl Plan {
    /// What the endpoint publishes when the session opens, and when it ends.
    pub fn greetings(&self) -> (Greeting, Greeting) {
        let of = |text: fn(&Endpoint) -> &Option<String>| {
            let endpoint = self.endpoint.as_ref()?;
            Some((endpoint.topic.clone(), text(endpoint).clone()?))
        };
        (of(|e| &e.on_join), of(|e| &e.on_leave))
    }

    /// Refuses what the caller may not subscribe to, and a topic that it names to publish to and may not.
    ///
    /// # Errors
    /// 401 where credentials may help, else 403.
    pub fn check_rights(&self, rules: &Rules) -> Result<(), Refused> {
        check_rights(&self.filters, &self.caller, rules)?;
        match &self.publish_to {
            Some(topic)
                if self.asks_to_publish && !rules.may_publish(&self.caller.access, topic) =>
            {
                Err(denied(&self.caller, "publish to", topic.as_str()))
            }
            _ => Ok(()),
        }
    }
}

/// Everything an event stream is opened with.
pub struct StreamPlan {
    /// What to subscribe to.
    pub filters: Vec<Filter>,
    /// How much of it to replay.
    pub last: Option<u64>,
    /// Who it is.
    pub caller: Caller,
    /// Where it comes from.
    pub client: Option<IpAddr>,
    /// The last event it had, as the query has it.
    pub last_event: Option<String>,
}

/// A request as the handshake sees it.
pub struct Ask<'a> {
    /// The method.
    pub method: &'a str,
    /// Whether it is HTTP/1.1.
    pub is_http_11: bool,
    /// The path.
    pub path: &'a str,
    /// The query.
    pub query: Option<&'a str>,
    /// All headers.
    pub headers: Vec<(&'a str, &'a [u8])>,
    /// The address at the other end.
    pub peer: Option<IpAddr>,
}

/// Who lets in whom: what a handshake is held against.
pub struct Entrances<'a> {
    /// Who may come in.
    pub door: Arc<Door>,
    /// Who comes too often.
    pub throttle: &'a Throttle,
}

/// A handshake that is refused: what is answered, and what is counted.
#[derive(Debug)]
pub struct Refused {
    /// The status, where it is not the one of the refusal's code.
    pub status: u16,
    /// Why, and what would do.
    pub refusal: Refusal,
    /// The label of the counter.
    pub reason: Reason,
    /// Which credentials failed, if it was them.
    pub auth_failure: Option<AuthFailure>,
    /// Headers that the status asks for.
    pub headers: Vec<(&'static str, &'static str)>,
}

impl Refused {
    /// Refuses with the status of the code.
    pub fn new(reason: Reason, refusal: Refusal) -> Self {
        Self {
            status: refusal.code.http_status(),
            refusal,
            reason,
            auth_failure: None,
            headers: Vec::new(),
        }
    }

    fn with_status(mut self, status: u16, headers: &[(&'static str, &'static str)]) -> Self {
        self.status = status;
        self.headers.extend_from_slice(headers);
        self
    }
}

impl Ask<'_> {
    /// The value of a header that stands there once.
    fn header(&self, name: &str) -> Option<&[u8]> {
        let mut values = self
            .headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name));
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// The key that the answer must prove to have read (RFC 6455 §4.2.1).
    pub fn key(&self) -> Option<&[u8]> {
        self.header("sec-websocket-key")
    }

    /// Checks everything that does not need the broker.
    ///
    /// # Errors
    /// What is wrong with it, as HTTP tells it.
    pub fn plan(&self, config: &Config, entrances: &Entrances<'_>) -> Result<Plan, Refused> {
        let facts = self.facts();
        let client = entrances.knock(&facts)?;
        let endpoint = config
            .endpoints
            .iter()
            .find(|endpoint| endpoint.path == self.path);
        if endpoint.is_none() && self.path != config.websocket.path {
            let refusal = Refusal::new(
                ErrorCode::NotFound,
                format!(
                    "there is no WebSocket at this path; try {}",
                    config.websocket.path
                ),
            );
            return Err(Refused::new(Reason::NotFound, refusal));
        }
        self.check_upgrade()?;
        let caller = entrances.admit(&facts, client)?;
        let (format, subprotocol) = choose(&facts.offers, endpoint.is_some())?;
        let deflate = self.deflate(config.websocket.compression);
        let plan = if let Some(endpoint) = endpoint {
            Plan {
                format,
                subprotocol,
                filters: vec![Filter::from(endpoint.topic.clone())],
                last: Some(endpoint.last as u64),
                echo: true,
                publish_to: Some(endpoint.topic.clone()),
                asks_to_publish: false,
                caller,
                client,
                endpoint: Some(endpoint.clone()),
                deflate,
            }
        } else {
            let wanted = Wanted::read(self.query.unwrap_or_default())?;
            Plan {
                format,
                subprotocol,
                publish_to: wanted.publish_to(),
                asks_to_publish: wanted.publish.is_some(),
                filters: wanted.filters,
                last: wanted.last,
                echo: wanted.echo,
                caller,
                client,
                endpoint: None,
                deflate,
            }
        };
        Ok(plan)
    }

    /// As [`Ask::plan`], for an event stream.
    ///
    /// # Errors
    /// What is wrong with it, as HTTP tells it.
    pub fn plan_stream(&self, entrances: &Entrances<'_>) -> Result<StreamPlan, Refused> {
        let facts = self.facts();
        let client = entrances.knock(&facts)?;
        if self.method != "GET" {
            let refusal = bad_request("an event stream is opened with GET");
            return Err(
                Refused::new(Reason::NotUpgrade, refusal).with_status(405, &[("Allow", "GET")])
            );
        }
        let caller = entrances.admit(&facts, client)?;
        let wanted = Wanted::read(self.query.unwrap_or_default())?;
        if wanted.filters.is_empty() {
            return Err(malformed(
                "name what to subscribe to, as in /sse?topic=news",
            ));
        }
        Ok(StreamPlan {
            filters: wanted.filters,
            last: wanted.last,
            caller,
            client,
            last_event: wanted.last_event,
        })
    }

    fn facts(&self) -> Facts<'_> {
        Facts::new(self.headers.iter().copied(), self.query, self.peer)
    }

    /// RFC 6455 §4.2.1, and what actix-http lets through to an upgrade service.
    fn check_upgrade(&self) -> Result<(), Refused> {
        let not_upgrade =
            |message: &'static str| Refused::new(Reason::NotUpgrade, bad_request(message));
        if self.method != "GET" {
            let refusal = bad_request("a WebSocket is opened with GET");
            return Err(
                Refused::new(Reason::NotUpgrade, refusal).with_status(405, &[("Allow", "GET")])
            );
        }
        if !self.is_http_11 {
            return Err(not_upgrade("a WebSocket is opened with HTTP/1.1"));
        }
        if self.header("host").is_none_or(<[u8]>::is_empty) {
            return Err(not_upgrade(
                "the header Host is missing, or stands there twice",
            ));
        }
        if !self.lists("upgrade", "websocket") || !self.lists("connection", "upgrade") {
            let refusal = bad_request(
                "this path speaks WebSocket: send 'Connection: Upgrade' and 'Upgrade: websocket'",
            );
            return Err(Refused::new(Reason::NotUpgrade, refusal).with_status(
                426,
                &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")],
            ));
        }
        if self.header("sec-websocket-version") != Some(b"13") {
            let refusal = bad_request(
                "version 13 of the WebSocket protocol is spoken: send 'Sec-WebSocket-Version: 13'",
            );
            return Err(Refused::new(Reason::NotUpgrade, refusal).with_status(
                426,
                &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")],
            ));
        }
        let is_key = |key: &[u8]| {
            use base64::Engine;
            base64::engine::general_purpose::STANDARD
                .decode(key)
                .is_ok_and(|key| key.len() == 16)
        };
        if !self.key().is_some_and(is_key) {
            return Err(not_upgrade(
                "Sec-WebSocket-Key must stand there once: 16 bytes in base64",
            ));
        }
        if self.header("content-length").is_some_and(|len| len != b"0")
            || self.header("transfer-encoding").is_some()
        {
            return Err(not_upgrade("a request that opens a WebSocket has no body"));
        }
        Ok(())
    }

    /// Whether a header that is a list names that token, in any case.
    fn lists(&self, name: &str, token: &str) -> bool {
        self.headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .filter_map(|(_, value)| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(token))
    }
}

impl Entrances<'_> {
    /// Where a handshake comes from, if it is one that is looked at.
    fn knock(&self, facts: &Facts<'_>) -> Result<Option<IpAddr>, Refused> {
        let client = self.door.client(facts);
        self.throttle.handshake(client, Instant::now())?;
        Ok(client)
    }

    fn admit(&self, facts: &Facts<'_>, client: Option<IpAddr>) -> Result<Caller, Refused> {
        if facts.has_credential() {
            self.throttle.may_authenticate(client, Instant::now())?;
        }
        self.door.session(facts).map_err(|denied| {
            if denied.is_wrong_guess() {
                self.throttle.failed_to_authenticate(client, Instant::now());
            }
            let mut refused = Refused::new(denied.reason(), denied.refusal());
            refused.auth_failure = denied.auth_failure();
            refused
        })
    }
}

impl From<Excess> for Refused {
    fn from(excess: Excess) -> Self {
        Self::new(excess.reason(), excess.refusal())
    }
}

/// Refuses filters that the caller may not subscribe to.
///
/// # Errors
/// 401 where credentials may help, else 403.
pub fn check_rights(filters: &[Filter], caller: &Caller, rules: &Rules) -> Result<(), Refused> {
    let denied = filters
        .iter()
        .find(|filter| !rules.may_subscribe(&caller.access, filter));
    denied.map_or(Ok(()), |filter| {
        Err(self::denied(caller, "subscribe to", filter.as_str()))
    })
}

fn denied(caller: &Caller, what: &str, topic: &str) -> Refused {
    let (reason, code, message) = if caller.must_authenticate {
        let message =
            format!("to {what} '{topic}' needs credentials; send a token with the request");
        (Reason::Credentials, ErrorCode::Unauthorized, message)
    } else {
        let message = format!(
            "this session may not {what} '{topic}'; ask for a topic that its credentials grant"
        );
        (Reason::Forbidden, ErrorCode::Forbidden, message)
    };
    Refused::new(reason, Refusal::new(code, message))
}

fn bad_request(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(ErrorCode::BadRequest, message)
}

/// A request that cannot be read.
pub fn malformed(message: impl Into<Cow<'static, str>>) -> Refused {
    Refused::new(Reason::Malformed, bad_request(message))
}
