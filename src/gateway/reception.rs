//! The first that happens to a connection: it is taken in, or turned away while descriptors are short.

use std::error::Error;
use std::future::{Future, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_http::Protocol;
use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::error::DispatchError;
use actix_rt::net::TcpStream;
use actix_service::{Service, ServiceFactory, fn_factory, fn_service};
use actix_web::dev::ServiceResponse;
use bytes::Bytes;

use crate::limits::{Room, Throttle};
use crate::metrics::{Metrics, Refusal as Reason};
use crate::protocol::{ErrorCode, Refusal};

use super::handshake::Refused;
use super::io::{Io, Tcp};
use super::lobby::{Guest, Lobby};
use super::{refusal, wheel};

/// When who is turned away may come again.
const AGAIN: Duration = Duration::from_secs(5);

/// Takes in the connections of one worker at one address.
pub struct Reception {
    throttle: Arc<Throttle>,
    lobby: Rc<Lobby>,
    metrics: Metrics,
    patience: Duration,
    /// At which room a connection stays only if another goes.
    needs: Room,
}

impl Reception {
    /// A reception whose connections take what is written to them within `patience`; `busy` counts those
    /// of all workers that are being answered.
    pub fn new(
        throttle: Arc<Throttle>,
        metrics: Metrics,
        busy: Arc<AtomicUsize>,
        patience: Duration,
    ) -> Rc<Self> {
        Rc::new(Self {
            lobby: Lobby::new(wheel::start(), busy, metrics.clone()),
            throttle,
            metrics,
            patience,
            needs: Room::Enough,
        })
    }

    /// The same for operators, who get in for a little longer than others do.
    pub fn for_operators(self: Rc<Self>) -> Rc<Self> {
        Rc::new(Self {
            throttle: Arc::clone(&self.throttle),
            lobby: Rc::clone(&self.lobby),
            metrics: self.metrics.clone(),
            patience: self.patience,
            needs: Room::Little,
        })
    }

    /// Takes in a connection that was accepted.
    ///
    /// # Errors
    /// If there is no room for it; it was told.
    fn receive(&self, stream: TcpStream) -> io::Result<(Io, Option<SocketAddr>)> {
        // Small frames must not wait for acknowledgements of earlier ones.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection went before it was served");
        }
        let peer = stream.peer_addr().ok();
        let address = peer.map(|peer| peer.ip());
        let (descriptor, room) = self.throttle.descriptors.open(Instant::now());
        if room > self.needs && !self.lobby.make_room(address) {
            let message = "the broker is short of file descriptors; try again later";
            let refusal = Refusal::new(ErrorCode::Unavailable, message).retry_after(AGAIN);
            let refused = Refused::new(Reason::Full, refusal);
            self.metrics.handshake_refused(refused.reason);
            // Nobody waits for it to be taken: the descriptor is needed.
            let _said = stream.try_write(refusal::answer(&refused).as_bytes());
            // What it has sent already would reset the connection and destroy what was said.
            let _heard = stream.try_read(&mut [0; 4096]);
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let io = Io::new(Tcp::new(stream, descriptor));
        let connection = io.take_over();
        let end = Box::new(move || connection.end());
        let guest = self.lobby.take_in(end, address, self.patience);
        Ok((io.watched(guest), peer))
    }

    /// Serves every connection by `http`, and waits for none of them.
    ///
    /// actix-server counts a connection from its accepting until this service is done with it, and stops
    /// accepting at a limit. So the limit is on those that no worker has looked at yet: a burst of
    /// connections cannot use up the descriptors before anybody could turn some away.
    pub fn serve<H>(
        self: Rc<Self>,
        http: H,
    ) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = (), InitError = ()>
    where
        H: ServiceFactory<(Io, Protocol, Option<SocketAddr>), Config = (), Error = DispatchError>,
        H::Service: 'static,
        <H::Service as Service<(Io, Protocol, Option<SocketAddr>)>>::Future: 'static,
    {
        let http = Rc::new(http);
        fn_factory(move || {
            let (reception, http) = (Rc::clone(&self), Rc::clone(&http));
            async move {
                let http = Rc::new(http.new_service(()).await.map_err(|_| ())?);
                Ok(fn_service(move |stream: TcpStream| {
                    if let Ok((io, peer)) = reception.receive(stream) {
                        let served = http.call((io, Protocol::Http1, peer));
                        // How it ended is counted where it is known.
                        actix_rt::spawn(async { drop(served.await) });
                    }
                    ready(Ok(()))
                }))
            }
        })
    }
}

/// Answers a request of that guest's: until all of the answer is given, it does not wait in the lobby.
///
/// # Errors
/// Those of the answer.
pub async fn attended<E>(
    guest: Option<Rc<Guest>>,
    answer: impl Future<Output = Result<ServiceResponse, E>>,
) -> Result<ServiceResponse, E> {
    let Some(guest) = guest else {
        return answer.await;
    };
    guest.serve();
    let attended = Attended(guest);
    let response = answer.await?;
    if response.response().body().size() != BodySize::Stream {
        return Ok(response);
    }
    attended.0.stream();
    Ok(response.map_body(|_, body| {
        BoxBody::new(Streamed {
            body,
            _attended: attended,
        })
    }))
}

/// A guest that is attended to until this is dropped.
struct Attended(Rc<Guest>);

impl Drop for Attended {
    fn drop(&mut self) {
        self.0.wait();
    }
}

/// The body of an answer that is given while it is made.
struct Streamed {
    body: BoxBody,
    _attended: Attended,
}

impl MessageBody for Streamed {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(cx)
    }
}
