//! The first that happens to a connection: it is taken in, or turned away while descriptors are short.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::rc::Rc;
use std::time::Duration;

use actix_rt::net::TcpStream;

use crate::metrics::Refusal as Reason;
use crate::protocol::{ErrorCode, Refusal};

use super::handshake::Refused;
use super::lobby::{Guest, has_room};
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
        let number = usize::try_from(stream.as_raw_fd()).unwrap_or(usize::MAX);
        if !has_room(&self.entrance.throttle, &self.lobby, number, address) {
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
        Ok((Io::new(stream, switch, guest), peer))
    }
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
