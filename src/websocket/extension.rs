//! Agreeing on `permessage-deflate` (RFC 7692 §5, §7.1; the header's grammar: RFC 6455 §9.1).

use std::borrow::Cow;
use std::fmt;

/// The name of the extension.
const NAME: &str = "permessage-deflate";

/// The largest window's bits, which count where nothing is said.
const MAX_WINDOW: u8 = 15;

/// What the server would agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The largest window, 8 to 15: what a message refers to is at most 2 to this power bytes away.
    pub max_window_bits: u8,
    /// Whether messages of the server's may refer to those before, which takes a compressor a session.
    pub server_takeover: bool,
    /// Whether messages of the client's may, which takes a window a session.
    pub client_takeover: bool,
}

/// What was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The window of what the server sends, in bits.
    pub server_window: u8,
    /// The window of what the client sends, in bits.
    pub client_window: u8,
    /// Whether messages of the server's may refer to those before.
    pub server_takeover: bool,
    /// Whether messages of the client's may.
    pub client_takeover: bool,
    /// Whether the answer has to name the server's window, and the client's.
    named: (bool, bool),
}

/// Chooses the first of a client's offers that can be agreed on; `headers` are the values of all its
/// `Sec-WebSocket-Extensions`, in order. Offers that are of another extension or not as RFC 7692 has
/// them are passed over, and so is the rest of a header that cannot be read.
pub fn negotiate<'a>(
    headers: impl IntoIterator<Item = &'a [u8]>,
    allowed: Allowed,
) -> Option<Negotiated> {
    headers
        .into_iter()
        .filter_map(|header| std::str::from_utf8(header).ok())
        .find_map(|header| {
            let mut offers = Offers { rest: header };
            std::iter::from_fn(move || offers.next_offer())
                .filter(|offer| offer.name == NAME)
                .find_map(|offer| offer.accept(allowed))
        })
}

/// The value of `Sec-WebSocket-Extensions` in the answer.
impl fmt::Display for Negotiated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if !self.server_takeover {
            f.write_str("; server_no_context_takeover")?;
        }
        if !self.client_takeover {
            f.write_str("; client_no_context_takeover")?;
        }
        if self.named.0 {
            write!(f, "; server_max_window_bits={}", self.server_window)?;
        }
        if self.named.1 {
            write!(f, "; client_max_window_bits={}", self.client_window)?;
        }
        Ok(())
    }
}

/// One offer: an extension and its parameters.
#[derive(Debug)]
struct Offer<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, Option<Cow<'a, str>>)>,
}

impl Offer<'_> {
    /// What would be agreed on; `None` where the offer has to be declined (RFC 7692 §7.1).
    fn accept(&self, allowed: Allowed) -> Option<Negotiated> {
        let [mut server_fresh, mut client_fresh] = [false; 2];
        let [mut server_bits, mut client_bits] = [None; 2];
        for (name, value) in &self.parameters {
            let is_new = match (*name, value.as_deref()) {
                ("server_no_context_takeover", None) => !std::mem::replace(&mut server_fresh, true),
                ("client_no_context_takeover", None) => !std::mem::replace(&mut client_fresh, true),
                ("server_max_window_bits", Some(value)) => {
                    server_bits.replace(Some(window_bits(value)?)).is_none()
                }
                // Without a value: the answer may name any window.
                ("client_max_window_bits", None) => client_bits.replace(None).is_none(),
                ("client_max_window_bits", Some(value)) => {
                    client_bits.replace(Some(window_bits(value)?)).is_none()
                }
                _ => return None,
            };
            if !is_new {
                return None;
            }
        }
        let max = allowed.max_window_bits.clamp(8, MAX_WINDOW);
        let server_window = server_bits.flatten().unwrap_or(MAX_WINDOW).min(max);
        // A client that did not say that it can limit its window is not to be asked to.
        let client_window =
            client_bits.map_or(MAX_WINDOW, |bits| bits.unwrap_or(MAX_WINDOW).min(max));
        Some(Negotiated {
            server_window,
            client_window,
            server_takeover: allowed.server_takeover && !server_fresh,
            client_takeover: allowed.client_takeover && !client_fresh,
            named: (
                server_bits.is_some() || server_window < MAX_WINDOW,
                client_bits.flatten().is_some() || client_window < MAX_WINDOW,
            ),
        })
    }
}

/// The bits of a window: 8 to 15, without zeros in front.
fn window_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok()?;
    let is_plain = value.bytes().all(|b| b.is_ascii_digit()) && !value.starts_with('0');
    (is_plain && (8..=MAX_WINDOW).contains(&bits)).then_some(bits)
}

/// The offers of one header.
#[derive(Debug)]
struct Offers<'a> {
    rest: &'a str,
}

impl<'a> Offers<'a> {
    /// The next offer; nothing more where the header cannot be read.
    fn next_offer(&mut self) -> Option<Offer<'a>> {
        let offer = self.offer();
        if offer.is_none() {
            self.rest = "";
        }
        offer
    }

    fn offer(&mut self) -> Option<Offer<'a>> {
        // A list may have empty elements (RFC 9110 §5.6.1).
        while self.eats(',') {}
        let name = self.token()?;
        let mut parameters = Vec::new();
        while self.eats(';') {
            let name = self.token()?;
            let value = if self.eats('=') {
                Some(self.value()?)
            } else {
                None
            };
            parameters.push((name, value));
        }
        (self.rest.is_empty() || self.rest.starts_with(',')).then_some(Offer { name, parameters })
    }

    /// Takes a sign and the spaces around it, if it is the next.
    fn eats(&mut self, sign: char) -> bool {
        self.skip_spaces();
        let Some(rest) = self.rest.strip_prefix(sign) else {
            return false;
        };
        self.rest = rest;
        self.skip_spaces();
        true
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn token(&mut self) -> Option<&'a str> {
        let end = self.rest.find(|c| !is_token(c)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        self.skip_spaces();
        (!token.is_empty()).then_some(token)
    }

    /// A token, or whatever stands in quotes.
    fn value(&mut self) -> Option<Cow<'a, str>> {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            return self.token().map(Cow::Borrowed);
        };
        let mut value = String::new();
        let mut signs = quoted.chars();
        loop {
            match signs.next()? {
                '"' => break,
                '\\' => value.push(signs.next()?),
                sign => value.push(sign),
            }
        }
        self.rest = signs.as_str();
        self.skip_spaces();
        Some(Cow::Owned(value))
    }
}

/// What a token is made of (RFC 9110 §5.6.2).
fn is_token(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(sign)
}

#[cfg(test)]
mod tests;
