//! The seam between the broker and whatever carries bytes to a client.

use std::io::{self, IoSlice};
use std::time::Instant;

/// The writing side of one client's connection, as the broker sees it.
///
/// A gateway implements it over a socket (or a response body); the broker stays without sockets.
/// No method may call back into the broker: the caller may hold its state borrowed.
pub trait Wire {
    /// Writes what the kernel takes at once.
    ///
    /// # Errors
    /// `WouldBlock` where nothing is taken now; anything else means that the connection is gone.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Touches what [`Wire::try_write`] will, which is called in a moment.
    fn fetch(&self) {}

    /// As [`Wire::try_write`], for several pieces in one call.
    ///
    /// # Errors
    /// As [`Wire::try_write`].
    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Asks that `Subscriber::writable` be called once the connection takes bytes again.
    fn want_writable(&self);

    /// Asks that `Subscriber::release` be called at that time, or before.
    fn wake_at(&self, _due: Instant) {}

    /// Says that all that waited has been written: a session that was held back may be read again.
    fn drained(&self) {}

    /// Says that nothing will be written any more; the peer may still send.
    fn shut_writing(&self);

    /// Ends the connection at once, whatever it is doing: its session's reading side ends too.
    fn kill(&self);
}
