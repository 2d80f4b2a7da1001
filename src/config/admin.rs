//! `[admin]`: an address of its own for operators and backend services.

use std::net::SocketAddr;

use super::reader::Section;
use super::{Api, Server, kinds};

/// `[admin]`: where the HTTP API and the metrics are served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// The address and port of the HTTP API and the metrics; `None` is that of `server.listen`.
    pub listen: Option<SocketAddr>,
}

impl Admin {
    pub(super) fn read(mut section: Section<'_>, server: &Server) -> Self {
        let listen = section.read("listen", kinds::address);
        // Port 0 is never the same twice.
        if listen.is_some_and(|listen| listen == server.listen && listen.port() != 0) {
            section.refuse(
                "listen",
                format!("{}, which is server.listen", server.listen),
                "give it a port of its own, or leave it out to serve all of it at server.listen",
            );
        }
        Self { listen }
    }

    /// Who can be reached by others asks for a key.
    pub(super) fn say_who_may(&self, root: &mut Section<'_>, api: &Api) {
        let Some(listen) = self.listen else { return };
        if listen.ip().is_loopback() || !api.keys.is_empty() {
            return;
        }
        root.refuse(
            "admin.listen",
            format!("{listen}, which others can reach, and no [[api.key]]"),
            "give whoever may use the HTTP API a key, or listen on 127.0.0.1",
        );
    }
}
