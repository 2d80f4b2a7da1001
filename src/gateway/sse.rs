//! Server-sent events: a session that takes its connection over once the head of its answer is sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use actix::{Actor, ActorContext, AsyncContext, Context, StreamHandler};
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::oneshot;

use crate::auth::{Caller, Rights};
use crate::broker::{Opening, ReplyTo, Subscriber, Wire};
use crate::limits::Entry;
use crate::metrics::{Held, Place, Refusal as Reason};
use crate::model::{Member, SessionId, Timestamp};
use crate::protocol::{CloseCode, PROBLEM_TYPE, Problem, Subscribe, SubscribeOk, WireFormat};
use crate::session::{Profile, Session};

use super::handshake::{Ask, Refused, StreamPlan, check_rights};
use super::heartbeat::Signs;
use super::io::{TakeOver, Tcp};
use super::resume::{LastEvent, Resume};
use super::socket::Socket;
use super::upgrade::stands;
use super::{Gateway, drain, random};

/// One event stream.
pub struct EventStream {
    subscriber: Rc<Subscriber>,
    socket: Rc<Socket>,
    gateway: Rc<Gateway>,
    member: Member,
    counted: Option<Held>,
    /// Counts with its address and user for as long as it is held.
    _entry: Entry,
}

/// The body of an answer that is an event stream: it gives what the stream opens with, which so leaves
/// in one write with the head, and takes the connection over once that is sent.
struct Body {
    opening: Option<Bytes>,
    stream: Option<EventStream>,
    connection: TakeOver,
}

/// What a client sends into its event stream: nothing that counts.
struct Inbound {
    subscriber: Rc<Subscriber>,
    socket: Rc<Socket>,
    /// The stream has been told that it was closed.
    told: bool,
}

/// The server has closed the stream.
struct Closed;

/// Answers `GET /sse`, and `HEAD` with what that would answer.
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
    let is_head = request.method() == "HEAD";
    let peer = request.peer_addr().map(|address| address.ip());
    let ask = Ask {
        method: if is_head {
            "GET"
        } else {
            request.method().as_str()
        },
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
    let plan = ask.plan_stream(&gateway.entrances())?;
    let rules = gateway.entrance.broker.rules();
    check_rights(&plan.filters, &plan.caller, &rules.now())?;
    let headers = request.headers().get_all("last-event-id");
    let last = LastEvent::read(
        headers.map(HeaderValue::as_bytes),
        plan.last_event.as_deref(),
    );
    if last.is_closed() {
        // What makes a stock `EventSource` stop.
        return Ok(HttpResponse::NoContent().finish());
    }
    gateway.admit()?;
    let connection = request.conn_data::<TakeOver>().cloned();
    let Some(connection) = connection.filter(|_| !is_head) else {
        return Ok(answer(request, actix_web::body::None::new()));
    };
    let entry = gateway.enter(plan.client, &plan.caller)?;
    let id = SessionId(random());
    let socket = Socket::new(Signs::Given, Rc::clone(&gateway.watch), random());
    socket.await_connection(connection.clone());
    let as_wire: Rc<dyn Wire> = Rc::clone(&socket) as _;
    let rights = Rc::new(Rights::of(&plan.caller));
    let opening = Opening {
        id,
        format: WireFormat::Sse,
        window: None,
        address: plan.client,
        rights: Rc::clone(&rights),
    };
    let subscriber = gateway.worker.attach(opening, as_wire);
    let session = session(gateway, id, rights, &plan.caller);
    // From here on dropping it takes back whatever the session got.
    let mut stream = EventStream {
        subscriber: Rc::clone(&subscriber),
        socket: Rc::clone(&socket),
        gateway: Rc::clone(gateway),
        member: session.member(),
        counted: None,
        _entry: entry,
    };
    let resume = Resume::new(last, &plan.filters, Timestamp::now());
    let catches_up_from = resume.catches_up_from();
    if let Some(from) = catches_up_from {
        subscriber.catch_up_from(from);
    }
    let subscribed = subscribe_all(&stream, &session, &plan, &resume).await;
    let stood = match subscribed {
        Ok(stood) => stood,
        Err(refused) => {
            // The connection is still to carry the refusal.
            socket.forget_connection();
            return Err(refused);
        }
    };
    let catches_up_from = catches_up_from.filter(|_| !subscriber.has_caught_up());
    let access = subscriber.rights().access();
    let opening = resume.opening(drain::retry_ms(), &stood, catches_up_from, |filter| {
        rules.now().keeps_all(&access, filter)
    });
    stream.counted = Some(gateway.count(&subscriber));
    socket.serve(&subscriber, false);
    tracing::debug!(session = %id, "event stream opened");
    let body = Body {
        opening: Some(opening),
        stream: Some(stream),
        connection,
    };
    Ok(answer(request, body))
}

