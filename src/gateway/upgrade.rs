//! The upgrade service: from a request that asks for a WebSocket to a session that owns the socket.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix::{Actor, AsyncContext};
use actix_codec::Framed;
use actix_http::{Request, h1, ws};
use bytes::{BufMut, BytesMut};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::RecvError;

use crate::auth::Rights;
use crate::broker::{Opening, Publication, Reply, ReplyTo, Subscriber};
use crate::config::WebSocket;
use crate::limits::{Entry, Meter};
use crate::metrics::Refusal as Reason;
use crate::model::{Payload, SessionId};
use crate::protocol::{
    ErrorCode, Refusal, ServerFrame, Subscribe, SubscribeOk, Window, control_bytes,
};
use crate::session::{Profile, Session};
use crate::websocket::{Decoder, Limits};

use super::connection::Connection;
use super::handshake::{Ask, Plan, Refused};
use super::heartbeat::Signs;
use super::inbound::Frames;
use super::io::Io;
use super::socket::Socket;
use super::{Gateway, random, refusal};

/// The most fragments that one message may come in.
const MAX_FRAGMENTS: u32 = 1024;

/// The headers of so many fragments have room in this, in bytes.
const MAX_OVERHEAD: u32 = 16 * MAX_FRAGMENTS;

/// What the server calls itself.
const SERVER: &str = concat!("fanfare/", env!("CARGO_PKG_VERSION"));

/// Answers a request for an upgrade: opens a session, or refuses with a whole HTTP answer.
///
/// actix-http sends everything here that asks for any upgrade, whatever its method and path.
pub async fn upgrade(
    gateway: Rc<Gateway>,
    request: Request,
    framed: Framed<Io, h1::Codec>,
) -> Result<(), Infallible> {
    let parts = framed.into_parts();
    parts.io.leave_lobby();
    // Answers to requests that were pipelined before this one.
    let earlier = parts.write_buf;
    let plan = read(&gateway, &request);
    let (plan, accept, entry) = match plan {
        Ok(plan) => plan,
        Err(refused) => {
            gateway.refused(&refused);
            refusal::send(parts.io, &earlier, &refused).await;
            return Ok(());
        }
    };
    // The request pins the connection's read buffer: it goes before the session begins.
    drop(request);
    let socket = Socket::new(Signs::Asked, Rc::clone(&gateway.watch), random());
    socket.connect(parts.io.into_stream());
    let id = SessionId(random());
    let wire: Rc<dyn crate::broker::Wire> = Rc::clone(&socket) as _;
    let rights = Rc::new(Rights::of(&plan.caller));
    let subscriber = gateway
        .worker
        .attach(opening(&gateway, id, &plan, &rights), wire);
    let (on_join, on_leave) = plan.greetings();
    let must_authenticate = plan.caller.must_authenticate;
    let session = Session::new(
        Profile {
            format: plan.format,
            id,
            user: plan.caller.user.clone(),
            rights,
            rules: Arc::clone(gateway.entrance.broker.rules()),
            must_authenticate,
            publish_to: plan.publish_to.clone(),
            max_chars: plan.endpoint.as_ref().and_then(|e| e.max_chars),
        },
        gateway.limits(),
    );
    // From here on dropping it takes back whatever the session got.
    let mut connection = Connection {
        session,
        socket: Rc::clone(&socket),
        subscriber: Rc::clone(&subscriber),
        worker: Rc::clone(&gateway.worker),
        gateway: Rc::clone(&gateway),
        on_leave: None,
        peer_code: None,
        counted: None,
        meter: Meter::default(),
        client: plan.client,
        entry,
    };
    let mut first = BytesMut::from(&earlier[..]);
    match subscribe_all(&connection, &plan).await {
        Ok(subscriptions) => {
            connection.counted = Some(gateway.count(&subscriber));
            put_accept(&mut first, &accept, &plan);
            let welcome = welcome(&gateway, &connection.session, &subscriber, &subscriptions);
            if let Some(welcome) = control_bytes(plan.format, &welcome) {
                first.put(welcome);
            }
            subscriber.open(first.freeze());
            socket.serve(&subscriber, must_authenticate);
            connection.on_leave = on_leave.map(Box::new);
            if let Some((topic, text)) = on_join {
                let publication = Publication::new(topic, Payload::text(text));
                gateway
                    .worker
                    .publish(publication, Instant::now(), ReplyTo::Nobody);
            }
            tracing::debug!(
                session = %id,
                format = ?plan.format,
                client = ?plan.client,
                "session opened"
            );
        }
        Err(refused) => {
            gateway.refused(&refused);
            first.put_slice(refusal::answer(&refused).as_bytes());
            subscriber.open_refused(first.freeze());
            // Its timer drops the connection of a peer that stays.
            socket.serve(&subscriber, false);
        }
    }
    let limits = limits(&gateway.entrance.config.now().websocket);
    let decoder = Decoder::new(limits, plan.deflate.as_ref());
    let worker = Rc::clone(&gateway.worker);
    let frames = Frames::new(socket, subscriber, worker, decoder, &parts.read_buf);
    Connection::create(|ctx| {
        ctx.add_stream(frames);
        connection
    });
    Ok(())
}

