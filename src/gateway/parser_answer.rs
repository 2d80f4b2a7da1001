//! What actix-http answers of its own to a request that it cannot read.
//!
//! Such an answer has no body, and comes by no service and no middleware: it can only be seen as it is
//! written.

use crate::metrics::Refusal as Reason;
use crate::protocol::{ErrorCode, Refusal};

use super::handshake::Refused;

/// The longest head of such an answer.
const LONGEST: usize = 256;

/// The same answer as it should be, where these bytes are one of the parser's own and nothing else.
pub fn instead(written: &[u8]) -> Option<Refused> {
    if written.len() > LONGEST {
        return None;
    }
    let text = std::str::from_utf8(written).ok()?;
    let mut lines = text.strip_suffix("\r\n\r\n")?.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?;
    let (mut is_empty, mut is_last) = (false, false);
    for line in lines {
        match line {
            "content-length: 0" => is_empty = true,
            "connection: close" => is_last = true,
            _ if line.starts_with("date: ") => {}
            // Whoever says more has answered as it wished.
            _ => return None,
        }
    }
    if !is_empty || !is_last {
        return None;
    }
    let (status, reason, code, message) = match status {
        "400" => (
            400,
            Reason::Malformed,
            ErrorCode::BadRequest,
            "this is no request of HTTP/1.1 that can be read in one way only: one Host, and one \
             Content-Length or chunks, in lines that are whole",
        ),
        "408" => (
            408,
            Reason::Timeout,
            ErrorCode::BadRequest,
            "no whole request came in time; send its head at once",
        ),
        "431" => (
            431,
            Reason::Malformed,
            ErrorCode::TooLarge,
            "the head of the request is too large; send fewer and shorter headers, and a shorter path",
        ),
        _ => return None,
    };
    let mut refused = Refused::new(reason, Refusal::new(code, message));
    refused.status = status;
    Some(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(head: &str) -> Option<u16> {
        instead(head.as_bytes()).map(|refused| refused.status)
    }

    #[test]
    fn an_answer_of_the_parsers_own_is_known_and_no_other() {
        let empty =
            "content-length: 0\r\nconnection: close\r\ndate: Sat, 21 Nov 2026 16:00:00 GMT\r\n\r\n";
        for (line, known) in [
            ("HTTP/1.1 400 Bad Request", Some(400)),
            ("HTTP/1.0 400 Bad Request", Some(400)),
            ("HTTP/1.1 408 Request Timeout", Some(408)),
            ("HTTP/1.1 431 Request Header Fields Too Large", Some(431)),
            ("HTTP/1.1 500 Internal Server Error", None),
            ("HTTP/1.1 200 OK", None),
            ("x", None),
        ] {
            assert_eq!(status(&format!("{line}\r\n{empty}")), known, "{line}");
        }
        let line = "HTTP/1.1 400 Bad Request\r\n";
        for head in [
            format!("{line}content-length: 0\r\n\r\n"),
            format!("{line}connection: close\r\n\r\n"),
            format!("{line}x-own: 1\r\n{empty}"),
            format!("{line}{empty}{{}}"),
            format!("{line}{empty}{line}{empty}"),
            format!("{line}date: {}\r\n{empty}", "x".repeat(256)),
            String::new(),
        ] {
            assert_eq!(status(&head), None, "{head}");
        }
    }
}
