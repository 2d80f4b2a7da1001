//! Problem bodies (RFC 9457): how a refusal is told over HTTP.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

use super::{ErrorCode, Refusal};

/// The media type of a problem body.
pub const PROBLEM_TYPE: &str = "application/problem+json";

/// How long to wait where waiting helps and nobody knows how long.
const MOMENT: Duration = Duration::from_secs(1);

/// A refusal as HTTP tells it. Holds nothing that the refused request brought but what the
/// refusal's own sentence says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: Cow<'static, str>,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl Problem {
    /// A refusal with the status that its code stands for.
    pub fn new(refusal: &Refusal) -> Self {
        Self::with_status(refusal, refusal.code.http_status())
    }

    /// A refusal with a status of HTTP's own, as 405 or 426. Where patience helps, it says for how long;
    /// of what one has as many as one may, it does not.
    pub fn with_status(refusal: &Refusal, status: u16) -> Self {
        let is_passing = matches!(status, 429 | 503) && refusal.code != ErrorCode::LimitExceeded;
        let patient = match refusal.retry_after {
            None if is_passing => refusal.clone().retry_after(MOMENT),
            _ => refusal.clone(),
        };
        Self {
            kind: "about:blank",
            title: title(status),
            status,
            retry_after_ms: patient.retry_after_ms(),
            detail: patient.message,
            code: refusal.code.as_str(),
        }
    }

    /// The body.
    pub fn to_json(&self) -> String {
        // Plain strings and numbers: there is nothing that could fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The value of the header `Retry-After`, in whole seconds, where waiting helps.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after_ms.map(|ms| ms.div_ceil(1000).max(1))
    }
}

/// The reason phrase of a status that this server uses (RFC 9110 §15).
pub fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_code_and_how_long_to_wait() {
        let refusal = Refusal::new(ErrorCode::Unavailable, "draining");
        let problem = Problem::new(&refusal.clone().retry_after(Duration::from_millis(2500)));
        assert_eq!(
            problem.to_json(),
            r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"draining","code":"unavailable","retry_after_ms":2500}"#
        );
        assert_eq!(problem.retry_after_seconds(), Some(3));
        assert_eq!(Problem::new(&refusal).retry_after_seconds(), Some(1));
    }

    #[test]
    fn what_waiting_does_not_mend_names_no_time() {
        let refusal = Refusal::new(ErrorCode::Forbidden, "no");
        assert_eq!(Problem::new(&refusal).retry_after_seconds(), None);
        // As in an `error` frame: there will be no more of them for having waited.
        let refusal = Refusal::new(ErrorCode::LimitExceeded, "as many as there may be");
        let problem = Problem::new(&refusal);
        assert_eq!((problem.status, problem.retry_after_seconds()), (429, None));
        assert_eq!(refusal.retry_after_ms(), None);
        let refusal = refusal.retry_after(Duration::from_secs(5));
        assert_eq!(Problem::new(&refusal).retry_after_seconds(), Some(5));
        let other = Problem::with_status(&refusal, 418);
        assert_eq!((other.status, other.title), (418, "Error"));
    }
}
