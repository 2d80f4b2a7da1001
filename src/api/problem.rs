//! Answers that say what is wrong: RFC 9457.

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};

use crate::auth::Denied;
use crate::protocol::{self, ErrorCode, PROBLEM_TYPE, Refusal};

/// Why a call is not answered as it wishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    refusal: Refusal,
    header: Option<(header::HeaderName, &'static str)>,
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

    /// What the protocol calls it.
    pub(super) fn code(&self) -> ErrorCode {
        self.refusal.code
    }

    /// The whole answer.
    pub(super) fn response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.content_type(PROBLEM_TYPE);
        if let Some((name, value)) = &self.header {
            response.insert_header((name.clone(), *value));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        let body = self.body();
        if let Some(seconds) = body.retry_after_seconds() {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        response.body(body.to_json())
    }

    /// What stands in the body.
    pub(super) fn body(&self) -> protocol::Problem {
        protocol::Problem::with_status(&self.refusal, self.status.as_u16())
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
