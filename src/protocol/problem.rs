//! Problem bodies (RFC 9457): how a refusal is told over HTTP.

use serde::Serialize;

use super::Refusal;

/// The media type of a problem body.
pub const PROBLEM_TYPE: &str = "application/problem+json";

/// A refusal as HTTP tells it. Holds nothing that the refused request brought but what the
/// refusal's own sentence says.
#[derive(Debug, Serialize)]
pub struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl<'a> Problem<'a> {
    /// A refusal with the status that its code stands for.
    pub fn new(refusal: &'a Refusal) -> Self {
        Self::with_status(refusal, refusal.code.http_status())
    }

    /// A refusal with a status of HTTP's own, as 405 or 426.
    pub fn with_status(refusal: &'a Refusal, status: u16) -> Self {
        Self {
            kind: "about:blank",
            title: title(status),
            status,
            detail: &refusal.message,
            code: refusal.code.as_str(),
            retry_after_ms: refusal.retry_after_ms(),
        }
    }

    /// The body.
    pub fn to_json(&self) -> String {
        // Plain strings and numbers: there is nothing that could fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The reason phrase of a status that this server uses (RFC 9110 §15).
pub fn title(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::ErrorCode;

    #[test]
    fn a_problem_names_its_code_and_how_long_to_wait() {
        let refusal = Refusal::new(ErrorCode::Unavailable, "draining").retry_after(Duration::from_secs(2));
        assert_eq!(
            Problem::new(&refusal).to_json(),
            r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"draining","code":"unavailable","retry_after_ms":2000}"#
        );
    }
}
