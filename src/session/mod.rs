//! What a session does with what its client says: protocol state, rights and limits.
//!
//! No sockets, no actors, no clock: a message goes in, and a [`Step`] for the gateway to carry out
//! comes out.

mod excess;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use crate::auth::{Caller, Rights, Secret};
use crate::broker::{LiveRules, Publication, Subscription};
use crate::model::{Filter, Member, Origin, Payload, SessionId, Timestamp, TopicName};
use crate::protocol::{
    Action, BadFrame, Close, CloseCode, ErrorCode, HistoryQuery, Publish, Refusal, Request,
    Subscribe, WireFormat, parse_json, parse_msgpack,
};
use crate::websocket::Incoming;

/// One client's protocol state.
pub struct Session {
    format: WireFormat,
    id: SessionId,
    user: Option<Arc<str>>,
    rights: Rc<Rights>,
    rules: Arc<LiveRules>,
    /// Nothing but `auth` and `ping` is carried out before credentials come.
    must_authenticate: bool,
    raw: Option<Box<Raw>>,
    errors_in_a_row: usize,
    limits: Limits,
}

/// What a raw session has beside: few sessions are, and all are to be small.
struct Raw {
    /// Where it publishes.
    publish_to: Option<TopicName>,
    max_chars: Option<usize>,
}

/// The bounds that one session is held to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest payload, in bytes.
    pub message_bytes: usize,
    /// Frames that make no sense, one after the other, before the session is closed.
    pub protocol_errors: usize,
}

/// What a session is opened with.
pub struct Profile {
    /// What it speaks.
    pub format: WireFormat,
    /// Its name.
    pub id: SessionId,
    /// Its user, where its credentials name one.
    pub user: Option<Arc<str>>,
    /// What it may, as it was granted.
    pub rights: Rc<Rights>,
    /// What topics let whom do.
    pub rules: Arc<LiveRules>,
    /// Whether credentials are still to come.
    pub must_authenticate: bool,
    /// Where a raw session publishes.
    pub publish_to: Option<TopicName>,
    /// The most characters of a raw session's text.
    pub max_chars: Option<usize>,
}

/// What is to be done about a message of the client's.
pub enum Step {
    /// Subscribe.
    Subscribe(Option<u64>, Box<Subscription>),
    /// End a subscription, or all.
    Unsubscribe(Option<u64>, Option<Filter>),
    /// Publish.
    Publish(Option<u64>, Publication),
    /// Read history.
    History(Option<u64>, HistoryQuery),
    /// Ask who is there.
    Presence(Option<u64>, TopicName),
    /// Look at these credentials.
    Authenticate(Option<u64>, Secret),
    /// Answer a ping.
    Pong(Option<u64>),
    /// Say no.
    Refuse(Option<u64>, Refusal),
    /// Say no to a publish.
    RefusePublish(Option<u64>, Refusal),
    /// Say no, and end the session: it has made too many errors.
    RefuseAndClose(Option<u64>, Refusal, Close),
    /// End the session.
    Close(Close),
}

impl Session {
    /// A session that has said nothing yet.
    pub fn new(profile: Profile, limits: Limits) -> Self {
        Self {
            format: profile.format,
            id: profile.id,
            user: profile.user,
            rights: profile.rights,
            rules: profile.rules,
            must_authenticate: profile.must_authenticate,
            raw: (profile.format == WireFormat::Raw).then(|| {
                Box::new(Raw {
                    publish_to: profile.publish_to,
                    max_chars: profile.max_chars,
                })
            }),
            errors_in_a_row: 0,
            limits,
        }
    }

    /// What others are told of this session.
    pub fn member(&self) -> Member {
        Member {
            session: self.id,
            user: self.user.clone(),
            info: None,
            since: Timestamp::default(),
        }
    }

    /// Its user, where its credentials name one.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Whether credentials are still to come.
    pub fn must_authenticate(&self) -> bool {
        self.must_authenticate
    }

    /// Takes the rights that credentials give.
    pub fn authenticated(&mut self, caller: &Caller) {
        self.user.clone_from(&caller.user);
        self.rights.prove(caller);
        self.must_authenticate = false;
    }

    /// What is to be done about a message.
    pub fn on_message(&mut self, message: Incoming) -> Step {
        match self.format {
            WireFormat::Raw => self.on_raw(message),
            WireFormat::Json | WireFormat::Sse => self.on_json(&message),
            WireFormat::Msgpack => self.on_msgpack(&message),
        }
    }

    /// A subscription, if this session may have it.
    ///
    /// # Errors
    /// `forbidden`, with what would do.
    pub fn subscription(&self, ask: Subscribe) -> Result<Subscription, Refusal> {
        if !self
            .rules
            .now()
            .may_subscribe(&self.rights.access(), &ask.filter)
        {
            return Err(Refusal::new(
                ErrorCode::Forbidden,
                format!(
                    "this session may not subscribe to '{}'; ask for a topic that its credentials grant",
                    ask.filter
                ),
            ));
        }
        Ok(Subscription::new(ask, self.member()))
    }

    fn on_json(&mut self, message: &Incoming) -> Step {
        match message {
            Incoming::Text(text) => self.on_frame(parse_json(text), Origin::Json),
            Incoming::Binary(_) => {
                let reason =
                    "fanfare.v1.json takes text frames only; send binary data with encoding base64";
                Step::Close(close(CloseCode::UNSUPPORTED_DATA, reason))
            }
        }
    }

