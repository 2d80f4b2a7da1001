//! Which of the subprotocols that a client offers is spoken.

use crate::auth::is_credential_offer;
use crate::protocol::WireFormat;

use super::handshake::{Refused, malformed};

/// The first offer that is known, and the name by which to answer it. A configured endpoint always speaks
/// raw, and says so only to those who offered it.
///
/// # Errors
/// 400 where there is no such offer among those that were made: a browser closes a connection that is
/// opened without one.
pub fn choose(
    offers: &[&str],
    is_endpoint: bool,
) -> Result<(WireFormat, Option<&'static str>), Refused> {
    let (known, usual): (&[WireFormat], _) = if is_endpoint {
        (&[WireFormat::Raw], WireFormat::Raw)
    } else {
        let all = &[WireFormat::Json, WireFormat::Msgpack, WireFormat::Raw];
        (all, WireFormat::Json)
    };
    if offers.is_empty() {
        return Ok((usual, None));
    }
    let mut real = offers.iter().filter(|offer| !is_credential_offer(offer));
    let names = || {
        let names: Vec<&str> = known.iter().map(|format| format.subprotocol()).collect();
        names.join(", ")
    };
    let Some(first) = real.next() else {
        return Err(malformed(format!(
            "a key is offered as a subprotocol, and none beside it that could be spoken; offer one of {} too",
            names()
        )));
    };
    std::iter::once(first)
        .chain(real)
        .find_map(|offer| known.iter().find(|format| format.subprotocol() == *offer))
        .map(|format| (*format, Some(format.subprotocol())))
        .ok_or_else(|| {
            malformed(format!(
                "none of the subprotocols offered is spoken here; offer one of {}, or none",
                names()
            ))
        })
}
