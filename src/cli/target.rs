//! The broker that a URL names.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use tungstenite::http::Uri;

use super::exit::Failure;

/// Where a broker is, and the path there. It is written as host and port only: a query may hold a
/// token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    host: String,
    port: u16,
    path: String,
    query: Option<String>,
}

impl Target {
    /// A URL of the schemes http and ws, which mean the same here.
    pub(super) fn parse(url: &str) -> Result<Self, Failure> {
        let needed = "a URL such as ws://127.0.0.1:8080/ws or http://127.0.0.1:8080 is needed";
        let uri: Uri = url.parse().map_err(|_| Failure::misused(needed))?;
        let scheme = uri.scheme_str().map(str::to_ascii_lowercase);
        match scheme.as_deref() {
            Some("http" | "ws") => {}
            Some(scheme @ ("https" | "wss")) => {
                return Err(Failure::misused(format!(
                    "{scheme}:// is not spoken yet, for want of TLS; use ws:// or http://, inside a network you trust"
                )));
            }
            _ => return Err(Failure::misused(needed)),
        }
        let authority = uri.authority().ok_or_else(|| Failure::misused(needed))?;
        if authority.as_str().contains('@') {
            return Err(Failure::misused(
                "a user name in the URL is not sent; give a token with FANFARE_TOKEN or --token-file",
            ));
        }
        let unsaid = authority.as_str() == authority.host();
        let port = authority.port_u16().or(unsaid.then_some(80));
        let (Some(port), false) = (port, authority.host().is_empty()) else {
            return Err(Failure::misused(needed));
        };
        Ok(Self {
            host: authority.host().to_owned(),
            port,
            path: uri.path().to_owned(),
            query: uri.query().map(str::to_owned),
        })
    }

    /// The same, with that path where the URL names none.
    pub(super) fn or_path(mut self, path: &str) -> Self {
        if matches!(self.path.as_str(), "" | "/") {
            path.clone_into(&mut self.path);
        }
        self
    }

    /// The same, with that path below the URL's own, unless it is there already.
    pub(super) fn below(mut self, path: &str) -> Self {
        let base = self.path.trim_end_matches('/');
        self.path = if base.ends_with(path) {
            base.to_owned()
        } else {
            format!("{base}{path}")
        };
        self.query = None;
        self
    }

    /// The same place, with that path and no query.
    pub(super) fn at_path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self.query = None;
        self
    }

    /// Host and port, as in a `Host` header and for people.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The host, an address without its brackets, and the port.
    pub(super) fn host_and_port(&self) -> (&str, u16) {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        (host, self.port)
    }

    /// The path and query, as in a request line.
    pub(super) fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// A connection to the first address that takes one, which gives up on each after that time.
    pub(super) fn connect(&self, timeout: Duration) -> io::Result<TcpStream> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in self.host_and_port().to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (String, String) {
        let target = Target::parse(url).unwrap().or_path("/ws");
        (target.authority(), target.path_and_query())
    }

    #[test]
    fn a_url_is_read_whatever_its_scheme() {
        for (url, authority, path) in [
            ("ws://127.0.0.1:8080/ws", "127.0.0.1:8080", "/ws"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080", "/ws"),
            ("HTTP://h:1/", "h:1", "/ws"),
            ("ws://[::1]:9/live", "[::1]:9", "/live"),
            ("ws://broker", "broker:80", "/ws"),
            ("ws://broker/ws?a=b", "broker:80", "/ws?a=b"),
        ] {
            assert_eq!(
                parsed(url),
                (authority.to_owned(), path.to_owned()),
                "{url}"
            );
        }
    }

    #[test]
    fn what_cannot_be_reached_is_misuse_and_never_quoted() {
        for url in [
            "",
            "localhost",
            "localhost:8080",
            "/ws?token=s3cret",
            "ftp://h/?token=s3cret",
            "ws://?token=s3cret",
            "ws://user:s3cret@h/ws",
            "ws://h:99999/?token=s3cret",
            "wss://h/?token=s3cret",
            "https://h",
        ] {
            let failure = Target::parse(url).unwrap_err();
            let mut told = Vec::new();
            assert_eq!(
                failure.tell(&mut told),
                super::super::Exit::Misused,
                "{url}"
            );
            let told = String::from_utf8(told).unwrap();
            assert!(!told.contains("s3cret"), "{told}");
            let tls = url.starts_with("wss") || url.starts_with("https");
            assert_eq!(told.contains("TLS"), tls, "{told}");
        }
    }

    #[test]
    fn the_path_of_health_is_below_the_url_s() {
        for (url, path) in [
            ("http://h", "/healthz"),
            ("http://h/", "/healthz"),
            ("http://h/healthz", "/healthz"),
            ("http://h/base/?x", "/base/healthz"),
        ] {
            let target = Target::parse(url).unwrap().below("/healthz");
            assert_eq!(target.path_and_query(), path, "{url}");
        }
    }
}
