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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_the_same_however_they_are_written() {
        for (one, other) in [
            ("Example.COM", "example.com"),
            ("EXAMPLE.com:80", "example.com:80"),
            ("[::1]:8080", "[0:0:0:0:0:0:0:1]:8080"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
        ] {
            let parsed = Authority::parse(one);
            assert!(parsed.is_some(), "{one}");
            assert_eq!(parsed, Authority::parse(other), "{one} {other}");
        }
    }

    #[test]
    fn what_differs_stays_different() {
        for (one, other) in [
            ("example.com", "example.com."),
            ("example.com", "example.com:80"),
            ("a_b", "a-b"),
            ("127.0.0.1", "[::ffff:127.0.0.1]"),
        ] {
            assert_ne!(
                Authority::parse(one),
                Authority::parse(other),
                "{one} {other}"
            );
        }
    }

    #[test]
    fn only_a_host_and_a_port_are_read() {
        for bad in [
            "",
            ":",
            ":80",
            "a:",
            "a:b",
            "a:+80",
            "a:-1",
            "a:65536",
            "a:80:80",
            "a b",
            " a",
            "a ",
            "a/",
            "a/b",
            "a?b",
            "a#b",
            "u@a",
            "u:p@a",
            "a\\b",
            "a%2eb",
            ".",
            ".a",
            "a..b",
            "a..",
            "[",
            "[]",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]:",
            "[::1]80",
            "[127.0.0.1]",
            "[fe80::1%lo]",
            "é",
            "a\0",
            "a,b",
            "*",
            "*.a",
        ] {
            assert_eq!(Authority::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn names_that_lead_to_this_machine_are_known() {
        let is_loopback = |text| Authority::parse(text).is_some_and(|a| a.host.is_loopback());
        for local in [
            "localhost",
            "LOCALHOST:8080",
            "app.localhost",
            "a.b.localhost:1",
            "127.0.0.1",
            "127.255.0.9:80",
            "[::1]",
            "[::1]:8080",
        ] {
            assert!(is_loopback(local), "{local}");
        }
        for foreign in [
            "localhost.evil.example",
            "evillocalhost",
            "127.0.0.1.evil.example",
            "127.1",
            "0177.0.0.1",
            "2130706433",
            "0x7f000001",
            "0.0.0.0",
            "[::]",
            "128.0.0.1",
            "10.0.0.1",
            "[::2]",
            "localhost@evil.example",
            "evil.example",
            ".localhost",
        ] {
            assert!(!is_loopback(foreign), "{foreign}");
        }
    }
}
