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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(
        authorization: Option<&str>,
        query: Option<&str>,
        offers: &[&str],
    ) -> Result<Option<String>, Malformed> {
        let authorization = authorization.map(str::as_bytes);
        find_credential(authorization, query, offers.iter().copied())
            .map(|found| found.map(|secret| secret.reveal().to_owned()))
    }

    #[test]
    fn the_first_credential_found_counts() {
        let offers = &["fanfare.v1.json", "bearer.c"][..];
        for (authorization, query, offers, expected) in [
            (Some("Bearer a"), Some("token=b"), offers, Some("a")),
            (None, Some("token=b"), offers, Some("b")),
            (None, Some("topic=x"), offers, Some("c")),
            (None, None, offers, Some("c")),
            (None, Some("topic=x"), &["fanfare.v1.json"], None),
            (None, Some(""), &[], None),
            (None, None, &[], None),
        ] {
            let told = format!("{authorization:?} {query:?} {offers:?}");
            let found = found(authorization, query, offers).unwrap();
            assert_eq!(found.as_deref(), expected, "{told}");
        }
    }

    #[test]
    fn one_that_cannot_be_read_is_refused_and_not_passed_over() {
        for (authorization, why) in [
            ("Basic dTpw", Malformed::Scheme),
            ("Digest a", Malformed::Scheme),
            ("", Malformed::Scheme),
            ("Bearer", Malformed::Scheme),
            ("token", Malformed::Scheme),
            (" Bearer a", Malformed::Scheme),
            ("Bearer ", Malformed::Token),
            ("Bearer   ", Malformed::Token),
            ("Bearer a b", Malformed::Token),
            ("Bearer a\tb", Malformed::Token),
            ("Bearer a\u{7f}", Malformed::Token),
        ] {
            let found = found(Some(authorization), Some("token=good"), &["bearer.good"]);
            assert_eq!(found, Err(why), "{authorization:?}");
        }
        assert_eq!(
            find_credential(Some(b"Bearer \xff"), None, []),
            Err(Malformed::Token)
        );
    }

    #[test]
    fn the_scheme_is_read_in_any_case_and_with_more_spaces() {
        for header in [
            "Bearer a.b-c_d~e+f/g==",
            "bearer a.b-c_d~e+f/g==",
            "BEARER  a.b-c_d~e+f/g== ",
        ] {
            let found = found(Some(header), None, &[]).unwrap();
            assert_eq!(found.as_deref(), Some("a.b-c_d~e+f/g=="), "{header}");
        }
    }

    #[test]
    fn a_token_in_the_query_is_decoded() {
        for (query, expected) in [
            ("token=abc", Ok(Some("abc"))),
            ("topic=x&token=abc&last=3", Ok(Some("abc"))),
            ("token=a%2Bb%2fc%3D%3d", Ok(Some("a+b/c=="))),
            ("token=a+b", Ok(Some("a+b"))),
            ("token=a=b", Ok(Some("a=b"))),
            ("%74oken=abc", Ok(Some("abc"))),
            ("token=%C3%A9", Ok(Some("é"))),
            ("tokens=abc&xtoken=d&Token=e", Ok(None)),
            ("x=token=abc", Ok(None)),
            ("token=", Err(Malformed::Token)),
            ("token", Err(Malformed::Token)),
            ("token=a%20b", Err(Malformed::Token)),
            ("token=a%00", Err(Malformed::Token)),
            ("token=a%0d%0a", Err(Malformed::Token)),
            ("token=%", Err(Malformed::Encoding)),
            ("token=a%2", Err(Malformed::Encoding)),
            ("token=a%zz", Err(Malformed::Encoding)),
            ("token=%+1", Err(Malformed::Encoding)),
            ("token=%ff", Err(Malformed::Encoding)),
            ("token=a&token=b", Err(Malformed::Repeated)),
            ("token=a&%74oken=a", Err(Malformed::Repeated)),
        ] {
            let expected = expected.map(|found| found.map(str::to_owned));
            assert_eq!(found(None, Some(query), &[]), expected, "{query}");
        }
    }

    #[test]
    fn a_token_among_the_subprotocols_is_told_by_its_beginning() {
        for (offers, expected) in [
            (&["bearer.a.b.c", "mqtt"][..], Ok(Some("a.b.c"))),
            (&["mqtt", "bearer.a"], Ok(Some("a"))),
            (&["bearer", "Bearer.a", "xbearer.a"], Ok(None)),
            (&["bearer."], Err(Malformed::Token)),
            (&["bearer.a", "bearer.b"], Err(Malformed::Repeated)),
        ] {
            let expected = expected.map(|found| found.map(str::to_owned));
            assert_eq!(found(None, None, offers), expected, "{offers:?}");
        }
        assert!(is_credential_offer("bearer.a"));
        assert!(!is_credential_offer("fanfare.v1.json"));
    }

    #[test]
    fn what_is_wrong_is_told_without_the_token() {
        for query in [
            "token=s3cret%zz",
            "token=s3cret%20x",
            "token=s3cret&token=s3cret",
        ] {
            let why = found(None, Some(query), &[]).unwrap_err();
            assert!(!format!("{why} {why:?}").contains("s3cret"), "{query}");
        }
    }

    proptest! {
        #[test]
        fn any_token_comes_through_the_query_as_it_was(token in "[!-~]{1,40}") {
            let encoded =
                percent_encoding::utf8_percent_encode(&token, percent_encoding::NON_ALPHANUMERIC);
            let query = format!("topic=a&token={encoded}&echo=false");
            prop_assert_eq!(found(None, Some(&query), &[]), Ok(Some(token)));
        }

        #[test]
        fn no_request_makes_the_search_fail(header: Option<Vec<u8>>, query: String, offer: String) {
            let _ = find_credential(header.as_deref(), Some(&query), [offer.as_str()]);
        }
    }
}
