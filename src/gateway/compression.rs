//! What is agreed on with a client that offers to compress messages.

use crate::config::Compression;
use crate::websocket::{Allowed, Negotiated, negotiate};

use super::handshake::Ask;

impl Ask<'_> {
    /// The first offer that suits the configuration. Nothing is kept from message to message, so
    /// compression takes no memory of the session's.
    pub(super) fn deflate(&self, config: Compression) -> Option<Negotiated> {
        if !config.enabled {
            return None;
        }
        let headers = self.headers.iter();
        let offers = headers.filter(|(n, _)| n.eq_ignore_ascii_case("sec-websocket-extensions"));
        let allowed = Allowed {
            max_window_bits: config.max_window_bits,
            server_takeover: false,
            client_takeover: false,
        };
        negotiate(offers.map(|(_, value)| *value), allowed)
    }
}
