//! Answers that say what is wrong: RFC 9457.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use serde::Serialize;

use crate::auth::Denied;
use crate::protocol::{ErrorCode, Refusal};

/// How long to wait where waiting helps and nobody knows how long.
const MOMENT: Duration = Duration::from_secs(1);

/// Why a call is not answered as it wishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    refusal: Refusal,
    header: Option<(header::HeaderName, &'static str)>,
}

/// A problem as it stands in bodies.
#[derive(Serialize)]
pub(super) struct ProblemBody {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl Problem {
    /// A request that is not of the form.
    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Refusal::new(ErrorCode::BadRequest, detail.into()).into()
    }

    /// A request that is not of the form, which another status says more precisely.
    pub(super) fn with_status(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            ..Self::bad_request(detail)
        }
    }

    /// Nothing there.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Refusal::new(ErrorCode::NotFound, detail.into()).into()
    }

    /// The path has other methods.
    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        Self {
            header: Some((header::ALLOW, allow)),
            ..Self::with_status(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("this path takes {allow} only"),
            )
        }
    }

    /// The path is a WebSocket's.
    pub(super) fn upgrade_required() -> Self {
        Self {
            header: Some((header::UPGRADE, "websocket")),
            ..Self::with_status(
                StatusCode::UPGRADE_REQUIRED,
                "this path speaks WebSocket only; connect with a WebSocket client",
            )
        }
    }

    /// A fault of the broker's.
    pub(super) fn internal() -> Self {
        Refusal::new(
            ErrorCode::Internal,
            "the broker failed at this request; the log says more",
        )
        .into()
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The whole answer.
    pub(super) fn response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.content_type("application/problem+json");
        if let Some((name, value)) = &self.header {
            response.insert_header((name.clone(), *value));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        if let Some(wait) = self.retry_after() {
            let seconds = wait.as_nanos().div_ceil(1_000_000_000).max(1);
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        response.body(serde_json::to_string(&self.body()).unwrap_or_default())
    }

    /// What stands in the body.
    pub(super) fn body(&self) -> ProblemBody {
        let refusal = &self.refusal;
        ProblemBody {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: refusal.message.clone().into_owned(),
            code: refusal.code.as_str(),
            retry_after_ms: self
                .retry_after()
                .and_then(|wait| refusal.clone().retry_after(wait).retry_after_ms()),
        }
    }

    /// How long to wait: said with every status that asks for patience.
    fn retry_after(&self) -> Option<Duration> {
        let is_passing = matches!(self.status.as_u16(), 429 | 503);
        self.refusal
            .retry_after
            .or_else(|| is_passing.then_some(MOMENT))
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.code.http_status());
        Self {
            status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            refusal,
            header: None,
        }
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        denied.refusal().into()
    }
}
