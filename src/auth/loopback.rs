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

/// Whether a request may be served without credentials where none are configured. It must come over
/// the loopback interface, straight, ask for a loopback name (or a name that somebody else's name
/// server points here would do), and belong to no foreign page.
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
