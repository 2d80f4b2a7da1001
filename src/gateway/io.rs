//! The one stream type of the server: bytes of a connection, with a switch to end it from outside.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use actix_rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::limits::Descriptor;

use super::lobby::Guest;

/// A connection. Plain TCP; TLS joins as another kind of stream.
pub struct Io {
    stream: TcpStream,
    switch: Rc<KillSwitch>,
    /// Watches over it as long as it speaks HTTP.
    guest: Option<Rc<Guest>>,
    /// Counts among those of the process.
    _descriptor: Descriptor,
}

/// Ends a connection whose stream is owned by something that does not look: a response body is not
/// polled while its peer does not read (actix-web #2441).
#[derive(Default)]
pub struct KillSwitch {
    killed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl KillSwitch {
    /// Ends the connection: its next read or write fails.
    pub fn kill(&self) {
        self.killed.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Whether it was used.
    #[cfg(test)]
    pub fn is_killed(&self) -> bool {
        self.killed.get()
    }

    /// Forgets the task that polled last: a waker that is kept pins all of its task's memory.
    pub fn forget_task(&self) {
        *self.waker.borrow_mut() = None;
    }

    fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        if self.killed.get() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Ok(())
    }
}

impl Io {
    /// A connection over TCP that `switch` ends.
    pub fn new(
        stream: TcpStream,
        descriptor: Descriptor,
        switch: Rc<KillSwitch>,
        guest: Rc<Guest>,
    ) -> Self {
        Self {
            stream,
            switch,
            guest: Some(guest),
            _descriptor: descriptor,
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

    fn wrote(&self, polled: &Poll<io::Result<usize>>) {
        if let Some(guest) = &self.guest {
            guest.wrote(polled.is_ready());
        }
    }

    /// Where the peer is.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }

    /// The switch that ends this connection.
    pub fn kill_switch(&self) -> Rc<KillSwitch> {
        Rc::clone(&self.switch)
    }

    /// The stream beneath, for whoever owns the connection.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.switch.check(cx)?;
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
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
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.switch.check(cx)?;
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(&polled);
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.switch.check(cx)?;
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
