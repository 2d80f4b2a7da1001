//! The first that happens to a connection: it is taken in, or turned away while descriptors are short.

use std::future::{Future, ready};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_http::Protocol;
use actix_http::error::DispatchError;
use actix_rt::net::TcpStream;
use actix_service::{Service, ServiceFactory, fn_factory, fn_service};

use crate::metrics::Refusal as Reason;
use crate::protocol::{ErrorCode, Refusal};

use super::handshake::Refused;
use super::lobby::Guest;
use super::{Gateway, Io, KillSwitch, refusal};

/// When who is turned away may come again.
const AGAIN: Duration = Duration::from_secs(5);

impl Gateway {
    /// Takes in a connection that was accepted.
    ///
    /// # Errors
    /// If there is no room for it; it was told.
    pub fn receive(&self, stream: TcpStream) -> io::Result<(Io, Option<SocketAddr>)> {
        // Small frames must not wait for acknowledgements of earlier ones.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection went before it was served");
        }
        let peer = stream.peer_addr().ok();
        let address = peer.map(|peer| peer.ip());
        let descriptors = &self.entrance.throttle.descriptors;
        let (descriptor, is_short) = descriptors.open(Instant::now());
        if is_short && !self.lobby.make_room(address) {
            let message = "the broker is short of file descriptors; try again later";
            let refusal = Refusal::new(ErrorCode::Unavailable, message).retry_after(AGAIN);
            let refused = Refused::new(Reason::Full, refusal);
            self.refused(&refused);
            // Nobody waits for it to be taken: the descriptor is needed.
            let _said = stream.try_write(refusal::answer(&refused).as_bytes());
            // What it has sent already would reset the connection and destroy what was said.
            let _heard = stream.try_read(&mut [0; 4096]);
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let switch = Rc::<KillSwitch>::default();
        let patience = self.watch.timing.write;
        let guest = self.lobby.take_in(Rc::clone(&switch), address, patience);
        Ok((Io::new(stream, descriptor, switch, guest), peer))
    }
}

/// Serves every connection by `http`, and waits for none of them.
///
/// actix-server counts a connection from its accepting until this service is done with it, and stops
/// accepting at a limit. So the limit is on those that no worker has looked at yet: a burst of connections
/// cannot use up the descriptors before anybody could turn some away.
pub fn receive_all<H>(
    gateway: Result<Rc<Gateway>, ()>,
    http: H,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = (), InitError = ()>
where
    H: ServiceFactory<(Io, Protocol, Option<SocketAddr>), Config = (), Error = DispatchError>,
    H::Service: 'static,
    <H::Service as Service<(Io, Protocol, Option<SocketAddr>)>>::Future: 'static,
{
    let http = Rc::new(http);
    fn_factory(move || {
        let (gateway, http) = (gateway.clone(), Rc::clone(&http));
        async move {
            let gateway = gateway?;
            let http = Rc::new(http.new_service(()).await.map_err(|_| ())?);
            Ok(fn_service(move |stream: TcpStream| {
                if let Ok((io, peer)) = gateway.receive(stream) {
                    let served = http.call((io, Protocol::Http1, peer));
                    // How it ended is counted where it is known.
                    actix_rt::spawn(async { drop(served.await) });
                }
                ready(Ok(()))
            }))
        }
    })
}

/// Answers a request of that guest's: until then it does not wait in the lobby.
pub async fn attended<T>(guest: Option<Rc<Guest>>, answer: impl Future<Output = T>) -> T {
    let Some(guest) = guest else {
        return answer.await;
    };
    guest.serve();
    let answer = answer.await;
    guest.wait();
    answer
}
