//! The one stream type of the server: what the HTTP service holds of a connection, and how an answer
//! takes it over.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use actix_rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::limits::Descriptor;

use super::lobby::Guest;

/// A connection. Plain TCP; TLS joins as another kind of stream.
pub struct Io {
    held: Rc<Held>,
    /// Watches over it as long as it speaks HTTP.
    guest: Option<Rc<Guest>>,
}

/// A TCP stream, which counts among the descriptors of the process.
pub struct Tcp {
    stream: TcpStream,
    _descriptor: Descriptor,
}

/// Takes a connection from the HTTP service: once all that it wrote is sent, or at once, to end it.
///
/// A body that the service sends is polled only while its peer reads (actix-web #2441), is copied twice,
/// and keeps the service's buffers for as long as it lasts. Whoever takes the connection over owns its
/// socket instead; to the service its peer has gone.
#[derive(Clone, Default)]
pub struct TakeOver(Rc<Held>);

#[derive(Default)]
struct Held {
    /// `None` before it is there, and once it was taken.
    stream: RefCell<Option<Tcp>>,
    is_ended: Cell<bool>,
    heir: RefCell<Option<Heir>>,
    /// The service's task.
    service: RefCell<Option<Waker>>,
}

type Heir = Box<dyn FnOnce(Tcp)>;

impl TakeOver {
    /// Gives the stream to `heir` as soon as the service has nothing to write any more. If the
    /// connection ends before, `heir` is dropped.
    pub fn once_written(&self, heir: impl FnOnce(Tcp) + 'static) {
        self.0.heir.replace(Some(Box::new(heir)));
    }

    /// Ends the connection, if it was not taken over yet: its next read or write fails, and the
    /// service drops the heir.
    pub fn end(&self) {
        self.0.is_ended.set(true);
        drop(self.0.stream.take());
        if let Some(service) = self.0.service.take() {
            service.wake();
        }
    }
}

#[cfg(test)]
impl TakeOver {
    /// Whether it was used to end the connection.
    pub fn is_ended(&self) -> bool {
        self.0.is_ended.get()
    }
}

impl Tcp {
    /// A stream that has that descriptor.
    pub fn new(stream: TcpStream, descriptor: Descriptor) -> Self {
        Self {
            stream,
            _descriptor: descriptor,
        }
    }
}

impl Deref for Tcp {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.stream
    }
}

impl DerefMut for Tcp {
    fn deref_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

impl Io {
    /// A connection that `connection` takes over or ends, and that `guest` watches over.
    pub fn new(stream: Tcp, connection: &TakeOver, guest: Option<Rc<Guest>>) -> Self {
        connection.0.stream.replace(Some(stream));
        Self {
            held: Rc::clone(&connection.0),
            guest,
        }
    }

    /// Who watches over it, as long as it speaks HTTP.
    pub fn guest(&self) -> Option<Rc<Guest>> {
        self.guest.clone()
    }

    /// It speaks HTTP no longer.
    pub fn leave_lobby(&mut self) {
        if let Some(guest) = self.guest.take() {
            guest.leave();
        }
    }

    /// Where the peer is.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.held.stream.borrow().as_ref()?.peer_addr().ok()
    }

    /// How an answer takes it over.
    pub fn take_over(&self) -> TakeOver {
        TakeOver(Rc::clone(&self.held))
    }

    /// The stream beneath, for whoever owns the connection from now on.
    pub fn into_stream(self) -> Option<Tcp> {
        self.held.stream.take()
    }

    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Some(guest) = &self.guest {
            guest.wrote(polled.is_ready());
        }
        polled
    }

    /// Does something with the stream, unless it was taken, for a task that may be woken at its end.
    fn with<T>(
        &self,
        cx: &mut Context<'_>,
        act: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let mut stream = self.held.stream.borrow_mut();
        let stream = Pin::new(&mut **stream.as_mut()?);
        let mut service = self.held.service.borrow_mut();
        if !service.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *service = Some(cx.waker().clone());
        }
        drop(service);
        Some(act(stream, cx))
    }
}

