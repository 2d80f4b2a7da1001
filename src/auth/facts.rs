//! What a request says of who sent it.

use std::net::IpAddr;

use super::{find_credential, is_forwarding_header, only_origin};

/// What a request says of who sent it.
#[derive(Clone, Debug, Default)]
pub struct Facts<'a> {
    /// The `Authorization` header; of several, one that is never accepted.
    pub authorization: Option<&'a [u8]>,
    /// The `Host` header; of several, one that is never accepted.
    pub host: Option<&'a str>,
    /// The `Origin` header: see [`only_origin`].
    pub origin: Option<&'a [u8]>,
    /// Whether any header tells of a proxy.
    pub forwarded: bool,
    /// The headers that say for whom it was forwarded, in their order.
    pub forwarded_for: Vec<&'a [u8]>,
    /// The query, as it stands in the request.
    pub query: Option<&'a str>,
    /// The subprotocols that are offered, in their order.
    pub offers: Vec<&'a str>,
    /// The address at the other end.
    pub peer: Option<IpAddr>,
}

impl<'a> Facts<'a> {
    /// Takes from a request what counts here.
    pub fn new(
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        query: Option<&'a str>,
        peer: Option<IpAddr>,
    ) -> Self {
        let mut facts = Self {
            query,
            peer,
            ..Self::default()
        };
        let mut origins = Vec::new();
        for (name, value) in headers {
            if name.eq_ignore_ascii_case("authorization") {
                facts.authorization = Some(match facts.authorization {
                    None => value,
                    Some(_) => b"",
                });
            } else if name.eq_ignore_ascii_case("host") {
                let text = std::str::from_utf8(value).unwrap_or_default();
                facts.host = Some(if facts.host.is_some() { "" } else { text });
            } else if name.eq_ignore_ascii_case("origin") {
                origins.push(value);
            } else if name.eq_ignore_ascii_case("sec-websocket-protocol") {
                let text = std::str::from_utf8(value).unwrap_or_default();
                let offers = text.split(',').map(str::trim);
                facts.offers.extend(offers.filter(|o| !o.is_empty()));
            } else if is_forwarding_header(name) {
                facts.forwarded = true;
                if name.eq_ignore_ascii_case("x-forwarded-for") {
                    facts.forwarded_for.push(value);
                }
            }
        }
        facts.origin = only_origin(origins);
        facts
    }

    /// Whether it brings a credential, good or not.
    pub fn has_credential(&self) -> bool {
        let offers = self.offers.iter().copied();
        !matches!(
            find_credential(self.authorization, self.query, offers),
            Ok(None)
        )
    }
}
