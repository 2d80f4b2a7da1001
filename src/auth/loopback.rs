//! Whether a request comes from this machine, and from no page of anyone else's.

use std::net::IpAddr;

use super::authority::Authority;
use super::origin::{AllowedOrigin, origin_allowed};

/// What is known of where a request comes from.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The address that the listener is bound to.
    pub listener: IpAddr,
    /// The address at the other end.
    pub peer: Option<IpAddr>,
    /// The `Host` header.
    pub host: Option<&'a str>,
    /// Whether any header is a forwarding one: see [`is_forwarding_header`].
    pub forwarded: bool,
    /// The `Origin` header: see [`only_origin`](super::only_origin).
    pub origin: Option<&'a [u8]>,
}

/// Whether a request may be served without credentials where none are configured: it comes over the
/// loopback interface, straight, to a loopback name (a foreign name that is made to lead here is how
/// a page elsewhere would reach this machine), and belongs to no foreign page.
///
/// # Errors
/// Says why not, in words for the one who asked.
pub fn is_local(circumstances: &Circumstances<'_>) -> Result<(), &'static str> {
    let Circumstances {
        listener,
        peer,
        host,
        forwarded,
        origin,
    } = *circumstances;
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    let names_loopback =
        |host| Authority::parse(host).is_some_and(|authority| authority.host.is_loopback());
    if !is_loopback(listener) {
        return Err("the broker does not listen on a loopback address only");
    }
    if !peer.is_some_and(is_loopback) {
        return Err("the request does not come from this machine");
    }
    if forwarded {
        return Err("the request was forwarded by a proxy");
    }
    if !host.is_some_and(names_loopback) {
        return Err("the Host header is no loopback name");
    }
    if !origin_allowed(origin, host, &[AllowedOrigin::SameOrigin], false) {
        return Err("the request belongs to a page of another origin");
    }
    Ok(())
}

/// Whether a header of that name tells that a proxy passed the request on.
pub fn is_forwarding_header(name: &str) -> bool {
    const NAMES: [&str; 8] = [
        "forwarded",
        "via",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "x-original-forwarded-for",
    ];
    const PREFIX: &str = "x-forwarded";
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
        || name
            .get(..PREFIX.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    fn here() -> Circumstances<'static> {
        Circumstances {
            listener: V4,
            peer: Some(V4),
            host: Some("localhost:8080"),
            forwarded: false,
            origin: None,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    type Change = fn(&mut Circumstances<'static>);

    fn judged(change: Change) -> Result<(), &'static str> {
        let mut circumstances = here();
        change(&mut circumstances);
        is_local(&circumstances)
    }

    #[test]
    fn a_request_from_this_machine_is_local() {
        let changes: [Change; 7] = [
            |_| (),
            |c| (c.listener, c.peer, c.host) = (V6, Some(V6), Some("[::1]:8080")),
            |c| c.peer = Some(ip("::ffff:127.0.0.1")),
            |c| c.peer = Some(ip("127.8.9.1")),
            |c| c.host = Some("127.0.0.1:8080"),
            |c| c.host = Some("app.LOCALHOST"),
            |c| c.origin = Some(b"http://localhost:8080"),
        ];
        for (place, change) in changes.into_iter().enumerate() {
            assert_eq!(judged(change), Ok(()), "change {place}");
        }
    }

    #[test]
    fn one_sign_of_elsewhere_is_enough() {
        let changes: [(&str, Change); 19] = [
            ("listen", |c| c.listener = ip("0.0.0.0")),
            ("listen", |c| c.listener = ip("::")),
            ("listen", |c| c.listener = ip("192.0.2.1")),
            ("machine", |c| c.peer = Some(ip("192.0.2.1"))),
            ("machine", |c| c.peer = Some(ip("::ffff:192.0.2.1"))),
            ("machine", |c| c.peer = None),
            ("proxy", |c| c.forwarded = true),
            ("Host", |c| c.host = None),
            ("Host", |c| c.host = Some("")),
            ("Host", |c| c.host = Some("evil.example")),
            ("Host", |c| c.host = Some("localhost.evil.example")),
            ("Host", |c| c.host = Some("127.0.0.1.nip.io")),
            ("Host", |c| c.host = Some("localhost@evil.example")),
            ("Host", |c| c.host = Some("0.0.0.0:8080")),
            ("origin", |c| c.origin = Some(b"null")),
            ("origin", |c| c.origin = Some(b"")),
            ("origin", |c| c.origin = Some(b"https://evil.example")),
            ("origin", |c| c.origin = Some(b"http://localhost:3000")),
            ("origin", |c| c.origin = Some(b"http://127.0.0.1:8080")),
        ];
        for (place, (sign, change)) in changes.into_iter().enumerate() {
            let why = judged(change).unwrap_err();
            assert!(why.contains(sign), "change {place}: {why}");
        }
    }

    #[test]
    fn a_page_whose_name_was_made_to_lead_here_is_not_local() {
        let rebound = Circumstances {
            host: Some("evil.example:8080"),
            origin: Some(b"http://evil.example:8080"),
            ..here()
        };
        assert!(is_local(&rebound).is_err());
    }

    #[test]
    fn the_headers_of_proxies_are_known() {
        for name in [
            "Forwarded",
            "forwarded",
            "X-Forwarded-For",
            "x-forwarded-host",
            "X-FORWARDED-PROTO",
            "X-Forwarded-Anything",
            "X-Real-IP",
            "Via",
        ] {
            assert!(is_forwarding_header(name), "{name}");
        }
        for name in [
            "Host",
            "Origin",
            "X-Forward",
            "Viable",
            "",
            "é",
            "X-Request-Id",
        ] {
            assert!(!is_forwarding_header(name), "{name}");
        }
    }
}
