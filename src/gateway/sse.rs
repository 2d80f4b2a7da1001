//! Server-sent events: a session whose wire is the body of an HTTP answer.

use std::rc::Rc;
use std::sync::Arc;

use actix::{Actor, ActorContext, AsyncContext, StreamHandler};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse};
use actix_web_actors::HttpContext;
use bytes::{BufMut, Bytes, BytesMut};

use crate::auth::{Caller, Rights};
use crate::broker::{Opening, Subscriber, Wire};
use crate::metrics::{Held, Place, Refusal as Reason};
use crate::model::{Epoch, Filter, Member, SessionId, Timestamp};
use crate::protocol::{
    CloseCode, Cursor, ErrorCode, GapReason, PROBLEM_TYPE, Problem, Refusal, ServerFrame, Since,
    Subscribe, SubscribeOk, WireFormat, control_bytes,
};
use crate::session::{Profile, Session};

use super::body::{BodyWire, Chunks};
use super::handshake::{Ask, Refused, check_rights};
use super::io::KillSwitch;
use super::upgrade::stands;
use super::{Gateway, random};

/// What a stock `EventSource` waits before it connects again, in milliseconds.
const RETRY: &str = "retry: 2000\n\n";

/// One event stream: an actor in the body of an HTTP answer.
pub struct EventStream {
    subscriber: Rc<Subscriber>,
    wire: Rc<BodyWire>,
    gateway: Rc<Gateway>,
    member: Member,
    counted: Option<Held>,
}

/// Where a stream says that it was: the `id` of the last event it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LastEvent {
    /// Its place in its topic's history, where it had one.
    cursor: Option<Cursor>,
    /// When it was published.
    time: Timestamp,
}

/// Answers `GET /sse`.
pub async fn event_stream(request: HttpRequest) -> HttpResponse {
    let Some(gateway) = request.app_data::<Rc<Gateway>>().cloned() else {
        return HttpResponse::ServiceUnavailable().finish();
    };
    match open(&request, &gateway).await {
        Ok(response) => response,
        Err(refused) => {
            gateway.refused(&refused);
            refuse(&refused)
        }
    }
}

async fn open(request: &HttpRequest, gateway: &Rc<Gateway>) -> Result<HttpResponse, Refused> {
    let peer = request.peer_addr().map(|address| address.ip());
    let ask = Ask {
        method: request.method().as_str(),
        is_http_11: true,
        path: request.path(),
        query: request.uri().query(),
        headers: request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect(),
        peer,
    };
    let plan = ask.plan_stream(&gateway.entrance.door.now())?;
    let rules = gateway.entrance.broker.rules();
    check_rights(&plan.filters, &plan.caller, &rules.now())?;
    gateway.admit()?;
    let last_event = last_event(request, plan.last_event.as_deref())?;
    let switch = request.conn_data::<Rc<KillSwitch>>().cloned();
    let wire = BodyWire::new(Rc::clone(&gateway.watch), switch);
    let id = SessionId(random());
    let as_wire: Rc<dyn Wire> = Rc::clone(&wire) as _;
    let rights = Rc::new(Rights::of(&plan.caller));
    let opening = Opening {
        id,
        format: WireFormat::Sse,
        address: peer,
        rights: Rc::clone(&rights),
    };
    let subscriber = gateway.worker.attach(opening, as_wire);
    let session = session(gateway, id, rights, &plan.caller);
    let mut stream = EventStream {
        subscriber: Rc::clone(&subscriber),
        wire: Rc::clone(&wire),
        gateway: Rc::clone(gateway),
        member: session.member(),
        counted: None,
    };
    let mut answers = Vec::new();
    for filter in &plan.filters {
        let since = last_event.and_then(|last| last.since(filter, plan.filters.len()));
        let from = last_event.map(|last| last.time);
        let ask = Subscribe {
            filter: filter.clone(),
            last: plan.last,
            since,
            echo: true,
        };
        let mut ask = session
            .subscription(ask)
            .map_err(|r| Refused::new(Reason::Forbidden, r))?;
        if plan.filters.len() > 1 {
            ask.from = from;
        }
        let (sender, answer) = tokio::sync::oneshot::channel();
        gateway
            .worker
            .subscribe(&subscriber, ask, crate::broker::ReplyTo::Caller(sender));
        answers.push(answer);
    }
    let mut first = BytesMut::from(RETRY.as_bytes());
    for answer in answers {
        let ok = stands(answer.await)?;
        put_gap(&mut first, &ok, last_event.and_then(|last| last.cursor));
    }
    stream.counted = Some(gateway.count(WireFormat::Sse));
    subscriber.open(first.freeze());
    wire.serve(&subscriber);
    tracing::debug!(session = %id, "event stream opened");
    let body = HttpContext::with_factory(|ctx: &mut HttpContext<EventStream>| {
        ctx.add_stream(Chunks::new(wire));
        stream
    });
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        .force_close()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // nginx would hold events back until its buffer is full.
        .insert_header(("X-Accel-Buffering", "no"));
    if let Some(origin) = request.headers().get(header::ORIGIN) {
        // It passed the door: its page may read the stream.
        response
            .insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()))
            .insert_header((header::VARY, "Origin"));
    }
    Ok(response.streaming(body))
}

fn session(gateway: &Gateway, id: SessionId, rights: Rc<Rights>, caller: &Caller) -> Session {
    let profile = Profile {
        format: WireFormat::Sse,
        id,
        user: caller.user.clone(),
        rights,
        rules: Arc::clone(gateway.entrance.broker.rules()),
        must_authenticate: false,
        publish_to: None,
        max_chars: None,
    };
    Session::new(profile, gateway.limits())
}

