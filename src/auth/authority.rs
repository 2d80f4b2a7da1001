//! The `host[:port]` of a `Host` header or an origin.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host and, where one was written, its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    pub host: HostName,
    pub port: Option<u16>,
}

/// A host as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostName {
    /// A name, in lower case.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl Authority {
    /// Reads `host`, `host:port`, `[v6]` or `[v6]:port`; nothing else, so no user, path or space.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']')?;
            let address: Ipv6Addr = address.parse().ok()?;
            let port = match rest {
                "" => None,
                _ => Some(rest.strip_prefix(':')?),
            };
            (HostName::Address(address.into()), port)
        } else {
            match text.split_once(':') {
                Some((host, port)) => (HostName::parse(host)?, Some(port)),
                None => (HostName::parse(text)?, None),
            }
        };
        let port = match port {
            None => None,
            Some(digits) => Some(parse_port(digits)?),
        };
        Some(Self { host, port })
    }
}

impl HostName {
    fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Self::Address(address.into()));
        }
        // A name may end in one dot; it is another name then, as it is to a browser.
        let labels = text.strip_suffix('.').unwrap_or(text);
        let is_name_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        labels
            .split('.')
            .all(|label| !label.is_empty() && label.bytes().all(is_name_byte))
            .then(|| Self::Name(text.to_ascii_lowercase()))
    }

    /// Whether it names this machine to itself: `localhost` and what is below it, 127.0.0.0/8, `::1`.
    pub(super) fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost" || name.ends_with(".localhost"),
            Self::Address(address) => address.is_loopback(),
        }
    }
}

/// A port, of digits alone.
fn parse_port(digits: &str) -> Option<u16> {
    let all_digits = digits.bytes().all(|b| b.is_ascii_digit());
    all_digits.then(|| digits.parse().ok()).flatten()
}