impl Drop for Io {
    /// Whoever was to take it over may hold a handle to it in turn.
    fn drop(&mut self) {
        drop(self.held.heir.take());
        drop(self.held.stream.take());
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Once it was taken: an end, as of a peer that has gone.
        let before = buf.filled().len();
        let polled = self
            .with(cx, |stream, cx| stream.poll_read(cx, buf))
            .unwrap_or(Poll::Ready(Ok(())));
        if let Some(guest) = &self.guest
            && buf.filled().len() > before
        {
            guest.heard();
        }
        polled
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = self.with(cx, |stream, cx| stream.poll_write(cx, buf));
        self.wrote(polled.unwrap_or_else(gone))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The service flushes when all of its buffer has been written.
        if let Some(heir) = self.held.heir.take()
            && let Some(stream) = self.held.stream.take()
        {
            // A waker that is kept pins all of its task's memory.
            drop(self.held.service.take());
            heir(stream);
            // So that the service finds at once that it has nothing left to serve.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(cx, AsyncWrite::poll_shutdown)
            .unwrap_or(Poll::Ready(Ok(())))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = self.with(cx, |stream, cx| stream.poll_write_vectored(cx, bufs));
        self.wrote(polled.unwrap_or_else(gone))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

/// Of a connection that was taken or ended.
fn gone() -> Poll<io::Result<usize>> {
    Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write as _;

    use std::time::Instant;

    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::limits::Descriptors;
    use crate::metrics::Metrics;

    /// A connection, and the client's end of it.
    fn connected() -> (Io, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        let metrics = Metrics::new("0", "test").unwrap();
        let (descriptor, _) = Descriptors::of_process(metrics).open(Instant::now());
        let stream = Tcp::new(TcpStream::from_std(server).unwrap(), descriptor);
        (Io::new(stream, &TakeOver::default(), None), client)
    }

    fn run(test: impl Future<Output = ()>) {
        actix_rt::System::new().block_on(test);
    }

    #[test]
    fn a_connection_is_given_away_once_all_is_written_and_then_has_ended() {
        run(async {
            let (mut io, mut client) = connected();
            let taken = Rc::new(RefCell::new(None));
            let into = Rc::clone(&taken);
            io.take_over().once_written(move |stream| {
                into.replace(Some(stream));
            });
            assert!(taken.borrow().is_none());
            poll_fn(|cx| Pin::new(&mut io).poll_flush(cx))
                .await
                .unwrap();
            let mut stream = taken.take().unwrap();
            client.write_all(b"to the heir").unwrap();
            let mut buf = [0; 32];
            assert_eq!(io.read(&mut buf).await.unwrap(), 0);
            assert_eq!(stream.read(&mut buf).await.unwrap(), 11);
            assert!(
                poll_fn(|cx| Pin::new(&mut io).poll_write(cx, b"x"))
                    .await
                    .is_err()
            );
            poll_fn(|cx| Pin::new(&mut io).poll_shutdown(cx))
                .await
                .unwrap();
            drop(io);
            client.write_all(b"still").unwrap();
            assert_eq!(stream.read(&mut buf).await.unwrap(), 5);
        });
    }

    #[test]
    fn a_connection_that_is_ended_before_wakes_the_service_which_drops_the_heir() {
        struct Heir(Rc<Cell<bool>>);
        impl Drop for Heir {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        run(async {
            let (mut io, _client) = connected();
            let is_gone = Rc::new(Cell::new(false));
            let heir = Heir(Rc::clone(&is_gone));
            let take_over = io.take_over();
            let ending = take_over.clone();
            // As the heir of a session does, which holds the handle that ends it.
            ending.once_written(move |_| drop((heir, take_over)));
            let service = async {
                assert_eq!(io.read(&mut [0; 8]).await.unwrap(), 0);
                drop(io);
            };
            let ended = async {
                tokio::task::yield_now().await;
                ending.end();
            };
            tokio::join!(service, ended);
            assert!(is_gone.get());
        });
    }
}