/// What a client may send.
fn limits(config: &WebSocket) -> Limits {
    Limits {
        frame: config.max_frame.min(config.max_message),
        message: config.max_message,
        fragments: MAX_FRAGMENTS,
        overhead: MAX_OVERHEAD,
    }
}

fn opening(gateway: &Gateway, id: SessionId, plan: &Plan, rights: &Rc<Rights>) -> Opening {
    let large = gateway.entrance.broker.settings().compression.window_bits;
    let agreed = plan.deflate.as_ref();
    let window = agreed.map(|agreed| Window::for_bits(agreed.server_window, large));
    Opening {
        id,
        format: plan.format,
        window,
        address: plan.client,
        rights: Rc::clone(rights),
    }
}

/// Checks the request against configuration and door.
fn read(gateway: &Gateway, request: &Request) -> Result<(Plan, [u8; 28], Entry), Refused> {
    let head = request.head();
    let ask = Ask {
        method: head.method.as_str(),
        is_http_11: head.version == actix_http::Version::HTTP_11,
        path: head.uri.path(),
        query: head.uri.query(),
        headers: head
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect(),
        peer: head.peer_addr.map(|address| address.ip()),
    };
    let config = gateway.entrance.config.now();
    let plan = ask.plan(&config, &gateway.entrances())?;
    plan.check_rights(&gateway.entrance.broker.rules().now())?;
    gateway.admit()?;
    let entry = gateway.enter(plan.client, &plan.caller)?;
    let accept = ws::hash_key(ask.key().unwrap_or_default());
    Ok((plan, accept, entry))
}

/// Subscribes to what the request names; returns once all of it stands.
async fn subscribe_all(connection: &Connection, plan: &Plan) -> Result<Vec<SubscribeOk>, Refused> {
    let mut answers = Vec::with_capacity(plan.filters.len());
    for filter in &plan.filters {
        let ask = Subscribe {
            last: plan.last,
            echo: plan.echo,
            ..Subscribe::to(filter.clone())
        };
        let ask = connection
            .session
            .subscription(ask)
            .map_err(|r| Refused::new(Reason::Forbidden, r))?;
        let (sender, answer) = oneshot::channel();
        connection
            .worker
            .subscribe(&connection.subscriber, ask, ReplyTo::Caller(sender));
        answers.push(answer);
    }
    let mut subscriptions = Vec::with_capacity(answers.len());
    for answer in answers {
        subscriptions.push(stands(answer.await)?);
    }
    Ok(subscriptions)
}

/// What the broker's answer to a subscription means for a handshake.
pub fn stands(answer: Result<Result<Reply, Refusal>, RecvError>) -> Result<SubscribeOk, Refused> {
    match answer {
        Ok(Ok(Reply::Subscribed(ok))) => Ok(ok),
        Ok(Err(refusal)) => {
            let reason = match refusal.code {
                ErrorCode::LimitExceeded => Reason::Rate,
                ErrorCode::Unavailable => Reason::Full,
                _ => Reason::Internal,
            };
            Err(Refused::new(reason, refusal))
        }
        Ok(Ok(_)) | Err(_) => {
            let refusal = Refusal::new(
                ErrorCode::Unavailable,
                "a topic's home went away; try again",
            );
            Err(Refused::new(Reason::Internal, refusal))
        }
    }
}

fn welcome<'a>(
    gateway: &'a Gateway,
    session: &'a Session,
    subscriber: &Subscriber,
    subscriptions: &'a [SubscribeOk],
) -> ServerFrame<'a> {
    let config = gateway.entrance.config.now();
    ServerFrame::Welcome {
        session: subscriber.id(),
        user: session.user(),
        server: SERVER,
        protocol: subscriber.format().subprotocol(),
        heartbeat: config.heartbeat.interval.as_secs_f64(),
        max_message_bytes: config.limits.message_bytes as u64,
        subscriptions,
        expires_at: None,
    }
}

/// The answer that opens a WebSocket (RFC 6455 §4.2.2).
fn put_accept(out: &mut BytesMut, accept: &[u8], plan: &Plan) {
    out.put_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
    out.put_slice(accept);
    if let Some(deflate) = &plan.deflate {
        out.put_slice(format!("\r\nSec-WebSocket-Extensions: {deflate}").as_bytes());
    }
    if let Some(subprotocol) = plan.subprotocol {
        out.put_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.put_slice(subprotocol.as_bytes());
    }
    out.put_slice(b"\r\n\r\n");
}
