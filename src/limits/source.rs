//! Who an address is, to limits.

use std::net::{IpAddr, Ipv6Addr};

/// An address as limits tell them apart: an IPv4 address, or the /64 of an IPv6 address. A host chooses
/// the rest of the latter freely, and changes it as often as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

/// The network part of an IPv6 address.
const NETWORK: u128 = !(u64::MAX as u128);

impl Source {
    /// That of an address; those that have none are one.
    pub fn of(address: Option<IpAddr>) -> Self {
        let address = address.map_or(Ipv6Addr::UNSPECIFIED.into(), |a| a.to_canonical());
        Self(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & NETWORK).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_whatever_address_of_its_network_it_takes() {
        let source = |text: &str| Source::of(Some(text.parse().unwrap()));
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
            ("2001:db8::1", "2001:db8::ffff:1:2:3", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            assert_eq!(source(one) == source(other), same, "{one} {other}");
        }
    }
}