    fn on_msgpack(&mut self, message: &Incoming) -> Step {
        match message {
            Incoming::Binary(bytes) => self.on_frame(parse_msgpack(bytes), Origin::Msgpack),
            Incoming::Text(_) => {
                let reason = "fanfare.v1.msgpack takes binary frames only; offer fanfare.v1.json to send text";
                Step::Close(close(CloseCode::UNSUPPORTED_DATA, reason))
            }
        }
    }

    fn on_frame(&mut self, frame: Result<Request, BadFrame>, origin: Origin) -> Step {
        let request = match frame {
            Ok(request) => request,
            Err(BadFrame { id, refusal }) => return self.bad_frame(id, refusal),
        };
        self.errors_in_a_row = 0;
        let id = request.id;
        if self.must_authenticate && !matches!(request.action, Action::Auth(_) | Action::Ping) {
            let refusal = Refusal::new(
                ErrorCode::Unauthorized,
                "send an 'auth' frame with a token first",
            );
            return match request.action {
                Action::Publish(_) => Step::RefusePublish(id, refusal),
                _ => Step::Refuse(id, refusal),
            };
        }
        self.act(id, request.action, origin)
            .unwrap_or_else(|refusal| Step::Refuse(id, refusal))
    }

    fn act(&self, id: Option<u64>, action: Action, origin: Origin) -> Result<Step, Refusal> {
        Ok(match action {
            Action::Subscribe(ask) => Step::Subscribe(id, Box::new(self.subscription(ask)?)),
            Action::Unsubscribe(filter) => Step::Unsubscribe(id, filter),
            Action::Publish(publish) => self.publish(id, publish, origin),
            Action::History(query) => {
                self.check_read(&query.topic)?;
                Step::History(id, query)
            }
            Action::Presence(topic) => {
                self.check_read(&topic)?;
                Step::Presence(id, topic)
            }
            Action::Auth(token) => Step::Authenticate(id, Secret::new(token)),
            Action::Ping => Step::Pong(id),
        })
    }

    fn on_raw(&mut self, message: Incoming) -> Step {
        let payload = match message {
            Incoming::Text(text) => Payload::text_checked(text.into_bytes()),
            Incoming::Binary(data) => Payload::binary(data),
        };
        let max_chars = self.raw.as_ref().and_then(|raw| raw.max_chars);
        if let (Some(max), Some(text)) = (max_chars, payload.as_str())
            && text.chars().count() > max
        {
            return Step::Close(close(
                CloseCode::TOO_LARGE,
                format!("a text has at most {max} characters here"),
            ));
        }
        let publish_to = self.raw.as_ref().and_then(|raw| raw.publish_to.clone());
        let Some(topic) = publish_to else {
            let reason = "this session has no topic to publish to; name one with ?publish=TOPIC";
            return Step::Close(close(CloseCode::UNSUPPORTED_DATA, reason));
        };
        let publish = Publish {
            topic,
            payload,
            key: None,
            retain: false,
        };
        self.publish(None, publish, Origin::Raw)
    }

    fn publish(&self, id: Option<u64>, publish: Publish, origin: Origin) -> Step {
        match self.publication(publish, origin) {
            Ok(publication) => Step::Publish(id, publication),
            Err(refusal) => Step::RefusePublish(id, refusal),
        }
    }

    fn publication(&self, publish: Publish, origin: Origin) -> Result<Publication, Refusal> {
        let Publish {
            topic,
            payload,
            key,
            retain,
        } = publish;
        if !self.rules.now().may_publish(&self.rights.access(), &topic) {
            return Err(Refusal::new(
                ErrorCode::Forbidden,
                format!(
                    "this session may not publish to '{topic}'; ask for a topic that its credentials grant"
                ),
            ));
        }
        let (len, max) = (payload.data.len(), self.limits.message_bytes);
        if len > max {
            return Err(Refusal::new(
                ErrorCode::TooLarge,
                format!(
                    "the data has {len} bytes and limits.message_bytes allows {max}; send less, or in parts"
                ),
            ));
        }
        Ok(Publication {
            topic,
            payload,
            key,
            retain,
            user: self.user.clone(),
            publisher: Some(self.id),
            origin,
            once: None,
        })
    }

    fn check_read(&self, topic: &TopicName) -> Result<(), Refusal> {
        if self.rules.now().may_read(&self.rights.access(), topic) {
            return Ok(());
        }
        Err(Refusal::new(
            ErrorCode::Forbidden,
            format!("this session may not subscribe to '{topic}', so it may not ask about it"),
        ))
    }

    fn bad_frame(&mut self, id: Option<u64>, refusal: Refusal) -> Step {
        if refusal.code != ErrorCode::BadRequest {
            // The frame is of the right form; only the topic it names is none.
            self.errors_in_a_row = 0;
            return Step::Refuse(id, refusal);
        }
        self.errors_in_a_row += 1;
        if self.errors_in_a_row < self.limits.protocol_errors {
            return Step::Refuse(id, refusal);
        }
        let reason = "too many frames in a row made no sense";
        Step::RefuseAndClose(id, refusal, close(CloseCode::POLICY, reason))
    }
}

fn close(code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Close {
    Close::new(code, reason)
}
