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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOST: &str = "good.example:8080";

    fn same(origin: &str, host: &str) -> bool {
        origin_allowed(
            Some(origin.as_bytes()),
            Some(host),
            &[AllowedOrigin::SameOrigin],
            false,
        )
    }

    fn exact(origin: &str, listed: &str) -> bool {
        let list = [AllowedOrigin::parse(listed).unwrap()];
        origin_allowed(Some(origin.as_bytes()), Some(HOST), &list, false)
    }

    #[test]
    fn the_brokers_own_pages_are_of_the_same_origin() {
        for (origin, host) in [
            ("http://good.example:8080", "good.example:8080"),
            ("https://good.example:8080", "good.example:8080"),
            ("http://good.example", "good.example"),
            ("https://good.example", "good.example"),
            ("http://good.example", "good.example:80"),
            ("https://good.example", "good.example:443"),
            ("https://good.example:443", "good.example"),
            ("http://good.example", "GOOD.Example"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
            ("http://[::1]", "[::1]"),
        ] {
            assert!(same(origin, host), "{origin} {host}");
        }
    }

    #[test]
    fn whatever_else_a_page_may_say_is_foreign() {
        for (origin, host) in [
            ("null", "good.example"),
            ("NULL", "good.example"),
            ("", "good.example"),
            ("https://evil.example", "good.example"),
            ("https://good.example.evil.com", "good.example"),
            ("https://evilgood.example", "good.example"),
            ("https://sub.good.example", "good.example"),
            ("https://good.exampl", "good.example"),
            ("https://good.example.", "good.example"),
            ("https://good@evil.example", "good"),
            ("https://good.example@evil.example", "good.example"),
            ("https://good.example:443@evil.example", "good.example"),
            ("https://evil.example/good.example", "good.example"),
            ("https://evil.example#good.example", "good.example"),
            ("https://evil.example\\good.example", "good.example"),
            ("https://good.example/", "good.example"),
            ("https://good.example/path", "good.example"),
            ("https://good.example?q", "good.example"),
            ("HTTPS://good.example", "good.example"),
            ("https://GOOD.example", "good.example"),
            ("https://good.example:8443", "good.example"),
            ("http://good.example", "good.example:443"),
            ("http://good.example:443", "good.example"),
            ("https://good.example:", "good.example"),
            ("https://good.example:0443x", "good.example"),
            ("good.example", "good.example"),
            ("//good.example", "good.example"),
            ("://good.example", "good.example"),
            ("https:good.example", "good.example"),
            ("https:///good.example", "good.example"),
            (" https://good.example", "good.example"),
            ("https://good.example ", "good.example"),
            ("https://good.example https://evil.example", "good.example"),
            ("https://good.example, https://evil.example", "good.example"),
            ("https://good.example,https://good.example", "good.example"),
            ("https://good.example\0.evil.com", "good.example"),
            ("https://*", "good.example"),
            ("file://good.example", "good.example"),
            ("chrome-extension://good", "good"),
            ("http://[::1]:8080", "[::2]:8080"),
            ("http://[::1]", "localhost"),
            ("http://localhost:3000", "localhost:8080"),
            ("https://good.example", ""),
            ("https://good.example", "good.example, good.example"),
            ("https://good.example", "evil@good.example"),
        ] {
            assert!(!same(origin, host), "{origin:?} {host}");
        }
        let same_origin = &[AllowedOrigin::SameOrigin];
        assert!(!origin_allowed(Some(b"http://a"), None, same_origin, false));
        assert!(!origin_allowed(
            Some(b"http://\xff"),
            Some("a"),
            same_origin,
            false
        ));
        assert!(!origin_allowed(Some(b"http://a"), Some("a"), &[], false));
    }

    #[test]
    fn a_listed_origin_is_compared_by_scheme_host_and_port() {
        for (origin, listed) in [
            ("https://app.example", "https://app.example"),
            ("https://app.example", "https://app.example:443"),
            ("https://app.example:443", "https://app.example"),
            ("http://app.example:3000", "HTTP://App.Example:3000"),
            ("http://[::1]:3000", "http://[0::1]:3000"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ] {
            assert!(exact(origin, listed), "{origin} {listed}");
        }
        for origin in [
            "http://app.example",
            "https://app.example:444",
            "https://app.example.evil.com",
            "https://evilapp.example",
            "https://app.example@evil.com",
            "https://app.example/",
            "https://app.example.",
            "https://APP.example",
            "https://app.examplf",
            "null",
            "",
            // The broker's own is not listed here.
            "http://good.example:8080",
        ] {
            assert!(!exact(origin, "https://app.example"), "{origin}");
        }
    }

    #[test]
    fn any_origin_is_any_but_still_only_one() {
        let any = |origin: &[u8]| origin_allowed(Some(origin), None, &[AllowedOrigin::Any], true);
        for origin in ["https://evil.example", "null", "file://"] {
            assert!(any(origin.as_bytes()), "{origin}");
        }
        for origin in ["", "https://a, https://b", "https://a https://b", "\u{1}"] {
            assert!(!any(origin.as_bytes()), "{origin:?}");
        }
    }

    #[test]
    fn without_an_origin_only_a_cookie_is_suspicious() {
        for list in [&[][..], &[AllowedOrigin::SameOrigin], &[AllowedOrigin::Any]] {
            assert!(origin_allowed(None, Some(HOST), list, false));
            assert!(!origin_allowed(None, Some(HOST), list, true));
        }
    }

    #[test]
    fn several_origin_headers_are_never_allowed() {
        let list = [AllowedOrigin::Any, AllowedOrigin::SameOrigin];
        let good: &[u8] = b"http://good.example:8080";
        for (headers, allowed) in [
            (&[][..], true),
            (&[good], true),
            (&[good, good], false),
            (&[good, b"http://evil.example"], false),
        ] {
            let origin = only_origin(headers.iter().copied());
            assert_eq!(origin_allowed(origin, Some(HOST), &list, false), allowed);
        }
    }

    #[test]
    fn a_list_says_what_it_means_or_is_refused() {
        assert_eq!(
            AllowedOrigin::parse("same-origin"),
            Ok(AllowedOrigin::SameOrigin)
        );
        assert_eq!(AllowedOrigin::parse("*"), Ok(AllowedOrigin::Any));
        for bad in [
            "",
            "null",
            "app.example",
            "https://app.example/",
            "https://app.example/path",
            "https://*.example",
            "https://user@app.example",
            "https://app.example:99999",
            "same_origin",
            "https://a,https://b",
        ] {
            let error = AllowedOrigin::parse(bad).unwrap_err();
            assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_around_a_good_origin_makes_another_one_good(
            before in "[ -~]{0,6}",
            after in "[ -~]{0,12}",
        ) {
            let origin = format!("{before}https://app.example{after}");
            // What is the same origin, written otherwise: a port of its own scheme.
            let is_port = after.strip_prefix(':').is_some_and(|port| port.parse() == Ok(443));
            if !before.is_empty() || !(after.is_empty() || is_port) {
                prop_assert!(!exact(&origin, "https://app.example"), "{origin}");
                prop_assert!(!same(&origin, "app.example"), "{origin}");
            }
        }

        #[test]
        fn no_header_makes_the_check_fail(origin: Vec<u8>, host: String) {
            let list = [AllowedOrigin::SameOrigin, AllowedOrigin::Exact(host.clone())];
            origin_allowed(Some(&origin), Some(&host), &list, false);
        }
    }
}
