//! Where the credential of a handshake stands.

use percent_encoding::percent_decode_str;
use thiserror::Error;

use super::Secret;

/// The subprotocol offer that carries a credential, for clients that can set no header.
const OFFER: &str = "bearer.";
/// The field of the query that carries one.
const FIELD: &str = "token";

/// Why a credential that is there cannot be read. It never says what was there.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    /// Authorization by something other than a bearer token.
    #[error("the Authorization header must be 'Bearer' and a token")]
    Scheme,
    /// No token where one should be, or one with spaces or control characters in it.
    #[error("the token is empty or has characters that no token has")]
    Token,
    /// The query cannot be decoded.
    #[error("the token in the query is not percent-encoded as it should be")]
    Encoding,
    /// More than one of the same kind.
    #[error("there is more than one token; give one")]
    Repeated,
}

/// The credential of a handshake: that of the `Authorization` header, else that of the query, else
/// that among the subprotocols offered. `None` where there is none.
///
/// # Errors
/// If the first that is there cannot be read. It is not anonymous then, it is refused.
pub fn find_credential<'a>(
    authorization: Option<&[u8]>,
    query: Option<&str>,
    offers: impl IntoIterator<Item = &'a str>,
) -> Result<Option<Secret>, Malformed> {
    if let Some(header) = authorization {
        return of_header(header).map(Some);
    }
    if let Some(found) = query.map(of_query).transpose()?.flatten() {
        return Ok(Some(found));
    }
    let tokens = offers.into_iter().filter_map(|o| o.strip_prefix(OFFER));
    only(tokens)?.map(token).transpose()
}

/// Whether a subprotocol offer is a credential, and so never one that is chosen.
pub fn is_credential_offer(offer: &str) -> bool {
    offer.starts_with(OFFER)
}

fn of_header(header: &[u8]) -> Result<Secret, Malformed> {
    let text = std::str::from_utf8(header).map_err(|_| Malformed::Token)?;
    let (scheme, rest) = text.split_once(' ').ok_or(Malformed::Scheme)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Malformed::Scheme);
    }
    token(rest.trim_matches(' '))
}

fn of_query(query: &str) -> Result<Option<Secret>, Malformed> {
    let fields = query
        .split('&')
        .map(|field| field.split_once('=').unwrap_or((field, "")))
        // A name may be encoded as well: "%74oken" is no way around being a token.
        .filter(|(name, _)| percent_decode_str(name).eq(FIELD.bytes()));
    let Some((_, value)) = only(fields)? else {
        return Ok(None);
    };
    if has_broken_escape(value) {
        return Err(Malformed::Encoding);
    }
    // A '+' stands for itself: no token has a space, and tokens in base64 are pasted as they are.
    let decoded = percent_decode_str(value)
        .decode_utf8()
        .map_err(|_| Malformed::Encoding)?;
    token(&decoded).map(Some)
}

/// Whether a `%` is not followed by two hexadecimal digits.
fn has_broken_escape(value: &str) -> bool {
    value.split('%').skip(1).any(|after| {
        !after
            .as_bytes()
            .get(..2)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

fn only<T>(items: impl IntoIterator<Item = T>) -> Result<Option<T>, Malformed> {
    let mut items = items.into_iter();
    let first = items.next();
    match items.next() {
        Some(_) => Err(Malformed::Repeated),
        None => Ok(first),
    }
}

fn token(text: &str) -> Result<Secret, Malformed> {
    let has_wrong = |text: &str| text.chars().any(|c| c.is_whitespace() || c.is_control());
    if text.is_empty() || has_wrong(text) {
        return Err(Malformed::Token);
    }
    Ok(Secret::new(text))
}
