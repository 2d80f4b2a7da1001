//! Which web pages may connect: the check of the `Origin` header.

use thiserror::Error;

use super::authority::Authority;

/// An origin whose pages may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// That of the broker itself, as the request's `Host` names it.
    SameOrigin,
    /// Every one, `null` included.
    Any,
    /// This one: `scheme://host` or `scheme://host:port`.
    Exact(String),
}

/// Why a text is no [`AllowedOrigin`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "{0:?} is no origin; write \"same-origin\", \"*\", or a scheme and host such as \
     \"https://app.example.com\" or \"http://localhost:3000\", without a path"
)]
pub struct OriginError(String);

impl AllowedOrigin {
    /// Reads `same-origin`, `*`, or an origin.
    ///
    /// # Errors
    /// If the text is none of them.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        match text {
            "same-origin" => Ok(Self::SameOrigin),
            "*" => Ok(Self::Any),
            _ if WebOrigin::parse(&text.to_ascii_lowercase()).is_some() => {
                Ok(Self::Exact(text.to_ascii_lowercase()))
            }
            _ => Err(OriginError(text.to_owned())),
        }
    }
}

/// Whether a request with this `Origin` may go on.
///
/// Without the header no browser page is at work, so there is nothing to refuse; but a request
/// that lives by a cookie always needs it. An origin is taken only in the one form in which browsers
/// write it, so everything that merely resembles an allowed one is foreign.
pub fn origin_allowed(
    origin: Option<&[u8]>,
    host: Option<&str>,
    list: &[AllowedOrigin],
    has_cookie_credentials: bool,
) -> bool {
    let Some(header) = origin else {
        return !has_cookie_credentials;
    };
    let Some(text) = std::str::from_utf8(header)
        .ok()
        .filter(|text| is_single(text))
    else {
        return false;
    };
    let presented = WebOrigin::parse(text);
    list.iter().any(|allowed| match allowed {
        AllowedOrigin::Any => true,
        AllowedOrigin::SameOrigin => presented
            .as_ref()
            .is_some_and(|origin| host.is_some_and(|host| origin.is_of(host))),
        AllowedOrigin::Exact(exact) => {
            presented.is_some() && presented == WebOrigin::parse(&exact.to_ascii_lowercase())
        }
    })
}

/// The `Origin` of a request: `None` where there is no such header. Of several the answer is one that
/// is never allowed, since a browser sends one.
pub fn only_origin<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    let mut headers = headers.into_iter();
    let first = headers.next()?;
    Some(if headers.next().is_some() { b"" } else { first })
}

/// Whether a header has one value at all, and of visible characters.
fn is_single(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b',')
}

/// An origin in parts: what two are compared by.
#[derive(Debug, PartialEq, Eq)]
struct WebOrigin {
    scheme: String,
    authority: Authority,
}

impl WebOrigin {
    /// Reads an origin as a browser writes it: in lower case, nothing after the port.
    fn parse(text: &str) -> Option<Self> {
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return None;
        }
        let (scheme, rest) = text.split_once("://")?;
        let is_scheme_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            || !scheme.bytes().all(is_scheme_byte)
        {
            return None;
        }
        let mut authority = Authority::parse(rest)?;
        authority.port = authority.port.or(default_port(scheme));
        Some(Self {
            scheme: scheme.to_owned(),
            authority,
        })
    }

    /// Whether it is that of a server that is addressed by this `Host`. The scheme is left aside,
    /// since a proxy may have ended the TLS; it only says which port a `Host` without one means.
    fn is_of(&self, host: &str) -> bool {
        default_port(&self.scheme).is_some_and(|default| {
            Authority::parse(host).is_some_and(|host| {
                host.host == self.authority.host
                    && Some(host.port.unwrap_or(default)) == self.authority.port
            })
        })
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}
