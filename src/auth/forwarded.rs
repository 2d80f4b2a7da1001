//! Where a request comes from, when proxies pass it on.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// The proxies whose word is taken on where a request comes from.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Those in these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether a proxy there is taken at its word.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Where a request comes from: the peer, or, as long as it is a trusted proxy, whom it names.
    ///
    /// `headers` are the values of `X-Forwarded-For` in their order. Each proxy appends whom it heard, so
    /// they are read from the right, and what a trusted one did not write counts for nothing.
    pub fn client<'a>(
        &self,
        peer: IpAddr,
        headers: impl DoubleEndedIterator<Item = &'a [u8]>,
    ) -> IpAddr {
        let mut client = peer.to_canonical();
        if self.0.is_empty() {
            return client;
        }
        for hop in headers.rev().flat_map(|value| value.rsplit(|b| *b == b',')) {
            if !self.trusts(client) {
                break;
            }
            // What is no address was not written as it should be: the hop before it is all that is known.
            let Some(address) = parse(hop) else { break };
            client = address;
        }
        client
    }
}

/// An address, with or without a port, as proxies write them.
fn parse(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(networks: &[&str]) -> TrustedProxies {
        TrustedProxies::new(networks.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn client(trusted: &TrustedProxies, peer: &str, headers: &[&str]) -> String {
        let headers = headers.iter().map(|value| value.as_bytes());
        trusted.client(peer.parse().unwrap(), headers).to_string()
    }

    #[test]
    fn the_right_most_address_that_no_trusted_proxy_has_is_the_client() {
        let near = trusted(&["10.0.0.0/8", "192.0.2.1/32", "fd00::/8"]);
        for (peer, headers, expected) in [
            ("10.0.0.1", &["203.0.113.9"][..], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1", "203.0.113.9"], "203.0.113.9"),
            (
                "10.0.0.1",
                &["203.0.113.9", "10.0.0.2 ,\t192.0.2.1"],
                "203.0.113.9",
            ),
            ("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("10.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("10.0.0.1", &["[2001:db8::7]"], "2001:db8::7"),
            ("10.0.0.1", &["2001:db8::7"], "2001:db8::7"),
            ("fd00::1", &["2001:db8::7"], "2001:db8::7"),
            ("::ffff:10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
            // All of them are trusted: the farthest.
            ("10.0.0.1", &["10.9.9.9, 10.0.0.2"], "10.9.9.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
        ] {
            assert_eq!(client(&near, peer, headers), expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn nobody_else_is_taken_at_their_word() {
        let near = trusted(&["10.0.0.0/8"]);
        for (trusted, peer, headers, expected) in [
            (&near, "203.0.113.9", &["1.1.1.1"][..], "203.0.113.9"),
            (&trusted(&[]), "127.0.0.1", &["1.1.1.1"], "127.0.0.1"),
            // What stands left of an untrusted one is its own invention.
            (&near, "10.0.0.1", &["10.0.0.3, 203.0.113.9"], "203.0.113.9"),
            // What is no address ends the chain at the one who wrote it.
            (&near, "10.0.0.1", &["1.1.1.1, unknown"], "10.0.0.1"),
            (&near, "10.0.0.1", &["1.1.1.1, "], "10.0.0.1"),
            (
                &near,
                "10.0.0.1",
                &["1.1.1.1, nonsense, 10.0.0.2"],
                "10.0.0.2",
            ),
            (&near, "10.0.0.1", &["1.1.1.1, \u{e9}"], "10.0.0.1"),
            (&near, "10.0.0.1", &[""], "10.0.0.1"),
        ] {
            assert_eq!(
                client(trusted, peer, headers),
                expected,
                "{peer} {headers:?}"
            );
        }
    }
}