/// Subscribes to what the request names; returns once all of it stands.
async fn subscribe_all(
    stream: &EventStream,
    session: &Session,
    plan: &StreamPlan,
    resume: &Resume,
) -> Result<Vec<SubscribeOk>, Refused> {
    let mut answers = Vec::with_capacity(plan.filters.len());
    for filter in &plan.filters {
        let (since, from) = resume.since(filter);
        let ask = Subscribe {
            last: plan.last,
            since,
            ..Subscribe::to(filter.clone())
        };
        let mut ask = session
            .subscription(ask)
            .map_err(|r| Refused::new(Reason::Forbidden, r))?;
        ask.from = from;
        let (sender, answer) = oneshot::channel();
        let worker = &stream.gateway.worker;
        worker.subscribe(&stream.subscriber, ask, ReplyTo::Caller(sender));
        answers.push(answer);
    }
    let mut stood = Vec::with_capacity(answers.len());
    for answer in answers {
        stood.push(stands(answer.await)?);
    }
    Ok(stood)
}

/// The answer that opens a stream, with that body.
fn answer(request: &HttpRequest, body: impl MessageBody + 'static) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        .force_close()
        // Neither kept, nor compressed on the way, which would hold events back.
        .insert_header((header::CACHE_CONTROL, "no-store, no-transform"))
        // nginx would hold events back until its buffer is full.
        .insert_header(("X-Accel-Buffering", "no"));
    if let Some(origin) = request.headers().get(header::ORIGIN) {
        // It passed the door: its page may read the stream.
        response
            .insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()))
            .insert_header((header::VARY, "Origin"));
    }
    let mut response = response.body(body);
    // The body goes on until the connection ends, for clients of HTTP/1.0 as for others.
    response.head_mut().no_chunking(true);
    response
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

impl EventStream {
    /// The connection is the stream's own.
    fn begin(self, connection: Tcp) {
        self.socket.connect(connection);
        self.subscriber.open(Bytes::new());
        let inbound = Inbound {
            subscriber: Rc::clone(&self.subscriber),
            socket: Rc::clone(&self.socket),
            told: false,
        };
        Self::create(|ctx| {
            ctx.add_stream(inbound);
            self
        });
    }

    /// The stream has ended, though its socket may stay for the peer to read why: it is in no topic
    /// any more and does not count as connected.
    fn settle(&mut self) {
        let Some(counted) = self.counted.take() else {
            return;
        };
        let worker = &self.gateway.worker;
        worker.unsubscribe(&self.subscriber, None, &self.member, ReplyTo::Nobody);
        let by_server = self.subscriber.closed_with().map(|(code, _)| code);
        let code = by_server.unwrap_or(CloseCode::ABNORMAL).0;
        drop(counted);
        self.gateway.ended(&self.subscriber, code);
        tracing::debug!(session = %self.subscriber.id(), code, "event stream ended");
    }
}

impl MessageBody for Body {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Task<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        if let Some(opening) = self.opening.take() {
            return Poll::Ready(Some(Ok(opening)));
        }
        if let Some(stream) = self.stream.take() {
            self.connection
                .once_written(|connection| stream.begin(connection));
        }
        Poll::Pending
    }
}

impl Stream for Inbound {
    type Item = Closed;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Closed>> {
        if !self.told && self.subscriber.closed_with().is_some() {
            self.told = true;
            return Poll::Ready(Some(Closed));
        }
        let mut scratch = [0; 1024];
        // However much comes: the runtime makes a task that reads on and on wait for its turn.
        while ready!(self.socket.poll_scratch(cx, &mut scratch)).is_some() {}
        Poll::Ready(None)
    }
}

impl Actor for EventStream {
    type Context = Context<Self>;
}

impl StreamHandler<Closed> for EventStream {
    fn handle(&mut self, _: Closed, _: &mut Context<Self>) {
        self.settle();
    }

    fn finished(&mut self, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

impl Drop for EventStream {
    /// Whatever ended the stream: what it held is released here.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.gateway.metrics.panicked(Place::Session);
        }
        self.subscriber.kill();
        // One that never opened was counted as refused, and has nothing to settle.
        self.settle();
        self.gateway.worker.detach(&self.subscriber, &self.member);
        self.gateway.worker.turn().wake();
    }
}