/// Tells a stream that could not be brought up to date that it must reload what it shows.
///
/// Of a name with history the gap is all that it has not had: from the event that it names, where
/// that is of this history, else from the first.
fn put_gap(first: &mut BytesMut, ok: &SubscribeOk, had: Option<Cursor>) {
    if ok.recovered != Some(false) {
        return;
    }
    let missing = ok.position.map(|newest| {
        let had = had
            .filter(|had| had.epoch == Some(newest.epoch) && had.offset <= newest.offset)
            .map_or(0, |had| had.offset);
        // What `last` replays is not missing.
        let replayed = ok.replayed.unwrap_or(0);
        let to = newest.offset.saturating_sub(replayed).max(had);
        (newest.epoch, had + 1, to)
    });
    let named = ok.topic.as_name();
    for topic in ok.gaps.iter().chain(named.as_ref()) {
        let gap = ServerFrame::Gap {
            topic,
            reason: GapReason::Trimmed,
            count: missing.map_or(0, |(_, from, to)| to + 1 - from),
            epoch: missing.map(|(epoch, ..)| epoch),
            from: missing.map_or(0, |(_, from, _)| from),
            to: missing.map_or(0, |(_, _, to)| to),
        };
        if let Some(bytes) = control_bytes(WireFormat::Sse, &gap) {
            first.put(bytes);
        }
    }
}

fn last_event(request: &HttpRequest, in_query: Option<&str>) -> Result<Option<LastEvent>, Refused> {
    let header = request
        .headers()
        .get("last-event-id")
        .and_then(|value| value.to_str().ok());
    let Some(text) = header.or(in_query).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    LastEvent::parse(text).map(Some).ok_or_else(|| {
        let refusal = Refusal::new(
            ErrorCode::BadRequest,
            "the last event id is none that this server gave: 'epoch:offset:time'; leave it out to start anew",
        );
        Refused::new(Reason::Malformed, refusal)
    })
}

impl LastEvent {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let (epoch, offset, time) = (parts.next()?, parts.next()?, parts.next()?);
        let offset = offset.parse().ok()?;
        let time = Timestamp(time.parse().ok()?);
        let cursor = (epoch != "-").then(|| Cursor {
            epoch: Epoch::parse(epoch),
            offset,
        });
        Some(Self { cursor, time })
    }

    /// Where that subscription goes on: a single name from its position, filters by time.
    fn since(self, filter: &Filter, of: usize) -> Option<Since> {
        if filter.has_wildcard() {
            return Some(Since::Positions {
                positions: Vec::new(),
                from: Some(self.time),
            });
        }
        // Of several topics the event is of one: its epoch tells which; the others go by time.
        let unknown = Cursor {
            epoch: None,
            offset: 0,
        };
        match self.cursor {
            Some(cursor) => Some(Since::Position(cursor)),
            None if of > 1 => Some(Since::Position(unknown)),
            None => None,
        }
    }
}

fn refuse(refused: &Refused) -> HttpResponse {
    let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    response
        .content_type(PROBLEM_TYPE)
        .insert_header((header::CACHE_CONTROL, "no-store"));
    let problem = Problem::with_status(&refused.refusal, refused.status);
    if let Some(seconds) = problem.retry_after_seconds() {
        response.insert_header((header::RETRY_AFTER, seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
    }
    for header in &refused.headers {
        response.insert_header(*header);
    }
    response.body(problem.to_json())
}

impl Actor for EventStream {
    type Context = HttpContext<Self>;
}

impl StreamHandler<Bytes> for EventStream {
    fn handle(&mut self, chunk: Bytes, ctx: &mut HttpContext<Self>) {
        ctx.write(chunk);
    }

    fn finished(&mut self, ctx: &mut HttpContext<Self>) {
        // Its end is not to cut off what was said last.
        self.wire.hand_over();
        ctx.write_eof();
        ctx.stop();
    }
}

impl Drop for EventStream {
    /// Whatever ended the stream: what it held is released here.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.gateway.metrics.panicked(Place::Session);
        }
        if self.counted.is_none() {
            // Never opened: its connection is still to carry the refusal.
            self.wire.let_go();
        }
        self.subscriber.kill();
        self.gateway.worker.detach(&self.subscriber, &self.member);
        self.gateway.worker.turn().wake();
        if self.counted.is_some() {
            let by_server = self.subscriber.closed_with().map(|(code, _)| code);
            self.gateway
                .metrics
                .disconnected(by_server.unwrap_or(CloseCode::ABNORMAL).0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_event_id_is_read_as_it_was_written() {
        let at = |epoch: Option<&str>, offset, time| {
            let cursor = epoch.map(|epoch| Cursor {
                epoch: Epoch::parse(epoch),
                offset,
            });
            Some(LastEvent {
                cursor,
                time: Timestamp(time),
            })
        };
        for (text, expected) in [
            ("abc:7:1700", at(Some("abc"), 7, 1700)),
            ("-:0:1700", at(None, 0, 1700)),
            ("?:7:1700", at(Some("?"), 7, 1700)),
            ("abc:7", None),
            ("abc:-1:1700", None),
            ("abc:7:x", None),
            ("", None),
        ] {
            assert_eq!(LastEvent::parse(text), expected, "{text}");
        }
    }
}
