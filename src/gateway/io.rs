//! The one stream type of the server: what the HTTP service holds of a connection, and how an answer
//! takes it over.

use std::cell::RefCell;
use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use actix_rt::net::TcpStream;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use crate::limits::Descriptor;

use super::lobby::Guest;
use super::{parser_answer, refusal};

/// A TCP connection, whose descriptor counts among those of the process.
pub struct Tcp {
    stream: TcpStream,
    _descriptor: Descriptor,
}

/// A connection. Plain TCP; TLS joins as another kind of stream.
pub struct Io(Rc<Held>);

/// Takes a connection from the HTTP service: once all that it wrote is sent, or at once, to end it.
///
/// A body that the service sends is polled only while its peer reads (actix-web #2441), is copied twice,
/// and keeps the service's buffers for as long as it lasts. Whoever takes the connection over owns its
/// socket instead; to the service its peer has gone.
#[derive(Clone)]
pub struct TakeOver(Rc<Held>);

#[derive(Default)]
struct Held {
    /// `None` once it was taken.
    stream: RefCell<Option<Tcp>>,
    /// Watches over it until then.
    guest: RefCell<Option<Rc<Guest>>>,
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
        drop(self.0.stream.take());
        if let Some(service) = self.0.service.take() {
            service.wake();
        }
    }
}

impl Io {
    /// A connection over TCP.
    pub fn new(stream: Tcp) -> Self {
        Self(Rc::new(Held {
            stream: RefCell::new(Some(stream)),
            ..Held::default()
        }))
    }

    /// The same, that somebody watches over for as long as it speaks HTTP.
    #[must_use]
    pub fn watched(self, guest: Rc<Guest>) -> Self {
        self.0.guest.replace(Some(guest));
        self
    }

    /// Who watches over it.
    pub fn guest(&self) -> Option<Rc<Guest>> {
        self.0.guest.borrow().clone()
    }

    /// It speaks HTTP no longer.
    pub fn leave_lobby(&self) {
        if let Some(guest) = self.0.guest.take() {
            guest.leave();
        }
    }

    /// What is written instead of an answer that the HTTP service makes by itself, without saying why.
    fn better_answer(&self, written: &[u8]) -> Option<Vec<u8>> {
        let guest = self.0.guest.borrow();
        // While a request is served, what is written is of whoever serves it.
        let guest = guest.as_ref().filter(|guest| guest.is_waiting())?;
        let refused = parser_answer::instead(written)?;
        guest.refused(refused.reason);
        Some(refusal::answer(&refused).into_bytes())
    }

    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Some(guest) = &*self.0.guest.borrow() {
            guest.wrote(polled.is_ready());
        }
        polled
    }

    /// How an answer takes it over.
    pub fn take_over(&self) -> TakeOver {
        TakeOver(Rc::clone(&self.0))
    }

    /// The stream beneath, for whoever owns the connection from now on.
    pub fn into_stream(self) -> Option<Tcp> {
        self.leave_lobby();
        self.0.stream.take()
    }

    /// Does something with the stream, unless it was taken, for a task that may be woken at its end.
    fn with<T>(
        &self,
        cx: &mut Context<'_>,
        act: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let mut stream = self.0.stream.borrow_mut();
        let stream = Pin::new(&mut stream.as_mut()?.stream);
        let mut service = self.0.service.borrow_mut();
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
        drop(self.0.heir.take());
        drop(self.0.stream.take());
        // It holds a handle as well.
        drop(self.0.guest.take());
    }
}

impl Tcp {
    /// A connection and its descriptor.
    pub fn new(stream: TcpStream, descriptor: Descriptor) -> Self {
        Self {
            stream,
            _descriptor: descriptor,
        }
    }

    /// Reads what there is, as far as it has room; 0 at the end.
    ///
    /// Where there is room left, all has been read, and the reactor is told so: it would be asked only to be
    /// told by one more read that there is nothing. Its own streams do the same.
    ///
    /// # Errors
    /// Those of `read`, `WouldBlock` among them.
    pub fn read_all(&self, room: &mut [u8]) -> io::Result<usize> {
        let (mut read, most) = (0, room.len());
        let done = self.stream.try_io(Interest::READABLE, || {
            read = rustix::io::read(&self.stream, &mut *room)?;
            if read > 0 && read < most {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(())
        });
        match done {
            Err(_) if read > 0 => Ok(read),
            done => done.map(|()| read),
        }
    }

    /// Writes what the kernel takes at once.
    ///
    /// The kernel is asked first: what the reactor knows of a socket lies in memory of its own, which
    /// with many sessions has to come from far away.
    ///
    /// # Errors
    /// `WouldBlock` where it takes nothing now, of which the reactor knows then; anything else means
    /// that the connection is gone.
    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match send(
            &self.stream,
            bytes,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        ) {
            Err(Errno::AGAIN) => self.stream.try_write(bytes),
            sent => Ok(sent?),
        }
    }
}

impl Deref for Tcp {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.stream
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        // Once it was taken: an end, as of a peer that has gone.
        let polled = self
            .with(cx, |stream, cx| stream.poll_read(cx, buf))
            .unwrap_or(Poll::Ready(Ok(())));
        if buf.filled().len() > before
            && let Some(guest) = &*self.0.guest.borrow()
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
        let better = self.better_answer(buf);
        let polled = self
            .with(cx, |stream, cx| match &better {
                None => stream.poll_write(cx, buf),
                // An answer that does not fit whole is not told at all: the connection ends.
                Some(better) => stream.poll_write(cx, better).map_ok(|written| {
                    let is_whole = written == better.len();
                    if is_whole { buf.len() } else { 0 }
                }),
            })
            .unwrap_or_else(|| Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())));
        self.wrote(polled)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The service flushes when all of its buffer has been written.
        if let Some(heir) = self.0.heir.take()
            && let Some(stream) = self.0.stream.take()
        {
            // A waker that is kept pins all of its task's memory.
            drop(self.0.service.take());
            self.leave_lobby();
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
        let polled = self
            .with(cx, |stream, cx| stream.poll_write_vectored(cx, bufs))
            .unwrap_or_else(|| Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())));
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::io::Write as _;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// A connection, and the client's end of it.
    fn connected() -> (Io, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        let metrics = crate::metrics::Metrics::new("0", "test").unwrap();
        let (descriptor, _) =
            crate::limits::Descriptors::of_process(metrics).open(std::time::Instant::now());
        let stream = TcpStream::from_std(server).unwrap();
        (Io::new(Tcp::new(stream, descriptor)), client)
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
            let mut stream: Tcp = taken.take().unwrap();
            client.write_all(b"to the heir").unwrap();
            let mut buf = [0; 32];
            assert_eq!(io.read(&mut buf).await.unwrap(), 0);
            assert_eq!(stream.stream.read(&mut buf).await.unwrap(), 11);
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
            assert_eq!(stream.stream.read(&mut buf).await.unwrap(), 5);
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
